"""Archives, identified by the URL of their API, and their tokens."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from neurobench_grasp.errors import NgbError

PRODUCTION = "https://api.dandiarchive.org/api"
INSTANCE = "NGB_DANDI_INSTANCE"
TOKEN = "NGB_DANDI_TOKEN"
PRODUCTION_TOKEN = "DANDI_API_KEY"


def instance_url(given: str | None = None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the URL of the API: the given one, else that of the environment, else DANDI's."""
    return checked_instance(given or environment.get(INSTANCE) or PRODUCTION)


class Secret:
    """A token that is revealed to the archive's API only."""

    def __init__(self, value: str, variable: str) -> None:
        self._value = value
        self.variable = variable

    def __repr__(self) -> str:
        return f"Secret(from {self.variable})"

    def header(self) -> str:
        """Value of the header ``Authorization``."""
        return f"token {self._value}"


def token_for(instance: str, environment: Mapping[str, str] = os.environ) -> Secret | None:
    """Return the token of an archive from the environment; each archive has its own variable.

    Raises
    ------
    NgbError
        If it is not a valid token.
    """
    variable = token_variable(instance)
    value = environment.get(variable, "").strip()
    if not value:
        return None
    if not re.fullmatch(r"[!-~]{1,500}", value):
        raise NgbError(f"The token in {variable} has invalid characters; set it again.")
    return Secret(value, variable)


def token_variable(instance: str) -> str:
    """Return the name of the variable of an archive's token."""
    return PRODUCTION_TOKEN if instance == PRODUCTION else TOKEN


def checked_instance(text: str) -> str:
    """Validate and normalise the URL of an archive's API.

    Raises
    ------
    NgbError
        If it is invalid or insecure.
    """
    url = urlsplit(text.strip())
    try:
        known = bool(url.hostname) and url.port != 0
    except ValueError:
        known = False
    if not known or url.username or url.password or url.query or url.fragment:
        raise NgbError(f"{shown(text)} is not the URL of an archive's API, such as {PRODUCTION}.")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname)):
        raise NgbError(f"{shown(text)} is not encrypted; an archive must have an https address.")
    return urlunsplit((url.scheme, url.netloc.lower(), url.path.rstrip("/"), "", ""))


def is_loopback(host: str | None) -> bool:
    """Return whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def shown(url: str) -> str:
    """Return a URL for messages: without user, password and query, which may be secrets."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        place = f"{host}:{parts.port}" if parts.port else host
    except ValueError:
        return "an address"
    text = f"{parts.scheme}://{place}{parts.path}"
    return "".join(c for c in text if c.isprintable())[:200]

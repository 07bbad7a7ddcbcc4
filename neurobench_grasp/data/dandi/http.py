"""Requests to an archive: timeouts, few retries, one sentence for each failure, and where a token may go."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from neurobench_grasp.data.dandi.instances import Secret, is_loopback, shown, token_for, token_variable
from neurobench_grasp.data.dandi.retry import Pace, Patience
from neurobench_grasp.errors import NgbError

BUSY = (429, 500, 502, 503, 504)
MOST_BYTES = 64 << 20
"""More than any answer has that is not a file."""


def open_session(instance: str, patience: Patience) -> requests.Session:
    """Make a session for one archive: every request, and every hop of one, goes through :class:`Guard`."""
    session = requests.Session()
    session.max_redirects = 5
    guard = Guard(instance, token_for(instance), patience)
    session.mount("https://", guard)
    session.mount("http://", guard)
    return session


class Guard(HTTPAdapter):
    """Sends single requests.

    Parameters
    ----------
    instance : str
        URL of the archive's API: only its host is given the token.
    token : Secret, optional
    patience : Patience
    """

    def __init__(self, instance: str, token: Secret | None, patience: Patience) -> None:
        super().__init__()
        self.instance = instance
        self.token = token
        self.patience = patience

    def send(self, request: requests.PreparedRequest, stream: bool = False, *_: Any, **options: Any) -> Any:
        """Send a request, again if the server is busy or the connection fails; errors are one sentence.

        What is not a stream is read here, as far as it is not too long.
        """
        url = request.url or ""
        self._check(url)
        request.headers.pop("Authorization", None)
        if self.token is not None and _origin(url) == _origin(self.instance):
            request.headers["Authorization"] = self.token.header()
        options["timeout"] = (self.patience.connect, self.patience.read)
        response = self._patiently(request, options)
        self._refused(response, url)
        if not stream or response.is_redirect:
            _read(response, url, Pace(self.patience))
        return response

    def _patiently(self, request: requests.PreparedRequest, options: dict[str, Any]) -> requests.Response:
        url = request.url or ""
        for attempt in range(self.patience.tries):
            asked = ""
            try:
                response = super().send(request, stream=True, **options)
            except requests.RequestException as error:
                failure = reason(error, self.patience)
            else:
                if response.status_code not in BUSY:
                    return response
                failure = f"it answers {response.status_code} {words(response)}"
                asked = response.headers.get("Retry-After", "")
                response.close()
            if self.patience.stop.is_set():
                break
            if attempt + 1 < self.patience.tries:
                self.patience.wait(attempt, asked)
        raise NgbError(
            f"{shown(url)} is not available, because {failure}; look to the network connection, or try again "
            "later: what is in the cache stays usable."
        ) from None

    def _check(self, url: str) -> None:
        """Refuse hosts that would be asked without encryption."""
        parts = urlsplit(url)
        local = is_loopback(parts.hostname) and is_loopback(urlsplit(self.instance).hostname)
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise NgbError(
                f"{shown(self.instance)} points to {shown(url)}, which is not an https address, so it was "
                "not asked; tell those who run that archive."
            )

    def _refused(self, response: requests.Response, url: str) -> None:
        """Report why a server does not answer; a missing thing is left to whoever asked for it."""
        status = response.status_code
        if status < 400 or status in (404, 416):
            return
        response.close()
        if status in (401, 403) and _origin(url) == _origin(self.instance):
            variable = token_variable(self.instance)
            wanted = (
                f"does not accept the token in {variable} for it ({status}); look whether it is valid"
                if self.token
                else f"gives it only to those it knows ({status}); put your token there into the variable "
                f"{variable}"
            )
            raise NgbError(f"{shown(url)} is not available: the archive {wanted}.")
        raise NgbError(
            f"Could not download {shown(url)}: the server answers {status} {words(response)}; try again "
            "later, or report it to the archive."
        )


def reason(error: requests.RequestException, patience: Patience) -> str:
    """Report what went wrong; the error's own text may hold a signed URL."""
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate cannot be trusted"
    if isinstance(error, requests.ConnectTimeout):
        return f"there is no connection within {patience.connect:g} s"
    if isinstance(error, requests.Timeout) or "timed out" in str(error).lower():
        return f"nothing came for {patience.read:g} s"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not let it through"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection fails"
    return f"the request fails ({type(error).__name__})"


def words(response: requests.Response) -> str:
    """Words of a status, as messages may show them."""
    return "".join(c for c in str(response.reason or "") if c.isprintable())[:60]


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _read(response: requests.Response, url: str, pace: Pace) -> None:
    """Read an answer into memory, unless it is longer than any sane one, or comes too slowly."""
    content = bytearray()
    try:
        while chunk := response.raw.read1(1 << 16, decode_content=True):
            content += chunk
            if len(content) > MOST_BYTES:
                raise NgbError(
                    f"{shown(url)} gives more than {MOST_BYTES >> 20} MB where a list is expected."
                )
            if not pace.is_kept(len(chunk)):
                raise NgbError(f"{shown(url)} is not available, because {pace.words}; try again later.")
    except urllib3.exceptions.HTTPError:
        raise NgbError(
            f"{shown(url)} is not available, because its answer breaks off; try again later."
        ) from None
    finally:
        response.close()
    response._content = bytes(content)  # what requests itself does when it has read an answer

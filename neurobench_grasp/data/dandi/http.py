"""HTTP requests to an archive: timeouts, retries, one-sentence errors, and the scope of the token."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from neurobench_grasp.data.dandi.instances import Secret, is_loopback, shown, token_for, token_variable
from neurobench_grasp.data.dandi.retry import Pace, RetryPolicy
from neurobench_grasp.errors import NgbError

BUSY = (429, 500, 502, 503, 504)
MOST_BYTES = 64 << 20
"""Maximum size of a response that is not a file."""


def open_session(instance: str, retry: RetryPolicy) -> requests.Session:
    """Return a session for one archive whose requests and redirects all go through :class:`Guard`."""
    session = requests.Session()
    session.max_redirects = 5
    guard = Guard(instance, token_for(instance), retry)
    session.mount("https://", guard)
    session.mount("http://", guard)
    return session


class Guard(HTTPAdapter):
    """Transport adapter for one archive.

    Parameters
    ----------
    instance : str
        URL of the archive's API: only its host receives the token.
    token : Secret, optional
    retry : RetryPolicy
    """

    def __init__(self, instance: str, token: Secret | None, retry: RetryPolicy) -> None:
        super().__init__()
        self.instance = instance
        self.token = token
        self.retry = retry

    def send(self, request: requests.PreparedRequest, stream: bool = False, *_: Any, **options: Any) -> Any:
        """Send a request with retries if the server is busy or the connection fails; errors are one sentence.

        A response that is not streamed is read here, up to a limit.
        """
        url = request.url or ""
        self._check(url)
        request.headers.pop("Authorization", None)
        if self.token is not None and _origin(url) == _origin(self.instance):
            request.headers["Authorization"] = self.token.header()
        options["timeout"] = (self.retry.connect, self.retry.read)
        response = self._with_retries(request, options)
        self._refused(response, url)
        if not stream or response.is_redirect:
            _read(response, url, Pace(self.retry))
        return response

    def _with_retries(self, request: requests.PreparedRequest, options: dict[str, Any]) -> requests.Response:
        url = request.url or ""
        for attempt in range(self.retry.tries):
            asked = ""
            try:
                response = super().send(request, stream=True, **options)
            except requests.RequestException as error:
                failure = reason(error, self.retry)
            else:
                if response.status_code not in BUSY:
                    return response
                failure = f"it answers {response.status_code} {status_text(response)}"
                asked = response.headers.get("Retry-After", "")
                response.close()
            if self.retry.stop.is_set():
                break
            if attempt + 1 < self.retry.tries:
                self.retry.wait(attempt, asked)
        raise NgbError(
            f"Could not download {shown(url)}: {failure}; check your network connection, or try again "
            "later: files in the cache stay usable."
        ) from None

    def _check(self, url: str) -> None:
        """Raise for hosts that would be contacted without encryption."""
        parts = urlsplit(url)
        local = is_loopback(parts.hostname) and is_loopback(urlsplit(self.instance).hostname)
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise NgbError(
                f"{shown(self.instance)} points to {shown(url)}, which is not an https address, so it was "
                "not contacted; report it to the archive."
            )

    def _refused(self, response: requests.Response, url: str) -> None:
        """Raise for error responses; "not found" is left to the caller."""
        status = response.status_code
        if status < 400 or status in (404, 416):
            return
        response.close()
        if status in (401, 403) and _origin(url) == _origin(self.instance):
            variable = token_variable(self.instance)
            wanted = (
                f"does not accept the token in {variable} for it ({status}); check that it is valid"
                if self.token
                else f"requires authorisation ({status}); put your token into the variable {variable}"
            )
            raise NgbError(f"{shown(url)} was refused: the archive {wanted}.")
        raise NgbError(
            f"Could not download {shown(url)}: the server answers {status} {status_text(response)}; "
            "try again later, or report it to the archive."
        )


def reason(error: requests.RequestException, retry: RetryPolicy) -> str:
    """Describe what went wrong; the error's own text may contain a signed URL."""
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not trusted"
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {retry.connect:g} s"
    if isinstance(error, requests.Timeout) or "timed out" in str(error).lower():
        return f"no data arrived for {retry.read:g} s"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refused it"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection failed"
    return f"the request failed ({type(error).__name__})"


def status_text(response: requests.Response) -> str:
    """Return the reason phrase of a response, cleaned for messages."""
    return "".join(c for c in str(response.reason or "") if c.isprintable())[:60]


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _read(response: requests.Response, url: str, pace: Pace) -> None:
    """Read a response into memory, unless it is too long or too slow."""
    content = bytearray()
    try:
        while chunk := response.raw.read1(1 << 16, decode_content=True):
            content += chunk
            if len(content) > MOST_BYTES:
                raise NgbError(f"{shown(url)} returned more than {MOST_BYTES >> 20} MB instead of a list.")
            if not pace.is_kept(len(chunk)):
                raise NgbError(f"Could not download {shown(url)}: {pace.problem}; try again later.")
    except urllib3.exceptions.HTTPError:
        raise NgbError(f"Could not download {shown(url)}: the response broke off; try again later.") from None
    finally:
        response.close()
    response._content = bytes(content)  # as requests does after reading a response

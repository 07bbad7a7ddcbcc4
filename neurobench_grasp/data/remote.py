"""Random access to a file on a server through remfile: only the byte ranges that HDF5 reads are requested."""

from __future__ import annotations

import importlib.util
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from neurobench_grasp.data.dandi.assets import Asset
from neurobench_grasp.data.dandi.instances import is_loopback, shown
from neurobench_grasp.data.dandi.retry import RetryPolicy
from neurobench_grasp.data.nwb.heaps import HEADER, SIGNATURE, heap_size, is_valid
from neurobench_grasp.errors import CorruptFileError, NgbError
from neurobench_grasp.sandbox.limits import MIB

if TYPE_CHECKING:
    import requests

MOST_BYTES = 64 * MIB
"""Maximum transfer per file; a more detailed inspection requires a download."""
READ_AHEAD = MIB
"""Maximum read-ahead, where a file is read sequentially."""


@dataclass(frozen=True)
class Place:
    """Where a file's bytes are served.

    Parameters
    ----------
    name : str
        File name.
    url : str
        May contain a signature, so it is never displayed.
    size : int
        Bytes.
    instance : str, optional
        URL of the archive's API, whose rules then apply to that server.
    """

    name: str
    url: str
    size: int
    instance: str | None = None


def check_remfile() -> None:
    """Raise if remfile is not installed."""
    if importlib.util.find_spec("remfile") is None or importlib.util.find_spec("requests") is None:
        raise NgbError(
            "Inspecting files without downloading them requires remfile, which is not installed; run "
            "`pip install 'neurobench-grasp[stream]'`, or fetch the file first."
        )


def place_of_asset(instance: str, asset: Asset, retry: RetryPolicy) -> Place:
    """Return where an archive's store serves a file's bytes; the token is sent to the archive's API only."""
    from neurobench_grasp.data.dandi.http import open_session

    url = f"{instance}/assets/{asset.asset_id}/download/"
    with open_session(instance, retry) as session:
        answer = _get(session, url, allow_redirects=False, stream=True)
        answer.close()
    if not answer.is_redirect and answer.status_code != 200:
        raise NgbError(f"{asset.path} is no longer at {shown(url)}; request another version of its dandiset.")
    target = urljoin(url, answer.headers.get("Location", ""))
    place = _probe(asset.path.rpartition("/")[2], target, instance, retry)
    if place.size != asset.size:
        raise CorruptFileError(
            f"{asset.path} has {place.size} bytes instead of the announced {asset.size}; report this to "
            f"{shown(instance)}."
        )
    return place


def place_of_url(url: str, retry: RetryPolicy) -> Place:
    """Return where the bytes of a file with a web address are served."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise NgbError(f"{shown(url)} is not encrypted; use an https address, or download the file.")

    return _probe(parts.path.rpartition("/")[2] or "the file", url, None, retry)


def _session(instance: str | None, url: str, retry: RetryPolicy) -> requests.Session:
    """Return a session for the server of a file, without token."""
    import requests

    from neurobench_grasp.data.dandi.http import Guard, status_text

    class UrlGuard(Guard):
        def _refused(self, response: requests.Response, url: str) -> None:
            if response.status_code >= 400:
                response.close()
                raise NgbError(
                    f"Could not read {shown(url)}: the server answers {response.status_code} "
                    f"{status_text(response)}; check the address, and that the file is public."
                )

    guard = UrlGuard(url, None, retry) if instance is None else Guard(instance, None, retry)
    session = requests.Session()
    session.max_redirects = 5
    session.headers["Accept-Encoding"] = "identity"  # so that ranges refer to the file itself
    session.mount("https://", guard)
    session.mount("http://", guard)
    return session


def _get(session: requests.Session, url: str, **options: Any) -> requests.Response:
    import requests

    try:
        return session.get(url, **options)
    except requests.RequestException as error:  # all other errors are raised by the guard
        raise NgbError(
            f"The request to {shown(url)} failed ({type(error).__name__}); report this to the operators of "
            "the server."
        ) from None


def _probe(name: str, url: str, instance: str | None, retry: RetryPolicy) -> Place:
    """Follow redirects once, and determine the size."""
    with _session(instance, url, retry) as session:
        answer = _get(session, url, headers={"Range": "bytes=0-0"}, stream=True)
        answer.close()
    span = re.fullmatch(r"bytes 0-0/(\d{1,15})", answer.headers.get("Content-Range", ""))
    if answer.status_code != 206 or span is None:
        raise NgbError(
            f"The server of {shown(answer.url)} does not support range requests (it answers "
            f"{answer.status_code}), so the file cannot be inspected remotely; download it first."
        )
    return Place(name, answer.url, int(span[1]), instance)


class _GaveUpError(BaseException):
    """Not an :class:`Exception`, so that remfile does not retry after the retry policy gave up."""

    def __init__(self, error: NgbError) -> None:
        self.error = error


class Ranges:
    """Session replacement for remfile: requests ranges of one file, counts bytes, and stops at a limit."""

    def __init__(self, place: Place, retry: RetryPolicy) -> None:
        self.place = place
        self.n_bytes = 0
        self.session = _session(place.instance, place.url, retry)

    def get(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Return a complete range at the requested position, or raise."""
        first, last = map(int, headers["Range"].removeprefix("bytes=").split("-"))
        wanted = last - first + 1
        name = self.place.name
        try:
            if self.n_bytes + wanted > MOST_BYTES:
                raise NgbError(
                    f"Inspection of {name} stopped after {MOST_BYTES // MIB} MB; download the file and "
                    "inspect it then."
                )
            answer = _get(self.session, url, headers={"Range": headers["Range"]})
            self.n_bytes += len(answer.content)
            span = f"bytes {first}-{last}/{self.place.size}"
            right = answer.status_code == 206 and answer.headers.get("Content-Range") == span
            if not right or len(answer.content) != wanted:
                raise CorruptFileError(
                    f"{shown(url)} returns other bytes than requested (it answers {answer.status_code}); "
                    "download the file instead."
                )
        except NgbError as error:
            raise _GaveUpError(error) from None
        return answer


class RemoteFile(io.RawIOBase):
    """A file on a server as a file object for h5py. Heaps are checked while reading, see ``data.nwb.heaps``.

    Parameters
    ----------
    place : Place
    retry : RetryPolicy
    """

    def __init__(self, place: Place, retry: RetryPolicy) -> None:
        import remfile

        self.place = place
        self.ranges = Ranges(place, retry)
        self.position = 0
        self.pieces = remfile.File(
            place.url, _size=place.size, _use_session=False, _max_chunk_size=READ_AHEAD
        )
        self.pieces.session = self.ranges

    def close(self) -> None:
        """Close the connection."""
        self.ranges.session.close()
        super().close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.place.size}[whence]
        self.position = base + offset
        return self.position

    def tell(self) -> int:
        """Return the position."""
        return self.position

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into a buffer."""
        view = memoryview(buffer).cast("B")
        data = self.bytes_at(self.position, len(view))
        self._check_heaps(self.position, data)
        view[: len(data)] = data
        self.position += len(data)
        return len(data)

    def bytes_at(self, start: int, n_bytes: int) -> bytes:
        """Return bytes from a position, fewer at the end of the file."""
        n_bytes = max(0, min(n_bytes, self.place.size - start))
        if not n_bytes:
            return b""
        self.pieces.seek(start)
        try:
            return bytes(self.pieces.read(n_bytes))
        except _GaveUpError as gave_up:
            raise gave_up.error from None

    def _check_heaps(self, start: int, data: bytes) -> None:
        found = data.find(SIGNATURE)
        while found >= 0:
            place = start + found
            size = heap_size(self.bytes_at(place, HEADER), self.place.size - place)
            if size and not is_valid(self.bytes_at(place, size)):
                raise CorruptFileError(
                    f"{self.place.name} is damaged and cannot be read (its text heap at byte {place} is "
                    "broken); report this to its owner."
                )
            found = data.find(SIGNATURE, found + 1)

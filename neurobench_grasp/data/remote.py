"""A file on a server, read in pieces by means of remfile: HDF5 asks for bytes here and there."""

from __future__ import annotations

import importlib.util
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from neurobench_grasp.data.dandi.assets import Asset
from neurobench_grasp.data.dandi.instances import is_loopback, shown
from neurobench_grasp.data.dandi.retry import Patience
from neurobench_grasp.data.nwb.heaps import HEADER, SIGNATURE, heap_size, is_sound
from neurobench_grasp.data.nwb.scan import MIB
from neurobench_grasp.errors import CorruptFileError, NgbError

if TYPE_CHECKING:
    import requests

MOST_BYTES = 64 * MIB
"""Most that is transferred of one file; to learn more of it, download it."""
READ_AHEAD = MIB
"""Most that is asked for beyond what is needed at once, where a file is read piece after piece."""


@dataclass(frozen=True)
class Place:
    """Where a file's bytes are given.

    Parameters
    ----------
    name : str
        Of the file.
    url : str
        May hold a signature, and so is shown to nobody.
    size : int
        Bytes.
    session : requests.Session
        Asks that server, and sends no token.
    """

    name: str
    url: str
    size: int
    session: requests.Session


def check_remfile() -> None:
    """Report what to install where remfile is missing."""
    if importlib.util.find_spec("remfile") is None or importlib.util.find_spec("requests") is None:
        raise NgbError(
            "Files are looked into without downloading them by means of remfile, which is not installed; run "
            "`pip install 'neurobench-grasp[stream]'`, or fetch the file first."
        )


def place_of_asset(instance: str, asset: Asset, patience: Patience) -> Place:
    """Find where an archive's store gives the bytes of a file; the token stays with the archive's API."""
    from neurobench_grasp.data.dandi.http import Guard, open_session

    url = f"{instance}/assets/{asset.asset_id}/download/"
    with open_session(instance, patience) as session:
        answer = _get(session, url, allow_redirects=False, stream=True)
        answer.close()
    if not answer.is_redirect and answer.status_code != 200:
        raise NgbError(
            f"{asset.path} is not at {shown(url)} any more; ask for another version of its dandiset."
        )
    target = urljoin(url, answer.headers.get("Location", ""))
    place = _probe(asset.path.rpartition("/")[2], target, _session(Guard(instance, None, patience)))
    if place.size != asset.size:
        raise CorruptFileError(
            f"{asset.path} has {place.size} bytes where {asset.size} are announced; tell those who run "
            f"{shown(instance)}."
        )
    return place


def place_of_url(url: str, patience: Patience) -> Place:
    """Find where the bytes of a file are given that has an address of its own."""
    from neurobench_grasp.data.dandi.http import Guard, words

    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise NgbError(f"{shown(url)} is not encrypted; give an https address, or download the file.")

    class Anyone(Guard):
        def _refused(self, response: requests.Response, url: str) -> None:
            if response.status_code >= 400:
                response.close()
                raise NgbError(
                    f"{shown(url)} is not available, because the server answers {response.status_code} "
                    f"{words(response)}; is the address right, and the file public?"
                )

    name = parts.path.rpartition("/")[2] or "the file"
    return _probe(name, url, _session(Anyone(url, None, patience)))


def _session(guard: Any) -> requests.Session:
    import requests

    session = requests.Session()
    session.max_redirects = 5
    session.headers["Accept-Encoding"] = "identity"  # ranges are of the file itself
    session.mount("https://", guard)
    session.mount("http://", guard)
    return session


def _get(session: requests.Session, url: str, **options: Any) -> requests.Response:
    import requests

    try:
        return session.get(url, **options)
    except requests.RequestException as error:  # the guard has said all others in its own words
        raise NgbError(
            f"{shown(url)} leads nowhere ({type(error).__name__}); tell those who run that server."
        ) from None


def _probe(name: str, url: str, session: requests.Session) -> Place:
    """Follow redirects once, and learn the size."""
    answer = _get(session, url, headers={"Range": "bytes=0-0"}, stream=True)
    answer.close()
    span = re.fullmatch(r"bytes 0-0/(\d{1,15})", answer.headers.get("Content-Range", ""))
    if answer.status_code != 206 or span is None:
        raise NgbError(
            f"{shown(answer.url)} does not give parts of files (it answers {answer.status_code}), so it "
            "cannot be looked into from here; download it first."
        )
    return Place(name, answer.url, int(span[1]), session)


class _GaveUpError(BaseException):
    """No :class:`Exception`, so that remfile does not try again what was tried patiently."""

    def __init__(self, error: NgbError) -> None:
        self.error = error


class Ranges:
    """What remfile takes for a session: gives ranges of one file, counts bytes, and ends at a limit."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.n_bytes = 0

    def get(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Return a range, whole and of the right place, or give up."""
        first, last = map(int, headers["Range"].removeprefix("bytes=").split("-"))
        wanted = last - first + 1
        name = self.place.name
        try:
            if self.n_bytes + wanted > MOST_BYTES:
                raise NgbError(
                    f"{name} was looked into up to {MOST_BYTES // MIB} MB, which does not do; download it, "
                    "and inspect it then."
                )
            answer = _get(self.place.session, url, headers={"Range": headers["Range"]})
            self.n_bytes += len(answer.content)
            span = f"bytes {first}-{last}/{self.place.size}"
            right = answer.status_code == 206 and answer.headers.get("Content-Range") == span
            if not right or len(answer.content) != wanted:
                raise CorruptFileError(
                    f"{shown(url)} gives other bytes than it is asked for (it answers {answer.status_code}); "
                    "download the file instead."
                )
        except NgbError as error:
            raise _GaveUpError(error) from None
        return answer


class RemoteFile(io.RawIOBase):
    """A file on a server as h5py reads one. Heaps are checked as they come, see :mod:`.heaps`.

    Parameters
    ----------
    place : Place
    """

    def __init__(self, place: Place) -> None:
        import remfile

        self.place = place
        self.ranges = Ranges(place)
        self.position = 0
        self.pieces = remfile.File(
            place.url, _size=place.size, _use_session=False, _max_chunk_size=READ_AHEAD
        )
        self.pieces.session = self.ranges

    def readable(self) -> bool:
        """Report that it can be read, which is all."""
        return True

    def seekable(self) -> bool:
        """Report that any byte can be reached."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.place.size}[whence]
        self.position = base + offset
        return self.position

    def tell(self) -> int:
        """Return the byte that is next."""
        return self.position

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        view = memoryview(buffer).cast("B")
        data = self.bytes_at(self.position, len(view))
        self._check_heaps(self.position, data)
        view[: len(data)] = data
        self.position += len(data)
        return len(data)

    def bytes_at(self, start: int, n_bytes: int) -> bytes:
        """Return bytes from a place, fewer at the end of the file."""
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
            if size and not is_sound(self.bytes_at(place, size)):
                raise CorruptFileError(
                    f"{self.place.name} is damaged and cannot be read (its text heap at byte {place} is "
                    "broken); tell its owner."
                )
            found = data.find(SIGNATURE, found + 1)

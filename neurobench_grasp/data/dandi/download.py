"""Download one file into a partial file: resumed where it stopped, limited in size, and verified."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests
import urllib3

from neurobench_grasp.data.dandi.assets import Asset
from neurobench_grasp.data.dandi.digests import CHUNK, Digests
from neurobench_grasp.data.dandi.http import open_session
from neurobench_grasp.data.dandi.instances import shown
from neurobench_grasp.data.dandi.partial_file import Part
from neurobench_grasp.data.dandi.retry import Pace, RetryPolicy
from neurobench_grasp.errors import CorruptFileError, NgbError

Advance = Callable[[int], None]


class _BrokenOffError(Exception):
    """The connection ended before the file was complete."""


def download(
    instance: str,
    asset: Asset,
    part: Part,
    retry: RetryPolicy,
    advance: Advance = lambda n_bytes: None,
) -> str:
    """Download a file's remaining bytes into a partial file.

    Parameters
    ----------
    instance : str
        URL of the archive's API.
    asset : Asset
    part : Part
    retry : RetryPolicy
    advance : callable
        Called with the number of bytes gained, or lost (negative).

    Returns
    -------
    str
        SHA-256 of the bytes, which have been synced to disk.

    Raises
    ------
    NgbError
        If the download fails; received bytes are kept for the next attempt, unless the disk is full.
    CorruptFileError
        If the content differs from what the archive announces; nothing is kept.
    """
    continued = part.size > 0
    try:
        return _Download(instance, asset, part, retry, advance).run()
    except CorruptFileError:
        if not continued:
            raise
    return _Download(instance, asset, part, retry, advance).run()  # the existing part may have been damaged


class _Download:
    """State of one download."""

    def __init__(self, instance: str, asset: Asset, part: Part, retry: RetryPolicy, advance: Advance) -> None:
        self.instance = instance
        self.asset = asset
        self.part = part
        self.retry = retry
        self.advance = advance
        self.url = f"{instance}/assets/{asset.asset_id}/download/"

    def run(self) -> str:
        """Fetch the missing bytes, then compare the digests."""
        self.advance(self.part.size)
        if self.part.size > self.asset.size:
            self.forget()
        with Digests(self.asset.size) as digests:
            digests.read(self.part.path, self.part.size)
            self.fetch(digests)
        with self.disk():
            self.part.sync()
        sha256, etag = digests.result()
        if etag is not None:
            self.compare("dandi-etag", etag, self.asset.dandi_etag)
        if self.asset.sha256:
            self.compare("SHA-256", sha256, self.asset.sha256)
        return sha256

    def fetch(self, digests: Digests) -> None:
        """Request the rest until it is complete, also after broken connections.

        The number of tries is reset whenever a connection has brought a substantial amount.
        """
        failures = 0
        with open_session(self.instance, self.retry) as session:
            while self.part.size < self.asset.size:
                before = self.part.size
                try:
                    self.ask(session, digests)
                except _BrokenOffError as error:
                    failures = 0 if self.part.size >= before + CHUNK else failures + 1
                    if failures >= self.retry.tries:
                        raise NgbError(self.unfinished(str(error))) from None
                    self.retry.wait(failures)
                self.go_on()

    def ask(self, session: requests.Session, digests: Digests) -> None:
        """Send one request, and take as much of the rest as arrives."""
        headers = {"Accept-Encoding": "identity"}
        if self.part.size:
            headers["Range"] = f"bytes={self.part.size}-"
        try:
            response = session.get(self.url, headers=headers, stream=True)
        except requests.RequestException as error:  # all other errors are raised by the guard
            raise NgbError(
                f"The request to {shown(self.url)} failed ({type(error).__name__}); report it to the archive."
            ) from None
        with response:
            known = self.known_bytes(response)
            if self.part.size == 0 and self.is_stated(response) and digests.etag is not None:
                digests.without_etag()
            for data in self.pieces(response):
                self.go_on()
                new = data[known:]
                known -= len(data) - len(new)
                if new:
                    self.take(new, digests)
        if self.part.size < self.asset.size:
            raise _BrokenOffError("the connection was lost")

    def take(self, data: bytes, digests: Digests) -> None:
        """Append the next bytes."""
        if self.part.size + len(data) > self.asset.size:
            raise self.corrupt(f"is longer than the {self.asset.size} bytes announced")
        with self.disk():
            self.part.write(data)
        digests.update(data)
        self.advance(len(data))

    def known_bytes(self, response: requests.Response) -> int:
        """Check the headers of a response; return how many of its bytes are already in the part."""
        status, have = response.status_code, self.part.size
        if status == 404:
            raise NgbError(
                f"{self.asset.path} is no longer at {shown(self.url)}; fetch its dandiset again, or request "
                "another version."
            )
        first, total = 0, response.headers.get("Content-Length", "")
        if status == 206:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            first, total = (int(span[1]), span[2]) if span else (-1, "")
        if status not in (200, 206) or first not in (0, have):
            raise self.corrupt(f"cannot be resumed (the server answers {status})")
        if total.isdigit() and int(total) != self.asset.size:
            raise self.corrupt(f"has {int(total)} bytes instead of the announced {self.asset.size}")
        return have - first

    def is_stated(self, response: requests.Response) -> bool:
        """Return whether the store states the announced etag, and SHA-256 verifies the bytes."""
        return bool(self.asset.sha256) and response.headers.get("ETag") == f'"{self.asset.dandi_etag}"'

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """Yield the body as received, without waiting for whole chunks, so that nothing received is lost."""
        pace = Pace(self.retry)
        try:
            while data := response.raw.read1(CHUNK, decode_content=False):
                yield data
                if not pace.is_kept(len(data)):
                    raise _BrokenOffError(pace.problem)
        except urllib3.exceptions.TimeoutError:
            raise _BrokenOffError(f"no data arrived for {self.retry.read:g} s") from None
        except urllib3.exceptions.HTTPError:
            raise _BrokenOffError("the connection was lost") from None

    def go_on(self) -> None:
        """Raise if stopping was requested."""
        if self.retry.stop.is_set():
            raise NgbError(self.unfinished("it was stopped"))

    def unfinished(self, why: str) -> str:
        """Return a message that states the progress of the file."""
        done = f"{self.part.size / 1e6:.1f} of {self.asset.size / 1e6:.1f} MB"
        return (
            f"{self.asset.path} is not complete ({done}), because {why}; the same command resumes where it "
            "stopped."
        )

    def compare(self, kind: str, found: str, announced: str) -> None:
        """Raise if a digest differs."""
        if found != announced:
            raise self.corrupt(f"has the {kind} {found} instead of the announced {announced}")

    def corrupt(self, why: str) -> CorruptFileError:
        """Discard the received bytes; return the error."""
        self.forget()
        return CorruptFileError(
            f"{self.asset.path} {why}, so the download was discarded; run the command again, and if that "
            f"does not help, report it to {shown(self.instance)}."
        )

    def forget(self) -> None:
        """Discard the received bytes."""
        self.advance(-self.part.size)
        self.part.clear()

    @contextmanager
    def disk(self) -> Iterator[None]:
        """Report disk errors such as a full disk; the received bytes are deleted to free the space."""
        try:
            yield
        except OSError as error:
            self.forget()
            raise NgbError(
                f"{self.asset.path} ({self.asset.size / 1e6:.1f} MB) cannot be written to "
                f"{self.part.path.parent} ({error.strerror}), and was removed; free some "
                "space or set NGB_CACHE to a folder on another disk."
            ) from error

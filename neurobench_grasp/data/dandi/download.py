"""Download one file into an open part: resumed where it stopped, limited to its size, and checked."""

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
from neurobench_grasp.data.dandi.retry import Pace, Patience
from neurobench_grasp.errors import CorruptFileError, NgbError

Advance = Callable[[int], None]


class _BrokenOffError(Exception):
    """The connection ended before the file did."""


def download(
    instance: str,
    asset: Asset,
    part: Part,
    patience: Patience,
    advance: Advance = lambda n_bytes: None,
) -> str:
    """Bring a file's bytes into a part, after those that are there from an earlier time.

    Parameters
    ----------
    instance : str
        URL of the archive's API.
    asset : Asset
    part : Part
    patience : Patience
    advance : callable
        Told how many bytes were gained, or lost (negative).

    Returns
    -------
    str
        SHA-256 of the bytes, which are on disk now.

    Raises
    ------
    NgbError
        If they is not available; what came so far stays for the next time, unless the disk is full.
    CorruptFileError
        If they are not those that the archive announces; nothing stays.
    """
    continued = part.size > 0
    try:
        return _Download(instance, asset, part, patience, advance).run()
    except CorruptFileError:
        if not continued:
            raise
    return _Download(instance, asset, part, patience, advance).run()  # the old beginning may have been wrong


class _Download:
    """One file, from what is there to its end."""

    def __init__(self, instance: str, asset: Asset, part: Part, patience: Patience, advance: Advance) -> None:
        self.instance = instance
        self.asset = asset
        self.part = part
        self.patience = patience
        self.advance = advance
        self.url = f"{instance}/assets/{asset.asset_id}/download/"

    def run(self) -> str:
        """Fetch what is missing, then compare the digests."""
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
        """Ask for the rest until all is there, again after connections that break off.

        How often is counted again only when one has brought something worth it.
        """
        failures = 0
        with open_session(self.instance, self.patience) as session:
            while self.part.size < self.asset.size:
                before = self.part.size
                try:
                    self.ask(session, digests)
                except _BrokenOffError as error:
                    failures = 0 if self.part.size >= before + CHUNK else failures + 1
                    if failures >= self.patience.tries:
                        raise NgbError(self.unfinished(str(error))) from None
                    self.patience.wait(failures)
                self.go_on()

    def ask(self, session: requests.Session, digests: Digests) -> None:
        """Ask once, and take as much of the rest as comes."""
        headers = {"Accept-Encoding": "identity"}
        if self.part.size:
            headers["Range"] = f"bytes={self.part.size}-"
        try:
            response = session.get(self.url, headers=headers, stream=True)
        except requests.RequestException as error:  # the guard has said all others in its own words
            raise NgbError(
                f"{shown(self.url)} leads nowhere ({type(error).__name__}); tell those who run that archive."
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
            raise _BrokenOffError("the connection breaks off")

    def take(self, data: bytes, digests: Digests) -> None:
        """Append the next bytes."""
        if self.part.size + len(data) > self.asset.size:
            raise self.corrupt(f"is longer than the {self.asset.size} bytes that are announced")
        with self.disk():
            self.part.write(data)
        digests.update(data)
        self.advance(len(data))

    def known_bytes(self, response: requests.Response) -> int:
        """Look at what an answer promises; gives how many bytes come that are in the part already."""
        status, have = response.status_code, self.part.size
        if status == 404:
            raise NgbError(
                f"{self.asset.path} is not at {shown(self.url)} any more; fetch its dandiset again, or ask "
                "for another version."
            )
        first, total = 0, response.headers.get("Content-Length", "")
        if status == 206:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            first, total = (int(span[1]), span[2]) if span else (-1, "")
        if status not in (200, 206) or first not in (0, have):
            raise self.corrupt(f"cannot be continued (the server answers {status})")
        if total.isdigit() and int(total) != self.asset.size:
            raise self.corrupt(f"has {int(total)} bytes where {self.asset.size} are announced")
        return have - first

    def is_stated(self, response: requests.Response) -> bool:
        """Whether the store states the announced etag itself, and SHA-256 will tell that its bytes came."""
        return bool(self.asset.sha256) and response.headers.get("ETag") == f'"{self.asset.dandi_etag}"'

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """Return the body as it was sent, without waiting for whole chunks: what has come is kept."""
        pace = Pace(self.patience)
        try:
            while data := response.raw.read1(CHUNK, decode_content=False):
                yield data
                if not pace.is_kept(len(data)):
                    raise _BrokenOffError(pace.words)
        except urllib3.exceptions.TimeoutError:
            raise _BrokenOffError(f"nothing came for {self.patience.read:g} s") from None
        except urllib3.exceptions.HTTPError:
            raise _BrokenOffError("the connection breaks off") from None

    def go_on(self) -> None:
        """Stop here if that was asked for."""
        if self.patience.stop.is_set():
            raise NgbError(self.unfinished("it was stopped"))

    def unfinished(self, why: str) -> str:
        """Report how far the file came."""
        done = f"{self.part.size / 1e6:.1f} of {self.asset.size / 1e6:.1f} MB"
        return (
            f"{self.asset.path} is not complete ({done}), because {why}; the same command continues where it "
            "stopped."
        )

    def compare(self, kind: str, found: str, announced: str) -> None:
        """Refuse a file of another content."""
        if found != announced:
            raise self.corrupt(f"has the {kind} {found} where {announced} is announced")

    def corrupt(self, why: str) -> CorruptFileError:
        """Throw away what came; gives the error."""
        self.forget()
        return CorruptFileError(
            f"{self.asset.path} {why}, so what came was thrown away; run the command again, and if that does "
            f"not help, tell those who run {shown(self.instance)}."
        )

    def forget(self) -> None:
        """Throw away what came."""
        self.advance(-self.part.size)
        self.part.clear()

    @contextmanager
    def disk(self) -> Iterator[None]:
        """Report that a disk is full, or what else is wrong with it; what came is given up for the space."""
        try:
            yield
        except OSError as error:
            self.forget()
            raise NgbError(
                f"{self.asset.path} ({self.asset.size / 1e6:.1f} MB) cannot be written to "
                f"{self.part.path.parent} ({error.strerror}), and nothing of it was left there; free some "
                "space or let NGB_CACHE name a folder on another disk."
            ) from error

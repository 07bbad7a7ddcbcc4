"""A DANDI archive on 127.0.0.1: its API on one port, its store of files on another.

Written from the published behaviour of the archive's API; the unmodified package dandi is driven against it
in ``test_dandi_server.py``.
"""

import hashlib
import json
import re
import socket
import struct
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SET, PUBLISHED = "000128", "0.220113.0400"
SIGNATURE = "X-Amz-Signature=5ecre7"
WHEN = "2024-05-06T07:08:09.000000Z"


def etag_of(data, part=64 << 20):
    """DANDI's etag, written plainly."""
    parts = [hashlib.md5(data[i : i + part]).digest() for i in range(0, len(data), part)]
    return f"{hashlib.md5(b''.join(parts)).hexdigest()}-{len(parts)}"


@dataclass
class File:
    """An asset; size and digests are what the API says, ``header`` is the etag that the store says, true or not."""

    path: str
    data: bytes
    size: int = None
    etag: str = None
    sha256: str = None
    zarr: bool = False
    header: str = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self):
        self.size = len(self.data) if self.size is None else self.size
        self.header = etag_of(self.data) if self.header is None else self.header
        self.etag = self.header if self.etag is None else self.etag
        self.sha256 = hashlib.sha256(self.data).hexdigest() if self.sha256 is None else self.sha256


@dataclass
class Fault:
    """What goes wrong with one request, or with all.

    ``kind``: status (``value``: code), redirect (URL), body (bytes instead of JSON), stall, reset and end
    (after that many bytes), corrupt (the byte at that place), whole (Range is ignored), length (false
    Content-Length), endless (chunks without end), drip (that many bytes every 20 ms).
    """

    kind: str
    value: object = 0
    times: float = 1


class Archive:
    """The two servers and what they hold."""

    def __init__(self, token=None, page_size=2):
        self.token = token
        self.page_size = page_size
        self.versions = {}  # dandiset → version → files
        self.api_faults, self.blob_faults = [], []
        self.seen = []  # (port, method, path, headers)
        self.n_sent = 0  # bytes of files
        self.over = threading.Event()
        self.blobs = self._start(_BlobHandler)
        self.main = self._start(_ApiHandler)

    def _start(self, handler):
        server = _Server(("127.0.0.1", 0), handler)
        server.archive = self
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def close(self):
        self.over.set()
        for server in (self.main, self.blobs):
            server.shutdown()
            server.server_close()

    @property
    def root(self):
        return f"http://127.0.0.1:{self.main.server_port}"

    @property
    def api(self):
        return f"{self.root}/api"

    @property
    def blob_root(self):
        return f"http://127.0.0.1:{self.blobs.server_port}"

    def add(self, dandiset, version, *files):
        self.versions.setdefault(dandiset, {"draft": []}).setdefault(version, []).extend(files)
        return files[0] if len(files) == 1 else files

    def file(self, asset_id):
        every = [f for versions in self.versions.values() for files in versions.values() for f in files]
        return next((f for f in every if f.id == asset_id), None)

    def count(self, port=None):
        return sum(port in (None, seen[0]) for seen in self.seen)

    def ranges(self):
        """The ranges that were asked of the store."""
        return [headers.get("Range") for port, _, _, headers in self.seen if port == "blob"]


@contextmanager
def archive(**options):
    made = Archive(**options)
    try:
        yield made
    finally:
        made.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_):
        """Report nothing of clients that have gone."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    port = ""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        archive = self.server.archive
        archive.seen.append((self.port, self.command, self.path, dict(self.headers)))
        try:
            self.answer(archive, self.fault(archive))
        except (ConnectionError, BrokenPipeError):
            self.close_connection = True

    def fault(self, archive):
        faults = archive.api_faults if self.port == "api" else archive.blob_faults
        if not faults:
            return None
        faults[0].times -= 1
        return faults.pop(0) if faults[0].times <= 0 else faults[0]

    def give(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def common(self, archive, fault):
        """Do what goes wrong on both ports alike."""
        if fault is None:
            return False
        if fault.kind == "status":
            self.give(fault.value, b"no", Retry_After=0)
        elif fault.kind == "redirect":
            self.give(302, Location=fault.value)
        elif fault.kind == "stall" and not fault.value:
            archive.over.wait(5)
            self.close_connection = True
        else:
            return False
        return True

    def drip(self, body, n_bytes):
        for i in range(0, len(body), n_bytes):
            if self.server.archive.over.wait(0.02):
                break
            self.wfile.write(body[i : i + n_bytes])

    def reset(self):
        """End the connection as a crash would, when what was sent has arrived."""
        self.wfile.flush()
        time.sleep(0.1)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


class _ApiHandler(_Handler):
    port = "api"

    def json(self, data, status=200):
        self.give(status, json.dumps(data).encode(), Content_Type="application/json")

    def answer(self, archive, fault):
        if self.common(archive, fault):
            return
        if fault is not None and fault.kind == "drip":
            self.give(200, **{"Content-Length": 1_000_000})
            self.drip(b" " * 1_000_000, fault.value)
            return
        if fault is not None and fault.kind == "body":
            self.give(200, fault.value)
            return
        url = urlsplit(self.path)
        if url.path in ("/server-info", "/api/info/"):
            self.json(_info(archive))
            return
        if archive.token and self.headers.get("Authorization") != f"token {archive.token}":
            self.json({"detail": "Authentication credentials were not provided."}, 401)
            return
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        for pattern, make in _ROUTES:
            if match := re.fullmatch(f"/api{pattern}", url.path):
                data = make(archive, query, self.path, *match.groups())
                break
        else:
            data = None
        if isinstance(data, str):
            self.give(302, Location=data)
        else:
            self.json({"detail": "Not found."} if data is None else data, 404 if data is None else 200)


class _BlobHandler(_Handler):
    port = "blob"

    def answer(self, archive, fault):
        if self.common(archive, fault):
            return
        url = urlsplit(self.path)
        file = archive.file(url.path.rpartition("/")[2])
        if file is None or url.query != SIGNATURE:
            self.give(403)
            return
        kind, value = (fault.kind, fault.value) if fault else ("", 0)
        data = file.data
        if kind == "corrupt":
            data = data[:value] + bytes([data[value] ^ 1]) + data[value + 1 :]
        if kind == "endless":
            self.endless(data)
            return
        span = None if kind == "whole" else re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(span[1]) if span else 0
        last = min(int(span[2] or len(data) - 1), len(data) - 1) if span else len(data) - 1
        if span and first >= len(data):
            self.give(416, Content_Range=f"bytes */{len(data)}")
            return
        body = data[first : last + 1]
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(value if kind == "length" else len(body)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{file.header}"')
        if span:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if kind in ("reset", "end", "stall"):
            self.wfile.write(body[:value])
            if kind == "stall":
                archive.over.wait(5)
            if kind == "reset":
                self.reset()
            self.close_connection = True
            return
        archive.n_sent += len(body)
        if kind == "drip":
            self.drip(body, value)
        else:
            self.wfile.write(body)

    def endless(self, data):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not self.server.archive.over.is_set():
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def _info(archive):
    return {
        "version": "0.3.100",
        "schema_version": "0.6.10",
        "cli-minimal-version": "0.60.0",
        "cli-bad-versions": [],
        "services": {"api": {"url": archive.api}},
    }


def _version(archive, dandiset, version):
    files = archive.versions[dandiset][version]
    return {
        "version": version,
        "name": f"Set {dandiset}",
        "asset_count": len(files),
        "size": sum(f.size for f in files),
        "created": WHEN,
        "modified": WHEN,
        "status": "Valid" if version == "draft" else "Published",
    }


def _dandiset(archive, query, path, dandiset):
    versions = archive.versions.get(dandiset)
    if versions is None:
        return None
    published = sorted(v for v in versions if v != "draft")
    return {
        "identifier": dandiset,
        "created": WHEN,
        "modified": WHEN,
        "contact_person": "Doe, Jane",
        "embargo_status": "EMBARGOED" if archive.token else "OPEN",
        "most_recent_published_version": _version(archive, dandiset, published[-1]) if published else None,
        "draft_version": _version(archive, dandiset, "draft"),
    }


def _page(archive, query, path, rows):
    size = min(int(query.get("page_size", archive.page_size)), archive.page_size)
    number = int(query.get("page", 1))
    more = number * size < len(rows)
    base = re.sub(r"[?&]page=\d+", "", path)
    link = f"{archive.root}{base}{'&' if '?' in base else '?'}page={number + 1}"
    return {
        "count": len(rows),
        "next": link if more else None,
        "previous": None,
        "results": rows[(number - 1) * size : number * size],
    }


def _versions(archive, query, path, dandiset):
    if dandiset not in archive.versions:
        return None
    return _page(archive, query, path, [_version(archive, dandiset, v) for v in archive.versions[dandiset]])


def _version_info(archive, query, path, dandiset, version):
    if version not in archive.versions.get(dandiset, {}):
        return None
    errors = {"asset_validation_errors": [], "version_validation_errors": []}
    return {**_version(archive, dandiset, version), **errors}


def _version_metadata(archive, query, path, dandiset, version):
    if version not in archive.versions.get(dandiset, {}):
        return None
    return {
        "name": f"Set {dandiset}",
        "license": ["spdx:CC-BY-4.0"],
        "citation": f"Doe, Jane (2024) Set {dandiset}",
        "version": version,
    }


def _row(file):
    kind = {"zarr": str(uuid.uuid4())} if file.zarr else {"blob": str(uuid.uuid4())}
    return {
        "asset_id": file.id,
        "path": file.path,
        "size": file.size,
        "created": WHEN,
        "modified": WHEN,
        "blob": None,
        "zarr": None,
        **kind,
    }


def _assets(archive, query, path, dandiset, version):
    if version not in archive.versions.get(dandiset, {}):
        return None
    files = archive.versions[dandiset][version]
    files = [f for f in files if f.path.startswith(query.get("path", ""))]
    if glob := query.get("glob"):  # as the archive: only *, which matches / too; case is ignored
        pattern = f"^{re.escape(glob)}$".replace("\\*", ".*")
        files = [f for f in files if re.search(pattern, f.path, re.IGNORECASE)]
    order = {"path": lambda f: f.path}.get(query.get("order"))
    return _page(archive, query, path, [_row(f) for f in (sorted(files, key=order) if order else files)])


def _asset_metadata(archive, query, path, *ids):
    file = archive.file(ids[-1])
    if file is None:
        return None
    digest = {"dandi:dandi-etag": file.etag}
    if file.sha256:
        digest["dandi:sha2-256"] = file.sha256
    return {
        "path": file.path,
        "contentSize": file.size,
        "contentUrl": [f"{archive.api}/assets/{file.id}/download/", f"{archive.blob_root}/blobs/{file.id}"],
        "digest": digest,
        "blobDateModified": WHEN,
    }


def _asset_info(archive, query, path, *ids):
    file = archive.file(ids[-1])
    return None if file is None else {**_row(file), "metadata": _asset_metadata(archive, query, path, *ids)}


def _download(archive, query, path, *ids):
    file = archive.file(ids[-1])
    return None if file is None else f"{archive.blob_root}/blobs/{file.id}?{SIGNATURE}"


_SET, _ID = r"/dandisets/(\d{6})", r"([0-9a-f-]{36})"
_ROUTES = [
    (r"/auth/token/?", lambda archive, query, path: {"token": archive.token}),
    (rf"{_SET}/", _dandiset),
    (rf"{_SET}/versions/", _versions),
    (rf"{_SET}/versions/([\w.]+)/info/", _version_info),
    (rf"{_SET}/versions/([\w.]+)/", _version_metadata),
    (rf"{_SET}/versions/([\w.]+)/assets/", _assets),
    (rf"{_SET}/versions/([\w.]+)/assets/{_ID}/", _asset_metadata),
    (rf"{_SET}/versions/([\w.]+)/assets/{_ID}/info/", _asset_info),
    (rf"{_SET}/versions/([\w.]+)/assets/{_ID}/download/", _download),
    (rf"/assets/{_ID}/", _asset_metadata),
    (rf"/assets/{_ID}/info/", _asset_info),
    (rf"/assets/{_ID}/download/", _download),
]

"""An archive with a few small files, a separate cache, and no way to any other machine."""

import random
import socket

import pytest
from dandi_server import PUBLISHED, SET, File, archive

from neurobench_grasp.data.dandi.retry import RetryPolicy


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Keep the user's cache, tokens and network out of it."""
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    for name in ("NGB_DANDI_TOKEN", "NGB_DANDI_INSTANCE", "DANDI_API_KEY", "DANDI_INSTANCE"):
        monkeypatch.delenv(name, raising=False)
    connect = socket.socket.connect

    def local(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError(f"a connection to {address} was tried")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)


@pytest.fixture
def server():
    with archive() as made:
        for i, name in enumerate(("sub-A/sub-A_ses-1.nwb", "sub-A/sub-A_ses-2.nwb", "sub-B/sub-B_ses-1.nwb")):
            made.add(SET, PUBLISHED, File(name, random.Random(i).randbytes(200_000 + i)))
        made.add(SET, PUBLISHED, File("dandiset.txt", b"text"), File("sub-B/big.zarr", b"zarr", zarr=True))
        made.add(SET, "draft", File("sub-A/sub-A_ses-1.nwb", b"draft" * 1000))
        yield made


@pytest.fixture
def quick():
    """RetryPolicy of fractions of a second."""
    return RetryPolicy(connect=1.0, read=0.3, tries=3, pause=0.01, longest_pause=0.05)

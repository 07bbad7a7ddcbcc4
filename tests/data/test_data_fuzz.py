"""Damaged copies of a valid file: an error, a warning or the same data, every time."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from data_sessions import write_small

CHILD = """
import faulthandler, json, resource, sys, warnings
from pathlib import Path
faulthandler.enable()
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
warnings.simplefilter("error")
from neurobench_grasp.data import quarantine, session_digest
from neurobench_grasp.errors import NgbError

quarantine.narrow = lambda memory, cpu: None  # one process for all files
reader = quarantine.Reader(print)

def outcome(path):
    for task in ("inspection", "findings"):
        try:
            reader.do_read(task, str(path), None)
        except NgbError:
            pass
    try:
        session = reader.do_read("session", str(path), None)
    except NgbError as error:
        message = str(error)
        return ["error", type(error).__name__, "\\n" not in message and path.name in message and message]
    return ["read", session_digest(session), session.sha256, session.layout, list(session.notes)]

for path in sorted(Path(sys.argv[1]).glob("*.nwb")):
    try:
        print(json.dumps([path.name, *outcome(path)]), flush=True)
    except BaseException as escaped:
        print(json.dumps([path.name, "escaped", repr(escaped)]), flush=True)
"""


def damaged(content, seed):
    """One damaged copy: bytes altered in some places, a block zeroed or moved, or the end cut off."""
    rng = np.random.default_rng(seed)
    data = bytearray(content)
    kind = rng.choice(["bytes", "burst", "bit", "zeros", "moved", "cut"], p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
    if kind == "cut":
        return bytes(data[: rng.integers(1, len(data))])
    for _ in range(rng.choice([1, 4, 16, 64])):
        place = int(rng.integers(0, len(data)))
        if kind == "bit":
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == "moved":
            source = int(rng.integers(0, len(data)))
            block = data[source : source + 256]
            data[place : place + len(block)] = block
        else:
            n = min({"bytes": 1, "burst": 16, "zeros": 512}[kind], len(data) - place)
            data[place : place + n] = bytes(n) if kind == "zeros" else rng.bytes(n)
    return bytes(data[: len(content)])


@pytest.mark.parametrize("n_copies", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_damage_never_passes_silently(tmp_path, n_copies):
    original = tmp_path / "original" / "session.nwb"
    original.parent.mkdir()
    session = write_small(original)
    content = original.read_bytes()
    copies = tmp_path / "copies"
    copies.mkdir()
    for seed in range(n_copies):
        (copies / f"{seed:03}.nwb").write_bytes(damaged(content, seed))
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(copies)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ,
    )
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""
    outcomes = [json.loads(line) for line in child.stdout.splitlines()]
    assert len(outcomes) == n_copies
    read = [o for o in outcomes if o[1] == "read"]
    refused = [o for o in outcomes if o[1] == "error"]
    assert len(read) + len(refused) == n_copies, [o for o in outcomes if o[1] == "escaped"]
    assert all(o[3] for o in refused), "every refusal is one sentence that names the file"
    for name, _, digest, stated, layout, notes in read:
        same = digest == stated == session.sha256 and layout == session.layout
        assert same or notes, f"{name} was read with other data and without a word"
    assert len(read) > n_copies / 20 and len(refused) > n_copies / 4

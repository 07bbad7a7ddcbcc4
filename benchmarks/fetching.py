"""Download speed of a file of DANDI, including digests, disk and cache, compared with ``curl``.

    python benchmarks/fetching.py [--pairs 5] [--megabytes 1000] [--json]

One file from an archive on 127.0.0.1, in a subprocess: by ``fetch_files`` into an empty cache, which
queries the archive, downloads, compares SHA-256 and etag and waits until all is on disk; and by curl from
the same address to the same disk, which checks nothing and does not wait. Medians over pairs that alternate
in one run.

    ratio       throughput of ``fetch_files`` over that of curl
    with_sync   the same, if curl's file is synced to disk, too
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from neurobench_grasp.data.dandi import fetch_files

SERVER = Path(__file__).resolve().parents[1] / "tests" / "dandi"
SERVE = """
import os, sys
from dandi_server import PUBLISHED, SET, File, archive

with archive() as server:
    file = server.add(SET, PUBLISHED, File("a.nwb", os.urandom(int(sys.argv[1]))))
    print(server.api, SET, file.id, flush=True)
    sys.stdin.read()
"""


@contextmanager
def serving(n_bytes: int) -> Iterator[tuple[str, str, str]]:
    command = [sys.executable, "-c", SERVE, str(n_bytes)]
    environment = {**os.environ, "PYTHONPATH": str(SERVER)}
    with subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        api, dandiset, asset = server.stdout.readline().split()
        yield api, dandiset, asset
        server.stdin.close()


def ours(folder: Path, api: str, dandiset: str) -> float:
    os.environ["NGB_CACHE"] = str(folder / "cache")
    begin = time.perf_counter()
    fetch_files(f"dandi:{dandiset}/a.nwb", instance=api)
    passed = time.perf_counter() - begin
    shutil.rmtree(folder / "cache")
    return passed


def theirs(folder: Path, api: str, asset: str) -> tuple[float, float]:
    file = folder / "curl.nwb"
    begin = time.perf_counter()
    subprocess.run(["curl", "-sSfL", "-o", str(file), f"{api}/assets/{asset}/download/"], check=True)
    passed = time.perf_counter() - begin
    with file.open("ab") as written:
        os.fsync(written.fileno())
    synced = time.perf_counter() - begin
    file.unlink()
    return passed, synced


def measure(megabytes: int, pairs: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name, serving(megabytes * 10**6) as (api, dandiset, asset):
        folder = Path(name)
        runs = [(ours(folder, api, dandiset), *theirs(folder, api, asset)) for _ in range(pairs + 1)][1:]
    fetched, plain, synced = zip(*runs, strict=True)
    return {
        "fetch_mb_per_s": round(megabytes / statistics.median(fetched), 1),
        "curl_mb_per_s": round(megabytes / statistics.median(plain), 1),
        "ratio": round(statistics.median(p / f for f, p in zip(fetched, plain, strict=True)), 3),
        "with_sync": round(statistics.median(s / f for f, s in zip(fetched, synced, strict=True)), 3),
        "megabytes": megabytes,
        "pairs": pairs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.megabytes, options.pairs)
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        Console().print(result)


if __name__ == "__main__":
    main()

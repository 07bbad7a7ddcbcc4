"""Diagnose the installation and the machine: each part is examined separately, none raises."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurobench_grasp.cache import cache_folder
from neurobench_grasp.plugins import load_registry, reason_of
from neurobench_grasp.requirements import needs, unmet
from neurobench_grasp.threads import usable_cores

CORE = "neurobench-grasp"
OK, MISSING, PROBLEM = "ok", "missing", "problem"
EXTRAS = {
    "control": "to train and score the controllers that are included",
    "gpu": "to train controllers on a GPU",
    "models": "for the reference models",
    "decoders": "for the Kalman filter",
    "dandi": "to fetch from the DANDI archive",
    "stream": "to inspect files of the archive without downloading them",
}
"""Optional extras of the installation, and their purpose."""
GIB = 1 << 30
MEMORY, DISK = 2 * GIB, GIB
"""Bytes that scoring the built-in dataset needs, in memory and on disk."""
TIMEOUT = 7.0  # s for a subprocess
LATER = "run `ngb doctor` again when this machine is less busy"
SIZE_TIME = 1.0  # s for summing the sizes of a folder's files

_DRAW = """
from neurobench_grasp.bodies.myohand import build_myohand
from neurobench_grasp.bodies.render import drawing_backend
hand = build_myohand()
picture = hand.painter(32, 32).paint(0 * hand.neutral, (1.0, 0.5, 0.5))
print("a white picture" if picture.std() == 0 else drawing_backend())
"""
_TORCH = """
import torch
print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else "")
"""


@dataclass(frozen=True)
class Finding:
    """Result of one probe.

    Parameters
    ----------
    item, found : str
    status : str
        ``ok``, ``missing`` or ``problem``.
    advice : str
        What to do; empty if there is nothing to do.
    needed : bool
        Whether ``ngb score`` on the built-in dataset needs it.
    """

    item: str
    found: str
    status: str = OK
    advice: str = ""
    needed: bool = False


Probe = Callable[[], Iterator[Finding]]


def examine() -> list[Finding]:
    """Run all probes; a probe that fails is itself a finding, never an error."""
    with ThreadPoolExecutor(len(PROBES)) as pool:  # some wait for subprocesses
        return [finding for found in pool.map(_run_probe, PROBES, PROBES.values()) for finding in found]


def _run_probe(item: str, probe: Probe) -> list[Finding]:
    found: list[Finding] = []
    try:
        for finding in probe():
            found.append(finding)
    except (Exception, SystemExit) as error:
        needed = item in NEEDED
        found.append(Finding(item, f"cannot be examined: {reason_of(error)}", PROBLEM, needed=needed))
    return found


def _python() -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet

    wanted = importlib.metadata.metadata(CORE)["Requires-Python"] or ""
    fits = SpecifierSet(wanted).contains(platform.python_version(), prereleases=True)
    advice = "" if fits else f"install into an environment with Python {wanted}"
    text = f"{platform.python_version()} in {_short(Path(sys.prefix))}"
    yield Finding("ngb", importlib.metadata.version(CORE), needed=True)
    yield Finding("Python", text, OK if fits else PROBLEM, advice, needed=True)


def _packages() -> Iterator[Finding]:
    """Compare each required package with what is installed."""
    wanted = needs(importlib.metadata.requires(CORE))
    wrong = dict(unmet(wanted))
    if not wrong:
        yield Finding("packages", f"{len(wanted)} required, all of a suitable version", needed=True)
    for requirement, there in wrong.items():
        what = f"{there} instead of {requirement.specifier}" if there else "not installed"
        status = PROBLEM if there else MISSING
        yield Finding(requirement.name, what, status, f"pip install '{requirement}'", needed=True)


def _extras() -> Iterator[Finding]:
    complete = []
    for extra, purpose in EXTRAS.items():
        lacking = [r.name for r, _ in unmet(needs(importlib.metadata.requires(CORE), extra))]
        if lacking:
            names = ", ".join(name.removeprefix(f"{CORE}-") for name in lacking)
            yield Finding(
                f"[{extra}]", f"without {names}", MISSING, f"pip install '{CORE}[{extra}]' {purpose}"
            )
        else:
            complete.append(f"[{extra}]")
    if complete:
        yield Finding("extras", ", ".join(complete))


def _plugins() -> Iterator[Finding]:
    registry = load_registry()
    counts = Counter(p.status for p in registry.plugins())
    names = [p.spec.name for p in registry.models()]
    yield Finding(
        "models",
        ", ".join(names) or "none",
        OK if names else MISSING,
        "" if names else f"pip install '{CORE}[models]', or write one: `ngb new model`",
        needed=True,
    )
    yield Finding(
        "plugins", f"{counts['ok']} ok" + (f", {counts['disabled']} disabled" * bool(counts["disabled"]))
    )
    for plugin in registry.plugins():
        if plugin.status in ("broken", "clash"):
            who = f"{plugin.status}, {plugin.distribution} {plugin.version}: {plugin.reason}"
            advice = f"repair it, or leave it out: NGB_DISABLE_PLUGINS={plugin.name}"
            yield Finding(f"plugin {plugin.name}", who, PROBLEM, advice)


def _cache() -> Iterator[Finding]:
    """Report the cache folder, whether it is writable, its size and the free space."""
    folder = cache_folder()
    advice = "set NGB_CACHE to a writable folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"probe")
    except OSError as error:
        yield Finding("cache", f"{_short(folder)}: {error.strerror}", PROBLEM, advice, needed=True)
        return
    free = shutil.disk_usage(folder).free
    text = f"{_short(folder)}: {_size(folder)}, {free / GIB:.1f} GiB free"
    if free < DISK:
        yield Finding("cache", text, PROBLEM, "free some space, or set NGB_CACHE", needed=True)
    else:
        yield Finding("cache", text, needed=True)


def _size(folder: Path) -> str:
    """Return a folder's size as text; counting stops after one second."""
    end, size = time.monotonic() + SIZE_TIME, 0
    for place, _, names in os.walk(folder):
        size += sum(os.lstat(os.path.join(place, name)).st_size for name in names)
        if time.monotonic() > end:
            return f"more than {size / GIB:.1f} GiB"
    return f"{size / GIB:.1f} GiB" if size > GIB / 10 else f"{size / (1 << 20):.0f} MiB"


def _short(path: Path) -> str:
    """Shorten the home folder in a path to ``~``."""
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)


def _dataset() -> Iterator[Finding]:
    from neurobench_grasp.cache import CachedDataset
    from neurobench_grasp.demo import DEMO_SHA256

    files = CachedDataset("demo", DEMO_SHA256).files()
    if files:
        yield Finding("dataset demo", f"{len(files)} sessions")
    else:
        yield Finding("dataset demo", "not made yet", MISSING, "`ngb data make`, or the first score makes it")


def _checkpoints() -> Iterator[Finding]:
    from neurobench_grasp.controllers.checkpoints import CHECKPOINTS, NetworkCard, own_networks
    from neurobench_grasp.errors import NgbError
    from neurobench_grasp.resources import resource

    found: Counter[str] = Counter()
    for path in (*resource(CHECKPOINTS).glob("*/*.json"), *own_networks().glob("*/*.json")):
        try:
            card = NetworkCard.read(path)
        except NgbError as error:
            yield Finding("network", f"{_short(path)}: {error}", PROBLEM, "train it again, or remove it")
            continue
        found[str(card.dataset.get("id"))] += 1
    text = ", ".join(f"{n} for {dataset}" for dataset, n in sorted(found.items()))
    status, advice = (OK, "") if found else (MISSING, "`ngb train`")
    yield Finding("trained networks", text or "none", status, advice)


def _rendering() -> Iterator[Finding]:
    """Draw one small picture, in a subprocess, since OpenGL can crash."""
    advice = "for pictures, on Debian and Ubuntu: apt-get install libegl1 libgl1-mesa-dri (or libosmesa6)"
    code, output = _run_separately(_DRAW)
    if code == 0 and output in ("egl", "osmesa", "cgl", "glfw"):
        yield Finding("rendering", f"OpenGL through {output}")
        return
    if code is None:
        yield Finding("rendering", output, PROBLEM, LATER)
        return
    libraries = {"libEGL": find_library("EGL"), "libOSMesa": find_library("OSMesa")}
    absent = [name for name, place in libraries.items() if not place]
    if "No OpenGL" in output and absent:
        yield Finding("rendering", f"no {' and no '.join(absent)}", MISSING, advice)
    else:
        yield Finding("rendering", f"a picture fails: {output or f'exit code {code}'}", PROBLEM, advice)


def _video() -> Iterator[Finding]:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        place = get_ffmpeg_exe()
        subprocess.run([place, "-version"], capture_output=True, check=True, timeout=TIMEOUT)
    except (ImportError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        advice = "pip install --force-reinstall imageio-ffmpeg; .gif files work without"
        yield Finding("video", f"no ffmpeg: {reason_of(error)}", MISSING, advice)
    else:
        yield Finding("video", f"ffmpeg {Path(place).name}")


def _threads() -> Iterator[Finding]:
    """Compare threads of linear algebra with cores: more threads than cores slow everything down."""
    import numpy  # noqa: F401 -- so that its library is loaded
    import threadpoolctl

    cores = usable_cores()
    pools = threadpoolctl.threadpool_info()
    text = ", ".join(dict.fromkeys(f"{p['internal_api']} {p['num_threads']}" for p in pools)) or "none found"
    most = max((p["num_threads"] for p in pools), default=1)
    advice = f"set OMP_NUM_THREADS={cores} and OPENBLAS_NUM_THREADS={cores}" if most > cores else ""
    yield Finding("threads", f"{cores} usable cores; {text}", PROBLEM if advice else OK, advice)


def _memory() -> Iterator[Finding]:
    rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    found = {row[0]: int(row[1]) * 1024 for row in rows}
    free, total = found["MemAvailable:"], found["MemTotal:"]
    text = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if free < MEMORY:
        yield Finding("memory", text, PROBLEM, f"close other programs: scoring takes {MEMORY / GIB:.0f} GiB")
    else:
        yield Finding("memory", text)


def _gpu() -> Iterator[Finding]:
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("GPU", "no torch to use one with; none is needed")
        return
    code, output = _run_separately(_TORCH)
    if code == 0:
        yield Finding("GPU", f"{output or 'none'} (torch {version}); none is needed")
    elif code is None:
        yield Finding("GPU", f"torch {version}: {output}", PROBLEM, LATER)
    else:
        advice = f"pip install --force-reinstall torch=={version}"
        yield Finding("GPU", f"torch {version} cannot be loaded: {output}", PROBLEM, advice)


def _run_separately(code: str) -> tuple[int | None, str]:
    """Run code in a subprocess; return its exit code and its last line of output."""
    try:
        run = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, errors="replace",
            timeout=TIMEOUT, stdin=subprocess.DEVNULL, cwd=tempfile.gettempdir(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None, f"no answer in {TIMEOUT:.0f} s"
    if run.returncode < 0:
        return run.returncode, f"it crashed (signal {-run.returncode})"
    lines = (run.stderr if run.returncode else run.stdout).strip().splitlines()
    return run.returncode, lines[-1] if lines else ""


PROBES: dict[str, Probe] = {
    "Python": _python,
    "packages": _packages,
    "extras": _extras,
    "plugins": _plugins,
    "cache": _cache,
    "dataset demo": _dataset,
    "trained networks": _checkpoints,
    "rendering": _rendering,
    "video": _video,
    "threads": _threads,
    "memory": _memory,
    "GPU": _gpu,
}
NEEDED = ("Python", "packages", "plugins", "cache")
"""Probes whose failure means that scoring may fail, too."""


def as_json(findings: list[Finding]) -> list[dict[str, Any]]:
    """Return findings as JSON values."""
    return [dict(vars(finding)) for finding in findings]

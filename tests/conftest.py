"""Fixtures that several test files share."""

import os
import sys
from pathlib import Path

import pytest
from counts import FULL
from hypothesis import settings

# The tests start hundreds of processes; with the package compiled, each of them begins in a third of the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# As many processes as cores run at once: more threads than one in each would only wait for each other.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

settings.register_profile("fast", max_examples=10, deadline=None)
settings.register_profile(FULL, max_examples=50, deadline=None)
settings.load_profile("fast")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
_real_files: set[str] = set()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings beside the checkout; tests that need it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the folder of real recordings {SHARED}")
    return SHARED


@pytest.fixture
def real_file(shared_data: Path):
    """Path of one real or foreign file by its relative name; counts what was tested."""

    def path(name: str) -> Path:
        _real_files.add(name)
        return shared_data / name

    return path


@pytest.fixture(autouse=True)
def sandbox(request, monkeypatch):
    """Read files in this process, which takes a tenth of the time; not in tests marked ``sandboxed``."""
    if request.node.get_closest_marker("sandboxed") is None:
        from neurobench_grasp.data import quarantine

        read = quarantine._read
        here = lambda task, kind, path, layout, *_: read(task, kind, path, layout, False, None, None)  # noqa: E731
        monkeypatch.setattr(quarantine, "_read", here)


def pytest_collection_modifyitems(items):
    """Begin with the files that take minutes, so that no process is left alone with one at the end."""
    longest = (
        "test_evening.py",
        "test_slurm.py",
        "test_claims_nulls.py",
        "test_power.py",
        "test_claims_effects.py",
    )
    items.sort(key=lambda item: item.path.name not in longest)


def pytest_sessionfinish(session):
    """Hand what a worker tested to the process that prints the summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["real_files"] = sorted(_real_files)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Collect what the workers tested."""
    _real_files.update(getattr(node, "workeroutput", {}).get("real_files", ()))


def pytest_terminal_summary(terminalreporter):
    """Print how many real files were opened."""
    terminalreporter.write_line(f"real files tested: {len(_real_files)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Where the recordings are there, a skipped test of them is a failure."""
    report = yield
    of_recordings = {"shared_data", "real_file"} & set(getattr(item, "fixturenames", ()))
    if report.skipped and of_recordings and SHARED.is_dir() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped although the recordings are there"
    return report

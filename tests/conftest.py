"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

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


def pytest_terminal_summary(terminalreporter):
    """Print how many real files were opened, and fail if any was skipped although the folder exists."""
    terminalreporter.write_line(f"real files tested: {len(_real_files)}")


def pytest_runtest_logreport(report):
    """Where the recordings exist, a skipped test is a failure."""
    if (
        report.skipped
        and SHARED.is_dir()
        and os.environ.get("CI")
        and "real recordings" in str(report.longrepr)
    ):
        report.outcome = "failed"

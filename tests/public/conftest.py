"""Files of public dandisets, written once."""

import sys
from pathlib import Path

import public_files
import pytest
import stand_in_arm

sys.path.append(str(Path(__file__).resolve().parents[1] / "dandi"))  # the archive to fetch them from


@pytest.fixture(scope="session")
def public(tmp_path_factory):
    """Path of a dandiset's file by its name."""
    folder = tmp_path_factory.mktemp("public")

    def path(name):
        file = folder / f"{name.replace(', ', '_').replace(' ', '_')}.nwb"
        return file if file.exists() else public_files.FILES[name](file)

    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep the user's cache and archive out of it; an arm of ours stands in for the fetched one."""
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    stand_in_arm.install()
    for name in ("NGB_DANDI_TOKEN", "NGB_DANDI_INSTANCE", "DANDI_API_KEY", "DANDI_INSTANCE"):
        monkeypatch.delenv(name, raising=False)
    yield
    stand_in_arm.forget()

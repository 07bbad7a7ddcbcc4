"""Fake distributions: folders with a module and a ``.dist-info``, found on the path without pip."""

from pathlib import Path

import pytest

from neurobench_grasp.plugins import load_registry

DISTRIBUTIONS = Path(__file__).parent / "distributions"


@pytest.fixture
def registry_with(monkeypatch):
    """Return the registry as it is with some fake distributions installed."""

    def load(*names):
        for name in reversed(names):
            assert (DISTRIBUTIONS / name).is_dir()
            monkeypatch.syspath_prepend(str(DISTRIBUTIONS / name))
        load_registry.cache_clear()
        return load_registry()

    yield load
    load_registry.cache_clear()

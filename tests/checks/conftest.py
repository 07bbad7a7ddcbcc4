"""Fake distributions: a module of ``plugins`` and metadata, found on the path of child processes without pip."""

import os
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture(scope="session")
def install(tmp_path_factory):
    """Return a function that installs a module as a separate distribution on ``PYTHONPATH`` and returns its folder.

    With ``keep=False`` it is there until the next one.
    """
    patch, kept = pytest.MonkeyPatch(), list(filter(None, [os.environ.get("PYTHONPATH")]))

    def make(module, text=None, *, files=(), keep=True):
        name = module.removeprefix("fake_")
        root = tmp_path_factory.mktemp(name)
        source = text if text is not None else (PLUGINS / f"{module}.py").read_text()
        (root / f"{module}.py").write_text(source)
        for file in files:
            (root / file).write_bytes(b"")
        info = root / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fake-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[neurobench_grasp]\n{name} = {module}\n")
        (info / "RECORD").write_text("".join(f"{f},,\n" for f in (f"{module}.py", *files)))
        if keep:
            kept.insert(0, str(root))
        patch.setenv("PYTHONPATH", os.pathsep.join(kept if keep else [str(root), *kept]))
        return root

    yield make
    patch.undo()

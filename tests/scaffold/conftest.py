"""New plugins that are found on the path without pip: the folder, with metadata as pip would write them."""

import os
import sys
import tomllib

import pytest

from neurobench_grasp.plugins import load_registry
from neurobench_grasp.scaffold import new_body_from, new_plugin


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return a function that makes a plugin, puts it on the path of this process and its children, and gives its folder."""

    def make(kind, name, osim=None):
        folder = new_plugin(kind, name, tmp_path) if osim is None else new_body_from(osim, name, tmp_path)[0]
        project = tomllib.loads((folder / "pyproject.toml").read_text())
        about, wheel = project["project"], project["tool"]["hatch"]["build"]["targets"]["wheel"]
        info = folder / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
        info.mkdir()
        entries = "".join(f"{k} = {v}\n" for k, v in about["entry-points"]["neurobench_grasp"].items())
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
        )
        (info / "entry_points.txt").write_text(f"[neurobench_grasp]\n{entries}")
        shipped = [p for name in wheel["only-include"] for p in (folder / name, *(folder / name).glob("*"))]
        files = [path.relative_to(folder).as_posix() for path in shipped if path.is_file()]
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        load_registry.cache_clear()
        return folder

    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    load_registry.cache_clear()
    yield make
    load_registry.cache_clear()
    for module in [name for name in sys.modules if name.startswith("ngb_our_")]:
        del sys.modules[module]

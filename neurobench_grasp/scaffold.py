"""New plugins: a folder with a small example of its kind that works, ready to be installed and changed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import load_registry

TEMPLATES = Path(__file__).parent / "templates"
"""A folder for each kind, and ``common`` for what all have; each is a plugin itself, called ``my_plugin``."""
NAME = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
"""Narrower than what the loader takes, for it becomes the names of a module and of a distribution, too."""
MOST_LETTERS = 40


def new_plugin(kind: str, name: str, to: str | Path = ".") -> Path:
    """Write an installable plugin.

    Parameters
    ----------
    kind : str
        ``model``, ``controller``, ``dataset``, ``protocol`` or ``decoder``.
    name : str
        Of what it offers, of its entry point and of its folder.
    to : path
        Folder in which the plugin's folder is made.

    Returns
    -------
    pathlib.Path
        The plugin's folder: it is there as a whole, or not at all.

    Raises
    ------
    NgbError
        If the name cannot be used, the folder exists, or it cannot be written.
    """
    words = _words(kind, name)
    folder = Path(to) / name
    if folder.exists() or folder.is_symlink():
        raise NgbError(
            f"There is something called {folder} already; choose another name, or another folder with --to."
        )
    files = {
        _filled(str(path.relative_to(root)), words): _filled(path.read_text(encoding="utf-8"), words)
        for root in (TEMPLATES / "common", TEMPLATES / kind)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }
    _write(folder, files)
    return folder


def _words(kind: str, name: str) -> dict[str, str]:
    """Give what stands in place of the template's own names.

    Raises
    ------
    NgbError
        If the name cannot be used.
    """
    if not NAME.fullmatch(name) or len(name) > MOST_LETTERS:
        near = re.sub(r"[^a-z0-9]+", "_", name.lower())[:MOST_LETTERS].strip("_")
        hint = f", such as {near!r}" if near else ""
        raise NgbError(
            f"{name!r} cannot be a plugin's name; take lower-case letters, digits, '_' and '-', at most "
            f"{MOST_LETTERS}, the first and the last a letter or digit{hint}."
        )
    module = f"ngb_{name.replace('-', '_')}"
    distribution = re.sub(r"[-_]+", "-", module)
    _refuse_taken("model" if kind == "controller" else kind, name, module, distribution)
    return {
        "ngb_my_plugin": module,
        "ngb-my-plugin": distribution,
        "my_plugin": name,
        "a_kind": f"A {kind}",
    }


def _refuse_taken(kind: str, name: str, module: str, distribution: str) -> None:
    """Make sure that the new plugin can be installed beside what is there."""
    for plugin in load_registry().plugins():
        if plugin.name == name or f"{kind} {name}" in plugin.offers:
            what = "plugin" if plugin.name == name else kind
            raise NgbError(
                f"{plugin.distribution} {plugin.version} has a {what} called {name} already; choose another "
                "name, or uninstall it."
            )
    if importlib.util.find_spec(module) is not None:
        raise NgbError(f"There is a Python module {module} already; choose another name.")
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return
    raise NgbError(f"A distribution {distribution} is installed already; choose another name.")


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], text)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write beside the folder's place, and only then give it its name."""
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        part.mkdir()
        for name, text in files.items():
            path = part / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        part.rename(folder)
    except OSError as error:
        raise NgbError(
            f"Cannot write {folder} ({error.strerror}); make room there, or choose another folder with --to."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)

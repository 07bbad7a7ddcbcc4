"""Create the folder of a new plugin: a small working example, ready to be installed and edited."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from neurobench_grasp.atomic import new_folder
from neurobench_grasp.contract import Progress
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.text import plain

if TYPE_CHECKING:
    from neurobench_grasp.bodies.opensim import Converted

TEMPLATES = Path(__file__).parent / "templates"
"""One folder per kind, and ``common`` for files that all share; each is a plugin called ``my_plugin``."""
NAME = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
"""Stricter than what the loader accepts, because it also names a module and a distribution."""
MOST_LETTERS = 40


def new_plugin(kind: str, name: str, to: str | Path = ".") -> Path:
    """Write an installable plugin.

    Parameters
    ----------
    kind : str
        ``model``, ``controller``, ``dataset``, ``protocol``, ``decoder`` or ``body``.
    name : str
        Name of the model, dataset …, of its entry point and of its folder.
    to : path
        Parent folder of the plugin's folder.

    Returns
    -------
    pathlib.Path
        The plugin's folder, created atomically.

    Raises
    ------
    NgbError
        If the name cannot be used, the folder exists, or it cannot be written.
    """
    replacements = _replacements(kind, name)
    folder = _free_place(name, to)
    _write(folder, _files(kind, replacements))
    return folder


def new_body_from(
    osim: str | Path, name: str, to: str | Path = ".", *, progress: Progress = lambda text: None
) -> tuple[Path, Converted]:
    """Write an installable plugin whose body is converted from an OpenSim model.

    Parameters
    ----------
    osim : path
        The ``.osim`` file, which need not be trusted.
    name : str
    to : path
    progress : callable
        Called with status messages.

    Returns
    -------
    folder : pathlib.Path
        The plugin's folder, created atomically.
    made : Converted

    Raises
    ------
    NgbError
        If the name cannot be used, the folder exists, or the model cannot be read, converted or written.
    """
    from neurobench_grasp.bodies.opensim import convert, read_osim

    replacements = _replacements("body", name)
    folder, module = _free_place(name, to), replacements["ngb_my_plugin"]
    model = read_osim(osim)
    progress(f"converting {len(model.muscles)} muscles")
    made = convert(model)
    replacements = {"ngb_my_plugin.py": module} | replacements | _described(made, plain(Path(osim).name))
    files = _files("opensim_body", replacements)
    _write(folder, files | {f"{module}/body.xml": made.xml})
    return folder, made


def _described(made: Converted, file: str) -> dict[str, str]:
    """Return the replacements of a converted body's names and numbers, as source code and Markdown."""
    last = list(made.keypoints)[-1]
    errors = [
        f"| {name} | {1e3 * e.rms:.2f} | {1e3 * e.largest:.2f} | {1e3 * e.moving:.1f} "
        f"| {', '.join(e.replaced) or '–'} |"
        for name, e in made.errors.items()
    ]
    heads = ["| muscle | rms (mm) | largest (mm) | varies (mm) | replaced |", "|---|---|---|---|---|"]
    return {
        '"my_joints"': _listed(map(_quoted, made.joints), "()"),
        '"my_muscles"': _listed(map(_quoted, made.muscles), "()"),
        '"my_keypoints"': _listed(
            (f'{_quoted(name)}: ("{kind}", {_quoted(of)})' for name, (kind, of) in made.keypoints.items()),
            "{}",
        ),
        '"my_neutral"': _listed((f"{_quoted(k)}: {v:.4f}" for k, v in made.neutral.items()), "{}"),
        '"my_endpoint"': _quoted(last),
        '"my_centre"': "({:.3f}, {:.3f}, {:.3f})".format(*made.centre),
        '"my_distance"': f"{2 * made.extent:.3f}",
        '"my_source"': _quoted(f"{file}, converted by `ngb new body --from`"),
        "my_file": file,
        "my_errors": "\n".join([*heads, *errors]),
        "my_notes": "\n".join(f"- {note}" for note in made.notes) or "None.",
    }


def _quoted(text: str) -> str:
    """Return a printable text as a Python literal."""
    return json.dumps(text, ensure_ascii=False)


def _listed(items: Iterable[str], brackets: str) -> str:
    return "\n".join([brackets[0], *(f"    {item}," for item in items), brackets[1]])


def _free_place(name: str, to: str | Path) -> Path:
    folder = Path(to) / name
    if folder.exists() or folder.is_symlink():
        raise NgbError(f"{folder} exists already; choose another name, or another folder with --to.")
    return folder


def _files(kind: str, replacements: Mapping[str, str]) -> dict[str, str]:
    """Return the filled files of a template: path in the plugin's folder → text."""
    return {
        _filled(str(path.relative_to(root)), replacements): _filled(
            path.read_text(encoding="utf-8"), replacements
        )
        for root in (TEMPLATES / "common", TEMPLATES / kind)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }


def _replacements(kind: str, name: str) -> dict[str, str]:
    """Return the replacements of the template's placeholder names.

    Raises
    ------
    NgbError
        If the name cannot be used.
    """
    if not NAME.fullmatch(name) or len(name) > MOST_LETTERS:
        near = re.sub(r"[^a-z0-9]+", "_", name.lower())[:MOST_LETTERS].strip("_")
        hint = f", such as {near!r}" if near else ""
        raise NgbError(
            f"{name!r} cannot be a plugin's name; use lower-case letters, digits, '_' and '-', at most "
            f"{MOST_LETTERS} characters, the first and the last a letter or digit{hint}."
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
    """Raise if a name is taken by an installed plugin, module or distribution."""
    for plugin in load_registry().plugins():
        if plugin.name == name or f"{kind} {name}" in plugin.offers:
            what = "plugin" if plugin.name == name else kind
            raise NgbError(
                f"{plugin.distribution} {plugin.version} already provides a {what} called {name}; choose "
                "another name, or uninstall it."
            )
    if importlib.util.find_spec(module) is not None:
        raise NgbError(f"The Python module {module} exists already; choose another name.")
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return
    raise NgbError(f"A distribution {distribution} is installed already; choose another name.")


def _filled(text: str, replacements: Mapping[str, str]) -> str:
    return re.sub("|".join(map(re.escape, replacements)), lambda found: replacements[found[0]], text)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write to a temporary folder, then rename it into place."""
    try:
        with new_folder(folder) as new:
            for name, text in files.items():
                path = new / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="\n")
            new.rename(folder)
    except OSError as error:
        raise NgbError(
            f"Cannot write {folder} ({error.strerror}); free some space, or choose another folder with --to."
        ) from error

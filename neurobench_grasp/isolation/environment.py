"""A virtual environment per plugin, in the user's cache; the user's environment is never changed.

The user's packages are visible behind those of the plugin's environment, so that only what the plugin pins
differently is installed: for example numpy 2.0 next to the user's numpy 2.4.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import neurobench_grasp
from neurobench_grasp.cache import cache_folder, content_key, sweep
from neurobench_grasp.contract import Progress
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import canonical, files_digest, installed_files
from neurobench_grasp.requirements import needs, unmet
from neurobench_grasp.sandbox.environment import INSTALLER, child_environment
from neurobench_grasp.sandbox.limits import Limits
from neurobench_grasp.sandbox.process import Process, ProcessError

ABOUT = "environment.json"
BEHIND = "zzz_behind.pth"  # last by name, so that paths of the plugin's packages come first
UNUSED = 30 * 24 * 3600  # s after which an unused environment is removed
NOT_SOURCE = {"__pycache__", "build", "dist", "node_modules"}
LIMITS = Limits(seconds=3600.0, network=True)
"""Of pip, and of the build backends that it runs."""


@dataclass(frozen=True)
class Environment:
    """The environment of one plugin.

    Parameters
    ----------
    source : str
        As given by the user: the plugin's folder, or a requirement.
    folder : path
    distribution, version : str
        Of the plugin.
    code : str, optional
        Digest of the plugin's code.
    packages : mapping of str to str
        Name and version of the other packages installed there, which shadow those of the user.
    """

    source: str
    folder: Path
    distribution: str
    version: str
    code: str | None
    packages: Mapping[str, str]

    @property
    def python(self) -> Path:
        """Path of its interpreter."""
        return self.folder / "bin" / "python"


def environment_of(source: str, progress: Progress = lambda text: None) -> Environment:
    """Return the environment of a plugin; create it if there is none of this content.

    It is created atomically.

    Parameters
    ----------
    source : str
        Folder of a plugin, or a requirement for pip.
    progress : callable

    Raises
    ------
    NgbError
        If the source cannot be installed; the message contains pip's error.
    """
    if os.name != "posix":
        raise NgbError("Isolation needs limits on processes, which only Linux and macOS have.")
    target, content = _identified(source)
    label = re.sub(r"[^a-z0-9]+", "-", Path(target).name.lower()).strip("-")[:40]
    key = content_key({"content": content, "below": _this_environment()})
    root = cache_folder() / "environments"
    place = root / f"{label}-{key[:16]}"
    if not (place / ABOUT).exists():
        progress(f"making an environment for {source}")
        try:
            root.mkdir(parents=True, exist_ok=True)
            _sweep(root)
            _make(place, target)
        except (OSError, subprocess.SubprocessError) as error:
            why = getattr(error, "strerror", None) or error
            raise NgbError(
                f"Cannot make an environment for {source} in {root} ({why}); free some space, or set "
                "NGB_CACHE to another folder."
            ) from error
    (place / ABOUT).touch()
    return _read(source, place)


def _identified(source: str) -> tuple[str, str]:
    """Return the argument for pip, and the identity of its content."""
    path = Path(source)
    if source and path.is_dir():
        if not any((path / name).exists() for name in ("pyproject.toml", "setup.py")):
            raise NgbError(
                f"{source} has no pyproject.toml, so it is not the folder of a plugin; see `ngb new model`."
            )
        return str(path.resolve()), str(files_digest(_files_below(path)))
    if path.is_file():
        return str(path.resolve()), hashlib.sha256(path.read_bytes()).hexdigest()
    if source.startswith(("/", ".", "~")) or (os.sep in source and "@" not in source and ":" not in source):
        raise NgbError(
            f"There is no folder {source}; --isolated takes a plugin's folder, or a requirement for pip."
        )
    if not source[:1].isalnum():  # an option of pip
        raise NgbError(f"{source!r} is neither a folder nor a requirement for pip, such as 'my-plugin==1.2'.")
    return source, source


def _files_below(root: Path) -> dict[str, Path]:
    """Return all files of a plugin's folder, weights and data included, without build and test output."""
    files: dict[str, Path] = {}
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [s for s in subfolders if _holds_source(Path(folder, s))]
        paths = [Path(folder, n) for n in names]
        files |= {p.relative_to(root).as_posix(): p for p in paths if p.is_file()}
    return files


def _holds_source(folder: Path) -> bool:
    left_over = folder.name.startswith(".") or folder.name in NOT_SOURCE or folder.suffix == ".egg-info"
    return not left_over and not (folder / "pyvenv.cfg").exists()


def _this_environment() -> dict[str, Any]:
    """Return the packages visible behind the plugin's environment; a change of these requires a new one."""
    installed = {f"{d.metadata['Name']}=={d.metadata['Version']}" for d in importlib.metadata.distributions()}
    return {
        "python": [sys.version, sys.base_prefix],
        "core": neurobench_grasp.__version__,
        "folders": _folders_behind(),
        "installed": sorted(installed),
    }


def _folders_behind() -> list[str]:
    """Return the package folders that this process imports from, in order."""
    folders = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        folders = [*folders, site.getusersitepackages()]
    named = [os.path.abspath(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    own = str(Path(neurobench_grasp.__file__).parents[1])
    return [f for f in dict.fromkeys([*folders, *named, own]) if os.path.isdir(f)]


def _make(place: Path, target: str) -> None:
    work = Path(tempfile.mkdtemp(prefix=".environment-", dir=place.parent))
    try:
        new = work / "new"
        has_pip = importlib.util.find_spec("pip") is not None  # if so, it is visible from the environment
        venv.EnvBuilder(symlinks=True, with_pip=not has_pip).create(new)
        packages = _packages_folder(new)
        lines = [f"import site; site.addsitedir({folder!r})" for folder in _folders_behind()]
        (packages / BEHIND).write_text("\n".join(lines) + "\n")
        about = _install(new, target)
        (new / ABOUT).write_text(json.dumps(about))
        try:
            new.rename(place)
        except OSError:
            if not (place / ABOUT).exists():  # unless another process was faster
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _install(environment: Path, target: str) -> dict[str, str]:
    """Install the plugin, then its missing requirements; the plugin itself may be visible already."""
    report = environment.with_name("report.json")
    _pip(environment, target, "--no-deps", "--ignore-installed", "--report", str(report), target)
    (installed,) = json.loads(report.read_text())["install"]
    name, version = installed["metadata"]["name"], installed["metadata"]["version"]
    extras = ",".join(installed.get("requested_extras", ()))
    if extras or not _all_here(installed["metadata"].get("requires_dist")):
        _pip(environment, target, f"{name}[{extras}]=={version}" if extras else f"{name}=={version}")
    return {"distribution": name, "version": version}


def _all_here(lines: list[str] | None) -> bool:
    """Return whether all requirements of a plugin are met here; much faster than running pip."""
    needed = needs(lines)
    return not any(r.extras or r.url for r in needed) and not list(unmet(needed))


def _pip(environment: Path, target: str, *arguments: str) -> None:
    """Run pip in the environment, with the user's settings for indexes, and not those for other targets."""
    own = {"PIP_CONSTRAINT": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}  # over a configuration file, too
    pip = Process("", LIMITS, name="pip", environment=child_environment(*INSTALLER, **own), cwd=environment)
    python = [str(environment / "bin" / "python"), "-I", "-B", "-m", "pip"]
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-warn-conflicts", "--no-user"]
    try:
        code, output = pip.run([*python, "install", *options, *arguments])
    except ProcessError as error:
        raise NgbError(f"{target} could not be installed: pip {error}, so it was stopped.") from error
    if code:
        named = target if os.path.isabs(target) else f"There is no folder {target}, and as a requirement it"
        raise NgbError(
            f"{named} could not be installed into a separate environment: {_pip_error(output)}. Try "
            "`pip install` with the same arguments in an empty environment to see pip's full output."
        )


def _pip_error(output: str) -> str:
    """Return the last line in which pip reports an error."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    errors = [
        line for line in lines if line.lower().startswith("error:") and "ResolutionImpossible" not in line
    ]
    reported = (errors or [line for line in lines if line] or ["pip printed nothing"])[-1]
    reported = re.sub(r"^error: ", "", reported, flags=re.IGNORECASE).rstrip(".")[:500]
    unreachable = "NewConnectionError" in output or "NameResolutionError" in output or "Retrying" in output
    return f"{reported} (the package index could not be reached)" if unreachable else reported


def _packages_folder(environment: Path) -> Path:
    prefix = str(environment)
    return Path(sysconfig.get_path("purelib", "venv", {"base": prefix, "platbase": prefix}))


def _read(source: str, place: Path) -> Environment:
    about = json.loads((place / ABOUT).read_text())
    found = list(importlib.metadata.distributions(path=[str(_packages_folder(place))]))
    mine = [d for d in found if canonical(d.metadata["Name"]) == canonical(about["distribution"])]
    others = {d.metadata["Name"]: d.metadata["Version"] for d in found if d not in mine}
    others = {name: version for name, version in sorted(others.items()) if name not in ("pip", "setuptools")}
    code = files_digest(installed_files(mine[0])) if mine else None
    return Environment(source, place, about["distribution"], about["version"], code, others)


def _sweep(root: Path) -> None:
    """Remove what killed processes left behind, and environments unused for long."""
    sweep(root, "environment")
    for about in root.glob(f"*/{ABOUT}"):
        if about.stat().st_mtime < time.time() - UNUSED:
            shutil.rmtree(about.parent, ignore_errors=True)

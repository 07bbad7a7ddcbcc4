"""Find plugins, report broken ones, and record which distribution provides what.

pluggy's own loader aborts on one broken plugin and silently drops a second plugin of the
same name. This one loads each entry point separately, records every failure, and rejects a name that two
plugins offer.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlparse
from urllib.request import url2pathname

import pluggy

import neurobench_grasp
from neurobench_grasp import hookspecs
from neurobench_grasp.contract import BodySpec, DatasetSpec, DecoderSpec, ModelSpec, ProtocolSpec
from neurobench_grasp.errors import PluginError, UnknownNameError
from neurobench_grasp.sandbox import worker

GROUP = hookspecs.PROJECT
BUILTIN = importlib.metadata.EntryPoint("builtin", "neurobench_grasp.builtin", GROUP)
HOOKS: Mapping[str, type[Any]] = {
    "ngb_models": ModelSpec,
    "ngb_datasets": DatasetSpec,
    "ngb_protocols": ProtocolSpec,
    "ngb_decoders": DecoderSpec,
    "ngb_bodies": BodySpec,
}
KINDS: Mapping[type[Any], str] = {
    ModelSpec: "model",
    DatasetSpec: "dataset",
    ProtocolSpec: "protocol",
    DecoderSpec: "decoder",
    BodySpec: "body",
}
CORE = "neurobench-grasp"
"""The distribution of this package."""
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")  # names become file names

CodeDigest = Callable[[str], str | None]
"""From the name of a distribution to the digest of its code."""

Spec = TypeVar("Spec")


@dataclass(frozen=True)
class Isolated:
    """A plugin installed in a separate environment.

    Parameters
    ----------
    code : str, optional
        Digest of the plugin's code, ``None`` if unknown.
    packages : mapping of str to str
        Name and version of each package installed there that shadows one installed here.
    """

    code: str | None
    packages: Mapping[str, str]


@dataclass(frozen=True)
class Provided(Generic[Spec]):
    """A spec and the distribution that provides it.

    Parameters
    ----------
    spec : ModelSpec, DatasetSpec, ProtocolSpec, DecoderSpec or BodySpec
    distribution, version : str
        The distribution that the plugin belongs to.
    isolated : Isolated, optional
        Set if it is installed in a separate environment, not in this one.
    """

    spec: Spec
    distribution: str
    version: str
    isolated: Isolated | None = None

    @property
    def provider(self) -> str:
        """Distribution and version as text."""
        return f"{self.distribution} {self.version}"

    def code_digest(self, digest: CodeDigest | None = None) -> str | None:
        """Return the digest of the distribution's code.

        Parameters
        ----------
        digest : callable, optional
            Default: :func:`code_digest`.
        """
        return self.isolated.code if self.isolated else (digest or code_digest)(self.distribution)


@dataclass(frozen=True)
class PluginInfo:
    """One plugin, working or not.

    Parameters
    ----------
    name : str
        Name of its entry point.
    module : str
        What the entry point refers to.
    distribution, version : str
    status : str
        ``ok``, ``clash``, ``broken`` or ``disabled``.
    reason : str
        Why the status is not ``ok``.
    offers : tuple of str
        Such as ``"model linear_kinematic"``.
    """

    name: str
    module: str
    distribution: str
    version: str
    status: str = "ok"
    reason: str = ""
    offers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registry:
    """Everything that the plugins offer; see :func:`load_registry`."""

    _plugins: tuple[PluginInfo, ...]
    _provided: Mapping[type, tuple[Provided[Any], ...]]

    def plugins(self) -> tuple[PluginInfo, ...]:
        """Every plugin that was found, including broken ones."""
        return self._plugins

    def models(self) -> tuple[Provided[ModelSpec], ...]:
        """All models, by name."""
        return self._provided[ModelSpec]

    def datasets(self) -> tuple[Provided[DatasetSpec], ...]:
        """All datasets, by name."""
        return self._provided[DatasetSpec]

    def protocols(self) -> tuple[Provided[ProtocolSpec], ...]:
        """All protocols, by name."""
        return self._provided[ProtocolSpec]

    def decoders(self) -> tuple[Provided[DecoderSpec], ...]:
        """All decoders, by name."""
        return self._provided[DecoderSpec]

    def bodies(self) -> tuple[Provided[BodySpec], ...]:
        """All bodies, by name."""
        return self._provided[BodySpec]

    def model(self, name: str) -> Provided[ModelSpec]:
        """Return the model of that name.

        Raises
        ------
        UnknownNameError
            If no plugin offers it; the message suggests near names.
        PluginError
            If two plugins offer it; the message names both.
        """
        return self._one(ModelSpec, name)

    def dataset(self, name: str) -> Provided[DatasetSpec]:
        """Return the dataset of that name; raises like :meth:`model`."""
        return self._one(DatasetSpec, name)

    def protocol(self, name: str) -> Provided[ProtocolSpec]:
        """Return the protocol of that name; raises like :meth:`model`."""
        return self._one(ProtocolSpec, name)

    def decoder(self, name: str) -> Provided[DecoderSpec]:
        """Return the decoder of that name; raises like :meth:`model`."""
        return self._one(DecoderSpec, name)

    def body(self, name: str) -> Provided[BodySpec]:
        """Return the body of that name; raises like :meth:`model`."""
        return self._one(BodySpec, name)

    def with_isolated(self, models: Sequence[Provided[ModelSpec]]) -> Registry:
        """Add isolated models; they replace those of the same distribution and name installed here."""
        instead = {(p.spec.name, canonical(p.distribution)) for p in models}
        kept = [p for p in self.models() if (p.spec.name, canonical(p.distribution)) not in instead]
        return Registry(self._plugins, {**self._provided, ModelSpec: _by_name([*kept, *models])})

    def _one(self, kind: type[Spec], name: str) -> Provided[Spec]:
        found = [p for p in self._provided[kind] if p.spec.name == name]
        if len(found) > 1:
            raise PluginError(_clash(found))
        if not found:
            raise UnknownNameError(self._unknown(kind, name))
        return found[0]

    def _unknown(self, kind: type, name: str) -> str:
        known = list(dict.fromkeys(p.spec.name for p in self._provided[kind]))
        near = difflib.get_close_matches(name.lower(), known, n=3)
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        broken = [p.name for p in self._plugins if p.status == "broken"]
        blame = f" (plugin {', '.join(broken)} could not be loaded: see `ngb plugins`)" if broken else ""
        there_is = f"Installed: {', '.join(known)}" if known else "None is installed"
        return f"There is no {KINDS[kind]} {name!r}. {hint}{there_is}{blame}."


@functools.cache
def load_registry() -> Registry:
    """Load every installed plugin once per process.

    The environment variable ``NGB_DISABLE_PLUGINS`` (entry-point names, separated by commas) leaves
    plugins out. A plugin that fails is listed with the reason and does not stop the others.
    """
    disabled = {n.strip() for n in os.environ.get("NGB_DISABLE_PLUGINS", "").split(",")}
    plugins: list[PluginInfo] = []
    provided: list[Provided[Any]] = []
    for info, entry_point in found_plugins():
        if info.name in disabled:
            plugins.append(replace(info, status="disabled", reason="named in NGB_DISABLE_PLUGINS"))
            continue
        try:
            specs = specs_of(entry_point)
        except (Exception, SystemExit) as error:  # whatever a plugin raises must not stop the program
            plugins.append(replace(info, status="broken", reason=reason_of(error)))
            continue
        plugins.append(replace(info, offers=tuple(f"{KINDS[type(s)]} {s.name}" for s in specs)))
        provided += [Provided(s, info.distribution, info.version) for s in specs]
    by_kind = {kind: _by_name(p for p in provided if type(p.spec) is kind) for kind in KINDS}
    return Registry(tuple(_mark_clashes(plugins, by_kind)), by_kind)


def offered_by(distribution: str) -> tuple[Provided[Any], ...]:
    """Load the plugins of one distribution, and no other.

    Raises
    ------
    PluginError
        If one of them cannot be loaded, or there is none.
    """
    provided: list[Provided[Any]] = []
    for info, entry_point in found_plugins():
        if canonical(info.distribution) != canonical(distribution):
            continue
        try:
            specs = specs_of(entry_point)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"The plugin {info.name} of {distribution} cannot be loaded: {reason_of(error)}."
            ) from error
        provided += [Provided(s, info.distribution, info.version) for s in specs]
    if not provided:
        raise PluginError(
            f"{distribution} is not a plugin: its pyproject.toml has no entry point in the group {GROUP}."
        )
    return tuple(provided)


def canonical(distribution: str) -> str:
    """Return a distribution's name in pip's canonical form."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def code_digest(distribution_or_module: str) -> str | None:
    """Identify the code of a distribution (or of a module that belongs to none) by its content.

    Parameters
    ----------
    distribution_or_module : str

    Returns
    -------
    str or None
        SHA-256 over the relative paths and contents of its files, uncommitted edits included; for an
        editable install, over the source files below its project folder, tests and nested projects
        left out. ``None`` when the files are unknown, so nothing that depends on them may be cached.
    """
    try:
        return files_digest(files_of(distribution_or_module))
    except (OSError, ValueError):
        return None


def files_digest(files: Mapping[str, Path]) -> str | None:
    """Return a digest over file names and contents; ``None`` if there are no files.

    Raises
    ------
    OSError
        If one cannot be read.
    """
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest() if files else None


def installed_files(distribution: importlib.metadata.Distribution) -> dict[str, Path]:
    """Return the files of an installed distribution by relative path, without its metadata."""
    return {
        str(f): Path(str(distribution.locate_file(f)))
        for f in distribution.files or ()
        if f.suffix != ".pyc" and not f.parts[0].endswith(".dist-info") and ".." not in f.parts
    }


def found_plugins() -> Iterator[tuple[PluginInfo, importlib.metadata.EntryPoint | None]]:
    """Yield the built-in plugin, then installed ones; ``None`` where the entry points are unreadable."""
    own = PluginInfo(BUILTIN.name, BUILTIN.value, CORE, neurobench_grasp.__version__)
    yield own, BUILTIN
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        try:
            if GROUP not in (distribution.read_text("entry_points.txt") or ""):
                continue
            entry_points = distribution.entry_points.select(group=GROUP)
        except Exception:  # metadata can be damaged in any way; reported by yielding None
            entry_points = None
        name, version = distribution.metadata["Name"] or "unknown", distribution.metadata["Version"] or "?"
        if name in seen:  # a second copy later on the path; Python imports the first
            continue
        seen.add(name)
        if entry_points is None:
            yield PluginInfo(name, "entry_points.txt", name, version), None
            continue
        for entry_point in sorted(entry_points, key=lambda e: e.name):
            yield PluginInfo(entry_point.name, entry_point.value, name, version), entry_point


def specs_of(entry_point: importlib.metadata.EntryPoint | None) -> list[Any]:
    """Import one plugin and collect what its hooks yield.

    Raises
    ------
    PluginError
        If it is not a plugin; exceptions of its code pass through.
    """
    if entry_point is None:
        raise PluginError("its entry_points.txt cannot be read")
    plugin = entry_point.load()
    manager = pluggy.PluginManager(GROUP)  # one manager per plugin, so that a bad one cannot affect others
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, entry_point.name)
    manager.check_pending()
    callers = manager.get_hookcallers(plugin)
    if not callers:
        raise PluginError("it marks no function with @hookimpl, so it offers nothing")
    specs: list[Any] = []
    for caller in callers:
        kind = HOOKS[caller.name]
        results = caller()
        if not results:
            raise PluginError(f"{caller.name} returned None; it must yield {kind.__name__} objects")
        for spec in results[0]:
            _check(spec, kind, caller.name)
            specs.append(spec)
    return specs


def _by_name(provided: Iterable[Provided[Any]]) -> tuple[Provided[Any], ...]:
    return tuple(sorted(provided, key=lambda p: (p.spec.name, p.provider)))


def _check(spec: Any, kind: type, hook: str) -> None:
    if type(spec) is not kind:
        raise PluginError(f"{hook} yielded a {type(spec).__name__}; it must yield {kind.__name__} objects")
    name = getattr(spec, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise PluginError(
            f"{hook} yielded the name {name!r}; a name consists of lower-case letters, digits, '_', '.' and "
            "'-' and begins with a letter or digit"
        )


def reason_of(error: BaseException) -> str:
    """Return exception, message and place as one line."""
    return " ".join(str(error).split()) if isinstance(error, PluginError) else worker.reason_of(error)


def _clash(providers: Iterable[Provided[Any]]) -> str:
    providers = list(providers)
    spec = providers[0].spec
    who = " and ".join(p.provider for p in providers)
    return (
        f"{KINDS[type(spec)].capitalize()} {spec.name!r} is offered by {who}; "
        "uninstall one, or disable its plugin with NGB_DISABLE_PLUGINS."
    )


def _mark_clashes(
    plugins: Iterable[PluginInfo], provided: Mapping[type, tuple[Provided[Any], ...]]
) -> Iterator[PluginInfo]:
    providers: dict[str, list[Provided[Any]]] = defaultdict(list)
    for kind, offers in provided.items():
        for offer in offers:
            providers[f"{KINDS[kind]} {offer.spec.name}"].append(offer)
    for plugin in plugins:
        clashes = [_clash(providers[o]) for o in dict.fromkeys(plugin.offers) if len(providers[o]) > 1]
        yield replace(plugin, status="clash", reason=" ".join(clashes)) if clashes else plugin


def files_of(name: str) -> dict[str, Path]:
    """Return the source files of a distribution (or of a module outside any), by relative path."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return _module_files(name)
    project = project_folder(distribution)
    return installed_files(distribution) if project is None else _source_files(project)


def project_folder(distribution: importlib.metadata.Distribution) -> Path | None:
    """Return the project folder of an editable install; ``None`` for all others."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(url2pathname(urlparse(origin["url"]).path))


def _module_files(name: str) -> dict[str, Path]:
    try:
        spec = importlib.util.find_spec(name)
    except ImportError:
        return {}
    if spec is None or spec.origin is None:
        return {}
    origin = Path(spec.origin)
    return _source_files(origin.parent) if spec.submodule_search_locations else {origin.name: origin}


def _source_files(root: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [s for s in subfolders if _belongs(Path(folder, s))]
        paths = [Path(folder, n) for n in names if n.endswith((".py", ".pyx", ".c", ".so", ".pyd"))]
        files |= {p.relative_to(root).as_posix(): p for p in paths}
    return files


def _belongs(folder: Path) -> bool:
    """Return whether a subfolder is part of its project: not tests, build output or a nested project."""
    if folder.name.startswith(".") or folder.name in {"tests", "build", "dist", "__pycache__"}:
        return False
    return not any((folder / mark).exists() for mark in ("pyproject.toml", "pyvenv.cfg"))

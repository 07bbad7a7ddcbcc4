"""Checks of what a plugin does beside its work; they tell what was seen while all others ran."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neurobench_grasp.checks.rules import Broken, check
from neurobench_grasp.plugins import project_folder

PICKLES = (".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth")
NOT_BROUGHT = ("tests", "build", "dist", "ngb-runs", "ngb-submissions")
SHOWN = 3  # events of a message


@check("conduct")
def no_neurons(case: Any) -> None:
    """It opens no recording: neurons are out of reach."""
    _nothing(case, "neurons", "A plugin is given what it may know; whoever scores it keeps the neurons.")


@check("conduct")
def no_pickle(case: Any) -> None:
    """It brings and reads no pickle."""
    advice = "Keep weights as safetensors (safetensors.numpy.save_file), settings as JSON."
    if files := sorted(path.name for path in brought_by(case.distribution) if path.suffix in PICKLES):
        raise Broken(f"It brings {', '.join(files[:SHOWN])}, in a format that is pickled. {advice}")
    _nothing(case, "pickle", advice)


@check("conduct")
def no_stray_writes(case: Any) -> None:
    """It writes nowhere but into temporary folders."""
    _nothing(
        case, "write", "Keep nothing on disk: what is learned belongs into `state`; else use `tempfile`."
    )


@check("conduct")
def no_network(case: Any) -> None:
    """It does not use the network."""
    _nothing(case, "network", "Bring what is needed in the package, or let a dataset fetch it.")


@check("conduct")
def no_processes(case: Any) -> None:
    """It starts no other program."""
    _nothing(case, "process", "Do the work in Python, where it can be limited and identified.")


def brought_by(distribution: str) -> Iterator[Path]:
    """Every file of a plugin's distribution; for an editable install, of its project folder."""
    found = importlib.metadata.distribution(distribution)
    project = project_folder(found)
    if project is None:
        yield from (Path(str(found.locate_file(name))) for name in found.files or ())
        return
    for folder, subfolders, names in os.walk(project):
        subfolders[:] = [s for s in subfolders if s[0] != "." and s not in NOT_BROUGHT]
        yield from (Path(folder, name) for name in names)


def _nothing(case: Any, kind: str, advice: str) -> None:
    events = case.fences.seen(kind)
    if events:
        told = "; ".join(f"{e.what} ({e.place})" if e.place else e.what for e in events[:SHOWN])
        more = f" and {len(events) - SHOWN} more" if len(events) > SHOWN else ""
        raise Broken(f"It {told}{more}. {advice}")

"""Checks of a plugin's side effects, recorded while all other checks ran."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neurobench_grasp.checks.rules import Broken, check
from neurobench_grasp.plugins import project_folder

PICKLES = (".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth")
NOT_SHIPPED = ("tests", "build", "dist", "ngb-runs", "ngb-submissions")
SHOWN = 3  # events per message


@check("side_effects")
def no_neurons(case: Any) -> None:
    """It opens no recording."""
    _nothing(case, "neurons", "A model receives behaviour only, never neural data.")


@check("side_effects")
def no_pickle(case: Any) -> None:
    """It contains and reads no pickles."""
    advice = "Keep weights as safetensors (safetensors.numpy.save_file), settings as JSON."
    if files := sorted(path.name for path in shipped_files(case.distribution) if path.suffix in PICKLES):
        raise Broken(f"It contains {', '.join(files[:SHOWN])}, in a pickle format. {advice}")
    _nothing(case, "pickle", advice)


@check("side_effects")
def no_stray_writes(case: Any) -> None:
    """It writes to temporary folders only."""
    _nothing(
        case, "write", "Store nothing on disk: return fitted parameters from `state`; else use `tempfile`."
    )


@check("side_effects")
def no_network(case: Any) -> None:
    """It does not use the network."""
    _nothing(case, "network", "Include what is needed in the package, or let a dataset fetch it.")


@check("side_effects")
def no_processes(case: Any) -> None:
    """It starts no other programs."""
    _nothing(case, "process", "Do the work in Python, where it can be limited and identified.")


def shipped_files(distribution: str) -> Iterator[Path]:
    """Yield every file of a plugin's distribution; for an editable install, of its project folder."""
    found = importlib.metadata.distribution(distribution)
    project = project_folder(found)
    if project is None:
        yield from (Path(str(found.locate_file(name))) for name in found.files or ())
        return
    for folder, subfolders, names in os.walk(project):
        subfolders[:] = [s for s in subfolders if s[0] != "." and s not in NOT_SHIPPED]
        yield from (Path(folder, name) for name in names)


def _nothing(case: Any, kind: str, advice: str) -> None:
    events = case.audit.seen(kind)
    if events:
        events_text = "; ".join(f"{e.what} ({e.place})" if e.place else e.what for e in events[:SHOWN])
        more = f" and {len(events) - SHOWN} more" if len(events) > SHOWN else ""
        raise Broken(f"It {events_text}{more}. {advice}")

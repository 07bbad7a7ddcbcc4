"""Which checks there are for what, what they are given, and how one is done."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurobench_grasp.checks import controller, model, others, plugin
from neurobench_grasp.checks import side_effects as conduct
from neurobench_grasp.checks.rules import Broken, Check, Inapplicable, checks_in

KINDS = ("plugin", "model", "dataset", "protocol", "decoder")
N_TRAIN, N_PROBE = 12, 5


@functools.cache
def checks_of(kind: str) -> tuple[Check, ...]:
    """List the checks of a kind, in the order in which they are done and read.

    Parameters
    ----------
    kind : str
        ``plugin``, ``model``, ``dataset``, ``protocol`` or ``decoder``.
    """
    if kind == "plugin":
        return checks_in(plugin)
    if kind == "model":
        return checks_in(model) + checks_in(controller) + checks_in(conduct)
    own = tuple(one for one in checks_in(others) if one.kind == kind)
    return own + (checks_in(conduct) if kind == "decoder" else ())


def case_of(order: Mapping[str, Any], code: set[str]) -> Any:
    """Set up what the checks of a kind are given, from the order that a child received."""
    from neurobench_grasp.checks.audit import Fences

    folder = Path(order["folder"]).resolve()
    traps = next((folder / "cache").iterdir())
    fences = Fences(
        code, allowed=[folder / "tmp"], traps=traps, kept={folder / "cwd": ".", folder / "home": "~"}
    )
    kind = order["kind"]
    if kind == "dataset":
        return others.DatasetCase(fences)
    from neurobench_grasp.alignment.align import AlignedSession
    from neurobench_grasp.sandbox.wire import read_packed

    session = read_packed(Path(order["sample"]), AlignedSession)
    if kind == "protocol":
        return others.ProtocolCase(fences, session)
    if kind == "decoder":
        return others.DecoderCase(fences, order["distribution"], session)
    from neurobench_grasp.checks.fixture import ModelCase

    trials = session.trials
    last = range(len(trials) - N_PROBE, len(trials))
    return ModelCase(
        fences, folder, order["distribution"], trials.select(range(N_TRAIN)), trials.select(last)
    )


def outcome(one: Check, case: Any, statuses: Mapping[str, str]) -> tuple[str, str]:
    """Do a check, unless one that it needs did not pass.

    Parameters
    ----------
    one : Check
    case : object
        What it is given.
    statuses : mapping of str to str
        What came of the checks before it.

    Returns
    -------
    status, message : str
    """
    if one.kind == "controller" and not case.spec.controller:
        return "skip", "It is not declared as a controller."
    if why := why_not(one, statuses):
        return "not run", why
    try:
        one.run(case)
    except Broken as broken:
        return "fail", str(broken)
    except Inapplicable as reason:
        return "skip", str(reason)
    except Exception as error:  # a plugin can give anything; what it gave is told, and the others go on
        return (
            "fail",
            f"What it gives cannot be checked ({type(error).__name__}: {error}); give what the rule says.",
        )
    return "pass", ""


def why_not(one: Check, statuses: Mapping[str, str]) -> str:
    """Report why a check would say nothing, after what came of those before it; empty if it would."""
    blamed = _blamed(one, statuses)
    return f"Not run, because {blamed} did not pass." if blamed else ""


def _blamed(one: Check, statuses: Mapping[str, str]) -> str:
    """Name the check that failed, or was skipped, and without which this one says nothing; else nothing."""
    for need in one.needs:
        if statuses.get(need) == "not run":
            return _blamed(_named(need), statuses)
        if statuses.get(need) != "pass":
            return need
    return ""


def _named(name: str) -> Check:
    return next(one for kind in KINDS for one in checks_of(kind) if one.name == name)

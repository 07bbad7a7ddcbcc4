"""All checks by kind, their fixtures, and how one is run."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurobench_grasp.checks import (
    body,
    controller,
    dataset,
    decoder,
    model,
    plugin,
    protocol,
    recurrent,
    side_effects,
)
from neurobench_grasp.checks.rules import Broken, Check, Inapplicable, checks_in

KINDS = ("plugin", "model", "dataset", "protocol", "decoder", "body")


@functools.cache
def checks_of(kind: str) -> tuple[Check, ...]:
    """List the checks of a kind, in order.

    Parameters
    ----------
    kind : str
        ``plugin``, ``model``, ``dataset``, ``protocol``, ``decoder`` or ``body``.
    """
    if kind == "plugin":
        return checks_in(plugin)
    if kind == "model":
        return checks_in(model) + checks_in(controller) + checks_in(recurrent) + checks_in(side_effects)
    modules = {"dataset": dataset, "protocol": protocol, "decoder": decoder, "body": body}
    own = checks_in(modules[kind])
    return own + (checks_in(side_effects) if kind == "decoder" else ())


def fixture_of(order: Mapping[str, Any], code: set[str]) -> Any:
    """Create the fixture for the checks of a kind, from the order that a child received."""
    from neurobench_grasp.checks.audit import Audit

    folder = Path(order["folder"]).resolve()
    traps = next((folder / "cache").iterdir())
    audit = Audit(
        code, allowed=[folder / "tmp"], traps=traps, watched={folder / "cwd": ".", folder / "home": "~"}
    )
    kind = order["kind"]
    if kind == "dataset":
        return dataset.DatasetCase(audit)
    if kind == "body":
        return body.BodyCase(audit)
    from neurobench_grasp.alignment.session import AlignedSession
    from neurobench_grasp.sandbox.wire import read_packed

    session = read_packed(Path(order["sample"]), AlignedSession)
    if kind == "protocol":
        return protocol.ProtocolCase(audit, session)
    if kind == "decoder":
        return decoder.DecoderCase(audit, order["distribution"], session)
    from neurobench_grasp.checks.fixture import ModelCase

    return ModelCase(audit, folder, order["distribution"], session)


def outcome(one: Check, case: Any, statuses: Mapping[str, str]) -> tuple[str, str]:
    """Run a check, unless one that it needs did not pass.

    Parameters
    ----------
    one : Check
    case : object
        Its fixture.
    statuses : mapping of str to str
        Results of the checks before it.

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
    except Exception as error:  # a plugin can return anything; report it and continue
        return (
            "fail",
            f"Its result cannot be checked ({type(error).__name__}: {error}); return what the rule requires.",
        )
    return "pass", ""


def why_not(one: Check, statuses: Mapping[str, str]) -> str:
    """Return why a check would be meaningless after the results before it; empty if it is not."""
    blamed = _blamed(one, statuses)
    return f"Not run, because {blamed} did not pass." if blamed else ""


def _blamed(one: Check, statuses: Mapping[str, str]) -> str:
    """Return the check that this one depends on and that failed; empty if there is none.

    One that was skipped is none: both do not apply, and this one will say so itself.
    """
    for need in one.needs:
        if statuses.get(need) == "not run":
            return _blamed(_named(need), statuses)
        if statuses.get(need) not in ("pass", "skip"):
            return need
    return ""


def _named(name: str) -> Check:
    return next(one for kind in KINDS for one in checks_of(kind) if one.name == name)

"""Bodies by name: built once per process from what the plugins offer."""

from __future__ import annotations

from functools import cache

from neurobench_grasp.contract import Body, BodySpec, Trials
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.plugins import load_registry


def find_body(name: str) -> Body:
    """Return the body of that name.

    Raises
    ------
    UnknownNameError
        If no plugin offers it; the message suggests near names.
    PluginError
        If two plugins offer it; the message names both.
    """
    return _built(load_registry().body(name).spec)


def body_of(trials: Trials) -> Body:
    """Return the body of the trials' joint angles.

    Raises
    ------
    UnsupportedError
        If the trials have no joint angles.
    """
    if trials.body is None:
        raise UnsupportedError(f"{', '.join(dict.fromkeys(trials.sessions))} has no joint angles of a body.")
    return find_body(trials.body)


@cache
def _built(spec: BodySpec) -> Body:
    return spec.build()

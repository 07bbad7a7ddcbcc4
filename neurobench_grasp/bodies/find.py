"""Bodies by name: built once per process from what the plugins offer."""

from __future__ import annotations

from functools import cache

from neurobench_grasp.bodies.sizes import of_size
from neurobench_grasp.bodies.tendons import with_tendons
from neurobench_grasp.contract import Body, BodySpec, Trials
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.plugins import load_registry


def find_body(name: str) -> Body:
    """Return the body of that name.

    Parameters
    ----------
    name : str
        Of a body that a plugin offers, perhaps with a size, such as ``myoarm@0.6``
        (:mod:`neurobench_grasp.bodies.sizes`), and after a slash with other tendons of its muscles, such as
        ``myohand/fixed`` or ``myohand/permuted-0`` (:mod:`neurobench_grasp.bodies.tendons`).

    Raises
    ------
    UnknownNameError
        If no plugin offers it, the message suggests near names; or if there is no such size or tendons.
    PluginError
        If two plugins offer it; the message names both.
    UnsupportedError
        If the body cannot have this size, or its muscles these tendons.
    """
    sized, slash, tendons = name.partition("/")
    base, at, size = sized.partition("@")
    return _built(load_registry().body(base).spec, size if at else None, tendons if slash else None)


def body_of(trials: Trials, tendons: str | None = None) -> Body:
    """Return the body of the trials' joint angles.

    Parameters
    ----------
    trials : Trials
    tendons : str, optional
        Other tendons of its muscles, as in :func:`find_body`.

    Raises
    ------
    UnsupportedError
        If the trials have no joint angles.
    """
    if trials.body is None:
        raise UnsupportedError(f"{', '.join(dict.fromkeys(trials.sessions))} has no joint angles of a body.")
    return find_body(trials.body if tendons is None else f"{trials.body}/{tendons}")


@cache
def _built(spec: BodySpec, size: str | None = None, tendons: str | None = None) -> Body:
    if tendons is not None:
        return with_tendons(_built(spec, size), tendons)
    return spec.build() if size is None else of_size(_built(spec), size)

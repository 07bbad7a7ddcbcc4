"""The registry with models of plugins that run in separate environments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from neurobench_grasp.contract import Progress
from neurobench_grasp.plugins import Registry, canonical, load_registry


@contextmanager
def with_isolated(
    sources: Sequence[str], minutes: float, gib: float, progress: Progress
) -> Iterator[tuple[Registry, list[str]]]:
    """Yield what is installed and the models of isolated plugins, which run in the block, and their names.

    Parameters
    ----------
    sources : sequence of str
        Folders or requirements; none: only what is installed.
    minutes, gib : float
        That a model may take at a time, and memory.
    progress : callable
    """
    registry = load_registry()
    if not sources:
        yield registry, []
        return
    from neurobench_grasp.isolation import isolated_models
    from neurobench_grasp.isolation.process import LIMITS
    from neurobench_grasp.sandbox.limits import GIB

    limits = replace(LIMITS, seconds=60 * minutes, memory=round(gib * GIB))
    with isolated_models(sources, limits=limits, progress=progress) as models:
        theirs = {(p.spec.name, canonical(p.distribution)) for p in models}
        for known in registry.models():
            if (known.spec.name, canonical(known.distribution)) in theirs:
                progress(
                    f"{known.spec.name}: the isolated model is used, not that of the installed "
                    f"{known.provider}"
                )
        yield registry.with_isolated(models), [p.spec.name for p in models]

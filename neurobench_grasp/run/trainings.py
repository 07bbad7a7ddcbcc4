"""Trainings as tasks: several networks, wherever an executor performs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurobench_grasp.run.dataset import is_path
from neurobench_grasp.run.executors import Executor, run_tasks
from neurobench_grasp.run.grid import Task
from neurobench_grasp.run.tasks import TRAIN, code_versions, fetches, label
from neurobench_grasp.run.workspace import Workspace


def train_networks(
    models: Sequence[str],
    datasets: Sequence[str],
    seeds: Sequence[int],
    workspace: Workspace,
    executor: Executor,
    *,
    steps: int | None = None,
    layout: str | None = None,
    threads: int | None = None,
    device: str = "cpu",
    bodies: int | None = None,
    to: Path | None = None,
    **isolation: Any,
) -> tuple[list[Path], list[tuple[str, BaseException]]]:
    """Train a network of each model on each dataset with each seed, wherever the executor performs it.

    Parameters
    ----------
    models, datasets : sequence of str
    seeds : sequence of int
    workspace : Workspace
    executor : Executor
    steps, layout, threads, device, bodies, to
        See :func:`neurobench_grasp.run.train.train_network`.
    **isolation
        Options of a job: ``isolated``, ``time_limit`` and ``memory_limit``.

    Returns
    -------
    list of path
        Cards of the networks.
    list of (str, exception)
        What was not trained, and why.
    """
    for model in models:  # unknown names are reported before anything is trained
        workspace.registry.model(model)
    places = [str(Path(d).resolve()) if is_path(workspace.registry, d) else d for d in datasets]
    files = [str(Path(layout).resolve())] if layout is not None and Path(layout).exists() else []
    if sources := isolation.get("isolated"):
        isolation["isolated"] = [str(Path(s).resolve()) if Path(s).exists() else s for s in sources]
    shared = {
        "steps": steps,
        "layout": files[0] if files else layout,
        "threads": threads,
        "device": device,
        "bodies": bodies,
        "to": None if to is None else str(to.resolve()),
        "options": isolation if isolation.get("isolated") else {},
    }
    tasks, fetched = fetches(place for place in places if not is_path(workspace.registry, place))
    tasks += [
        Task(
            TRAIN,
            {"model": model, "dataset": place, "seed": seed, **shared},
            needs=(fetched[place],) if place in fetched else (),
        )
        for place in places
        for model in models
        for seed in seeds
    ]
    versions = code_versions(models, [*places, *files], workspace.registry)
    outcome = run_tasks(tasks, workspace, executor, versions)
    cards = [Path(result["card"]) for _, result in outcome.results]
    return cards, [(label(task), error) for task, error in outcome.failures]

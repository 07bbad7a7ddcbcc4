"""Train the network that a score needs, if it does not exist yet."""

from __future__ import annotations

from neurobench_grasp.contract import Progress, Trainable
from neurobench_grasp.controllers.checkpoints import own_networks
from neurobench_grasp.errors import MissingNetworkError
from neurobench_grasp.plugins import Registry
from neurobench_grasp.run.task import Task
from neurobench_grasp.run.train import alone, train_on, work_folder


def train_if_missing(
    task: Task,
    seed: int,
    registry: Registry,
    *,
    steps: int | None = None,
    progress: Progress = lambda text: None,
) -> None:
    """Train what a model depends on, unless it exists; must come before any stage is keyed.

    Networks are those of ``ngb train``, and kept in the same place. They may be another model's: the network
    before training is scored with its trained twin, and one that imitates an expert needs the expert first.

    Parameters
    ----------
    task : Task
    seed : int
    registry : Registry
        Where the model that has to be trained is looked up.
    steps : int, optional
        Control steps of experience. Default: the model's own choice.
    progress : callable

    Raises
    ------
    MissingNetworkError
        If the network is missing, and not of a model that can be trained for these trials.
    """
    trained: set[str] = set()
    while (missing := _missing(task, seed)) is not None:
        name = missing.model or task.candidate.spec.name
        if name in trained:
            raise missing
        _train(name, missing, task, seed, registry, steps, progress)
        trained.add(name)


def _train(
    name: str,
    missing: MissingNetworkError,
    task: Task,
    seed: int,
    registry: Registry,
    steps: int | None,
    progress: Progress,
) -> None:
    scored, data, trials = task.candidate.spec, task.learned, task.train
    trained = registry.model(name)
    built = trained.spec.build(seed)
    if not isinstance(built, Trainable) or trained.spec.step_s != scored.step_s:
        raise missing
    progress(
        f"{scored.name} (seed {seed}) needs a network of {name} for its training trials; there is none, so "
        "one is trained now (`--no-train` refuses)"
    )
    work = work_folder(own_networks(), data, name, seed, trials)
    with alone(work, progress):
        again = _missing(task, seed)  # another process may have trained it meanwhile
        if again is not None and again.model == missing.model:
            train_on(trained, built, data, trials, work, seed=seed, steps=steps, progress=progress)


def _missing(task: Task, seed: int) -> MissingNetworkError | None:
    """Return the error that names the network that is missing."""
    depends_on = task.candidate.spec.depends_on
    try:
        if depends_on is not None:
            depends_on(seed, task.train)
    except MissingNetworkError as error:
        return error
    return None

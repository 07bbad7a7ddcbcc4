"""From a task to a context: the model behind the contract, fitted lazily, and stages keyed in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurobench_grasp.contract import Controller, Model, Progress
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import CORE
from neurobench_grasp.protocols.context import Context, LazyModel
from neurobench_grasp.run.stages import Inputs, Keeper, Stages
from neurobench_grasp.run.task import Task


def make_context(
    task: Task, seed: int, own: Keeper, shared: Keeper, progress: Progress = lambda text: None
) -> Context:
    """Put the model behind the contract: fitted at most once, and only when a stage needs it.

    Parameters
    ----------
    task : Task
    seed : int
    own, shared : StageFolder or Unkept
        Where stages are kept: those that depend on the model, and the others.
    progress : callable
    """
    core, model = task.code_digest(CORE), model_inputs(task, seed)
    if model is None or core is None:
        progress(
            f"the code of {task.candidate.provider} cannot be identified, so nothing is kept for the next run"
        )
    stages = Stages(own, shared, task.data.splits.sha256, core, model, _decoder_inputs(task))
    return Context(
        sessions=task.data.sessions,
        splits=task.data.splits,
        model=LazyModel(
            lambda: fitted_model(task, seed, stages, progress),
            task.candidate.spec.controller,
            seed,
            task.candidate.spec.step_s,
            task.candidate.spec.seeded,
        ),
        decoder=task.decoder.spec,
        stages=stages,
        seed=seed,
        progress=progress,
    )


def model_inputs(task: Task, seed: int) -> dict[str, Any] | None:
    """Return what identifies a fitted model; ``None`` if its code cannot be identified."""
    candidate = task.candidate
    code = candidate.code_digest(task.code_digest)
    if code is None:
        return None
    inputs: dict[str, Any] = {
        "model": candidate.spec.name,
        "code": code,
        "seed": seed,
        "train": task.train.sha256,
    }
    if candidate.isolated is not None:
        inputs["packages"] = dict(candidate.isolated.packages)
    if candidate.spec.depends_on is not None:
        inputs["depends_on"] = candidate.spec.depends_on(seed, task.train)
    return inputs


def fit_inputs(model: Inputs, core: str) -> dict[str, Any]:
    """Return the inputs of the stage ``fit``, in which everything that the model learned is kept."""
    return {**model, "core": core}


def fitted_model(task: Task, seed: int, stages: Stages, progress: Progress) -> Model:
    """Fit a model, or restore it from the stage ``fit``.

    Raises
    ------
    NgbError
        If it claims to be a controller and lacks methods of one.
    """
    candidate = task.candidate

    def fit() -> dict[str, Any]:
        progress(f"fitting {candidate.spec.name} (seed {seed}) on {len(task.train)} trials")
        model = candidate.spec.build(seed)
        model.fit(task.train, seed=seed)
        return dict(model.state())

    known = None
    if stages.model is not None and stages.core is not None:
        known = fit_inputs(stages.model, stages.core)
    state = stages.own.keep("fit", known, fit)
    model = candidate.spec.build(seed)
    model.restore(state)
    if candidate.spec.controller and not isinstance(model, Controller):
        raise NgbError(
            f"{candidate.provider} declares {candidate.spec.name} a controller, but it lacks one of "
            "track, embed, observe and activations_of; add them or drop `controller=True`."
        )
    return model


def _decoder_inputs(task: Task) -> Mapping[str, str] | None:
    """Return what identifies a decoder; ``None`` if its code cannot be identified."""
    code = task.decoder.code_digest(task.code_digest)
    return None if code is None else {"decoder": task.decoder.spec.name, "code": code}

"""Train a network for a dataset: which trials it may see, where it is stored, and its card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from pathlib import Path
from typing import Any

from neurobench_grasp.claims import claimed
from neurobench_grasp.contract import DEFAULT_BODY, Controller, Model, ModelSpec, Progress, Trainable, Trials
from neurobench_grasp.controllers.checkpoints import NetworkCard, network_folder, own_networks, save_network
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.plugins import Provided, Registry, load_registry
from neurobench_grasp.run.dataset import Dataset, load_dataset
from neurobench_grasp.run.task import refuse_other_bodies

MONITORED = 30  # trials of a split that the learning curve follows
PACKAGES = (
    "neurobench-grasp", "mujoco", "mujoco-warp", "myosuite", "numpy", "stable-baselines3", "torch",
    "warp-lang",
)  # fmt: skip


def train_network(
    model: str,
    dataset: str | Path,
    *,
    seed: int = 0,
    steps: int | None = None,
    layout: str | Path | None = None,
    to: Path | None = None,
    threads: int | None = None,
    device: str = "cpu",
    bodies: int | None = None,
    registry: Registry | None = None,
    progress: Progress = lambda text: None,
) -> tuple[Path, NetworkCard]:
    """Train one network on the training trials of a dataset and keep it with its card.

    Parameters
    ----------
    model : str
        Name of a registered model.
    dataset : str or path
        Name of a registered dataset, or an NWB file.
    seed : int
    steps : int, optional
        Control steps of experience. Default: the model's own choice.
    layout : str or path, optional
    to : path, optional
        Folder for networks. Default: in the user's cache folder, where ``ngb score`` finds them.
    threads : int, optional
        Part of what a network depends on. Default: the usable cores.
    device : str
        ``cpu``, where MuJoCo C simulates; or where MuJoCo Warp does, ``cuda``, ``cuda:1`` or ``cpu-warp``.
    bodies : int, optional
        Number of bodies that are simulated at once. Default: the model's settings.
    registry : Registry, optional
        Where names are looked up. Default: what is installed.
    progress : callable

    Returns
    -------
    path
        Of the card, beside which the weights are.
    NetworkCard

    Raises
    ------
    UnsupportedError
        If the model is not trained by ``ngb train``, or not on a device, or moves another body than that of
        the dataset.
    """
    registry = registry or load_registry()
    candidate = registry.model(model)
    built = candidate.spec.build(seed)
    if not isinstance(built, Trainable):
        raise UnsupportedError(
            f"{model} needs no separate training; `ngb score --model {model}` fits it when it scores."
        )
    options: dict[str, Any] = {} if device == "cpu" else {"device": device}
    options |= {} if bodies is None else {"bodies": bodies}
    for name in options:
        if name not in signature(built.train).parameters:
            raise UnsupportedError(f"The training of {model} has no choice of {name}; leave out --{name}.")
    data = load_dataset(registry, dataset, layout, progress).for_network(seed, candidate.spec.tendons)
    trials = data.behaviour("train", candidate.spec.step_s)
    refuse_other_bodies(candidate.spec, trials, data)
    work = work_folder(to or own_networks(), data, model, seed, trials)
    with alone(work, progress):
        return train_on(
            candidate, built, data, trials, work, seed=seed, steps=steps, threads=threads, options=options,
            progress=progress,
        )  # fmt: skip


def work_folder(root: Path, data: Dataset, model: str, seed: int, trials: Trials) -> Path:
    """Return where a network is trained: beside the place where it will be kept."""
    folder = network_folder(root, data.id, model, seed, trials.sha256)
    return folder / f".{model}-{seed}-{trials.sha256[:8]}"


def alone(work: Path, progress: Progress) -> AbstractContextManager[None]:
    """Wait until no other process trains this network, and keep others from it."""
    return claimed(
        work,
        lambda: progress(f"waiting for another process, which trains this network in {work}"),
    )


def train_on(
    candidate: Provided[ModelSpec],
    built: Model,
    data: Dataset,
    trials: Trials,
    work: Path,
    *,
    seed: int,
    steps: int | None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress,
) -> tuple[Path, NetworkCard]:
    """Train one network on a dataset that was read, and keep it with its card.

    Parameters
    ----------
    candidate : Provided of ModelSpec
    built : Trainable
        Built with the seed.
    data : Dataset
        Of the network's fold.
    trials : Trials
        Its training trials, on the steps of the model.
    work : path
        :func:`work_folder`; the network is kept beside it. The caller is :func:`alone` in it.
    seed, steps, threads, progress
        See :func:`train_network`.
    options : mapping, optional
        Further arguments of the model's training.
    """
    assert isinstance(built, Trainable)
    model, step_s = candidate.spec.name, candidate.spec.step_s
    progress(f"working in {work}, with the log for tensorboard")
    followed = {split: data.behaviour(split, step_s) for split in ("train", "ood")}
    trained = built.train(
        trials,
        seed=seed,
        steps=steps,
        folder=work,
        monitor={split: some_of(each) for split, each in followed.items() if len(each)},
        threads=threads,
        progress=progress,
        **(options or {}),
    )
    card = {
        "model": model,
        "action": trained.action,
        "seed": seed,
        "settings": dict(trained.settings),
        "dataset": _training_data(data),
        "train_sha256": trials.sha256,
        "licence": "CC0-1.0" if data.synthetic else f"as its training data: {data.licence}",
        "body": trials.body or DEFAULT_BODY,
        **trained.facts,
        "errors_mm": _errors(built, data, step_s, progress),
        "versions": _versions() | dict(candidate.isolated.packages if candidate.isolated else {}),
    }
    path = save_network(work.parent, trained.weights, card)
    log = path.parent / "tensorboard" / path.stem
    shutil.rmtree(log, ignore_errors=True)
    if (work / "tensorboard").is_dir():  # a model's own training may write none
        log.parent.mkdir(exist_ok=True)
        (work / "tensorboard").rename(log)
    shutil.rmtree(work, ignore_errors=True)
    return path, NetworkCard.read(path)


def some_of(trials: Trials) -> Trials:
    """Evenly spread trials, for the learning curve."""
    return trials.select(range(0, len(trials), max(1, len(trials) // MONITORED)))


def _training_data(data: Dataset) -> dict[str, Any]:
    return {
        "id": data.id,
        "sha256": data.sha256,
        "splits": data.splits.sha256,
        "fold": data.fold,
        "held_out_conditions": list(data.splits.held_out),
        "licence": data.licence,
        "synthetic": data.synthetic,
    }


def _errors(model: Model, data: Dataset, step_s: float | None, progress: Progress) -> dict[str, float]:
    """Mean keypoint error over the scored windows of each split, mm."""
    from neurobench_grasp.controllers.closed_loop import window_error  # torch

    assert isinstance(model, Controller)
    errors = {}
    for split in ("train", "test", "ood"):
        if len(trials := data.behaviour(split, step_s)):
            progress(f"tracking error of the trained network on {len(trials)} trials of {split}")
            errors[split] = round(window_error(model.track(trials).keypoints, trials), 3)
    return errors


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

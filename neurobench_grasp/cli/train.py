"""``ngb train``: train networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neurobench_grasp.cli.executing import Cancel, On
from neurobench_grasp.cli.isolated import Isolated, MemoryLimit, TimeLimit
from neurobench_grasp.cli.jobs import Datasets, Steps
from neurobench_grasp.cli.terminal import Json, Out, Result, note, progress, table
from neurobench_grasp.run.job import RUNS


def train(
    model: Annotated[
        list[str],
        typer.Option("--model", "-m", help="Name of a model; `ngb models` lists them. May be repeated."),
    ],
    dataset: Datasets = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of the network (0).")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Train seeds 0 … N-1.")] = None,
    steps: Steps = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the file (default: the one that fits best).")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, help="Threads; part of what a network depends on (default: all cores)."
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="`cpu` (MuJoCo C), `cuda`, `cuda:1` (MuJoCo Warp) or `cpu-warp` (its CPU backend).",
        ),
    ] = "cpu",
    bodies: Annotated[
        int | None,
        typer.Option("--bodies", min=1, help="Bodies simulated at once (default: the model's settings)."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for networks (default: in the user's cache folder).")
    ] = None,
    isolated: Isolated = None,
    time_limit: TimeLimit = 24 * 60,
    memory_limit: MemoryLimit = 8,
    on: On = "local",
    cancel: Cancel = False,
    out: Out = RUNS,
    as_json: Json = False,
) -> Result:
    """Train networks on the training trials of a dataset; an interrupted training resumes.

    `ngb score` prefers the networks in the user's cache folder to those shipped with the project.
    """
    from neurobench_grasp.controllers.checkpoints import NetworkCard
    from neurobench_grasp.errors import sentence
    from neurobench_grasp.run.executors import executor_of
    from neurobench_grasp.run.isolated import with_isolated
    from neurobench_grasp.run.trainings import train_networks
    from neurobench_grasp.run.workspace import Workspace

    if seeds is not None and seed is not None:
        raise typer.BadParameter("give one of --seeds and --seed, not both", param_hint="--seeds")
    with (
        progress() as status,
        with_isolated(isolated or (), time_limit, memory_limit, status) as (registry, _),
    ):
        trained, failures = train_networks(
            list(dict.fromkeys(model)),
            list(dict.fromkeys(dataset or ("demo",))),
            range(seeds) if seeds is not None else (seed or 0,),
            Workspace(registry, out, status),
            executor_of(on, cancel=cancel),
            steps=None if steps is None else int(steps),
            layout=layout,
            threads=threads,
            device=device,
            bodies=bodies,
            to=to,
            isolated=tuple(isolated or ()),
            time_limit=time_limit,
            memory_limit=memory_limit,
        )
    if failures and not trained and len({str(error) for _, error in failures}) == 1:
        raise failures[0][1]
    reasons = [f"{what} was not trained: {sentence(error)}" for what, error in failures]
    for reason in reasons if as_json else ():
        note(reason)
    cards = [(path, NetworkCard.read(path)) for path in trained]
    view = [part for path, card in cards for part in _view(path, card, to)] + reasons
    data = [_as_json(path, card) for path, card in cards]
    return Result(data[0] if len(data) == 1 else data, view, exit_code=1 if reasons else 0)


def _view(path: Path, card: Any, to: Path | None) -> list[Any]:
    rows = [(split, f"{error:.2f}") for split, error in card.errors_mm.items()]
    view = [
        f"{card.model} (seed {card.seed}) on {card.dataset['id']}: {card.steps:,} steps in "
        f"{card.wall_time_s / 60:.1f} min",
        table("split", "tracking error (mm)", rows=rows, numbers=("tracking error (mm)",)),
        f"network: {path}",
        f"log: tensorboard --logdir {path.parent / 'tensorboard'}",
    ]
    if to is not None:
        from neurobench_grasp.controllers.checkpoints import own_networks

        view.append(f"`ngb score` searches {own_networks()}; copy {path.parent} there to use it.")
    return view


def _as_json(path: Path, card: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {"card": str(path), **asdict(card)}

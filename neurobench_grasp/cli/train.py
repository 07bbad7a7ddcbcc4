"""``ngb train``: train networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neurobench_grasp.cli.isolated import Isolated, MemoryLimit, TimeLimit, isolation
from neurobench_grasp.cli.jobs import Steps
from neurobench_grasp.cli.terminal import Json, Result, progress, table


def train(
    model: Annotated[str, typer.Option("--model", "-m", help="Name of a model; `ngb models` lists them.")],
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="Name of a dataset, or an NWB file.")
    ] = "demo",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the network.")] = 0,
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
    as_json: Json = False,
) -> Result:
    """Train a network on the training trials of a dataset; an interrupted training resumes.

    `ngb score` prefers the networks in the user's cache folder to those shipped with the project.
    """
    from neurobench_grasp.run.train import train_network

    with progress() as status, isolation(isolated, time_limit, memory_limit, status) as (registry, _):
        path, card = train_network(
            model, dataset, seed=seed, steps=None if steps is None else int(steps), layout=layout, to=to,
            threads=threads, device=device, bodies=bodies, registry=registry, progress=status,
        )  # fmt: skip
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
    return Result(_as_json(path, card), view)


def _as_json(path: Path, card: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {"card": str(path), **asdict(card)}

"""Options that choose what is scored, for ``ngb score`` and ``ngb plan``, and the jobs they stand for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurobench_grasp.errors import NgbError

if TYPE_CHECKING:
    from neurobench_grasp.contract import Progress
    from neurobench_grasp.plugins import Registry
    from neurobench_grasp.run.choice import Choice
    from neurobench_grasp.run.job import Job, Options
    from neurobench_grasp.run.workspace import Workspace

Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="Name of a model; `ngb models` lists them. May be repeated."),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        "-d",
        help="Name of a dataset, an NWB file, or a folder of NWB files: its sessions (default: demo). May be "
        "repeated.",
    ),
]
LayoutName = Annotated[
    str | None, typer.Option("--layout", help="Layout of the file (default: the one that fits best).")
]
Protocols = Annotated[
    list[str] | None,
    typer.Option("--protocol", "-p", help="Protocol; may be repeated (default: all that apply)."),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        min=1,
        help="Score seeds 0 … N-1, each on its own fold of the conditions (default: every fold once, or the "
        "first where networks have to be trained).",
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Score this seed alone.")]
StoredArrays = Annotated[
    Path | None,
    typer.Option("--activations", help="Score activations in an npz file; --model then names them."),
]
TrainedOn = Annotated[
    str | None,
    typer.Option(
        "--trained-on",
        help="Dataset that trained the model (default: the scored one); the map is fitted again.",
    ),
]
DecoderName = Annotated[
    str, typer.Option("--decoder", help="Decoder of brain control; `ngb decoders` lists them.")
]
Curves = Annotated[
    bool, typer.Option("--curves", help="Also score brain control with fewer units and with noise.")
]


def _whole(steps: float | None) -> float | None:
    """Refuse what is not a whole number; 4e5 is one."""
    if steps is not None and not (math.isfinite(steps) and steps == int(steps) and 1 <= steps <= 1e12):
        raise typer.BadParameter(f"{steps:g} is not a whole number from 1 to 1e12")
    return steps


Steps = Annotated[
    float | None,
    typer.Option(
        "--steps",
        callback=_whole,
        help="Control steps of experience of a network that is trained (default: the model's own choice).",
    ),
]
GridFile = Annotated[
    Path | None,
    typer.Option("--grid", help="Models, datasets, seeds and protocols in a YAML file (docs/clusters.md)."),
]
Train = Annotated[
    bool,
    typer.Option(
        "--train/--no-train",
        help="Train a network that is needed and does not exist for the training trials, or refuse to score.",
    ),
]


@dataclass(frozen=True)
class Planned:
    """Jobs, where they run, and why some models have none."""

    jobs: list[Job]
    workspace: Workspace
    failures: dict[str, NgbError]


def choice(
    model: Sequence[str] | None,
    dataset: Sequence[str] | None,
    layout: str | None,
    protocol: Sequence[str] | None,
    seeds: int | None,
    seed: int | None,
    activations: Path | None,
    trained_on: str | None,
    decoder: str,
    curves: bool,
    quarantine: bool,
    isolated: Sequence[str] | None,
    time_limit: float,
    memory_limit: float,
    train: bool,
    steps: float | None,
) -> Choice:
    """Return what the options choose.

    Raises
    ------
    typer.BadParameter
        If options contradict each other, or no model is named.
    """
    from neurobench_grasp.run.choice import Choice
    from neurobench_grasp.run.job import Options

    if seeds is not None and seed is not None:
        raise typer.BadParameter("give one of --seeds and --seed, not both", param_hint="--seeds")
    if steps is not None and not train:
        raise typer.BadParameter("nothing is trained with --no-train", param_hint="--steps")
    names = list(dict.fromkeys(model or ()))
    if activations is not None:
        if len(names) > 1 or isolated:
            raise typer.BadParameter("goes with one --model, not isolated", param_hint="--activations")
        names = names or [activations.stem.lower()]
    if not names and not isolated:
        raise typer.BadParameter("give a model, or activations in a file", param_hint="--model")
    numbers = range(seeds) if seeds is not None else None if seed is None else (seed,)
    options = Options(
        layout, trained_on, None if activations is None else str(activations), decoder, quarantine,
        tuple(isolated or ()), time_limit, memory_limit, train, None if steps is None else int(steps),
    )  # fmt: skip
    return Choice(names, list(dict.fromkeys(dataset or ("demo",))), protocol or (), numbers, curves, options)


@contextmanager
def planned(choices: Sequence[Choice], out: Path | None, progress: Progress) -> Iterator[Planned]:
    """Plan the jobs of all models on all datasets; a failure is raised if there is nothing else."""
    from neurobench_grasp.run.choice import same_isolation
    from neurobench_grasp.run.plan import plan

    with _workspace(same_isolation(choices), out, progress) as (workspace, isolated):
        wanted = [
            (chosen, dataset, name)
            for chosen in choices
            for dataset in chosen.datasets
            for name in chosen.models or isolated
        ]
        jobs, failures = [], {}
        for chosen, dataset, name in wanted:
            models = chosen.models or isolated
            try:
                jobs += plan(
                    workspace, name, dataset, chosen.protocols, chosen.seeds,
                    _options_for(name, models, chosen.options, workspace.registry), curves=chosen.curves,
                )  # fmt: skip
            except NgbError as error:
                if len(wanted) == 1:
                    raise
                several = len({dataset for _, dataset, _ in wanted}) > 1
                failures[f"{name} on {dataset}" if several else name] = error
        yield Planned(jobs, workspace, failures)


def _options_for(name: str, models: Sequence[str], options: Options, registry: Registry) -> Options:
    """Leave out the steps of training for a model that is not trained, if another of the models is."""
    from neurobench_grasp.run.plan import is_trained

    if options.steps is None or is_trained(registry, name, options):
        return options
    known = {each.spec.name for each in registry.models()}
    others = any(is_trained(registry, each, options) for each in models if each in known)
    return replace(options, steps=None) if others else options


@contextmanager
def stored(path: Path, out: Path, progress: Progress) -> Iterator[Planned]:
    """Read jobs from a file, or from standard input if the file is ``-``."""
    from neurobench_grasp.run.job import read_jobs

    jobs = read_jobs(path)
    limits = {(o.isolated, o.time_limit, o.memory_limit) for o in (job.options for job in jobs) if o.isolated}
    if len(limits) > 1 or (limits and not all(job.options.isolated for job in jobs)):
        raise NgbError(
            f"The jobs of {path} need different isolated plugins or limits; put each into a separate file."
        )
    with _workspace(jobs[0].options, out, progress) as (workspace, _):
        yield Planned(jobs, workspace, {})


@contextmanager
def _workspace(
    options: Options, out: Path | None, progress: Progress
) -> Iterator[tuple[Workspace, Sequence[str]]]:
    """Yield a workspace in which isolated models are running, and their names."""
    from neurobench_grasp.run.isolated import with_isolated
    from neurobench_grasp.run.workspace import Workspace

    limits = options.time_limit, options.memory_limit
    with with_isolated(options.isolated, *limits, progress) as (registry, names):
        yield Workspace(registry, out, progress), names


def read_grid(path: Path) -> list[Choice]:
    """Read what a grid file chooses."""
    from neurobench_grasp.run.choice import read_choices

    return read_choices(path)


def refuse_given(ctx: typer.Context, option: str, why: str) -> None:
    """Refuse options that a file states.

    Raises
    ------
    typer.BadParameter
        If some were given on the command line.
    """
    free = (option.removeprefix("--"), "on", "cancel", "out", "full", "as_json")
    given = [p for p in ctx.command.params if p.name and p.name not in free]
    names = [p.opts[0] for p in given if str(ctx.get_parameter_source(p.name or "")).endswith("COMMANDLINE")]
    if names:
        raise typer.BadParameter(f"{why}; leave out {', '.join(names)}", param_hint=option)

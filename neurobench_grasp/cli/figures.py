"""``ngb figures``: the figures of a score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurobench_grasp.cli.terminal import Json, Result, progress
from neurobench_grasp.run.job import RUNS

if TYPE_CHECKING:
    from neurobench_grasp.run.figures import Figures


def figures(
    model: Annotated[
        list[str], typer.Option("--model", "-m", help="Name of a model that was scored. May be repeated.")
    ],
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="Name of a dataset, or an NWB file.")
    ] = "demo",
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the file, if it was scored with one.")
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Draw seeds 0 … N-1.")] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Draw this seed alone (default: all that were scored)."),
    ] = None,
    activations: Annotated[
        Path | None, typer.Option("--activations", help="The npz file, if activations were scored.")
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option("--trained-on", help="Dataset that trained the model, if it was another one."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder that holds the record.")] = RUNS,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="Folder for the figures (default: `figures` in the run folder); of several models each has "
            "one in it.",
        ),
    ] = None,
    as_json: Json = False,
) -> Result:
    """Draw the figures of a score, each with its data beside it."""
    if seeds is not None and seed is not None:
        raise typer.BadParameter("give one of --seeds and --seed, not both", param_hint="--seeds")
    from neurobench_grasp.run.figures import draw_figures

    one = None if seed is None else (seed,)
    models = list(dict.fromkeys(model))
    folder = to or out / "figures"
    with progress() as status:
        drawn = {
            name: draw_figures(
                name,
                dataset,
                layout=layout,
                seeds=tuple(range(seeds)) if seeds is not None else one,
                activations=activations,
                trained_on=trained_on,
                out=out,
                to=folder / name if len(models) > 1 else folder,
                progress=status,
            )
            for name in models
        }
    view = [line for figures in drawn.values() for line in _view(figures)]
    found = {name: _json(figures) for name, figures in drawn.items()}
    return Result(found if len(models) > 1 else found[models[0]], view)


def _view(drawn: Figures) -> list[str]:
    return [
        drawn.title,
        *(f"{name}: {picture}, its data: {data}" for name, (picture, data) in drawn.files.items()),
        *(f"no {', '.join(names)}: {reason}" for reason, names in _by_reason(drawn.left_out).items()),
    ]


def _json(drawn: Figures) -> dict[str, Any]:
    files = {name: {"png": str(picture), "csv": str(data)} for name, (picture, data) in drawn.files.items()}
    return {"title": drawn.title, "files": files, "left_out": dict(drawn.left_out)}


def _by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    """Figures that could not be drawn, reason by reason."""
    names: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        names.setdefault(reason, []).append(name)
    return names

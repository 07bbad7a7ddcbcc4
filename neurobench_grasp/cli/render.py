"""``ngb render``: show a controller's body next to the recorded one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from neurobench_grasp.cli.terminal import Json, Result, progress


def render(
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name of a controller; `ngb models` lists models.")
    ],
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="Name of a dataset, or an NWB file.")
    ] = "demo",
    trial: Annotated[
        str | None,
        typer.Option(
            "--trial", help="Trial, or session/trial (default: the first one of a held-out object)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the network.")] = 0,
    area: Annotated[
        str | None, typer.Option("--area", help="Show a third body, controlled by the spikes of this area.")
    ] = None,
    decoded: Annotated[
        str,
        typer.Option("--decoded", help="With --area, what is decoded: embedding or joint_angles."),
    ] = "embedding",
    decoder: Annotated[
        str, typer.Option("--decoder", help="With --area, the decoder; `ngb decoders` lists decoders.")
    ] = "ridge",
    layout: Annotated[
        str | None, typer.Option("--layout", help="Layout of the file (default: the one that fits best).")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Video, .gif or .mp4 (default: MODEL-TRIAL.gif, or MODEL-TRIAL-AREA.gif)."),
    ] = None,
    as_json: Json = False,
) -> Result:
    """Draw a controller's body next to the recorded one: a video, a figure and its table."""
    from neurobench_grasp.run.render import render_trial

    with progress() as status:
        drawn = render_trial(
            model,
            dataset,
            trial=trial,
            seed=seed,
            area=area,
            decoded=decoded,
            decoder=decoder,
            layout=layout,
            to=to,
            progress=status,
        )
    driven, data = drawn.driven, asdict(drawn)
    if driven is None:
        errors = f"{drawn.error_mm:.1f} mm"
        del data["driven"]
    else:
        errors = f"intact goal {drawn.error_mm:.1f} mm; {driven.area} {driven.error_mm:.1f} mm ({driven})"
    view = [
        f"{model} (seed {seed}) on {drawn.session}/{drawn.trial} ({drawn.condition}): keypoint error "
        f"{errors}; average posture {drawn.average_posture_error_mm:.1f} mm",
        f"video: {drawn.video}",
        f"figure: {drawn.figure}",
        f"its data: {drawn.data}",
    ]
    paths = {name: str(getattr(drawn, name)) for name in ("video", "figure", "data")}
    return Result({**data, **paths}, view)

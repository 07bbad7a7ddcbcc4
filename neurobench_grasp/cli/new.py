"""``ngb new``: the folder of a new plugin."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from neurobench_grasp.cli.terminal import Command, Json, Result, progress

app = typer.Typer(help="Create the folder of a new plugin: a working example to edit.", no_args_is_help=True)
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Lower-case letters, digits, '_' and '-'; a folder of that name is created."
    ),
]
To = Annotated[Path, typer.Option("--to", help="Parent folder (default: here).")]
NEXT = {
    "model": "ngb score --model {name}",
    "controller": "ngb score --model {name}",
    "dataset": "ngb score --model linear_kinematic --dataset {name}",
    "protocol": "ngb score --model linear_kinematic --protocol {name}",
    "decoder": "ngb score --model muscle_ppo --protocol brain-control --decoder {name}",
    "body": "ngb bodies {name}",
}


@app.command("model", cls=Command)
def model(
    name: Name,
    controller: Annotated[
        bool, typer.Option("--controller", help="It moves the hand, and is scored for tracking, too.")
    ] = False,
    to: To = Path(),
    as_json: Json = False,
) -> Result:
    """Create a model: recorded behaviour in, activations out."""
    return _new("controller" if controller else "model", name, to)


@app.command("dataset", cls=Command)
def dataset(name: Name, to: To = Path(), as_json: Json = False) -> Result:
    """Create a dataset: a name for NWB files, and how they are made or found."""
    return _new("dataset", name, to)


@app.command("protocol", cls=Command)
def protocol(name: Name, to: To = Path(), as_json: Json = False) -> Result:
    """Create a protocol: how a model is scored on a dataset."""
    return _new("protocol", name, to)


@app.command("decoder", cls=Command)
def decoder(name: Name, to: To = Path(), as_json: Json = False) -> Result:
    """Create a decoder: spikes in, the command of the body out."""
    return _new("decoder", name, to)


@app.command("body", cls=Command)
def body(
    name: Name,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Convert this OpenSim model (`.osim`).")
    ] = None,
    to: To = Path(),
    as_json: Json = False,
) -> Result:
    """Create a body: joints, muscles and keypoints that controllers move."""
    if source is None:
        return _new("body", name, to)
    from neurobench_grasp.scaffold import new_body_from

    with progress() as report:
        folder, made = new_body_from(source, name, to, progress=report)
    created = _created("body", name, folder)
    worst = max(made.errors, key=lambda muscle: made.errors[muscle].rms)
    error = made.errors[worst]
    found = (
        f"{len(made.joints)} joints, {len(made.muscles)} muscles, {len(made.keypoints)} keypoints; largest "
        f"length error: {worst}, {1e3 * error.rms:.2f} mm rms, {1e3 * error.largest:.2f} mm at most "
        "(every muscle: README.md)"
    )
    data = {"length_errors": {m: asdict(e) for m, e in made.errors.items()}, "notes": made.notes}
    first, *rest = created.view
    return Result(created.data | data, [first, found, *made.notes, *rest])


def _new(kind: str, name: str, to: Path) -> Result:
    from neurobench_grasp.scaffold import new_plugin

    return _created(kind, name, new_plugin(kind, name, to))


def _created(kind: str, name: str, folder: Path) -> Result:
    from shlex import quote

    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    commands = [
        f"pip install -e {quote(f'{folder}[test]')}",
        f"ngb check {name}",
        NEXT[kind].format(name=name),
    ]
    view = [f"{folder}: {', '.join(files)}", "", "Next:", *(f"  {command}" for command in commands)]
    return Result({"folder": str(folder), "files": files, "next": commands}, view)

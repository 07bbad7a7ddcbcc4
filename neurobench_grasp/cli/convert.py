"""``ngb data convert``: convert files of other formats to NWB."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurobench_grasp.cli.terminal import Command, Json, Result, progress
from neurobench_grasp.errors import NgbError

if TYPE_CHECKING:
    from neurobench_grasp.data.converters.binned import Converted
    from neurobench_grasp.data.converters.trialdata import Options

app = typer.Typer(
    help="Convert MATLAB files to NWB: the grasp set of Dryad, and the TrialData convention.",
    no_args_is_help=True,
)
Files = Annotated[list[Path], typer.Argument(metavar="FILE…", help="MATLAB files (.mat).")]
To = Annotated[Path, typer.Option("--to", help="Folder for the NWB files, one per MATLAB file.")]


@app.command("dryad-grasp", cls=Command)
def dryad_grasp(files: Files, to: To, as_json: Json = False) -> Result:
    """Convert the grasp files of doi:10.5061/dryad.xsj3tx9cm that you have downloaded (unverified)."""
    return _converted(files, to)


@app.command("trialdata", cls=Command)
def trialdata(
    files: Files,
    to: To,
    condition: Annotated[
        str | None,
        typer.Option("--condition", help="Field of the condition (default: the target's direction)."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--start-event", help="Field idx_… where scoring begins (default: movement, else go)."),
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option("--stop-event", help="Field idx_… where scoring ends (default: the trial's end)."),
    ] = None,
    signals: Annotated[
        list[str] | None,
        typer.Option("--signal", help="Behavioural field in addition to pos, vel, emg …; may be repeated."),
    ] = None,
    variable: Annotated[
        str | None, typer.Option("--variable", help="Name of the struct array, if the file has several.")
    ] = None,
    position_unit: Annotated[
        str | None,
        typer.Option(
            "--position-unit",
            help="Unit of pos: m, cm, mm, or none if it is no hand's (default: cm, if that is in reach).",
        ),
    ] = None,
    licence: Annotated[str, typer.Option("--licence", help="SPDX identifier of the data's licence.")] = "",
    as_json: Json = False,
) -> Result:
    """Convert files of the TrialData convention: M1_spikes, pos, vel, bin_size, idx_… (unverified)."""
    from neurobench_grasp.data.converters.trialdata import Options

    options = Options(variable, condition, start, stop, tuple(signals or ()), licence, position_unit)
    return _converted(files, to, options)


def _converted(files: Sequence[Path], to: Path, options: Options | None = None) -> Result:
    """Convert the files and report on each."""
    from neurobench_grasp.data.converters.sandboxed import convert

    _check_names(files)
    found: dict[str, Any] = {}
    with progress() as status:
        for path in files:
            status(f"converting {path.name}")
            session = convert(path, options, progress=status)
            found[str(session.write(to))] = session
    return Result(
        [_as_json(path, converted) for path, converted in found.items()],
        [part for path, converted in found.items() for part in _view(path, converted)],
    )


def _check_names(files: Sequence[Path]) -> None:
    """Raise if two files would be converted to one."""
    stem, n = Counter(path.stem for path in files).most_common(1)[0]
    if n > 1:
        raise NgbError(f"{n} of the files are called {stem}; convert them into different folders.")


def _as_json(path: str, converted: Converted) -> dict[str, Any]:
    session = converted.session
    return {
        "file": path,
        "session": session.id,
        "subject": session.subject,
        "n_trials": len(session.trials),
        "n_units": dict(Counter(session.units.areas)),
        "bin_width": session.units.bin_width,
        "signals": list(session.signals),
        "body": session.body if session.endpoint or session.joint_map else None,
        "window": [session.window.start_event, session.window.stop_event],
        "unverified": list(converted.unverified),
        "notes": list(session.notes),
    }


def _view(path: str, converted: Converted) -> Iterator[str]:
    about = _as_json(path, converted)
    areas = ", ".join(f"{n} in {area}" for area, n in about["n_units"].items())
    yield path
    yield f"subject: {about['subject']}"
    yield f"trials: {about['n_trials']} in {len(set(converted.session.trials.condition))} conditions"
    yield f"units: {areas}; counts in bins of {1000 * about['bin_width']:g} ms"
    yield f"behaviour: {', '.join(about['signals']) or 'none'}"
    endpoint = converted.session.endpoint
    if endpoint is not None:
        yield f"body: {converted.session.body}, which follows {endpoint.signal}"
    elif about["body"]:
        yield f"body: {about['body']}, whose joint angles were recorded"
    yield f"scored: from {about['window'][0]} to {about['window'][1]}"
    yield from (f"note: {text}" for text in about["notes"])
    yield from (f"unverified: {text}" for text in about["unverified"])
    yield ""

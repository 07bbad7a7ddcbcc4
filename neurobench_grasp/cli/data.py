"""``ngb data``: inspect NWB files, list layouts, make recordings, export them (more in ``cached``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurobench_grasp.cli import cached
from neurobench_grasp.cli.terminal import Command, Json, QuarantineOption, Result, note, progress, table
from neurobench_grasp.errors import NgbError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from neurobench_grasp.contract import ScoreRow
    from neurobench_grasp.data.nwb.findings import Finding
    from neurobench_grasp.data.nwb.inspect import Inspection, LayoutFit

app = typer.Typer(
    help="Inspect NWB files, list layouts, make the built-in recordings, fetch others, export behaviour.",
    no_args_is_help=True,
)
File = Annotated[Path, typer.Argument(metavar="FILE", help="An NWB file.")]
Layout = Annotated[
    str | None, typer.Option("--layout", help="Name or file of a layout (default: the one that fits best).")
]


app.command("fetch", cls=Command)(cached.fetch)
app.command("files", cls=Command)(cached.files)
app.command("list", cls=Command)(cached.show)
app.command("verify", cls=Command)(cached.verify)
app.command("remove", cls=Command)(cached.remove)


@app.command("inspect", cls=Command)
def inspect(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="An NWB file, or dandi:ID[@VERSION]/PATH or an https address (not downloaded).",
        ),
    ],
    layout: Layout = None,
    instance: cached.Instance = None,
    quarantine: QuarantineOption = True,
    as_json: Json = False,
) -> Result:
    """Show what is inside a file: units, areas, rates, trials, events, signals, tuning around events."""
    from neurobench_grasp.data import inspect_file
    from neurobench_grasp.data.remote_inspection import inspect_remote, is_remote

    tuning: list[ScoreRow] = []
    if not is_remote(file):
        if instance is not None:
            raise typer.BadParameter("it requires an address dandi:…", param_hint="--instance")
        found = inspect_file(file, layout, quarantine=quarantine, progress=note)
        if found.layout is not None:
            found, tuning = _read(file, layout, found, quarantine)
    else:
        found = inspect_remote(file, layout, instance=instance, progress=note, quarantine=quarantine)
    return Result(
        {**asdict(found), "event_tuning": tuning}, [*_contents(found, layout), *_tuning_table(tuning)]
    )


@app.command("validate", cls=Command)
def validate(
    file: File, layout: Layout = None, quarantine: QuarantineOption = True, as_json: Json = False
) -> Result:
    """List every finding in a file, with severity and place; exit code 1 if one is an error."""
    from neurobench_grasp.data import validate_file
    from neurobench_grasp.data.dandi import is_address

    if is_address(str(file)):
        raise typer.BadParameter(
            "only local files are validated; `ngb data fetch` downloads this one and prints its path",
            param_hint="FILE",
        )
    findings = validate_file(file, layout, quarantine=quarantine, progress=note)
    if not any(f.severity == "error" for f in findings):
        findings = (*findings, *_findings_on_trials(file, layout, quarantine))
    count = Counter(f.severity for f in findings)
    summary = ", ".join(f"{count[s]} {s}" for s in ("error", "warning", "info") if count[s])
    lines = [f"{f.severity:8} {f.place}: {f.message}" for f in findings]
    view = [f"{file}: {summary or 'nothing to report'}", *lines]
    return Result([asdict(f) for f in findings], view, exit_code=1 if count["error"] else 0)


@app.command("make", cls=Command)
def make(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="[DATASET]", help="`demo`, or `mixed` or `mixed_memory`, whose units are of known kinds."
        ),
    ] = "demo",
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for the files (default: the user's cache folder).")
    ] = None,
    as_json: Json = False,
) -> Result:
    """Make the sessions of a built-in dataset (synthetic, a self-test)."""
    from neurobench_grasp.demo import make_demo
    from neurobench_grasp.demo.mixed import MIXED_SETS

    makers = {"demo": make_demo} | {name: one.make for name, one in MIXED_SETS.items()}
    if dataset not in makers:
        raise NgbError(f"{dataset!r} is not a built-in dataset; choose {' or '.join(makers)}.")
    with progress() as status:
        paths = makers[dataset](to, status)
    return Result([str(p) for p in paths], [str(p) for p in paths])


@app.command("export", cls=Command)
def export(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or an NWB file.")],
    to: Annotated[Path, typer.Option("--to", help="The npz file to write.")],
    layout: Layout = None,
    as_json: Json = False,
) -> Result:
    """Write the steps of all trials and the behaviour at each, as input for your own tools."""
    from neurobench_grasp.plugins import load_registry
    from neurobench_grasp.run.dataset import load_dataset
    from neurobench_grasp.run.stored_activations import write_steps

    with progress() as status:
        data = load_dataset(load_registry(), dataset, layout, status)
        write_steps(to, data.sessions)
    n_trials = sum(len(s.trials) for s in data.sessions)
    view = f"{to}: {n_trials} trials of {len(data.sessions)} session{'s' if len(data.sessions) > 1 else ''}"
    return Result({"file": str(to), "n_trials": n_trials}, [view])


@app.command("layouts", cls=Command)
def layouts(as_json: Json = False) -> Result:
    """List the layouts by which files are read."""
    from neurobench_grasp.data import layouts as known

    found = known()
    rows = [(name, layout.summary) for name, layout in found.items()]
    return Result([asdict(layout) for layout in found.values()], [table("layout", "summary", rows=rows)])


def _findings_on_trials(file: Path, layout: str | None, quarantine: bool) -> Iterator[Finding]:
    """Yield what a score would note about the session's trials, such as joints that its body lacks."""
    from neurobench_grasp.alignment.readiness import notes_on_trials
    from neurobench_grasp.data import Finding, load_session

    try:
        session = load_session(file, layout, quarantine=quarantine)
        yield from (Finding("info", "trials", note) for note in notes_on_trials(session))
    except NgbError as error:
        yield Finding("error", "trials", str(error).rstrip("."))


def _read(
    file: str, layout: str | None, found: Inspection, quarantine: bool
) -> tuple[Inspection, list[ScoreRow]]:
    """Read the session as a score does: what it can be scored by, and its tuning around each event."""
    from neurobench_grasp.alignment.readiness import scored_by
    from neurobench_grasp.data import load_session
    from neurobench_grasp.protocols.event_tuning import event_tuning

    try:
        session = load_session(file, layout, quarantine=quarantine)
    except NgbError as error:  # the contents are shown nevertheless
        return replace(found, scores=dict.fromkeys(found.scores, f"no: {error}")), []
    tuning = event_tuning(session) if found.n_units and found.n_trials else []
    return replace(found, scores=scored_by(session, found.scores)), tuning


def _contents(found: Inspection, layout: str | None) -> Iterator[RenderableType]:
    from neurobench_grasp.data.nwb.layout import extensions_of

    label = f" ({found.label})" if found.label else ""
    yield f"{found.path}{label}: {found.size / 1e6:.1f} MB, NWB {found.nwb_version}"
    for name in ("session", "subject", "species", "description", "licence"):
        if value := getattr(found, name):
            yield f"{name}: {value}"
    others = ", ".join(extensions_of(found.layout)) if found.layout else ""
    more = f"; others for such files (--layout): {others}" if others else ""
    yield f"layout: {found.layout or 'none fits'}{more}"
    if found.layout is None:
        yield from _misses(found.fits, layout)
    else:
        refused = [protocol for protocol, answer in found.scores.items() if answer.startswith("no: ")]
        yield from (f"scored by {p}: {answer}" for p, answer in found.scores.items() if p not in refused)
        if refused:
            yield f"scored by {', '.join(refused)}: {found.scores[refused[0]]}"
    yield ""
    yield from _units(found)
    yield from _trials(found)
    yield from _signals(found)


def _misses(fits: Sequence[LayoutFit], asked: str | None) -> Iterator[str]:
    """Report what the requested layout, or else the best one, lacks; count the parts missed by the others."""
    first, *others = sorted(fits, key=lambda f: (f.layout != asked, len(f.missing)))
    yield f"{first.layout} misses"
    yield from (f"  {part}" for part in first.missing)
    yield "parts missed by the others: " + ", ".join(f"{f.layout} {len(f.missing)}" for f in others)


def _units(found: Inspection) -> Iterator[RenderableType]:
    if not found.n_units:
        looked_for = ", ".join(found.units_looked_for)
        yield f"units: none (looked for at {looked_for})" if looked_for else "units: none"
    else:
        yield f"units: {found.n_units} at {', '.join(found.units_found)}"
        rows = [
            (a.area, str(a.n_units), *map(_decimal, (a.min_rate, a.median_rate, a.max_rate)))
            for a in found.areas
        ]
        heads = ("area", "units", "lowest rate (1/s)", "median", "highest")
        yield table(*heads, rows=rows, numbers=heads[1:])
    yield ""


def _trials(found: Inspection) -> Iterator[RenderableType]:
    if found.conditions is not None:
        each = ", ".join(f"{name}: {n}" for name, n in found.conditions.items())
        yield f"trials: {found.n_trials} in {len(found.conditions)} conditions ({each})"
        rows = [(e.name, str(e.count), str(e.missing)) for e in found.events]
        yield table("event", "trials", "missing", rows=rows, numbers=("trials", "missing"))
    else:
        tables = [(t.path, str(t.n_rows), " ".join(t.columns)) for t in found.tables]
        yield (
            table("table", "rows", "columns", rows=tables, numbers=("rows",)) if tables else "trials: none"
        )
    yield ""


def _signals(found: Inspection) -> Iterator[RenderableType]:
    if not found.signals:
        yield "signals: none"
        return
    rows = [
        (
            s.path,
            str(len(s.columns) or "–"),
            str(s.n_samples),
            _decimal(s.rate),
            s.unit,
            f"{_decimal(s.start)}–{_decimal(s.stop)}",
        )
        for s in found.signals
    ]
    heads = ("signal", "columns", "samples", "Hz", "unit", "from–to (s)")
    yield table(*heads, rows=rows, numbers=("columns", "samples", "Hz"))
    yield ""


def _tuning_table(tuning: Sequence[ScoreRow]) -> Iterator[RenderableType]:
    if tuning:
        rows = [
            (r["area"], r["event"], _decimal(r["reliability"]), str(r["n_units"]), str(r["n_conditions"]))
            for r in tuning
        ]
        yield "tuning: split-half reliability of condition means around each event"
        heads = ("area", "event", "reliability", "units", "conditions")
        yield table(*heads, rows=rows, numbers=heads[2:])


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"

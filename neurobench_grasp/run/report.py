"""A report of what has been scored: panels after the figures of the reference study, and a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.cache import cache_folder
from neurobench_grasp.contract import Progress
from neurobench_grasp.controllers.checkpoints import trained_networks
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.leaderboard.claims import judged
from neurobench_grasp.leaderboard.compare import on_dataset
from neurobench_grasp.leaderboard.evidence import (
    BRAIN_CONTROL,
    CURVES,
    ENCODING,
    TRACKING,
    Evidence,
    MissingError,
    Models,
    evidence,
    of_claims,
)
from neurobench_grasp.leaderboard.standings import METRIC, SPLIT
from neurobench_grasp.plots.brain_control import brain_control
from neurobench_grasp.plots.curves import count_units, curves
from neurobench_grasp.plots.gains import gains
from neurobench_grasp.plots.recovery import recovery_figure
from neurobench_grasp.plots.report.animals import (
    DECODED_ON,
    animals,
    decoding_by_animal,
    ev_of_two,
    tracking_of_two,
)
from neurobench_grasp.plots.report.learning import POSTURE, SPLITS, learning, snapshots
from neurobench_grasp.plots.report.page import Figure, page
from neurobench_grasp.plots.report.panels import Panel, figure_of
from neurobench_grasp.plots.report.verdicts import verdicts
from neurobench_grasp.plots.style import Drawing
from neurobench_grasp.plots.trajectory import Trajectory
from neurobench_grasp.plots.units import REFERENCE, units
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.protocols.brain_control.protocol import EV, measure, metric_of
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.encoding.protocol import predicted_sessions
from neurobench_grasp.records.names import DECODED
from neurobench_grasp.records.record import Scored, read_scored
from neurobench_grasp.records.table import ScoreTable
from neurobench_grasp.records.units import Labels
from neurobench_grasp.run.dataset import Dataset
from neurobench_grasp.run.fitted import make_context
from neurobench_grasp.run.job import RUNS, Options
from neurobench_grasp.run.render import average_posture, find_trial, tracked
from neurobench_grasp.run.stages import Kept
from neurobench_grasp.run.task import Task
from neurobench_grasp.run.workspace import Workspace
from neurobench_grasp.text import csv_of

FORMATS = ("pdf", "svg", "png")
AVERAGED = "condition_averaged_ev"
PERCENTILES = (90, 50)
"""Example units: those that are predicted well, and the median ones."""
TOLERANCE = 1e-6
"""Largest difference of a mean over sessions from the record's."""
TITLES = {
    "1": "Figure 1. Learning to move",
    "2": "Figure 2. Single units",
    "3": "Figure 3. Muscles against torques",
    "4": "Figure 4. Decoding and brain control",
    "5": "Figure 5. Claims and recovery",
}
ADVICE = "choose another folder with --to"


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Parameters
    ----------
    title : str
    page : path
    figures : mapping of str to sequence of path
        Number of each figure → its files.
    tables : mapping of str to path
        Letter of each panel, and name → its numbers.
    missing : mapping of str to str
        Letter of each panel that is missing → why.
    problems : tuple of str
        What could not be read.
    """

    title: str
    page: Path
    figures: Mapping[str, Sequence[Path]]
    tables: Mapping[str, Path]
    missing: Mapping[str, str]
    problems: tuple[str, ...]


def make_report(
    runs: Sequence[Path],
    *,
    dataset: str | None = None,
    layout: str | None = None,
    models: Models | None = None,
    to: Path,
    progress: Progress = lambda text: None,
) -> Report:
    """Write the report of one dataset: a page, and figures with their numbers.

    Parameters
    ----------
    runs : sequence of path
        Run folders, submissions, folders of records, or folders of these.
    dataset : str, optional
        Name of a dataset or path of a file that was scored; needed if there are records on several.
    layout : str, optional
        Layout of the file, if it was scored with one.
    models : Models, optional
        Controllers by muscles and torques, and the others of the claims.
    to : path
        Folder for the report; it contains one report, which replaces an older one.
    progress : callable

    Returns
    -------
    Report

    Raises
    ------
    NgbError
        If there are no records of these models, or on several datasets, or a file cannot be written.
    """
    models = models or Models()
    workspace = Workspace(load_registry(), progress=progress)
    known = {provided.spec.name for provided in workspace.registry.datasets()}
    scored, problems = read_scored(runs, _of_report)
    if not scored and problems:
        raise NgbError(problems[0])
    options = Options(layout=layout)
    chosen = _scored_on(scored, dataset, lambda: workspace.find(models.muscle, str(dataset), options).data)
    at_hand = _one(evidence(chosen, known, _run_folder(runs)), models, scored, runs)
    name = str(at_hand.dataset["dataset"])
    place = dataset if dataset is not None else name if name in known else None
    sources = _Sources(at_hand, models, workspace, runs, place, options)
    panels = [_panel(sources, *panel) for panel in PANELS]
    kind = "synthetic self-test" if at_hand.dataset["synthetic"] else "recordings"
    title = f"{models.muscle} and {models.torque} on {name} ({kind})"
    return _write(to, title, at_hand, sources.claims, panels, problems)


def _of_report(labels: Labels) -> bool:
    """Select the scores of single units that panels and claims follow from."""
    return of_claims(labels) or (labels.split == SPLIT and labels.metric == AVERAGED)


def _scored_on(
    scored: Sequence[Scored], dataset: str | None, read: Callable[[], Dataset]
) -> Sequence[Scored]:
    """Keep the records on a dataset, which is known by its name or by the content of its file."""
    if dataset is None or any(s.record.dataset["id"] == dataset for s in scored):
        return on_dataset(list(scored), dataset)
    content = read().sha256
    return [s for s in scored if s.record.dataset["sha256"] == content]


def _one(
    found: Sequence[Evidence], models: Models, scored: Sequence[Scored], runs: Sequence[Path]
) -> Evidence:
    """Return the evidence on the one dataset, scored by models that were trained on it if there are any."""
    found = [one for one in found if one.has(models)]
    found = [one for one in found if not one.dataset["trained_on"]] or found
    if not found:
        others = ", ".join(sorted({one.record.model for one in scored}))
        there = f"records of {others}, and none of the controllers that a report compares" * bool(others)
        raise NgbError(
            f"{' and '.join(map(str, runs))} has {there or 'no records'}; score them first: "
            f"`ngb score -m {models.muscle} -m {models.torque} --seeds 5 --out {runs[0]}`."
        )
    if len(found) > 1:
        names = (f"{one.dataset['dataset']} (data {one.dataset['dataset_sha256'][:8]})" for one in found)
        raise NgbError(f"There are records on {', '.join(names)}; choose one with --dataset.")
    return found[0]


def _run_folder(runs: Sequence[Path]) -> str:
    """Return the run folder that commands name; empty for the default one."""
    folders = [run for run in runs if (run / "records").is_dir() and run != RUNS]
    return str(folders[0]) if folders and RUNS not in runs else ""


@dataclass
class _Sources:
    """What panels are made from: records, and stages of run folders that are read and never made."""

    at_hand: Evidence
    models: Models
    workspace: Workspace
    runs: Sequence[Path]
    place: str | None
    options: Options

    @cached_property
    def claims(self) -> list[dict[str, Any]]:
        """Every claim and its verdict."""
        return judged(self.at_hand, self.models)

    def table(self, protocol: str, model: str | None = None) -> ScoreTable:
        """Return the networks of a model, by default that with muscles."""
        return self.at_hand.table(model or self.models.muscle, protocol)

    def task(self, seed: int) -> Task:
        """Return the model with muscles and the dataset that it was scored on."""
        name, content = self.at_hand.dataset["dataset"], self.at_hand.dataset["dataset_sha256"]
        if self.place is None:
            raise UnsupportedError(f"the file of {name} is not known; name it with --dataset")
        task = self.workspace.find(self.models.muscle, self.place, self.options, seed)
        if task.data.sha256 != content:
            raise UnsupportedError(f"{name} has changed since it was scored; score it again")
        return task

    def context(self, seed: int) -> Context:
        """Return one network with muscles, whose stages are only read."""
        own = Kept(tuple(run / "stages" for run in self.runs if (run / "stages").is_dir()))
        shared = Kept((*own.folders, cache_folder() / "references"))
        return make_context(self.task(seed), seed, own, shared, self.workspace.progress)


def _panel(
    sources: _Sources, letter: str, sentence: str, protocol: str, make: Callable[[_Sources], list[Drawing]]
) -> Panel:
    """Make a panel, or state what is missing and which command makes it."""
    sources.workspace.progress(f"panel {letter}")
    try:
        return Panel(letter, sentence, tuple(make(sources)))
    except (NgbError, MissingError) as why:
        reason = str(why).rstrip(".")
    if protocol and "`" not in reason:
        reason = f"{reason}; {sources.at_hand.made_by(sources.models.muscle, protocol)}"
    return Panel(letter, sentence, missing=reason)


# --- panels ---------------------------------------------------------------------------------------


def _learning(sources: _Sources) -> list[Drawing]:
    found = {}
    for model, protocol in sources.at_hand.tables:
        if protocol == TRACKING:
            cards = {card.sha256: card.curve for _, card in trained_networks(model)}
            networks = sources.table(TRACKING, model).networks
            digests = {one.record.seed: one.record.provenance.get("weights") for one in networks}
            found[model] = {seed: cards[digest] for seed, digest in digests.items() if digest in cards}
    found = {model: of_model for model, of_model in found.items() if of_model}
    tracking = sources.table(TRACKING)
    if not found:
        raise UnsupportedError("no card of the networks that were scored is here")
    lines = {s: tracking.score("tracking_error", split=s, reference=POSTURE).value for s in SPLITS}
    return [learning(found, {split: error for split, error in lines.items() if error is not None})]


def _snapshots(sources: _Sources) -> list[Drawing]:
    seed = sources.table(TRACKING).seeds[0]
    data, context = sources.task(seed).data, sources.context(seed)
    session, index = find_trial(data, None)
    trial = context.clock(session).trials.select([index])
    movement = tracked(context, sources.models.muscle, trial)
    trajectory = Trajectory.of(trial, movement, average_posture(data, session))
    about = f"{session.id}, trial {trial.ids[0]}, {trial.condition[0]}"
    return [snapshots(trajectory, "simulated", f"{sources.models.muscle} (seed {seed}) on {about}")]


def _units(sources: _Sources) -> list[Drawing]:
    networks = sources.table(ENCODING)
    context = sources.context(networks.seeds[0])
    return [units(networks, list(predicted_sessions(context, [REFERENCE])), PERCENTILES)]


def _gains(sources: _Sources) -> list[Drawing]:
    return [gains(sources.table(ENCODING), metric) for metric in (METRIC, AVERAGED)]


def _two(sources: _Sources, protocol: str) -> tuple[ScoreTable, ScoreTable]:
    return sources.table(protocol), sources.table(protocol, sources.models.torque)


def _decoding(sources: _Sources) -> list[Drawing]:
    networks = sources.table(BRAIN_CONTROL)
    try:
        parts = {seed: _decoded_by_session(sources, seed) for seed in networks.seeds}
    except NgbError as why:  # the means are in the record
        sources.workspace.progress(f"decoding of all animals together: {why}")
        parts = {}
    by_session = {
        (seed, *labels): ev for seed, of_network in parts.items() for labels, ev in of_network.items()
    }
    _compare(networks, by_session)
    return [decoding_by_animal(networks, by_session)]


def _decoded_by_session(sources: _Sources, seed: int) -> dict[tuple[str, str, str], float]:
    """Explained variance of one network's commands by session, area and kind."""
    context, found = sources.context(seed), {}
    for session in context.sessions:
        arrays = measure(context, session)
        for area in dict.fromkeys(session.units.areas):
            for kind in DECODED:
                if (table := arrays.get(f"ev {DECODED_ON} {area} {kind} by conditions")) is not None:
                    varies = np.isfinite(table).all(0)  # the others have no explained variance
                    if varies.any():
                        found[session.id, area, kind] = float(table[0, varies].mean())
    return found


def _compare(networks: ScoreTable, by_session: Mapping[tuple[int, str, str, str], float]) -> None:
    """Check that the parts of a mean are those of the record.

    Raises
    ------
    NgbError
        If they are not.
    """
    for seed, area, kind in dict.fromkeys((seed, area, kind) for seed, _, area, kind in by_session):
        labels = {"split": DECODED_ON, "area": area, "decoded": kind}
        scored = networks.score(metric_of(EV, kind), seed, **labels).value
        of_animals = []
        for sessions in animals(networks).values():
            parts = [by_session[seed, s, area, kind] for s in sessions if (seed, s, area, kind) in by_session]
            of_animals += [sum(parts) / len(parts)] if parts else []
        mean = sum(of_animals) / len(of_animals)
        if scored is None or abs(scored - mean) > TOLERANCE:
            raise NgbError(
                f"Decoding EV of {area} ({kind}, seed {seed}) is {mean:.4f} in the run folder and {scored} "
                "in the record; score again, then make the report."
            )


def _brain_control(sources: _Sources) -> list[Drawing]:
    return [brain_control(sources.table(BRAIN_CONTROL))]


def _curves(sources: _Sources) -> list[Drawing]:
    scored = sources.table(CURVES)
    beside = sources.at_hand.tables.get((sources.models.muscle, BRAIN_CONTROL))
    return [curves(scored, beside, count_units(sources.task(scored.seeds[0]).data.sessions))]


def _recovery(sources: _Sources) -> list[Drawing]:
    """Draw the table that ``ngb recovery`` wrote."""
    import pandas as pd

    for path in (folder / "recovery.csv" for run in sources.runs for folder in (run, run / "recovery")):
        if path.is_file():
            try:
                table = pd.read_csv(path)
                return [Drawing("recovery", table, recovery_figure(table))]
            except (ValueError, KeyError, AttributeError, OSError) as error:
                raise NgbError(f"{path} is not a table of `ngb recovery`: {error}") from error
    out = Path(sources.at_hand.out or RUNS) / "recovery"
    raise UnsupportedError(f"no recovery.csv in the run folders; `ngb recovery --out {out}` makes it")


PANELS: tuple[tuple[str, str, str, Callable[[_Sources], list[Drawing]]], ...] = (
    ("1E", "Tracking error during training, beside that of the average posture.", TRACKING, _learning),
    ("1F", "Recorded and simulated postures during a movement in a new condition.", TRACKING, _snapshots),
    (
        "2A–B",
        "Example units on single trials (left) and averaged (right), beside linear kinematics.",
        ENCODING,
        _units,
    ),
    ("2C", "Gains in single-trial and condition-averaged EV over references.", ENCODING, _gains),
    (
        "3B",
        "Tracking error by muscles and by torques, animal by animal.",
        TRACKING,
        lambda sources: [tracking_of_two(*_two(sources, TRACKING))],
    ),
    (
        "3C",
        "Explained variance by muscles and by torques, by animal and area.",
        ENCODING,
        lambda sources: [ev_of_two(*_two(sources, ENCODING))],
    ),
    ("4C", "How well commands are decoded from each area, animal by animal.", BRAIN_CONTROL, _decoding),
    ("4D", "Error of the brain-controlled body, beside all references.", BRAIN_CONTROL, _brain_control),
    ("4E", "Brain-control error by number of units and by noise.", CURVES, _curves),
    (
        "5A",
        "Claims of the reference study, as these records support them.",
        "",
        lambda s: [verdicts(s.claims)],
    ),
    ("5B", "Recovery of known models from synthetic units.", "", _recovery),
)
"""Letter, sentence, protocol whose stages or records are needed, and what makes the panel."""


# --- files ----------------------------------------------------------------------------------------


def _write(
    to: Path,
    title: str,
    at_hand: Evidence,
    claims: Sequence[Mapping[str, Any]],
    panels: Sequence[Panel],
    problems: tuple[str, ...],
) -> Report:
    """Write all files, and remove those of an earlier report that are not among them."""
    files: dict[Path, bytes] = {}
    figures, drawn, tables = [], {}, {}
    for number, group in groupby(panels, key=lambda panel: panel.figure):
        parts = list(group)
        made = [panel for panel in parts if panel.drawings]
        heading, svg = TITLES[number], b""
        if made:
            picture = figure_of(f"{heading}: {title}", made)
            drawn[number] = [to / f"figure_{number}.{kind}" for kind in FORMATS]
            files |= {path: picture.render(kind) for path, kind in zip(drawn[number], FORMATS, strict=True)}
            svg = files[to / f"figure_{number}.svg"]
        figures.append(Figure(heading, parts, svg))
        for panel in made:
            for k, drawing in enumerate(panel.drawings):
                letter = panel.letter.replace("–", "")
                name = "_".join([letter, drawing.name, *([str(k + 1)] if k else [])])
                tables[name] = to / f"panel_{name}.csv"
                files[tables[name]] = csv_of(drawing.table)
    records = list(_records(at_hand))
    files[to / "report.html"] = page(
        title, synthetic=bool(at_hand.dataset["synthetic"]), figures=figures, claims=claims, records=records,
        problems=problems,
    )  # fmt: skip
    for path, content in files.items():
        write_atomically(path, content, advice=ADVICE)
    for old in {*to.glob("figure_?.*"), *to.glob("panel_*.csv")} - files.keys():
        old.unlink()
    missing = {panel.letter: panel.missing for panel in panels if panel.missing}
    return Report(title, to / "report.html", drawn, tables, missing, problems)


def _records(at_hand: Evidence) -> Iterator[dict[str, Any]]:
    for (model, protocol), table in sorted(at_hand.tables.items()):
        record = table.first.record
        seeds = ", ".join(map(str, table.seeds))
        yield {"model": model, "protocol": protocol, "version": record.protocol["version"], "seeds": seeds,
               "ngb": record.provenance.get("ngb", "")}  # fmt: skip

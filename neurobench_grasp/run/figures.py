"""The figures of a score, each with its data as a table beside it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurobench_grasp.alignment.muscle_map import emg_columns
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.contract import Progress
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.plots.brain_control import brain_control
from neurobench_grasp.plots.components import components
from neurobench_grasp.plots.curves import count_units, curves
from neurobench_grasp.plots.decoding import decoding
from neurobench_grasp.plots.emg_matrix import emg_matrix
from neurobench_grasp.plots.emg_neurons import emg_neurons
from neurobench_grasp.plots.emg_tuning import emg_tuning
from neurobench_grasp.plots.gains import gains
from neurobench_grasp.plots.layers import layers
from neurobench_grasp.plots.scores import scores
from neurobench_grasp.plots.sources import NoRecordError, RunFolder, title_of
from neurobench_grasp.plots.style import Drawing
from neurobench_grasp.plots.units import units
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.emg.activation import Muscles
from neurobench_grasp.protocols.encoding.protocol import predicted_sessions
from neurobench_grasp.records.table import ScoreTable
from neurobench_grasp.run.fitted import make_context
from neurobench_grasp.run.job import Options
from neurobench_grasp.run.stages import shared_folder
from neurobench_grasp.run.workspace import Workspace
from neurobench_grasp.text import csv_of

ADVICE = "choose another folder with --to"
PROTOCOLS = {
    "encoding": "--protocol encoding",
    "brain-control": "--protocol brain-control",
    "brain-control-curves": "--curves",
    "layers": "--protocol layers",
    "emg": "--protocol emg",
}
"""Protocols that are drawn, and the options of ``ngb score`` for each."""


@dataclass(frozen=True)
class Figures:
    """Figures that were drawn.

    Parameters
    ----------
    title : str
        What was scored, as text.
    files : mapping of str to (path, path)
        Name of each figure → picture and its data.
    left_out : mapping of str to str
        Name of each figure that could not be drawn → why.
    """

    title: str
    files: Mapping[str, tuple[Path, Path]]
    left_out: Mapping[str, str]


def draw_figures(
    model: str,
    dataset: str | Path,
    *,
    seeds: Sequence[int] | None = None,
    layout: str | Path | None = None,
    activations: str | Path | None = None,
    trained_on: str | Path | None = None,
    out: Path,
    to: Path | None = None,
    progress: Progress = lambda text: None,
) -> Figures:
    """Draw the figures of a model that was scored on a dataset.

    Parameters
    ----------
    model, dataset, layout, activations, trained_on
        As they were given to :func:`neurobench_grasp.run.evaluate.evaluate`.
    seeds : sequence of int, optional
        Networks; default: all that have a record.
    out : path
        Run folder.
    to : path, optional
        Folder for the figures; default: ``out/figures``.
    progress : callable

    Returns
    -------
    Figures

    Raises
    ------
    NgbError
        If there is no record yet, or a file cannot be written.
    """
    options = {"--layout": layout, "--activations": activations, "--trained-on": trained_on}
    command = _score_command(model, dataset, options, seeds, out)
    folder = RunFolder.read(out)
    try:
        _any(folder, model, {}, seeds)  # before the dataset is read, which takes longer
        workspace = Workspace(load_registry(), out, progress)
        layout, trained_on, activations = (
            None if x is None else str(x) for x in (layout, trained_on, activations)
        )
        how = Options(layout, trained_on, activations)
        task = workspace.find(model, dataset, how)
        identity = {
            "sha256": task.data.sha256,
            "folds": task.data.folds_sha256,
            "trained_on_sha256": task.data.trained_on_sha256,
        }
        known = _any(folder, model, identity, seeds)
    except NoRecordError as why:
        raise NgbError(f"There is no record {why}; score first: `{command}`.") from why

    def find(protocol: str, seeds: Sequence[int] | None = seeds) -> ScoreTable:
        if protocol.startswith("brain-control") and not task.candidate.spec.controller:
            raise UnsupportedError("the model moves no body")
        if protocol == "emg" and not any(map(_has_emg, task.data.sessions)):
            raise UnsupportedError("no EMG was recorded")
        try:
            return folder.networks(model, protocol, identity, seeds)
        except NoRecordError as why:
            raise UnsupportedError(f"no record {why}; `{command} {PROTOCOLS[protocol]}` makes it") from why

    def context_of(scored: ScoreTable) -> Context:
        """Return the first network, on its own fold."""
        own, seed = workspace.stages(), scored.seeds[0]
        of_network = workspace.find(model, dataset, how, seed)
        return make_context(of_network, seed, own, shared_folder(own), progress)

    def example_units() -> Drawing:
        scored = find("encoding")
        return units(scored, list(predicted_sessions(context_of(scored))))

    def tuning() -> Drawing:
        scored = find("emg")
        return emg_tuning(scored, _first_muscles(context_of(scored)))

    def matrix() -> Drawing:
        scored = find("emg")
        context = context_of(scored)
        muscles = _first_muscles(context)
        return emg_matrix(scored, muscles, context.index(muscles.session, context.splits.test))

    def curves_with_references() -> Drawing:
        scored = find("brain-control-curves")
        try:
            references = find("brain-control", scored.seeds)
        except UnsupportedError:
            references = None
        return curves(scored, references, count_units(task.data.sessions))

    kinds: Mapping[str, Callable[[], Drawing]] = {
        "scores": lambda: scores(find("encoding")),
        "gains": lambda: gains(find("encoding")),
        "layers": lambda: layers(find("encoding")),
        "units": example_units,
        "components": lambda: components(find("layers")),
        "decoding": lambda: decoding(find("brain-control")),
        "brain_control": lambda: brain_control(find("brain-control")),
        "curves": curves_with_references,
        "emg_tuning": tuning,
        "emg_matrix": matrix,
        "emg_neurons": lambda: emg_neurons(find("emg")),
    }
    drawings, left_out = {}, {}
    for name, make in kinds.items():
        progress(f"drawing {name}")
        try:
            drawings[name] = make()
        except UnsupportedError as reason:
            left_out[name] = str(reason)
    return Figures(title_of(known), _write(to or out / "figures", known, drawings, left_out), left_out)


def _has_emg(session: AlignedSession) -> bool:
    return session.recording is not None and bool(emg_columns(session.recording.session))


def _first_muscles(context: Context) -> Muscles:
    """Return the muscles of the first session whose EMG is of muscles of its body."""
    reasons = []
    for session in context.sessions:
        try:
            return Muscles.of(context, session)
        except UnsupportedError as why:
            reasons.append(str(why))
    raise UnsupportedError("; ".join(reasons).rstrip("."))


def _any(
    folder: RunFolder, model: str, identity: Mapping[str, Any], seeds: Sequence[int] | None
) -> ScoreTable:
    """Find records by any protocol that is drawn.

    Raises
    ------
    NoRecordError
        If there are none; it names the first protocol.
    """
    reasons = []
    for protocol in PROTOCOLS:
        try:
            return folder.networks(model, protocol, identity, seeds)
        except NoRecordError as why:
            reasons.append(why)
    raise reasons[0]


def _write(
    folder: Path, scored: ScoreTable, drawings: Mapping[str, Drawing], left_out: Iterable[str]
) -> dict[str, tuple[Path, Path]]:
    """Write the figures, and remove others of an earlier run, which are of another score."""
    record = scored.first.record
    files = {}
    for name, drawing in drawings.items():
        whole = {column: "Int64" for column in ("seed", "n_units") if column in drawing.table}
        table = drawing.table.astype(whole)
        table.insert(0, "model", record.model)
        table.insert(1, "dataset", record.dataset["id"])
        picture, data = files[name] = (folder / f"{name}.png", folder / f"{name}.csv")
        write_atomically(data, csv_of(table), advice=ADVICE)
        write_atomically(picture, drawing.png, advice=ADVICE)
    for name in left_out:
        for suffix in (".png", ".csv"):
            (folder / name).with_suffix(suffix).unlink(missing_ok=True)
    return files


def _score_command(
    model: str, dataset: str | Path, options: Mapping[str, Any], seeds: Sequence[int] | None, out: Path
) -> str:
    """Return the command that makes the records."""
    command = ["ngb", "score", "--model", model, "--dataset", str(dataset)]
    for name, value in options.items():
        command += [name, str(value)] if value is not None else []
    if seeds is not None:
        command += ["--seed", str(seeds[0])] if len(seeds) == 1 else ["--seeds", str(max(seeds) + 1)]
    return shlex.join([*command, "--out", str(out)])

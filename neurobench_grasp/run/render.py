"""Rendering of a controller: one trial as a video and a figure of simulated and recorded bodies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.bodies import body_of
from neurobench_grasp.bodies.render import drawing_backend
from neurobench_grasp.contract import Floats, Progress, Tracking, Trials
from neurobench_grasp.errors import NgbError, UnknownNameError, UnsupportedError
from neurobench_grasp.plots.trajectory import Trajectory
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.protocols.brain_control.trial import drive_trial
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.run.dataset import Dataset
from neurobench_grasp.run.fitted import make_context
from neurobench_grasp.run.job import Options
from neurobench_grasp.run.stages import Unkept
from neurobench_grasp.run.workspace import Workspace
from neurobench_grasp.text import csv_of

SHOWN_FIRST = ("ood", "test", "train")


@dataclass(frozen=True)
class DrivenBody:
    """Error of the body driven by decoded spikes.

    Parameters
    ----------
    area, decoded, decoder : str
        Area of the spikes, the command that was decoded from them, and the decoder.
    fitted_on_trial : bool
        True if the decoder was fitted on this trial, among others.
    error_mm : float
        Mean keypoint distance over the scored window.
    """

    area: str
    decoded: str
    decoder: str
    fitted_on_trial: bool
    error_mm: float

    def __str__(self) -> str:
        """Describe signal, area and decoder."""
        too = ", which was fitted on this trial too" if self.fitted_on_trial else ""
        return f"{self.decoded.replace('_', ' ')} decoded from {self.area} by {self.decoder}{too}"


@dataclass(frozen=True)
class Rendering:
    """Files of a rendered trial, and its errors.

    Parameters
    ----------
    video, figure, data : path
        The figure's data is a table with one row per step.
    session, trial, condition : str
    error_mm, average_posture_error_mm : float
        Mean keypoint distance over the scored window.
    driven : DrivenBody, optional
        The body that spikes drove.
    """

    video: Path
    figure: Path
    data: Path
    session: str
    trial: str
    condition: str
    error_mm: float
    average_posture_error_mm: float
    driven: DrivenBody | None = None


def render_trial(
    model: str,
    dataset: str | Path,
    *,
    trial: str | None = None,
    seed: int = 0,
    area: str | None = None,
    decoded: str = "embedding",
    decoder: str = "ridge",
    layout: str | Path | None = None,
    to: Path | None = None,
    progress: Progress = lambda text: None,
) -> Rendering:
    """Run a controller on one trial, and draw a video, a figure and the figure's table.

    Parameters
    ----------
    model : str
        Name of a registered controller.
    dataset : str or path
        Name of a registered dataset, or an NWB file.
    trial : str, optional
        Its id, or ``session/id``. Default: the first trial of a held-out object, else of ``test``.
    seed : int
    area : str, optional
        Draw a third body, which the spikes of this area drive, as the protocol ``brain-control`` drives it.
        All bodies are then shown from the first decoded command to the end of the scored window.
    decoded : str
        What is decoded from spikes: ``embedding`` or ``joint_angles``.
    decoder : str
        Name of a registered decoder; fitted on the session's training trials.
    layout : str or path, optional
    to : path, optional
        The video, ``.gif`` or ``.mp4``; figure and table get its name. Default: ``<model>-<trial>.gif`` in
        the current folder, with an area ``<model>-<trial>-<area>.gif``.
    progress : callable

    Returns
    -------
    Rendering

    Raises
    ------
    UnsupportedError
        If the model moves no body, the dataset has no joint angles, or spikes cannot drive the body.
    UnknownNameError
        If there is no such trial, area or decoder.
    NgbError
        If the body cannot be drawn here, or a file cannot be written.
    """
    from neurobench_grasp.plots.trial_figure import figure_png
    from neurobench_grasp.plots.video import encoder, frames

    registry = load_registry()
    registry.decoder(decoder)
    if not registry.model(model).spec.controller:
        raise UnsupportedError(f"{model} moves no body, so there is nothing to draw; `ngb score` scores it.")
    encode = encoder(to.suffix if to else ".gif")
    drawing_backend()  # before the work, since without it there is no video
    options = Options(layout=None if layout is None else str(layout), decoder=decoder)
    task = Workspace(registry, progress=progress).find(model, dataset, options)
    data = task.data
    session, index = find_trial(data, trial)
    if session.trials.joint_angles is None:
        raise UnsupportedError(
            f"{session.id} has no joint angles of a body, so there is no movement to imitate."
        )
    posture = average_posture(data, session)
    context = make_context(task, seed, Unkept(), Unkept(), progress)
    one = context.clock(session).trials.select([index])
    name = one.ids[0] if len(data.sessions) == 1 else f"{session.id}/{one.ids[0]}"
    title = f"{data.id} {name}, {one.condition[0]}"
    who, by = f"{model} (seed {seed}) on {title}", f"{model}, seed {seed}"
    if area is None:
        file, driven = f"{model}-{name}", None
        trajectory = Trajectory.of(one, tracked(context, model, one), posture)
        figure = figure_png(trajectory.table(), trajectory.body, who, ["simulated"])
        pictures = frames(trajectory, title, [f"simulated: {by}"], progress)
    else:
        file, names = f"{model}-{name}-{area}", ["simulated, intact goal", f"simulated, driven by {area}"]
        trajectory, driven = _driven(context, model, session, index, area, decoded, posture)
        figure = figure_png(trajectory.table(), trajectory.body, f"{who}\n{driven}", names)
        pictures = frames(trajectory, f"{title}; {by}; {driven}", names, progress)
    video = to or Path(re.sub(r"[^\w.-]+", "_", file) + ".gif")
    files = {
        video.with_suffix(".csv"): csv_of(trajectory.table()),
        video.with_suffix(".png"): figure,
        video: encode(pictures),
    }
    for path, content in files.items():
        write_atomically(path, content)
    return Rendering(
        video, video.with_suffix(".png"), video.with_suffix(".csv"),
        session=session.id, trial=one.ids[0], condition=one.condition[0],
        error_mm=trajectory.in_window(trajectory.simulated.error_mm),
        average_posture_error_mm=trajectory.in_window(trajectory.average_posture_error_mm),
        driven=driven,
    )  # fmt: skip


def find_trial(data: Dataset, wanted: str | None) -> tuple[AlignedSession, int]:
    """Find the session of a trial, and the trial's place in it."""
    known = {(s.id, t): (s, i) for s in data.sessions for i, t in enumerate(s.trials.ids)}
    if wanted is None:
        for split in SHOWN_FIRST:
            ids = getattr(data.splits, split)
            for (session, trial), place in known.items():
                if trial in ids[session]:
                    return place
    found = [key for key in known if wanted in (key[1], "/".join(key))]
    if len(found) > 1:
        raise UnknownNameError(
            f"Trial {wanted!r} is in {len(found)} sessions; name one of {', '.join(map('/'.join, found))}."
        )
    if not found:
        raise UnknownNameError(_no_such_trial(data, str(wanted), list(known)))
    return known[found[0]]


def _no_such_trial(data: Dataset, wanted: str, known: list[tuple[str, str]]) -> str:
    for session in data.sessions:
        for trial, reason in data.dropped(session):
            if wanted in (trial, f"{session.id}/{trial}"):
                return f"Trial {wanted!r} of {session.id} was left out: {reason}."
    names = ["/".join(key) if "/" in wanted else key[1] for key in known]
    near = list(dict.fromkeys(get_close_matches(wanted, names, n=3)))
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the first is {names[0]!r}."
    return f"{data.id} has no trial {wanted!r}; {hint}"


def _driven(
    context: Context,
    model: str,
    session: AlignedSession,
    index: int,
    area: str,
    decoded: str,
    posture: Floats,
) -> tuple[Trajectory, DrivenBody]:
    """Run the body with its intact goal, and with the goal decoded from spikes."""
    driven = drive_trial(context, session, index, area, decoded)
    _check(driven.tracking, model, driven.trials)
    whole = context.clock(session).scored.select([index])  # as the protocol, for the same errors
    first = int(whole.window[0, 0] - driven.trials.window[0, 0])
    intact = _cut(tracked(context, model, whole), first, first + int(driven.trials.offsets[-1]))
    trajectory = Trajectory.of(driven.trials, intact, posture, driven.tracking)
    error = trajectory.in_window(trajectory.movements[1].error_mm)
    return trajectory, DrivenBody(area, decoded, context.decoder.name, driven.fitted_on, error)


def _cut(tracking: Tracking, first: int, stop: int) -> Tracking:
    """Select the steps ``first`` … ``stop`` − 1 of the one trial."""
    steps, muscles = (np.array([first]), np.array([stop])), tracking.muscle_activation
    return Tracking(
        tracking.joint_angles.cut(*steps),
        tracking.keypoints.cut(*steps),
        None if muscles is None else muscles.cut(*steps),
    )


def tracked(context: Context, model: str, trials: Trials) -> Tracking:
    """Track the recorded movement with the fitted controller."""
    context.progress(f"closed loop of {model} (seed {context.seed})")
    tracking = context.model.controller.track(trials)
    _check(tracking, model, trials)
    return tracking


def _check(tracking: Tracking, model: str, trials: Trials) -> None:
    """Check the movement of the body, since controllers are plugins."""
    body = body_of(trials)
    for name, columns in (
        ("joint_angles", len(body.joints)),
        ("keypoints", 3 * len(body.keypoints)),
        ("muscle_activation", len(body.muscles)),
    ):
        signal = getattr(tracking, name)
        expected = (int(trials.offsets[-1]), columns)
        if signal is not None and (signal.values.shape != expected or not np.isfinite(signal.values).all()):
            raise NgbError(
                f"The {name} of {model} have shape {signal.values.shape}; they must be finite "
                f"numbers of shape {expected}, one row for every step."
            )


def average_posture(data: Dataset, session: AlignedSession) -> Floats:
    """Mean posture in the windows of the session's training trials, as in the tracking protocol."""
    trials, ids = session.trials, set(data.splits.train[session.id])
    assert trials.joint_angles is not None
    windows = [
        angles[first:stop]
        for name, angles, (first, stop) in zip(trials.ids, trials.joint_angles, trials.window, strict=True)
        if name in ids
    ]
    if not windows:
        raise UnsupportedError(f"{session.id} has no training trials, whose average to compare with.")
    posture: Floats = np.concatenate(windows).mean(0)
    return posture

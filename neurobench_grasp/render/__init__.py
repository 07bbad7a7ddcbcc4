"""Seeing a controller: one trial as a video and a figure of the simulated hand beside the recorded one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from neurobench_grasp.body import KEYPOINTS, MUSCLES
from neurobench_grasp.body.render import drawing_backend
from neurobench_grasp.disk import write_whole
from neurobench_grasp.errors import NgbError, UnknownNameError, UnsupportedError
from neurobench_grasp.plugins import Provided, load_registry
from neurobench_grasp.protocols.align import AlignedSession
from neurobench_grasp.render.course import Course
from neurobench_grasp.run import Dataset, load_dataset
from neurobench_grasp.types import Controller, Floats, ModelSpec, Progress, Tracking, Trials

SHOWN_FIRST = ("ood", "test", "train")


@dataclass(frozen=True)
class Rendering:
    """What was drawn, and where it is.

    Parameters
    ----------
    video, figure, data : path
        The figure's data is a table with one row per step.
    session, trial, condition : str
    error_mm, average_posture_error_mm : float
        Mean keypoint distance over the scored window.
    """

    video: Path
    figure: Path
    data: Path
    session: str
    trial: str
    condition: str
    error_mm: float
    average_posture_error_mm: float


def render_trial(
    model: str,
    dataset: str | Path,
    *,
    trial: str | None = None,
    seed: int = 0,
    layout: str | Path | None = None,
    to: Path | None = None,
    progress: Progress = lambda text: None,
) -> Rendering:
    """Let a controller imitate one trial, and draw a video, a figure and the figure's table.

    Parameters
    ----------
    model : str
        Name of a registered controller.
    dataset : str or path
        Name of a registered dataset, or an NWB file.
    trial : str, optional
        Its id, or ``session/id``. Default: the first trial of a held-out object, else of ``test``.
    seed : int
    layout : str or path, optional
    to : path, optional
        The video, ``.gif`` or ``.mp4``; figure and table get its name. Default: ``<model>-<trial>.gif`` in
        the current folder.
    progress : callable

    Returns
    -------
    Rendering

    Raises
    ------
    UnsupportedError
        If the model moves no hand, or the dataset has no joint angles.
    UnknownNameError
        If there is no such trial.
    NgbError
        If the hand cannot be drawn here, or a file cannot be written.
    """
    from neurobench_grasp.render.figure import figure_png
    from neurobench_grasp.render.video import encoder, frames

    candidate = load_registry().model(model)
    if not candidate.spec.controller:
        raise UnsupportedError(f"{model} moves no hand, so there is nothing to see; `ngb score` scores it.")
    encode = encoder(to.suffix if to else ".gif")
    drawing_backend()  # before the work, since without it there is no video
    data = load_dataset(load_registry(), dataset, layout, progress)
    session, index = _find(data, trial)
    one = session.trials.select([index])
    if one.joint_angles is None:
        raise UnsupportedError(
            f"{session.id} has no joint angles of the hand, so there is no movement to imitate."
        )
    progress(f"closed loop of {model} (seed {seed})")
    tracking = _tracked(candidate, seed, data.behaviour("train"), one)
    course = Course.of(one, tracking, _average_posture(data, session))
    name = one.ids[0] if len(data.sessions) == 1 else f"{session.id}/{one.ids[0]}"
    video = to or Path(re.sub(r"[^\w.-]+", "_", f"{model}-{name}") + ".gif")
    table = course.table()
    title = f"{data.id} {name}, {one.condition[0]}"
    files = {
        video.with_suffix(".csv"): table.to_csv(index=False).encode(),
        video.with_suffix(".png"): figure_png(table, f"{model} (seed {seed}) on {title}"),
        video: encode(frames(course, title, f"{model}, seed {seed}", progress)),
    }
    for path, content in files.items():
        write_whole(path, content)
    scored = course.scored
    return Rendering(
        video, video.with_suffix(".png"), video.with_suffix(".csv"),
        session=session.id, trial=one.ids[0], condition=one.condition[0],
        error_mm=float(course.error_mm[scored].mean()),
        average_posture_error_mm=float(course.average_posture_error_mm[scored].mean()),
    )  # fmt: skip


def _find(data: Dataset, wanted: str | None) -> tuple[AlignedSession, int]:
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
            f"Trial {wanted!r} is in {len(found)} sessions; give one of {', '.join(map('/'.join, found))}."
        )
    if not found:
        raise UnknownNameError(_no_such_trial(data, str(wanted), list(known)))
    return known[found[0]]


def _no_such_trial(data: Dataset, wanted: str, known: list[tuple[str, str]]) -> str:
    for session in data.sessions:
        for trial, reason in session.dropped:
            if wanted in (trial, f"{session.id}/{trial}"):
                return f"Trial {wanted!r} of {session.id} was left out: {reason}."
    names = ["/".join(key) if "/" in wanted else key[1] for key in known]
    near = list(dict.fromkeys(get_close_matches(wanted, names, n=3)))
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the first is {names[0]!r}."
    return f"{data.id} has no trial {wanted!r}; {hint}"


def _tracked(candidate: Provided[ModelSpec], seed: int, train: Trials, trials: Trials) -> Tracking:
    """Let the fitted controller move its hand, and check the result: the controller may be anybody's."""
    model = candidate.spec.build(seed)
    if not isinstance(model, Controller):
        raise NgbError(
            f"{candidate.provider} says that {candidate.spec.name} is a controller, but it lacks one of "
            "track, embed, observe and activations_of; add them or drop `controller=True`."
        )
    model.fit(train, seed=seed)
    tracking = model.track(trials)
    for name, columns in (
        ("joint_angles", 23), ("keypoints", 3 * len(KEYPOINTS)), ("muscle_activation", len(MUSCLES))
    ):  # fmt: skip
        signal = getattr(tracking, name)
        expected = (int(trials.offsets[-1]), columns)
        if signal is not None and (signal.values.shape != expected or not np.isfinite(signal.values).all()):
            raise NgbError(
                f"The {name} of {candidate.spec.name} have shape {signal.values.shape}; they must be finite "
                f"numbers of shape {expected}, one row for every step."
            )
    return tracking


def _average_posture(data: Dataset, session: AlignedSession) -> Floats:
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

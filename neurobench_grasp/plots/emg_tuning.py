"""Tuning of muscles: recorded EMG and simulated activation by direction of movement, channel by channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobench_grasp.bodies import find_body, pulling_directions
from neurobench_grasp.bodies.inverse import endpoint_of
from neurobench_grasp.contract import Body, Floats, Ragged
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.plots.sources import title_of
from neurobench_grasp.plots.style import BLACK, BLUE, VERMILION, Drawing, Picture, legend
from neurobench_grasp.protocols.emg.activation import CANDIDATE, Muscles
from neurobench_grasp.protocols.emg.maps import SIMULATED
from neurobench_grasp.records.names import GROUPS
from neurobench_grasp.records.table import ScoreTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import SubFigure
    from matplotlib.projections.polar import PolarAxes

RECORDED = "recorded EMG"
MOST = 12
"""Panels; the first channels in the order of the recording."""
STYLES: tuple[Mapping[str, Any], ...] = (
    {"color": BLACK, "marker": "o", "linestyle": "-"},
    {"color": VERMILION, "marker": "s", "markerfacecolor": "white", "linestyle": "--"},
)
"""Recorded and simulated."""
_COLUMNS, _ROW = 5, 1.55  # panels in a line, inches
_TURN = 1e-4  # rad
_ALONG = 0.999  # cosine


def emg_tuning(networks: ScoreTable, muscles: Muscles) -> Drawing:
    """Draw the activity of each channel's muscles by direction, as the first network activates them.

    Parameters
    ----------
    networks : ScoreTable
    muscles : Muscles
        Of the first network.
    """
    import pandas as pd

    body = planar_body(muscles)
    table = pd.DataFrame(_rows(muscles, body, shown_source(muscles)))
    title = title_of(ScoreTable(networks.networks[:1]))
    return Drawing("emg_tuning", table, _draw(table, title, _note(muscles, body)))


def planar_body(muscles: Muscles) -> Body:
    """Return the body of a session, whose endpoint has directions in a plane.

    Raises
    ------
    UnsupportedError
        If it has none.
    """
    assert muscles.session.recording is not None
    body = find_body(muscles.session.recording.session.body)
    if (n := len(body.endpoint_axes)) != 2:
        raise UnsupportedError(
            f"tuning is drawn by direction in a plane, and the endpoint of {body.name} has {n} coordinates"
        )
    return body


def shown_source(muscles: Muscles) -> str:
    """Return the source of activation that is drawn: static optimisation if the model activates no muscle.

    Raises
    ------
    UnsupportedError
        If there is neither.
    """
    if muscles.leading not in muscles.activation:
        raise UnsupportedError(muscles.absent[muscles.leading])
    return muscles.leading


def source_name(muscles: Muscles) -> str:
    """Display name of the source that is drawn."""
    return GROUPS[shown_source(muscles) or SIMULATED]


def replaced(muscles: Muscles) -> list[str]:
    """State why static optimisation is drawn in place of the model, if it is."""
    why = muscles.absent.get(CANDIDATE)
    return [f"Static optimisation in place of the model: {why}."] if why else []


def _rows(m: Muscles, body: Body, source: str) -> Iterator[dict[str, Any]]:
    """Yield the mean activity in each condition, over its largest."""
    labels, found = m.session.trials.condition, sorted(set(m.session.trials.condition))
    trials = [[i for i, label in enumerate(labels) if label == condition] for condition in found]
    direction = _directions(_displacement(m, body), trials)
    pull = np.degrees(_angle(pulling_directions(body, m.recorded.muscles)))
    sources = {RECORDED: m.recorded.activity, source_name(m): m.by_channel(source)[0]}
    of_source = {name: _relative(activity, trials) for name, activity in sources.items()}
    for k, channel in enumerate(m.recorded.channels[:MOST]):
        names = " ".join(body.muscles[i] for i in m.recorded.muscles[k])
        about = {"session": m.session.id, "channel": channel, "muscles": names, "pull_deg": pull[k]}
        for name, relative in of_source.items():
            for c in np.argsort(direction):
                where = {"condition": found[c], "n_trials": len(trials[c]), "direction_deg": direction[c]}
                yield {**about, "source": name, **where, "relative_activity": relative[c, k]}


def _displacement(m: Muscles, body: Body) -> Ragged:
    """Return how far the endpoint is from its mean place at the start of windows, (trial, bin, 2), metres."""
    t = m.session.scored
    assert t.joint_angles is not None
    angles = t.joint_angles.cut(*t.window.T)
    endpoint = endpoint_of(body, body.keypoint_positions(angles.values))
    return Ragged(endpoint - endpoint[angles.offsets[:-1]].mean(0), angles.offsets)


def _directions(displacement: Ragged, trials: list[list[int]]) -> Floats:
    """Return the direction of the mean displacement of each condition, degrees."""
    return np.degrees(_angle(_means(displacement, trials)))


def _means(activity: Ragged, trials: list[list[int]]) -> Floats:
    """Average over the steps of all trials of each condition, (n_conditions, n_columns)."""
    return np.stack([activity.select(mine).values.mean(0) for mine in trials])


def _relative(activity: Ragged, trials: list[list[int]]) -> Floats:
    """Return means of conditions over the largest of them; NaN for muscles that are never active."""
    means = _means(activity, trials)
    most = means.max(0)
    return means / np.where(most > 0, most, np.nan)


def _angle(vectors: Floats) -> Floats:
    angle: Floats = np.arctan2(vectors[:, 1], vectors[:, 0])
    return angle


def _draw(table: pd.DataFrame, title: str, note: str) -> Picture:
    panels = [part for _, part in table.groupby("channel", sort=False)]
    n_rows = ceil(len(panels) / _COLUMNS)
    n_columns = ceil(len(panels) / n_rows)

    def paint(figure: SubFigure) -> None:
        grid = figure.subplots(n_rows, n_columns, squeeze=False, subplot_kw={"projection": "polar"})
        for axes, part in zip(grid.flat, panels, strict=False):
            _panel(axes, part)
        for unused in grid.flat[len(panels) :]:
            unused.remove()
        legend(figure)

    return Picture(n_rows * _ROW + 0.4, title, paint, note)


def _panel(axes: PolarAxes, part: pd.DataFrame) -> None:
    for (name, tuning), style in zip(part.groupby("source", sort=False), STYLES, strict=True):
        closed = [*range(len(tuning)), 0]
        angle, radius = np.radians(tuning.direction_deg.to_numpy()), tuning.relative_activity.to_numpy()
        axes.plot(angle[closed], radius[closed], markersize=3, label=str(name), **style)
    pull = float(np.radians(part.pull_deg.iloc[0]))
    arrow = {"arrowstyle": "-|>,head_width=0.2", "color": BLUE, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (pull, 1.3), (pull, 0), arrowprops=arrow, annotation_clip=False)
    axes.plot([], [], marker=">", color=BLUE, linewidth=0.8, markersize=4, label="direction of pull")
    axes.set_title(part.channel.iloc[0], loc="center", pad=4)
    axes.set_ylim(0, 1.2)
    axes.set_yticks([0.5, 1.0], [])
    axes.set_xticks(np.radians([0, 90, 180, 270]), ["x", "y", "−x", "−y"])
    axes.tick_params(axis="x", pad=-2)
    axes.grid(color="0.8", linewidth=0.5)
    axes.spines["polar"].set_visible(False)


def _note(m: Muscles, body: Body) -> str:
    n_conditions = len(set(m.session.trials.condition))
    lines = [
        f"{m.session.id}: mean activity in the window, over all trials of a condition, relative to the "
        f"largest of the {n_conditions} conditions: circles at 0.5 and 1. Direction: mean displacement of "
        f"the {body.endpoint} from where windows start, along {' and '.join(_axes(body))} of {body.name}. "
        "Pull: where the channel’s muscles move it in the neutral posture.",
        *replaced(m),
    ]
    if m.recorded.channels[MOST:]:
        lines.append(f"Left out, since {MOST} channels fit: {', '.join(m.recorded.channels[MOST:])}.")
    if m.recorded.silent:
        lines.append(f"Left out, since they are without signal: {', '.join(m.recorded.silent)}.")
    return "\n".join(lines)


def _axes(body: Body) -> Iterator[str]:
    """Yield the axes of the endpoint, each with the joint that moves it along this one alone, if any."""
    turned = body.neutral + _TURN * np.eye(len(body.joints))
    ahead, neutral = (endpoint_of(body, body.keypoint_positions(q)) for q in (turned, body.neutral[None]))
    moved = ahead - neutral
    cosine = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-300)
    for axis, along in zip(body.endpoint_axes, cosine.T, strict=True):
        joint = body.joints[int(along.argmax())]
        yield f"{axis} ({body.shown_joints.get(joint, joint)})" if along.max() > _ALONG else axis

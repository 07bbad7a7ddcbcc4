"""The figure: joint angles, keypoint error and muscle activation over one trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobench_grasp.contract import Body
from neurobench_grasp.plots.trajectory import RECORDED, SIMULATED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLE: Any = {"font.size": 8, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False}
_TIME = "time after the start of the scored window (s)"
_N_COLUMNS = 3
_TALLEST, _PER_MUSCLE = 4.6, 0.25
"""Inches of the panel of activation at most, and for each muscle where there are few."""


def figure_png(table: pd.DataFrame, body: Body, title: str, names: Sequence[str]) -> bytes:
    """Draw the figure.

    Parameters
    ----------
    table : DataFrame
        ``Trajectory.table``; without columns of activation there is no panel for it.
    body : Body
        Its table has all joints; the figure shows :attr:`Body.shown_joints`.
    title : str
    names : sequence of str
        Of the simulated body, and of the one that spikes drive if there is one.

    Returns
    -------
    bytes
        A PNG, 18 cm wide in print.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    has_muscles = any(f"activation_{muscle}" in table for muscle in body.muscles)
    n_columns = min(_N_COLUMNS, len(body.shown_joints))
    n_rows = -(-len(body.shown_joints) // n_columns)
    tall = min(_TALLEST, 0.4 + _PER_MUSCLE * len(body.muscles))
    heights = [1.3] * n_rows + [1.6] + [tall] * has_muscles  # inches
    above = 0.4 if len(names) == 1 else 0.8
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.1, sum(heights) + above), layout="constrained")
        grid = figure.add_gridspec(len(heights), n_columns, height_ratios=heights)
        for place, (joint, label) in enumerate(body.shown_joints.items()):
            axes = figure.add_subplot(grid[divmod(place, n_columns)], title=label)
            _draw_joint(axes, table, joint, names)
        errors = figure.add_subplot(grid[n_rows, :])
        _draw_error(errors, table, names)
        _explain(figure, errors, title, names)
        if has_muscles:
            _draw_activation(figure.add_subplot(grid[n_rows + 1, :]), table, body.muscles, names)
        file = BytesIO()
        figure.savefig(file, format="png", dpi=200)
    return file.getvalue()


def _explain(figure: Figure, errors: Axes, title: str, names: Sequence[str]) -> None:
    """Write title and legend: side by side, or with the names of several movements one below the other."""
    lines, labels = figure.axes[0].get_legend_handles_labels()
    if len(names) == 1:
        figure.suptitle(title, fontsize=9, x=0.01, ha="left")
        figure.legend(lines, labels, loc="outside upper right", ncols=2, frameon=False)
        return
    more_lines, more_labels = errors.get_legend_handles_labels()
    figure.legend(
        [*lines, more_lines[-1]], [*labels, more_labels[-1]], loc="outside upper left", ncols=2,
        frameon=False, title=title, title_fontsize=9, alignment="left", borderpad=0,
    )  # fmt: skip


def _draw_joint(axes: Axes, table: pd.DataFrame, joint: str, names: Sequence[str]) -> None:
    axes.plot(table["time_s"], table[f"recorded_{joint}_deg"], color=RECORDED, label="recorded")
    for name, prefix, style in _simulated(names):
        axes.plot(table["time_s"], table[f"{prefix}_{joint}_deg"], label=name, **style)
    axes.set_ylabel("angle (°)")
    _over_time(axes, table)


def _draw_error(axes: Axes, table: pd.DataFrame, names: Sequence[str]) -> None:
    for name, prefix, style in _simulated(names):
        column = "error_mm" if prefix == "simulated" else f"{prefix}_error_mm"
        axes.plot(table["time_s"], table[column], label=name, **style)
    axes.plot(table["time_s"], table["average_posture_error_mm"], ":", color="0.3", label="average posture")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("keypoint error (mm)")
    axes.set_xlabel(_TIME)
    if len(names) == 1:
        axes.legend(["simulated", "average posture"], frameon=False, ncols=2)
    _over_time(axes, table)


def _draw_activation(axes: Axes, table: pd.DataFrame, muscles: Sequence[str], names: Sequence[str]) -> None:
    activation = table[[f"activation_{muscle}" for muscle in muscles]].to_numpy()
    rows = np.arange(len(muscles))
    image = axes.pcolormesh(table["time_s"], rows, activation.T, cmap="viridis", vmin=0, vmax=1)
    axes.set_yticks(rows, muscles, fontsize=6)
    axes.invert_yaxis()
    axes.set_xlim(table["time_s"].iloc[0], table["time_s"].iloc[-1])
    axes.set_xlabel(_TIME)
    for edge in _window(table):
        axes.axvline(edge, color="white", linestyle="--", linewidth=1)
    label = "muscle activation" + (f"\n({names[0]})" if len(names) > 1 else "")
    axes.figure.colorbar(image, ax=axes, label=label, pad=0.01, aspect=40)


def _simulated(names: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield name, prefix of columns and line style of each simulated body."""
    for name, prefix, line, colour in zip(
        names, ("simulated", "driven"), ("--", "-."), SIMULATED, strict=False
    ):
        yield name, prefix, {"linestyle": line, "color": colour}


def _over_time(axes: Axes, table: pd.DataFrame) -> None:
    """Shade the scored window, and end the axis where the trial ends."""
    axes.axvspan(*_window(table), color="0.93", linewidth=0, zorder=0)
    axes.set_xlim(table["time_s"].iloc[0], table["time_s"].iloc[-1])


def _window(table: pd.DataFrame) -> tuple[float, float]:
    inside = table["time_s"][table["scored"]]
    return float(inside.iloc[0]), float(inside.iloc[-1])

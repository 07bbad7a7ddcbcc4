"""Learning: error during training beside that of the average posture, and postures of a trained body.

After Figure 1E and F of Marin Vargas et al.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobench_grasp.contract import Floats
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.plots.sources import NAN
from neurobench_grasp.plots.style import BLACK, GREY, LINES, SMALL, Drawing, Picture, legend
from neurobench_grasp.plots.trajectory import RECORDED, SIMULATED, Trajectory
from neurobench_grasp.records.names import split_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

SPLITS = ("train", "ood")
POSTURE = "average_posture"
N_SNAPSHOTS = 5
_PICTURE = (340, 300)
"""Pixels of a posture."""
_HEIGHT, _ROW = 2.5, 1.25  # inches
Curve = Sequence[Mapping[str, float]]
"""Steps, and the mean keypoint error of each split in mm."""


def learning(curves: Mapping[str, Mapping[int, Curve]], average_posture: Mapping[str, float]) -> Drawing:
    """Draw the error during training.

    Parameters
    ----------
    curves : mapping of str to mapping of int to sequence
        Model → seed → curve of the card of its network.
    average_posture : mapping of str to float
        Split → error of a body that holds the average posture, mm.
    """
    import pandas as pd

    table = pd.DataFrame([*_networks(curves), *_lines(average_posture)])
    return Drawing("learning", table, _draw(table))


def _networks(curves: Mapping[str, Mapping[int, Curve]]) -> Iterator[dict[str, Any]]:
    for model, networks in curves.items():
        for seed, curve in networks.items():
            for point in curve:
                for split in (s for s in SPLITS if s in point):
                    row = {"kind": "network", "model": model, "seed": seed, "split": split}
                    yield row | {"steps": point["steps"], "error_mm": point[split]}


def _lines(average_posture: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    for split, error in average_posture.items():
        yield {"kind": POSTURE, "model": "", "seed": None, "split": split, "steps": NAN, "error_mm": error}


def _draw(table: pd.DataFrame) -> Picture:
    models = list(dict.fromkeys(table.model[table.kind == "network"]))

    def paint(figure: SubFigure) -> None:
        from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

        grid: Any = figure.subplots(1, len(SPLITS), sharex=True, sharey=True)
        for split, axes in zip(SPLITS, grid, strict=True):
            axes.set_title(f"{split}: {split_name(split)}")
            axes.set_xlabel("training steps, millions")
            for error in table.error_mm[(table.kind == POSTURE) & (table.split == split)]:
                axes.axhline(error, color=BLACK, linestyle=":", linewidth=1.2, label="average posture")
            here = table[(table.kind == "network") & (table.split == split)]
            for model, part in here.groupby("model", sort=False):
                _of_model(axes, part, str(model), LINES[models.index(model) % len(LINES)])
        grid[0].set_ylabel("tracking error (mm)")
        grid[0].set_yscale("log")
        grid[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        grid[0].yaxis.set_major_formatter(ScalarFormatter())
        grid[0].yaxis.set_minor_locator(NullLocator())
        legend(figure)

    return Picture(
        _HEIGHT, "", paint, "Thin: single networks. Thick: their mean, where all have the same steps."
    )


def _of_model(axes: Axes, part: pd.DataFrame, model: str, style: Mapping[str, Any]) -> None:
    """Draw each network, and the mean over those steps that all networks have."""
    thin = {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 0.5, "alpha": 0.5}
    for _, curve in part.groupby("seed"):
        axes.plot(curve.steps / 1e6, curve.error_mm, **thin)
    by_step = part.groupby("steps").error_mm
    mean = by_step.mean()[by_step.count() == part.seed.nunique()]
    axes.plot(mean.index / 1e6, mean, markersize=3, label=model, **style)


def snapshots(trajectory: Trajectory, simulated: str, about: str) -> Drawing:
    """Draw recorded and simulated postures at equal distances in the scored window of a trial.

    Parameters
    ----------
    trajectory : Trajectory
    simulated : str
        Name of the simulated body.
    about : str
        What was recorded.
    """
    inside = np.flatnonzero(trajectory.scored)
    shown = inside[np.linspace(0, len(inside) - 1, N_SNAPSHOTS).round().astype(int)]
    if len(set(shown)) < N_SNAPSHOTS:
        raise UnsupportedError(f"the scored window has {len(inside)} steps, fewer than {N_SNAPSHOTS}")
    rows = [
        ("recorded", RECORDED, trajectory.recorded),
        (simulated, SIMULATED[0], trajectory.simulated.joint_angles),
    ]
    painter = trajectory.body.painter(*_PICTURE)
    try:
        pictures = [[painter.paint(angles[k], colour) for k in shown] for _, colour, angles in rows]
    finally:
        painter.close()
    names = [name for name, *_ in rows]
    table = trajectory.table().iloc[shown]
    picture = _draw_snapshots(
        _cropped(np.array(pictures)), names, trajectory.time[shown], table.error_mm, about
    )
    return Drawing("snapshots", table, picture)


def _cropped(pictures: Any) -> Any:
    """Cut the same empty margins from all pictures, shape (…, height, width, 3)."""
    drawn = (pictures != pictures[0, 0, 0, 0]).any((0, 1, -1))
    (top, bottom), (left, right) = (np.flatnonzero(drawn.any(axis))[[0, -1]] for axis in (1, 0))
    return pictures[:, :, top : bottom + 1, left : right + 1]


def _draw_snapshots(
    pictures: Any, names: Sequence[str], times: Floats, errors: Sequence[float], about: str
) -> Picture:
    def paint(figure: SubFigure) -> None:
        grid: Any = figure.subplots(len(names), len(times), squeeze=False)
        for line, row in zip(grid, pictures, strict=True):
            for axes, picture in zip(line, row, strict=True):
                axes.imshow(picture)
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
        for axes, time in zip(grid[0], times, strict=True):
            axes.set_title(f"{time:.2f} s", fontsize=SMALL)
        for axes, error in zip(grid[-1], errors, strict=True):
            axes.set_xlabel(f"{error:.1f} mm", fontsize=SMALL, color=GREY)
        for line, name in zip(grid, names, strict=True):
            line[0].set_ylabel(name)

    note = f"{about}. Above: time after the start of the scored window. Below: mean distance of keypoints."
    return Picture(len(names) * _ROW + 0.2, "", paint, note)

"""The matrix as tidy tables and as a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.plots.style import SMALL, draw
from neurobench_grasp.recovery.matrix import Recovered
from neurobench_grasp.scoring.intervals import Summary

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

UNTRAINED = "untrained"
_ADVICE = "choose another folder with --to"
_ROW = 0.62  # inches
_NOTE = (
    "Each cell: mean over units and networks of single-trial EV on held-out objects, its 95 % interval, and "
    "by how much the candidate of the teacher's kind (framed) is above it, paired unit by unit. Recovered: "
    "the interval of that margin lies above 0 for every other kind of input or action; untrained networks "
    "do not enter the verdict. Shades go from the lowest to the highest score of a row.\n"
    "Synthetic sessions: a self-test of the benchmark, no evidence about brains."
)


def rows(found: Sequence[Recovered]) -> list[dict[str, Any]]:
    """Return tidy rows, one for each cell of the matrix.

    Parameters
    ----------
    found : sequence of Recovered

    Returns
    -------
    list of dict
        ``teacher, teacher_kind, teacher_seed, recovered, candidate, kind, untrained, own``; ``ev, ci_low,
        ci_high, n_units, data_se, network_se``; and ``margin`` with the same.
    """
    return [row for one in found for row in _rows(one)]


def _rows(one: Recovered) -> Iterator[dict[str, Any]]:
    who = {
        "teacher": one.teacher.model,
        "teacher_kind": one.teacher.kind,
        "teacher_seed": one.teacher.seed,
        "recovered": one.recovered,
    }
    for untrained, scores, margins in (
        (False, one.scores, one.margins),
        (True, one.twins, one.twin_margins),
    ):
        for name, score in scores.items():
            yield {
                **who,
                "candidate": name,
                "kind": one.kinds[name],
                "untrained": untrained,
                "own": name == one.own,
                **_numbers("ev", score),
                **_numbers("margin", margins.get(name)),
            }


def _numbers(what: str, total: Summary | None) -> dict[str, Any]:
    low, high = (total.ci if total else None) or (None, None)
    return {
        what: total and total.value,
        f"{what}_ci_low": low,
        f"{what}_ci_high": high,
        f"{what}_data_se": total and total.data_se,
        f"{what}_network_se": total and total.draw_se,
    }


def write_report(found: Sequence[Recovered], folder: Path) -> tuple[Path, Path]:
    """Write the matrix as a table and as a heat map.

    Parameters
    ----------
    found : sequence of Recovered
    folder : path

    Returns
    -------
    path, path
        ``recovery.csv`` and ``recovery.png``.

    Raises
    ------
    NgbError
        If they cannot be written.
    """
    import pandas as pd

    table = pd.DataFrame(rows(found))
    data, picture = folder / "recovery.csv", folder / "recovery.png"
    write_atomically(data, table.to_csv(index=False).encode(), what="the matrix", advice=_ADVICE)
    write_atomically(picture, heat_map(table), what="the picture", advice=_ADVICE)
    return data, picture


def heat_map(table: pd.DataFrame) -> bytes:
    """Draw the matrix; PNG."""
    teachers = [group for _, group in table.groupby(["teacher", "teacher_seed"], sort=False)]
    columns = list(dict.fromkeys(zip(table.candidate, table.untrained, strict=True)))

    def paint(figure: SubFigure) -> None:
        axes = figure.subplots()
        for y, group in enumerate(teachers):
            _paint_row(axes, group, y, columns)
        _label(axes, teachers, columns)

    return draw(_ROW * len(teachers) + 0.5, "Model recovery: teacher × candidate", paint, _NOTE)


def _paint_row(axes: Axes, group: pd.DataFrame, y: int, columns: Sequence[tuple[str, bool]]) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    low, high = group.ev.min(), group.ev.max()
    for cell in group.itertuples():
        x = columns.index((cell.candidate, cell.untrained))
        share = (cell.ev - low) / (high - low) if high > low else 1.0
        framed = cell.own and not cell.untrained
        colour = colormaps["Blues"](0.6 * share)  # light, so that black type is legible on all of it
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=colour, linewidth=0))
        if framed:
            axes.add_patch(
                Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, fill=False, color="black", linewidth=2)
            )
        weight = "bold" if framed else "normal"
        axes.text(x, y, _cell(cell), ha="center", va="center", fontsize=SMALL, fontweight=weight)


def _cell(cell: Any) -> str:
    lines = [f"{cell.ev:.3f}", _interval(cell.ev_ci_low, cell.ev_ci_high)]
    if cell.margin == cell.margin:  # not NaN
        lines.append(f"{cell.margin:+.3f} {_interval(cell.margin_ci_low, cell.margin_ci_high)}")
    return "\n".join(lines)


def _interval(low: float, high: float) -> str:
    return f"[{low:.3f}, {high:.3f}]" if low == low else "no interval"


def _label(axes: Axes, teachers: Sequence[pd.DataFrame], columns: Sequence[tuple[str, bool]]) -> None:
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(teachers) - 0.5, -0.5)
    names = [f"{name},\n{UNTRAINED}" if untrained else name for name, untrained in columns]
    axes.set_xticks(range(len(columns)), names)
    axes.set_xlabel("candidate")
    heads = [group.iloc[0] for group in teachers]
    verdicts = ["recovered" if head.recovered else "not recovered" for head in heads]
    axes.set_yticks(
        range(len(heads)),
        [f"{h.teacher}\nseed {h.teacher_seed}\n{v}" for h, v in zip(heads, verdicts, strict=True)],
    )
    axes.set_ylabel("teacher")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)

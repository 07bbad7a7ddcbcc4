"""Which muscles are active together: correlations of recorded EMG beside those of simulated activation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobench_grasp.contract import Floats
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.plots.emg_tuning import RECORDED, replaced, shown_source, source_name
from neurobench_grasp.plots.sources import NAN, title_of
from neurobench_grasp.plots.style import BLACK, SMALL, Drawing, Picture
from neurobench_grasp.protocols.emg.activation import Muscles
from neurobench_grasp.protocols.emg.similarity import compared, repeated
from neurobench_grasp.records.names import split_name
from neurobench_grasp.records.table import RSA, ScoreTable
from neurobench_grasp.records.units import CEILING, Labels
from neurobench_grasp.scoring.emg import muscle_rsa
from neurobench_grasp.scoring.ev import PHASE_POINTS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

SPLIT = "test"
"""The split with most conditions that are averaged."""
TOLERANCE = 1e-4
"""Largest difference from the score beside the record, which is kept in single precision."""
_NUMBERED = 12
"""Most channels whose correlations fit as numbers; of more, the sign is written."""
_HEIGHT, _CHARACTER = 3.2, 0.065  # inches, without names of channels; of a character of them


def emg_matrix(networks: ScoreTable, muscles: Muscles, test: Sequence[int]) -> Drawing:
    """Draw correlations between muscles, recorded and as the first network activates them.

    Parameters
    ----------
    networks : ScoreTable
    muscles : Muscles
        Of the first network.
    test : sequence of int
        Trials of its split ``test``, by their place in the session.
    """
    import pandas as pd

    session, source = muscles.session, shown_source(muscles)
    rsa, ceiling = (_scored(networks, session.id, name) for name in (source, CEILING))
    if np.isnan(rsa):
        of = {"reference": source} if source else {}
        reason = networks.score(RSA, networks.seeds[0], split=SPLIT, **of).reason
        raise UnsupportedError(networks.first.problem.rstrip(".") or reason or "muscle RSA is not defined")
    trials = repeated(muscles, test)
    averages = [values.reshape(-1, values.shape[2]) for values in next(compared(muscles, trials, source))]
    _compare(session.id, rsa, muscle_rsa(*averages))
    names = (RECORDED, source_name(muscles))
    conditions = {session.trials.condition[i] for i in trials}
    about = {"session": session.id, "split": SPLIT, "n_trials": len(trials), "n_conditions": len(conditions)}
    table = pd.DataFrame(
        {**about, "source": name, **row, "muscle_rsa": rsa, "muscle_rsa_ceiling": ceiling}
        for name, values in zip(names, averages, strict=True)
        for row in _rows(muscles.recorded.channels, np.corrcoef(values.T))
    )
    title = title_of(ScoreTable(networks.networks[:1]))
    return Drawing("emg_matrix", table, _draw(table, title, "\n".join([_note(table), *replaced(muscles)])))


def _scored(networks: ScoreTable, session: str, reference: str) -> float:
    """Return a session's muscle RSA, or its ceiling, beside the first network's record; NaN if absent."""
    parts = networks.first.units.scores.get(Labels("", SPLIT, RSA, reference), ())
    return next((float(part.values[0]) for part in parts if part.session == session), NAN)


def _compare(session: str, scored: float, found: float) -> None:
    """Check that the activation is that of the record.

    Raises
    ------
    NgbError
        If it is not.
    """
    if abs(scored - found) > TOLERANCE:
        raise NgbError(
            f"The muscle activation of {session} is not that which was scored (muscle RSA {found:.3f}, not "
            f"{scored:.3f}); score again, then draw."
        )


def _rows(channels: Sequence[str], correlation: Floats) -> Iterator[dict[str, Any]]:
    for one, line in zip(channels, correlation.tolist(), strict=True):
        for other, value in zip(channels, line, strict=True):
            yield {"channel": one, "other_channel": other, "correlation": value}


def _draw(table: pd.DataFrame, title: str, note: str) -> Picture:
    first: Any = table.iloc[0]
    ceiling = "not known" if np.isnan(first.muscle_rsa_ceiling) else f"{first.muscle_rsa_ceiling:.2f}"
    second_lines = (f"{first.n_trials} trials", f"muscle RSA {first.muscle_rsa:.2f}, ceiling {ceiling}")

    def paint(figure: SubFigure) -> None:
        grid = figure.subplots(1, 2, sharey=True)
        for axes, (name, part), line in zip(
            grid, table.groupby("source", sort=False), second_lines, strict=True
        ):
            image = _panel(axes, part)
            axes.set_title(f"{name}\n{line}")
        figure.colorbar(image, ax=grid, label="correlation", ticks=[-1, 0, 1], shrink=0.8)

    return Picture(_HEIGHT + _CHARACTER * max(map(len, table.channel)), title, paint, note)


def _panel(axes: Axes, part: pd.DataFrame) -> Any:
    """Draw one matrix; the sign is written, since dark red and dark blue are alike in grey."""
    channels = list(dict.fromkeys(part.channel))
    matrix = part.correlation.to_numpy().reshape(len(channels), -1)
    for (i, j), value in np.ndenumerate(matrix):
        digits = f"{value + 0.0:.1f}".replace("-0.0", "0.0").replace("-", "−")
        text = digits if len(channels) <= _NUMBERED else "−" * bool(value < 0)
        colour = "white" if abs(value) > 0.65 else BLACK
        axes.text(j, i, text, ha="center", va="center", fontsize=SMALL, color=colour)
    axes.set_xticks(range(len(channels)), channels, rotation=90)
    axes.set_yticks(range(len(channels)), channels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)


def _note(table: pd.DataFrame) -> str:
    first: Any = table.iloc[0]
    return (
        f"{first.session}: correlations over {PHASE_POINTS} phases of the averages of {first.n_conditions} "
        f"conditions, {first.n_trials} trials of the split {SPLIT} ({split_name(SPLIT)}). Muscle RSA: how "
        "alike the ranks of the entries below both diagonals are; ceiling: that of odd and even trials."
    )

"""Curves of brain control: the error by number of units, and by noise on the decoded signal (section 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Floats, Ints, Ragged, ScoreRow, Scores
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.brain_control.decoders import check_decoder
from neurobench_grasp.protocols.brain_control.protocol import (
    ERROR,
    check_moves,
    driven_errors,
    driven_trials,
    fitted,
    metric_of,
    no_units,
)
from neurobench_grasp.protocols.brain_control.trials import KINDS, SPLITS, DecodingTrials, areas_of
from neurobench_grasp.protocols.context import Arrays, Context, Stage
from neurobench_grasp.protocols.settings import BRAIN_CONTROL, CURVES
from neurobench_grasp.protocols.trial_scores import TrialScores, over_trials, row_of, unit_scores
from neurobench_grasp.scoring.intervals import UnitScores
from neurobench_grasp.scoring.references import generator
from neurobench_grasp.threads import on_all_cores

ERRORS = Stage("curves", {**asdict(BRAIN_CONTROL), **asdict(CURVES)}, decoder=True)


@dataclass(frozen=True)
class Point:
    """One point of a curve of one session.

    Parameters
    ----------
    n_units : int
        Units that are decoded.
    noise : float
        Standard deviation of the noise, relative to the decoded signal's own.
    all_units : bool
        True if these are all that the area has.
    """

    n_units: int
    noise: float
    all_units: bool

    @property
    def n_draws(self) -> int:
        """Number of random subsets, or of noises."""
        if self.noise:
            return CURVES.n_noises
        return 1 if self.all_units else CURVES.n_subsets


def points_of(n_units: int) -> list[Point]:
    """List the points of an area with that many units: by number of units, then by noise on all."""
    fewer = [Point(n, 0.0, False) for n in CURVES.n_units if n < n_units]
    return [*fewer, *(Point(n_units, noise, True) for noise in (0.0, *CURVES.noise))]


def run(context: Context) -> Scores:
    """Score one controller under poorer and poorer commands, on new trials and new objects.

    Returns
    -------
    Scores
        Tidy rows: tracking error by ``n_decoded_units`` and by ``noise``.

    Raises
    ------
    UnsupportedError
        If the model moves no body. What a session lacks is a reason in the rows.
    """
    check_moves(context)
    found = [(session, _measured(context, session)) for session in context.sessions]
    areas = areas_of(context.sessions)
    rows = [row for split in SPLITS for area in areas for row in _rows(area, split, found)]
    return Scores(rows or [no_units(context)])


def _measured(context: Context, session: AlignedSession) -> Mapping[str, NDArray[Any]]:
    """Errors of one session, (n_commands, n_trials) by area and kind; each kept as a separate stage."""
    try:
        moves = DecodingTrials.of(context, session)
    except UnsupportedError as reason:
        return {f"reason {area}": np.array(str(reason)) for area in areas_of([session])}
    out: dict[str, NDArray[Any]] = {f"driven {split}": moves.index[moves.driven[split]] for split in SPLITS}
    out["driven"] = moves.index[driven_trials(moves)]
    for area in areas_of([session]):
        try:
            units = moves.units_of(area)
        except UnsupportedError as reason:
            out[f"reason {area}"] = np.array(str(reason))
            continue
        out[f"n_units {area}"] = np.array(len(units))
        for kind in KINDS if len(out["driven"]) else ():
            out[f"{area} {kind}"] = _errors(context, moves, area, kind, units)
    return out


def _errors(context: Context, moves: DecodingTrials, area: str, kind: str, units: Ints) -> Floats:
    """Errors under the commands of every point, draw after draw."""

    def make() -> Arrays:
        context.progress(f"curves {moves.session.id}: {area}, {kind}")
        commands = _commands(context, moves, area, kind, units)
        errors = driven_errors(context, moves, driven_trials(moves), kind, commands)
        return {"errors": errors["tracking_error"]}

    errors: Floats = context.stages(ERRORS, moves.session, make, area=area, kind=kind)["errors"]
    return errors


def _commands(context: Context, moves: DecodingTrials, area: str, kind: str, units: Ints) -> list[Ragged]:
    """Return the commands of every point, draw after draw."""
    label = (context.seed, moves.session.id, area)
    subsets = []
    for point in (p for p in points_of(len(units)) if not p.noise):
        for draw in range(point.n_draws):
            rng = generator("subset", *label, point.n_units, draw)
            subsets.append(np.sort(rng.choice(units, point.n_units, replace=False)))

    def decoded(subset: Ints) -> Ragged:
        decoder = fitted(context, moves, kind, subset)
        if len(subset) == len(units):
            check_decoder(decoder, moves.training(kind, subset))
        driven = driven_trials(moves)
        return moves.decoded(kind, decoder, moves.spikes(subset, driven), driven)

    with threadpool_limits(limits=1):
        commands = on_all_cores(decoded, subsets)
    clean = commands[-1]  # of all units
    on_new_trials = clean.values[: clean.offsets[len(moves.driven[SPLITS[0]])]]
    scale = (on_new_trials if len(on_new_trials) else clean.values).std(0)  # the same noise on both splits
    for point in (p for p in points_of(len(units)) if p.noise):
        for draw in range(point.n_draws):
            rng = generator("noise", *label, kind, point.noise, draw)
            noise = point.noise * scale * rng.standard_normal(clean.values.shape)
            commands.append(Ragged(clean.values + noise, clean.offsets))
    return commands


# --- rows -----------------------------------------------------------------------------------------


def _rows(
    area: str, split: str, found: Sequence[tuple[AlignedSession, Mapping[str, NDArray[Any]]]]
) -> Iterator[ScoreRow]:
    """Rows of one area on one split: a curve over units and one over noise for each kind of command."""
    mine = [(session, values) for session, values in found if area in session.units.areas]
    usable = [(s, v) for s, v in mine if f"n_units {area}" in v and len(v[f"driven {split}"])]
    labels: ScoreRow = {"split": split, "area": area}
    if not usable:
        absent = "; ".join(f"{s.id}: {v[f'reason {area}']}" for s, v in mine if f"reason {area}" in v)
        reason = absent or f"the split {split} has no trials"
        for kind in KINDS:
            yield {
                "metric": metric_of(ERROR, kind),
                **labels,
                "decoded": kind,
                "value": None,
                "reason": reason,
            }
        return
    parts = [(TrialScores(s, {}), v[f"driven {split}"].tolist()) for s, v in usable]
    few = over_trials(parts, split)
    for kind in KINDS:
        curves = [_curve(s, v, area, split, kind, by_trial=few) for s, v in usable]
        for key in dict.fromkeys(key for curve in curves for key in curve):
            n_units, noise = key
            same = [(part, curve[key]) for part, curve in zip(parts, curves, strict=True) if key in curve]
            row: ScoreRow = {"metric": metric_of(ERROR, kind), **labels, "decoded": kind, "unit": "mm"}
            row |= {"n_decoded_units": n_units, "noise": noise}
            yield row | row_of([scores for _, scores in same], [part for part, _ in same], split)


def _curve(
    session: AlignedSession,
    values: Mapping[str, NDArray[Any]],
    area: str,
    split: str,
    kind: str,
    *,
    by_trial: bool,
) -> dict[tuple[str, float], UnitScores]:
    """Mean errors over the draws of every point, by number of units (or ``all``) and noise."""
    errors: Floats = values[f"{area} {kind}"]
    trials = values[f"driven {split}"].tolist()
    out, first = {}, 0
    for point in points_of(int(values[f"n_units {area}"])):
        draws = []
        for mine in errors[first : first + point.n_draws]:
            by_place = np.full(len(session.trials), np.nan)
            by_place[values["driven"]] = mine
            part = TrialScores(session, {"error": by_place})
            draws.append(unit_scores(part, trials, "error", split, by_trial=by_trial))
        first += point.n_draws
        name = "all" if point.all_units else str(point.n_units)
        out[name, point.noise] = UnitScores.mean_of(draws)
    return out

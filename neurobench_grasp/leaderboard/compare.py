"""Compare models pair by pair: the difference that decides, the contrast with untrained twins, the tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from neurobench_grasp.errors import NgbError
from neurobench_grasp.leaderboard.ranking import (
    difference,
    gains,
    holm,
    mann_whitney,
    smallest_mann_whitney,
    verdict,
    wilcoxon_signed_rank,
)
from neurobench_grasp.leaderboard.standings import (
    BOARD,
    METRIC,
    SPLIT,
    TWIN,
    Board,
    Candidate,
    best_first,
    boards,
    differences,
    gain_over,
    numbers,
    standing,
)
from neurobench_grasp.records.names import METRICS, lower_is_better
from neurobench_grasp.records.record import Scored
from neurobench_grasp.records.table import NO_INTERVAL, main_rows, with_interval
from neurobench_grasp.scoring.intervals import MIN_NETWORKS, Summary
from neurobench_grasp.scoring.networks import Networks

NAMES = {
    "dataset": "dataset",
    "dataset_sha256": "content of the dataset",
    "splits": "splits",
    "trained_on": "training data",
    "trained_on_sha256": "content of the training data",
    "protocol": "protocol",
    "version": "version of the protocol",
    "settings_sha256": "settings of the protocol",
    "area": "area",
}
"""Display names of what may keep two records apart."""


def comparison(
    scored: Iterable[Scored],
    models: Sequence[str],
    *,
    metric: str = METRIC,
    split: str = SPLIT,
    dataset: str | None = None,
) -> list[dict[str, Any]]:
    """Compare models on every board that at least two of them share.

    Parameters
    ----------
    scored : iterable of Scored
    models : sequence of str
        At least two names.
    metric, split : str
        What is compared; lower is better where the metric's name says error.
    dataset : str, optional
        Only records on this dataset.

    Returns
    -------
    list of dict
        One for each board: its labels (:data:`BOARD`), ``metric, split, unit, lower_is_better``;
        ``models``, rows as in ``rank_models`` with each model's ``gain`` over its untrained twin;
        ``pairs`` with the difference, the ``verdict`` (name of the better model, ``tie``, or ``None``
        without an interval), the ``contrast`` of the two gains, the difference on each of several
        ``animals``, and the tests that decide nothing;
        ``absent``, names of models that were scored in another way.

    Raises
    ------
    NgbError
        If a model is unknown, was not scored like any of the others, or lacks scores of single units.
    """
    models = list(dict.fromkeys(models))
    if len(models) < 2:
        raise NgbError("One model alone cannot be compared; name at least two.")
    scored = on_dataset(list(scored), dataset)
    for model in models:
        _check_scored(scored, model, metric, split)
    named = [
        (board, [c for c in candidates if c.model in models])
        for board, candidates in boards(scored, metric, split)
    ]
    shared = [(board, candidates) for board, candidates in named if len(candidates) > 1]
    for model in models:
        if not any(c.model == model for _, candidates in shared for c in candidates):
            raise NgbError(_what_differs(named, model))
    return [
        {
            **_compare(board, candidates, metric, split),
            "absent": [m for m in models if m not in {c.model for c in candidates}],
        }
        for board, candidates in shared
    ]


def _compare(board: Board, candidates: Sequence[Candidate], metric: str, split: str) -> dict[str, Any]:
    """Everything about the models of one board."""
    for candidate in candidates:
        _check_units(candidate, metric, split)
    lower = lower_is_better(metric)
    candidates = best_first(candidates, lower=lower)
    found = differences(candidates)
    gained = [gains(c.scores, c.untrained) if c.untrained else [] for c in candidates]
    rows = standing(candidates, found, lower=lower)
    for row, candidate, gain in zip(rows, candidates, gained, strict=True):
        row["gain"] = numbers(gain_over(candidate, TWIN), len(gain)) if gain else None
    pairs = [
        {
            "a": candidates[i].model,
            "b": candidates[j].model,
            **_numbers(total, candidates[i].scores, candidates[j].scores),
            "verdict": _winner(total, candidates[i], candidates[j], lower=lower),
            "contrast": _contrast(candidates[i], candidates[j], gained[i], gained[j]),
            "animals": _by_animal(candidates[i], candidates[j]),
            "mann_whitney": _over_networks(candidates[i].scores, candidates[j].scores),
            "wilcoxon": _over_units(candidates[i].scores, candidates[j].scores),
        }
        for (i, j), total in found.items()
    ]
    for test in ("mann_whitney", "wilcoxon"):
        results = [pair[test] for pair in pairs if pair[test] is not None]
        for result, adjusted in zip(results, holm([r["p"] for r in results]), strict=True):
            result["p_holm"] = adjusted
    units = (row["unit"] for c in candidates for row in c.rows.values() if "unit" in row)
    unit = METRICS[metric].unit or None if metric in METRICS else next(units, None)
    what = {"metric": metric, "split": split, "unit": unit, "lower_is_better": lower}
    return {**board, **what, "models": rows, "pairs": pairs}


def _numbers(total: Summary | None, a: Networks, b: Networks) -> dict[str, Any]:
    return numbers(total, max(len(a), len(b)))


def _winner(total: Summary | None, a: Candidate, b: Candidate, *, lower: bool) -> str | None:
    if total is None or total.ci is None:
        return None
    sign = verdict(total)
    return "tie" if sign == 0 else (a if (sign < 0) == lower else b).model


def _contrast(one: Candidate, other: Candidate, a: Networks, b: Networks) -> dict[str, Any] | None:
    """Difference of two models' gains over their untrained twins; an interval needs three networks each."""
    if not (a and b):
        return None
    few = NO_INTERVAL if min(len(a), len(b)) < MIN_NETWORKS else ""
    reason = one.open_folds or other.open_folds or few
    return _numbers(with_interval(difference(a, b), reason), a, b)


def _by_animal(a: Candidate, b: Candidate) -> dict[str, dict[str, Any]]:
    """Difference on each animal alone, where there are several; first minus second."""
    animals = sorted({part.subject for network in a.scores for part in network})
    reason = a.open_folds or b.open_folds
    found = {}
    for animal in animals if len(animals) > 1 else ():
        mine = [[[p for p in network if p.subject == animal] for network in c.scores] for c in (a, b)]
        if all(network for networks in mine for network in networks):
            found[animal] = _numbers(with_interval(difference(*mine), reason), *mine)
    return found


def _over_networks(a: Networks, b: Networks) -> dict[str, Any] | None:
    p = mann_whitney(a, b)
    return None if p is None else {"p": p, "smallest_p": smallest_mann_whitney(len(a), len(b))}


def _over_units(a: Networks, b: Networks) -> dict[str, Any] | None:
    p = wilcoxon_signed_rank(a, b)
    return None if p is None else {"p": p}


def on_dataset(scored: list[Scored], dataset: str | None) -> list[Scored]:
    """Keep the records on one dataset.

    Raises
    ------
    NgbError
        If there are records, but none on it.
    """
    here = [s for s in scored if dataset in (None, s.record.dataset["id"])]
    if scored and not here:
        known = sorted({str(s.record.dataset["id"]) for s in scored})
        raise NgbError(f"There is no record on the dataset {dataset!r}; there are records on {_list(known)}.")
    return here


def _check_scored(scored: Sequence[Scored], model: str, metric: str, split: str) -> None:
    known = sorted({s.record.model for s in scored})
    if model not in known:
        others = f", but of {_list(known)}" if known else ""
        raise NgbError(
            f"There is no record of a model {model!r} here{others}; score it with `ngb score`, or name its "
            "run folder with --runs."
        )
    mine = [row for s in scored if s.record.model == model for row in main_rows(s.record)]
    if not any((row["metric"], row.get("split")) == (metric, split) for row in mine):
        scores = [row for row in mine if "ci" in row and "of" not in row]
        metrics, splits = (
            _list(sorted({row.get(key, "no split") for row in scores})) for key in ("metric", "split")
        )
        raise NgbError(f"{model} has no {metric} on {split}; it has {metrics} on {splits}.")


def _check_units(candidate: Candidate, metric: str, split: str) -> None:
    if candidate.problems:
        raise NgbError(candidate.problems[0])
    if not candidate.networks:
        reason = candidate.row()["reason"]
        raise NgbError(
            f"{candidate.model} cannot be compared by {metric} on {split}, which is done unit by unit: "
            f"{reason}; choose another metric or split, or score it again if its record has no .units.npz."
        )


def _what_differs(named: Sequence[tuple[Board, Sequence[Candidate]]], model: str) -> str:
    """Explain why a model shares no board with another: what differs from the most similar board."""
    mine = [board for board, candidates in named if [c.model for c in candidates] == [model]]
    others = [(board, c.model) for board, candidates in named for c in candidates if c.model != model]
    here, there, other = min(
        ((here, there, other) for here in mine for there, other in others),
        key=lambda pair: sum(pair[0][key] != pair[1][key] for key in BOARD),
    )
    different = [
        f"{name} ({_short(here[key])} and {_short(there[key])})"
        for key, name in NAMES.items()
        if here[key] != there[key]
    ]
    return (
        f"{model} and {other} cannot be compared, because they were not scored alike: they differ in "
        f"{', '.join(different)}; score both in the same way."
    )


def _short(value: Any) -> str:
    """Text for a label: of a digest its first digits; no training data means the scored dataset."""
    text = str(value)
    return text[:8] if len(text) == 64 else text or "the scored dataset"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"

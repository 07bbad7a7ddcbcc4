"""The matrix, the numbers of the comparisons and the statements as one tidy table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.plots.recovery import recovery_figure
from neurobench_grasp.recovery.key import Assigned, Share
from neurobench_grasp.recovery.matrix import Recovered
from neurobench_grasp.recovery.numbers import Comparison
from neurobench_grasp.scoring.intervals import Summary
from neurobench_grasp.text import csv_of

_ADVICE = "choose another folder with --to"


def rows(found: Sequence[Recovered]) -> list[dict[str, Any]]:
    """Return tidy rows, one number each.

    Parameters
    ----------
    found : sequence of Recovered

    Returns
    -------
    list of dict
        Every row names the teacher (``teacher, teacher_kind, teacher_seed, recovered``), the ``quantity`` and
        its ``value``. Rows of

        - ``ev`` and ``margin`` (of the candidate of the teacher's kind above this one): ``candidate, kind,
          untrained, own``;
        - ``raw``, ``gain`` and ``contrast``: ``candidate`` and, except for gains, ``other``;
        - ``probability``: ``kind``;
        - ``power``: ``of`` (units, conditions or networks), ``size, n_draws``.

        All but the last two have ``ci_low, ci_high, data_se, network_se, n_units, n_groups``.
    """
    return [row for one in found for row in _rows(one)]


def _rows(one: Recovered) -> Iterator[dict[str, Any]]:
    who = {
        "teacher": one.teacher.model,
        "teacher_kind": one.teacher.kind,
        "teacher_seed": one.teacher.seed,
        "recovered": one.recovered,
    }
    for row in (*_scores(one), *_compared(one.comparisons)):
        yield who | row
    for kind, probability in one.probabilities.items():
        yield who | {"quantity": "probability", "kind": kind, "value": probability}
    for part in one.power:
        size = {"of": part.what, "size": part.size, "n_draws": part.n_draws}
        yield who | {"quantity": "power", **size, "value": part.share}


def _scores(one: Recovered) -> Iterator[dict[str, Any]]:
    for untrained, scores, margins in (
        (False, one.scores, one.margins),
        (True, one.twins, one.twin_margins),
    ):
        for name, score in scores.items():
            cell = {
                "candidate": name,
                "kind": one.kinds[name],
                "untrained": untrained,
                "own": name == one.own,
            }
            yield {"quantity": "ev", **cell, **_numbers(score)}
            if name in margins:
                yield {"quantity": "margin", **cell, **_numbers(margins[name])}


def _compared(comparisons: Sequence[Comparison]) -> Iterator[dict[str, Any]]:
    gains: dict[str, Summary | None] = {}
    for c in comparisons:
        pair = {"candidate": c.first, "other": c.second}
        yield {"quantity": "raw", **pair, **_numbers(c.raw)}
        yield {"quantity": "contrast", **pair, **_numbers(c.contrast)}
        gains |= {c.first: c.gain, c.second: c.other_gain}
    for name, gain in gains.items():
        yield {"quantity": "gain", "candidate": name, **_numbers(gain)}


def _numbers(total: Summary | None) -> dict[str, Any]:
    low, high = (total.ci if total else None) or (None, None)
    return {
        "value": total and total.value,
        "ci_low": low,
        "ci_high": high,
        "data_se": total and total.data_se,
        "network_se": total and total.draw_se,
        "n_units": total and total.n_units,
        "n_groups": total and total.n_groups,
    }


def key_rows(found: Assigned) -> list[dict[str, Any]]:
    """Return tidy rows of assigned kinds.

    Parameters
    ----------
    found : Assigned

    Returns
    -------
    list of dict
        Rows with ``quantity`` and ``value``: ``ev`` of all units and candidates (``unit, kind,
        candidate_kind``); ``n_units`` (``kind, assigned``), the confusion matrix; ``right`` of each ``kind``
        and of ``all``, and ``right_between`` two (``kind, other``), with ``ci_low, ci_high, n_units``.
    """
    rows: list[dict[str, Any]] = []
    for u, (unit, kind) in enumerate(zip(found.units, found.truth, strict=True)):
        for k, candidate in enumerate(found.kinds):
            ev = float(found.scores[k, u])
            rows.append(
                {"quantity": "ev", "unit": unit, "kind": kind, "candidate_kind": candidate, "value": ev}
            )
    for kind, counts in zip(found.all_kinds, found.confusion.tolist(), strict=True):
        for assigned, n in zip(found.kinds, counts, strict=True):
            rows.append({"quantity": "n_units", "kind": kind, "assigned": assigned, "value": n})
    for kind in ("", *found.kinds):
        rows.append({"quantity": "right", "kind": kind or "all", **_share(found.right(kind))})
    for (kind, other), share in found.pairs().items():
        rows.append({"quantity": "right_between", "kind": kind, "other": other, **_share(share)})
    return rows


def _share(share: Share) -> dict[str, Any]:
    low, high = share.ci
    return {"value": share.value, "ci_low": low, "ci_high": high, "n_units": share.n}


def write_key_report(found: Assigned, folder: Path) -> Path:
    """Write :func:`key_rows` as ``recovery-key.csv``; returns its path.

    Raises
    ------
    NgbError
        If it cannot be written.
    """
    import pandas as pd

    data = folder / "recovery-key.csv"
    table = pd.DataFrame(key_rows(found))
    write_atomically(data, csv_of(table), what="the table", advice=_ADVICE)
    return data


def write_report(found: Sequence[Recovered], folder: Path) -> tuple[Path, Path]:
    """Write the tidy rows as a table, and the matrix and the numbers as a figure.

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
    write_atomically(data, csv_of(table), what="the table", advice=_ADVICE)
    write_atomically(picture, recovery_figure(table).render(), what="the picture", advice=_ADVICE)
    return data, picture

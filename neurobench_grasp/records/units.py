"""Scores of single units, kept beside a record for comparing models unit by unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.errors import CorruptFileError
from neurobench_grasp.records.archive import Archive
from neurobench_grasp.scoring.intervals import UnitScores


class Labels(NamedTuple):
    """Labels of a set of unit scores; ``reference`` is empty for the candidate itself."""

    area: str
    split: str
    metric: str
    reference: str


@dataclass(frozen=True)
class UnitTable:
    """Unit scores by their labels, session by session.

    Parameters
    ----------
    scores : mapping of Labels to tuple of UnitScores
    """

    scores: Mapping[Labels, tuple[UnitScores, ...]]

    @classmethod
    def of(cls, scores: Iterable[tuple[Labels, UnitScores]]) -> UnitTable:
        """Collect the scores of sessions."""
        table: dict[Labels, tuple[UnitScores, ...]] = {}
        for labels, part in scores:
            table[labels] = (*table.get(labels, ()), part)
        return cls(table)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the table as arrays for a file.

        ``labels`` (n_parts, 6) are of each part area, split, metric, reference, session and subject; then
        ``units_k``, ``groups_k``, ``values_k`` (n_units,) and ``left_out_k`` (n_groups, n_units) of part k.
        """
        parts = [(labels, part) for labels, sessions in self.scores.items() for part in sessions]
        rows = [[*labels, part.session, part.subject] for labels, part in parts]
        arrays: dict[str, NDArray[Any]] = {"labels": np.array(rows, np.str_).reshape(len(rows), 6)}
        for k, (_, part) in enumerate(parts):
            groups = list(part.left_out)
            left_out = np.array([part.left_out[g] for g in groups], np.float32)
            arrays |= {
                f"units_{k}": np.array(part.units, np.str_),
                f"groups_{k}": np.array(groups, np.str_),
                f"values_{k}": part.values,
                f"left_out_{k}": left_out.reshape(len(groups), len(part.units)),
            }
        return arrays

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], wanted: Callable[[Labels], bool] = lambda labels: True
    ) -> UnitTable:
        """Restore the result of :meth:`arrays`, or only the wanted part of it.

        Raises
        ------
        CorruptFileError
            If something is missing or of another shape.
        """
        try:
            return cls.of(_parts(arrays, wanted))
        except (KeyError, ValueError, TypeError) as error:
            raise CorruptFileError(f"These are not the scores of single units ({error}).") from error


def _parts(
    arrays: Mapping[str, NDArray[Any]], wanted: Callable[[Labels], bool]
) -> Iterator[tuple[Labels, UnitScores]]:
    for k, row in enumerate(arrays["labels"].tolist()):
        area, split, metric, reference, session, subject = map(str, row)
        labels = Labels(area, split, metric, reference)
        if not wanted(labels):
            continue
        units, groups = (_names(arrays, f"{name}_{k}") for name in ("units", "groups"))
        values = arrays[f"values_{k}"].astype(np.float64)
        left_out = arrays[f"left_out_{k}"].astype(np.float64)
        if values.shape != (len(units),) or left_out.shape != (len(groups), len(units)):
            raise ValueError(f"part {k} has {len(units)} units and scores of shape {left_out.shape}")
        by_group = dict(zip(groups, left_out, strict=True))
        yield labels, UnitScores(session, subject, units, values, by_group)


def _names(arrays: Mapping[str, NDArray[Any]], name: str) -> tuple[str, ...]:
    return arrays.names(name) if isinstance(arrays, Archive) else tuple(map(str, arrays[name]))

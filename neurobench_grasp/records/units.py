"""Scores of single units, kept beside a record for comparing models unit by unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.errors import CorruptFileError
from neurobench_grasp.records.archive import Archive
from neurobench_grasp.scoring.intervals import UnitScores
from neurobench_grasp.scoring.sums import N_SUMS, OF_PREDICTION, Sums

N_COLUMNS = 12
"""Of the labels in a file; files of protocols of version 1 have fewer."""


CEILING = "ceiling"
"""Ends the names of references whose squared errors are estimates of noise, which may be negative."""
MOST_PARTS, MOST_NUMBERS = 100_000, 1 << 25
"""Of a file: parts may name the same array, so that a small file could fill the memory."""
ROUNDING = 5e-7
"""Change of a score by single precision, as a share of the largest, that is left to it."""


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

        ``labels`` (n_parts, 12) has of each part area, split, metric, reference, session, subject and kind of
        score, then names of arrays: units, groups, data, errors, and draws if there are any. Equal arrays are
        stored once: the data, for example, do not depend on what is predicted. With a kind, data and errors
        are its :class:`~neurobench_grasp.scoring.sums.Sums` in single precision, errors those that depend on
        the prediction. Without one, data are the scores (1, n_units), and errors (n_groups, n_units) what
        they change by without each group, in half precision.
        """
        stored: dict[str, NDArray[Any]] = {}
        names: dict[tuple[str, tuple[int, ...], bytes], str] = {}

        def name_of(array: NDArray[Any]) -> str:
            name = names.setdefault((array.dtype.str, array.shape, array.tobytes()), f"array_{len(names)}")
            stored[name] = array
            return name

        rows = []
        for labels, part in ((labels, part) for labels, parts in self.scores.items() for part in parts):
            kind, data, errors = _numbers(part)
            members = (np.array(names, np.str_) for names in (part.units, [*part.left_out]))
            draws = (source.astype(np.float32) for source in part.draws)
            arrays = [*map(name_of, (*members, data, errors, *draws)), ""][:5]
            rows.append([*labels, part.session, part.subject, kind, *arrays])
        return {"labels": np.array(rows, np.str_).reshape(len(rows), N_COLUMNS), **stored}

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


def _numbers(part: UnitScores) -> tuple[str, NDArray[Any], NDArray[Any]]:
    """Return the kind of score, and the data and errors that it follows from."""
    if part.terms:
        ((_, sums),) = part.terms  # of a score, not of a difference
        errors = OF_PREDICTION[sums.kind]
        values = _stored(sums)
        return sums.kind, np.delete(values, errors, axis=0), values[errors]
    left_out = np.array([*part.left_out.values()]).reshape(len(part.left_out), len(part.units))
    changes = left_out - part.values
    small = np.abs(changes[np.isfinite(changes)]).max(initial=0.0) < np.finfo(np.float16).max
    return "", part.values.astype(np.float32)[None], changes.astype(np.float16 if small else np.float32)


def _stored(sums: Sums) -> NDArray[Any]:
    """Return sums in single precision, or in double where scores would change by more than :data:`ROUNDING`.

    Of a channel that is silent in most conditions, the variance is a small difference of large sums.
    """
    short = sums.values.astype(np.float32)
    exact, rounded = sums.scores(), replace(sums, values=short.astype(np.float64)).scores()
    allowed = ROUNDING * np.nanmax(np.abs(exact[0]), initial=1.0)
    return short if np.allclose(rounded, exact, rtol=0.0, atol=allowed, equal_nan=True) else sums.values


def _parts(
    arrays: Mapping[str, NDArray[Any]], wanted: Callable[[Labels], bool]
) -> Iterator[tuple[Labels, UnitScores]]:
    table, n_read = arrays["labels"], 0
    if len(table) > MOST_PARTS:
        raise ValueError(f"there are {len(table)} parts")
    for k, row in enumerate(table.tolist()):
        labels, rest = Labels(*map(str, row[:4])), map(str, row[4:])
        if wanted(labels):
            version_1 = table.shape[1] < N_COLUMNS
            part = _part_of_version_1(arrays, k, *rest) if version_1 else _part(arrays, *rest)
            n_read += len(part.units) * (1 + len(part.left_out)) + sum(d.size for d in part.draws)
            if n_read > MOST_NUMBERS:
                raise ValueError("parts repeat large arrays")
            if not labels.reference.endswith(CEILING) and not all(
                _is_possible(sums) for _, sums in part.terms
            ):
                raise ValueError("sums are not those of any numbers")
            yield labels, part


def _part(
    arrays: Mapping[str, NDArray[Any]],
    session: str,
    subject: str,
    kind: str,
    units: str,
    groups: str,
    data: str,
    errors: str,
    draws: str,
) -> UnitScores:
    """Read and check the scores of a session."""
    names, members = _names(arrays, units), _names(arrays, groups)
    found, mistaken = (arrays[name].astype(np.float64) for name in (data, errors))
    sources = (arrays[draws].astype(np.float64),) if draws else ()
    of_prediction = OF_PREDICTION.get(kind, [])
    of_data = [i for i in range(N_SUMS[kind]) if i not in of_prediction] if kind else []
    size = (len(members), len(names))
    expected = ((len(of_data), *size), (len(of_prediction), *size)) if kind else ((1, len(names)), size)
    twice = len(set(members)) < len(members) or len(set(names)) < len(names)
    if (found.shape, mistaken.shape) != expected or twice:
        raise ValueError("scores are of other groups or units, or of one twice")
    if any(source.ndim != 2 or source.shape[1] != len(names) for source in sources):
        raise ValueError("draws are of other units")
    if not kind:
        left_out = dict(zip(members, mistaken + found, strict=True))
        return UnitScores(session, subject, names, found[0], left_out, sources)
    sums = np.empty((N_SUMS[kind], *size))
    sums[of_data], sums[of_prediction] = found, mistaken
    if not np.isfinite(sums).all() or (sums[0] < 0).any():
        raise ValueError("sums are not finite numbers")
    read = UnitScores.of_terms(session, subject, names, ((1, Sums(kind, members, sums)),))
    return replace(read, draws=sources)


def _is_possible(sums: Sums) -> bool:
    """Whether no sum of squares is smaller than the squared sum over the number, but for rounding."""
    if sums.kind == "mean":
        return True
    n, error, squared_error, deviation, squared_deviation, *_ = sums.values  # or data and what is compared
    pairs = ((error, squared_error), (deviation, squared_deviation))
    return all(np.all(total**2 <= n * squares * (1 + 1e-4) + 1e-6) for total, squares in pairs)


def _part_of_version_1(arrays: Mapping[str, NDArray[Any]], k: int, session: str, subject: str) -> UnitScores:
    """Read and check the scores of a session as files of protocols of version 1 have them."""
    units, groups = (_names(arrays, f"{name}_{k}") for name in ("units", "groups"))
    values, left_out = (arrays[f"{name}_{k}"].astype(np.float64) for name in ("values", "left_out"))
    if values.shape != (len(units),) or left_out.shape != (len(groups), len(units)):
        raise ValueError(f"part {k} has {len(units)} units and scores of shape {left_out.shape}")
    return UnitScores(session, subject, units, values, dict(zip(groups, left_out, strict=True)))


def _names(arrays: Mapping[str, NDArray[Any]], name: str) -> tuple[str, ...]:
    return arrays.names(name) if isinstance(arrays, Archive) else tuple(map(str, arrays[name]))

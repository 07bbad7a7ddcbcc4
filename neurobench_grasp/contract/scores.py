"""Scores: the rows that a protocol computes, and the record that stores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

ScoreRow = dict[str, Any]
"""One number of a record with its labels; the published schema of records lists the fields."""
StoredRow = Mapping[str, Any]
"""The same, read-only: a row of a record."""


@dataclass(frozen=True)
class Scores:
    """What a protocol returns.

    Parameters
    ----------
    rows : sequence of mapping
        Tidy rows, one number each, as in the published schema of records.
    units : mapping of str to ndarray
        Scores of single units as arrays, see ``neurobench_grasp.records.units``; may be empty.
    """

    rows: Sequence[ScoreRow]
    units: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreRecord:
    """One result: what was scored, the scores, and what produced them.

    Parameters
    ----------
    model : str
    seed : int
    dataset : mapping
        ``id``, ``sha256``, ``splits`` (digest), ``synthetic``, ``licence``, ``sessions``.
    protocol : mapping
        ``name``, ``version``, ``settings``.
    scores : sequence of mapping
        Tidy rows, one number each.
    dropped : sequence of mapping
        What was left out and why.
    provenance : mapping
    card : mapping, optional
        The model's card (:class:`~neurobench_grasp.contract.ModelCard`) as JSON values.
    verification : mapping, optional
        What ``ngb verify`` checked and how; without it a record is self-reported.
    schema : int
    """

    model: str
    seed: int
    dataset: Mapping[str, Any]
    protocol: Mapping[str, Any]
    scores: Sequence[StoredRow]
    dropped: Sequence[Mapping[str, Any]]
    provenance: Mapping[str, Any]
    card: Mapping[str, Any] | None = None
    verification: Mapping[str, Any] | None = None
    schema: int = 1

"""Scores: the rows that a protocol computes, and the record that stores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
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

    def __repr__(self) -> str:
        what = f"{self.model}, seed {self.seed}, {self.protocol['name']} on {self.dataset['id']}"
        return f"<ScoreRecord: {what}, {len(self.scores)} rows>"

    def _repr_html_(self) -> str:
        """Show the scores of the model itself, without references and details, in a notebook."""
        shown = ("metric", "split", "area", "value", "ci")
        rows = [
            row
            for row in self.scores
            if row.get("value") is not None
            and set(row) & {"split"}
            and not set(row) & {"reference", "layer", "of"}
        ]
        cells = "".join(
            "<tr>" + "".join(f"<td>{escape(_cell(row.get(name)))}</td>" for name in shown) + "</tr>"
            for row in rows
        )
        heads = "".join(f"<th>{name}</th>" for name in ("metric", "split", "area", "value", "95 % interval"))
        return f"<table><caption>{escape(repr(self))}</caption><tr>{heads}</tr>{cells}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_cell, value))
    return "" if value is None else str(value)

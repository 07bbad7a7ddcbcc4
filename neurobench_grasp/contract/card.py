"""The model card: description and training data of a model, as typed fields."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from neurobench_grasp.errors import NgbError
from neurobench_grasp.text import is_line

MAX_TEXT = 2000
"""Maximum length of a text in characters, and of a list in entries."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Description, authors and training data of a model.

    Parameters
    ----------
    licence : str
        SPDX expression, such as ``Apache-2.0``.
    authors : tuple of str
    citation : str
        Empty if there is none.
    action_space : str
        Actuation: ``39 muscles``; ``none`` if it has none.
    training_data : tuple of str
        Datasets that the model learned from beyond the training trials that ``fit`` is given: a dataset's
        name, or ``dandi:000128``. A score on one of these is flagged as contaminated.
    parameters : int
        Trainable weights.
    steps : int
        Steps of training; 0 if there were none.
    compute : str
        Free text: ``13 min on one core``.
    seeds : tuple of int
        Networks that exist; empty if any seed can be fitted.
    simulator : str
        Name and version; ``none`` if nothing is simulated.

    Raises
    ------
    NgbError
        If a field is invalid; the message names it.
    """

    licence: str
    authors: tuple[str, ...]
    citation: str
    action_space: str
    training_data: tuple[str, ...]
    parameters: int
    steps: int
    compute: str
    seeds: tuple[int, ...]
    simulator: str

    def __post_init__(self) -> None:
        for name in ("licence", "action_space", "compute", "simulator"):
            _check_text(name, getattr(self, name), "a text that is not empty")
        if self.citation != "":
            _check_text("citation", self.citation, "a text, empty if there is none")
        for name in ("authors", "training_data"):
            for text in _checked_tuple(name, getattr(self, name), "texts"):
                _check_text(name, text, "a tuple of texts that are not empty")
        if not self.authors:
            raise _unfit("authors", self.authors, "a tuple of at least one name")
        for name in ("parameters", "steps"):
            _check_count(name, getattr(self, name), "a whole number, 0 or more")
        for seed in _checked_tuple("seeds", self.seeds, "whole numbers"):
            _check_count("seeds", seed, "a tuple of whole numbers, 0 or more")
        _check_licence(self.licence)

    def to_json(self) -> dict[str, Any]:
        """Return the card as plain JSON values; the inverse of :meth:`from_json`."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, mapping: Any) -> ModelCard:
        """Read a card from JSON values.

        Parameters
        ----------
        mapping : mapping
            Field → value, tuples as lists.

        Raises
        ------
        NgbError
            If a field is unknown, missing, or invalid.
        """
        if not isinstance(mapping, Mapping):
            raise NgbError(f"A model card must be a mapping of fields to values, not {_shown(mapping)}.")
        known = [f.name for f in fields(cls)]
        for name in mapping:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(known)}."
                raise NgbError(f"A model card has no field {_shown(name)}; {hint}")
        missing = [name for name in known if name not in mapping]
        if missing:
            raise NgbError(f"The model card lacks {', '.join(missing)}; add what is missing.")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in mapping.items()}
        return cls(**values)


def _check_text(name: str, value: Any, kind: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise _unfit(name, value, kind)
    if len(value) > MAX_TEXT:
        raise NgbError(f"The field {name} of a model card must have at most {MAX_TEXT} characters.")
    if not is_line(value):
        raise _unfit(name, value, "one line of text without control characters")


def _checked_tuple(name: str, value: Any, items: str) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise _unfit(name, value, f"a tuple of {items}")
    if len(value) > MAX_TEXT or len(set(map(repr, value))) < len(value):
        raise NgbError(f"The field {name} of a model card must have at most {MAX_TEXT} entries, none twice.")
    return value


def _check_count(name: str, value: Any, kind: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise _unfit(name, value, kind)


def _check_licence(value: str) -> None:
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        canonicalize_license_expression(value)
    except InvalidLicenseExpression as error:
        kind = "an SPDX expression such as Apache-2.0, CC0-1.0 or LicenseRef-Own"
        raise _unfit("licence", value, kind) from error


def _unfit(name: str, value: Any, kind: str) -> NgbError:
    return NgbError(f"The field {name} of a model card must be {kind}, not {_shown(value)}.")


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}…"

"""Whether a model has learned from the data that it is scored on, by what its card says."""

from __future__ import annotations

from collections.abc import Mapping

from neurobench_grasp.contract import ScoreRecord


def contamination(record: ScoreRecord) -> str:
    """Report which of the model's training data are the data that it is scored on; empty if none are.

    The training trials that every model is fitted on do not count, and are not in ``training_data``.
    """
    known = (record.card or {}).get("training_data", ())
    seen = [name for name in known if _plain(str(name)) in _names(record)]
    return (
        f"its card names {', '.join(seen)} as training data, so its scores are contaminated" if seen else ""
    )


def _names(record: ScoreRecord) -> set[str]:
    """Names of the record's dataset: its identifier and its dandisets."""
    source = record.dataset.get("source") or ()
    dandisets = [str(file.get("dandiset")) for file in source if isinstance(file, Mapping)]
    return {_plain(str(record.dataset["id"])), *(f"dandi:{name}" for name in dandisets)}


def _plain(name: str) -> str:
    """Return a name without case, version and path: ``dandi:000128@draft/sub-x`` is ``dandi:000128``."""
    name = name.strip().lower()
    return name.split("/")[0].split("@")[0] if name.startswith("dandi:") else name

"""Records with scores of single units whose truth is known, for tests of comparisons."""

import dataclasses
import hashlib

import numpy as np

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.records import Scored, write_record
from neurobench_grasp.records.record import pack_units
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.intervals import UnitScores, summarise


def of_means(data, session="s", subject="a", units=None):
    """Scores of one network that are means over groups: data (n_groups, n_units)."""
    data = np.asarray(data, float)
    n = len(data)
    left_out = {f"g{i}": (data.sum(0) - data[i]) / (n - 1) for i in range(n)}
    units = tuple(f"u{i}" for i in range(data.shape[1])) if units is None else tuple(units)
    return UnitScores(session, subject, units, data.mean(0), left_out)


def model_of(data):
    """A model's networks in one session: data (n_networks, n_groups, n_units)."""
    return [[of_means(network)] for network in data]


def draw(rng, *, n_networks=5, n_groups=7, n_units=30, mean=0.0, network=0.0, group=0.0, unit=0.0, noise=0.0):
    """Scores with planted standard deviations, (n_networks, n_groups, n_units)."""
    return (
        mean
        + network * rng.standard_normal((n_networks, 1, 1))
        + group * rng.standard_normal((1, n_groups, 1))
        + unit * rng.standard_normal((1, 1, n_units))
        + noise * rng.standard_normal((n_networks, n_groups, n_units))
    )


def steady(value, n_groups=7, n_units=10):
    """Data of one network with this mean and an interval about 0.03 to each side: (n_groups, n_units)."""
    rng = np.random.default_rng(0)
    (varied,) = draw(rng, n_networks=1, n_groups=n_groups, n_units=n_units, group=0.02, unit=0.03)
    return value + varied - varied.mean()


def scored(
    model,
    data=None,
    *,
    seed=0,
    untrained=None,
    area="M1",
    metric="single_trial_ev",
    split="ood",
    date="2026-01-01",
    reason=None,
    **changes,
):
    """A record of one network, with or without scores of its units: data (n_groups, n_units)."""
    labels = {"metric": metric, "split": split, **({"area": area} if area else {})}
    parts = {} if data is None else {Labels(area, split, metric, ""): (of_means(data),)}
    if untrained is not None:
        parts[Labels(area, split, metric, "untrained")] = (of_means(untrained),)
    row = {**labels, "value": 0.5, "ci": None, "n_units": 10}
    if data is not None:
        total = summarise([of_means(data)])
        row |= {"value": total and total.value, "ci": total and total.ci and list(total.ci)}
    row |= {"reason": reason} if reason else {}
    row |= {"unit": changes["unit"]} if "unit" in changes else {}
    dataset = {"id": "data", "sha256": "aa" * 32, "splits": "bb" * 32, "synthetic": False}
    record = ScoreRecord(
        model=model,
        seed=seed,
        dataset=dataset | {k: v for k, v in changes.items() if k in (*dataset, "trained_on")},
        protocol={
            "name": changes.get("protocol", "encoding"),
            "version": changes.get("version", 1),
            "settings": changes.get("settings", {}),
        },
        scores=[{**row, "value": 9.0, "reference": "phase_mean"}, row],
        dropped=[],
        provenance={"date": date},
    )
    return Scored(record, UnitTable(parts))


def write(folder, *entries):
    """Write records with the scores of their units, as scoring does; gives the paths."""
    paths = []
    for entry in entries:
        raw = pack_units(entry.units.arrays() if entry.units.scores else {})
        digest = hashlib.sha256(raw).hexdigest() if raw else None
        provenance = {**entry.record.provenance, "units_sha256": digest}
        record = dataclasses.replace(entry.record, provenance=provenance)
        paths.append(write_record(folder, record, raw))
    return paths

"""Time to build the board of many models, its size, and the ranking against a plain loop; prints JSON.

Records and scores of single units are synthetic: models of graded strength, networks, sessions of two
areas. They are written as by ``ngb score``, then the site is built from the files as by ``ngb leaderboard
--html``. The plain loop compares pair by pair (a sample of the pairs, scaled up), in the same process.

    python benchmarks/board.py [--models 200] [--seeds 5] [--sessions 10] [--units 30] [--keep DIR]
"""

import argparse
import functools
import hashlib
import json
import random
import resource
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.leaderboard import unit_scores_of
from neurobench_grasp.leaderboard.pairs import all_differences
from neurobench_grasp.leaderboard.ranking import difference
from neurobench_grasp.leaderboard.site import Facts, build_site
from neurobench_grasp.leaderboard.standings import boards
from neurobench_grasp.records import Scored, read_scored, write_record
from neurobench_grasp.records.record import pack_units
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.intervals import UnitScores, summarise

AREAS, N_LAYERS = ("M1", "S1"), 12
N_GROUPS = {"ood": 7, "test": 28}
PLANTED = (
    ("single_trial_ev", "ood", ""), ("single_trial_ev", "ood", "untrained"),
    ("single_trial_ev", "ood", "linear_kinematic"), ("single_trial_ev", "test", ""),
    ("condition_averaged_ev", "ood", ""), ("condition_averaged_ev", "test", ""),
    ("object_tuning_ev", "ood", ""), ("object_tuning_ev", "test", ""),
)  # fmt: skip


@functools.cache
def shared_part(session, seed, n_units, n_groups):
    """Draw what all models share: differences between units, conditions, and units in conditions."""
    rng = np.random.default_rng([*session.encode(), seed])
    groups = 0.03 * rng.standard_normal((n_groups, 1)) + 0.05 * rng.standard_normal((n_groups, n_units))
    return 0.1 * rng.standard_normal(n_units) + groups


def planted_part(rng, session, seed, n_units, n_groups, mean):
    """Scores of one session: the part shared by all models, and a part specific to the model."""
    data = (
        shared_part(session, seed, n_units, n_groups) + mean + 0.02 * rng.standard_normal((n_groups, n_units))
    )
    left_out = (data.sum(0) - data) / (n_groups - 1)
    units = tuple(f"unit_{u:03d}" for u in range(n_units))
    names = (f"object_{g}" for g in range(n_groups))
    by_group = dict(zip(names, left_out, strict=True))
    return UnitScores(session, f"animal_{session[-1]}", units, data.mean(0), by_group)


def planted(rng, model, seed, strength, n_sessions, n_units):
    """Return a record of a network and the scores of its units."""
    parts, rows = [], []
    sessions = [f"session_{s}_{s % 2}" for s in range(n_sessions)]
    for area in AREAS:
        for metric, split, reference in PLANTED:
            mean = {"untrained": 0.2, "linear_kinematic": 0.22}.get(reference, strength)
            found = [planted_part(rng, s, seed, n_units, N_GROUPS[split], mean) for s in sessions]
            parts += [(Labels(area, split, metric, reference), part) for part in found]
            row = {"metric": metric, "split": split, "area": area, "n_conditions": N_GROUPS[split]}
            row |= {"reference": reference} if reference else {}
            rows.append(row | numbers(found))
            rows += (
                [] if reference else [row | {"session": p.session, "value": p.values.mean()} for p in found]
            )
        for layer in range(N_LAYERS):
            value = strength * rng.uniform(0.4, 1)
            where = {"metric": "single_trial_ev", "split": "ood", "area": area, "layer": f"layer_{layer}"}
            rows.append({**where, "value": value, "ci": [value - 0.02, value + 0.02]})
    units = pack_units(UnitTable.of(parts).arrays())
    dataset = {"id": "planted", "sha256": "ab" * 32, "splits": "cd" * 32, "synthetic": False}
    dataset["sessions"] = [{"id": s, "subject": f"animal_{s[-1]}", "sha256": "ef" * 32} for s in sessions]
    provenance = {"date": "2026-01-01T00:00:00+00:00", "units_sha256": hashlib.sha256(units).hexdigest()}
    protocol = {"name": "encoding", "version": 1, "settings": {"n_folds": 5}}
    return ScoreRecord(model, seed, dataset, protocol, rows, [], provenance), units


def numbers(parts):
    """Return value and interval as in a record."""
    total = summarise(parts)
    return {"value": total.value, "ci": total.ci, "n_units": total.n_units, "median": total.median}


def write_planted(folder, n_models, n_seeds, n_sessions, n_units):
    """Write records of models of graded strength, some of which do not differ."""
    strengths = np.random.default_rng(0).uniform(0.05, 0.35, n_models)
    for k, strength in enumerate(strengths):
        for seed in range(n_seeds):
            rng = np.random.default_rng([k, seed])
            value = strength + 0.004 * rng.standard_normal()
            record, units = planted(rng, f"model_{k:03d}", seed, value, n_sessions, n_units)
            write_record(folder, record, units)


def plain_loop(models, n_sample):
    """Return the seconds that comparing pair by pair takes, from a sample of the pairs."""
    pairs = list(combinations(models, 2))
    sample = random.Random(0).sample(pairs, min(n_sample, len(pairs)))
    start = time.perf_counter()
    for i, j in sample:
        difference(models[i], models[j])
    return (time.perf_counter() - start) * len(pairs) / len(sample)


def measure(folder: Path, to: Path):
    """Build once, and rank both ways."""
    start, cpu = time.perf_counter(), time.process_time()
    site = build_site([folder], to, Facts())
    build, busy = time.perf_counter() - start, time.process_time() - cpu
    scored: tuple[Scored, ...] = read_scored([folder], unit_scores_of())[0]
    _, candidates = next(iter(boards(scored)))
    models = {k: c.scores for k, c in enumerate(candidates)}
    start = time.perf_counter()
    all_differences(models)
    together = time.perf_counter() - start
    apart = plain_loop(models, 300)
    return {
        "records": site.n_records,
        "models": site.n_models,
        "boards": site.n_boards,
        "build_s": round(build, 2),
        "build_cpu_s": round(busy, 2),
        "index_bytes": site.index.stat().st_size,
        "site_bytes": sum(path.stat().st_size for path in to.rglob("*") if path.is_file()),
        "pairs": len(models) * (len(models) - 1) // 2,
        "all_pairs_at_once_s": round(together, 3),
        "pair_by_pair_s": round(apart, 2),
        "ratio": round(apart / together, 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {"models": 200, "seeds": 5, "sessions": 10, "units": 30}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--keep", type=Path, help="folder for records and site; existing records there are used"
    )
    parser.add_argument("--json", action="store_true", help="the default, for symmetry with ngb")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        base = given.keep or Path(temporary)
        if not (base / "records").is_dir():
            write_planted(base / "records", given.models, given.seeds, given.sessions, given.units)
        print(json.dumps(measure(base / "records", base / "site"), indent=1))


if __name__ == "__main__":
    main()

"""Rows that were forged in real records: ``ngb verify`` names them, or no board, rank or comparison shows them."""

import hashlib
import io
import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from neurobench_grasp.errors import NgbError
from neurobench_grasp.leaderboard import comparison, rank_models
from neurobench_grasp.leaderboard.site import Facts, build_site
from neurobench_grasp.records import read_scored
from neurobench_grasp.records.submission import check_record

RESULTS = Path(__file__).parents[2] / "registry" / "results"
RECORDS = {
    "encoding": "linear_kinematic-*/records/*-encoding-*.json",
    "hand": "torque_ppo-*/records/torque_ppo-seed0-hand_reach_to_grasp-tracking-*.json",
    "brain control": "muscle_ppo-*/records/muscle_ppo-seed0-demo-brain-control-*.json",
}
TEXTS = ("x", "")
ANYTHING = ("x", "", None, 0, 3, 0.0, 0.5, ["x"], {"a": 1})
HIDING = {
    **dict.fromkeys(("of", "session", "reference", "layer", "decoded"), TEXTS),
    **dict.fromkeys(
        ("n_components", "dimension", "n_decoded_units", "noise", "n_trials", "custom"), ANYTHING
    ),
}
"""Labels that may be added to a row, and values that the schema allows there."""
SHOWN = ("single_trial_ev", "condition_averaged_ev", "tracking_error", "joint_error", "brain_control_error")


def copied(name, folder):
    """Copy one real record into a run folder; returns its path."""
    (path,) = RESULTS.glob(RECORDS[name])
    shutil.copytree(path.parents[1] / "splits", folder / "splits")
    (folder / "records").mkdir()
    for file in (path, path.with_suffix(".units.npz")):
        shutil.copyfile(file, folder / "records" / file.name)
    return folder / "records" / path.name


@pytest.fixture(scope="module", params=RECORDS)
def honest(request, tmp_path_factory):
    """Name of a real record, and what is shown of it."""
    folder = tmp_path_factory.mktemp("honest")
    return request.param, shown(copied(request.param, folder / "run"), folder)


@pytest.fixture
def run(honest, tmp_path):
    """A copy of the record, to be forged."""
    return copied(honest[0], tmp_path / "run")


def forge(path, change):
    """Write a record with other rows; returns them."""
    record = json.loads(path.read_text())
    record["scores"] = change(record["scores"])
    path.write_text(json.dumps(record))
    return record["scores"]


def named(path):
    """Places of the rows that verification objects to."""
    problems = check_record(path, path.parents[1]).problems
    return {int(k) for p in problems for k in re.findall(r"scores\[(\d+)\]", p)}, problems


def shown(path, tmp_path):
    """Everything that boards, ranks and comparisons show of a folder of records."""
    folder = path.parents[1]
    others = [f for f in sorted(RESULTS.iterdir()) if f.name not in str(path)]
    scored, _ = read_scored([folder, *others], lambda labels: True)
    model = json.loads(path.read_text())["model"]
    pairs = []
    for metric, split in itertools.product(SHOWN, ("ood", "test")):
        for other in ("untrained", "muscle_ppo", "torque_ppo"):
            try:
                pairs.append(comparison(scored, [model, other], metric=metric, split=split))
            except NgbError as why:
                pairs.append(str(why))
    site = build_site([folder, *others], tmp_path / "site", Facts()).index.parent
    return rank_models(scored), pairs, (site / "board.json").read_text(), (site / "board.csv").read_text()


def forged_rows(rows):
    """Copies of every row that a board shows, with a better number and labels that may hide it."""
    hiding = [{key: value} for key, values in HIDING.items() for value in values]
    hiding += [{a: "x", b: "x"} for a, b in itertools.combinations(HIDING, 2)]
    main = [r for r in rows if r["metric"] in (*SHOWN, "gain_over_linear_kinematic", "gain_over_untrained")]
    main = [r for r in main if r["split"] == "ood" and not {"session", "reference", "layer"} & r.keys()]
    better = [
        {**r, "value": 0.01 if "error" in r["metric"] else 0.99} for r in main if r["value"] is not None
    ]
    for row, labels in itertools.product(better, ({}, *hiding)):
        yield {**row, **labels}
        yield {**row, **labels, "area": "M9"}


def test_a_forged_row_is_named_or_changes_nothing_that_is_shown(honest, run, tmp_path):
    true = json.loads(run.read_text())["scores"]
    assert named(run) == (set(), ())
    forged = list(forged_rows(true))
    assert len(forged) > 100
    forge(run, lambda rows: [*rows, *forged])
    found, _ = named(run)
    assert found and min(found) >= len(true)
    unnamed = [row for i, row in enumerate(forged, len(true)) if i not in found]
    assert unnamed
    for place in ("after", "before"):
        forge(run, lambda _, first=place == "before": [*unnamed, *true] if first else [*true, *unnamed])
        assert named(run)[1] == ()
        assert shown(run, tmp_path) == honest[1]


LIES = {
    "value": 0.99,
    "ci": [0.98, 0.99],
    "median": 0.99,
    "n_units": 9999,
    "n_conditions": 9999,
    "unit": "km",
}


def test_a_forged_field_of_a_row_is_named_or_changes_nothing_that_is_shown(honest, run, tmp_path):
    true = json.loads(run.read_text())["scores"]
    merged = [dict(row) for row in true]
    for field, lie in LIES.items():
        without = "ci_over" if field == "n_conditions" else ""

        def forged(row, field=field, lie=lie, without=without):
            kept = {k: v for k, v in row.items() if k != without}
            return {**kept, field: lie} if field in row and row["value"] is not None else row

        lies = [forged(row) for row in true]
        forge(run, lambda _, lies=lies: lies)
        found, _ = named(run)
        assert found or field != "value"
        for i in set(range(len(true))) - found:
            merged[i] |= {field: lies[i].get(field)} if field in true[i] else {}
            merged[i].pop(without, None)
    forge(run, lambda _: merged)
    assert named(run)[1] == () and merged != true
    assert shown(run, tmp_path) == honest[1]


@pytest.mark.parametrize("reference", ["linear_kinematic", "untrained"])
def test_a_gain_without_unit_scores_of_its_reference_is_named_and_not_shown(tmp_path, reference):
    (path,) = RESULTS.glob("muscle_ppo-*/records/*-encoding-*.json")
    run = Path(shutil.copytree(path.parents[1], tmp_path / "run")) / "records" / path.name
    for other in run.parent.glob("*.json"):
        if other != run:
            other.unlink()
    with np.load(run.with_suffix(".units.npz")) as arrays:
        content = dict(arrays)
    labels = content["labels"]
    labels[labels[:, 3] == reference, 3] = "another"
    raw = io.BytesIO()
    np.savez_compressed(raw, **content | {"labels": labels})
    run.with_suffix(".units.npz").write_bytes(raw.getvalue())
    record = json.loads(run.read_text())
    record["provenance"]["units_sha256"] = hashlib.sha256(raw.getvalue()).hexdigest()
    mine = [i for i, row in enumerate(record["scores"]) if row["metric"] == f"gain_over_{reference}"]
    for i in mine:
        record["scores"][i]["value"] = 0.77
    run.write_text(json.dumps(record))
    assert set(mine) <= named(run)[0]
    board = build_site([run.parents[1]], tmp_path / "site", Facts()).index.parent / "board.json"
    assert "0.77" not in board.read_text()


def test_the_name_of_the_protocol_does_not_excuse_a_row(run):
    record = json.loads(run.read_text())
    record["protocol"]["name"] = "layers"
    record["scores"] = [{"metric": metric, "split": "ood", "area": "M9", "value": 0.5} for metric in SHOWN]
    run.write_text(json.dumps(record))
    assert named(run)[0] == set(range(len(SHOWN)))


def test_two_rows_with_the_same_labels_are_named(run):
    rows = json.loads(run.read_text())["scores"]
    forge(run, lambda rows: [*rows, rows[0]])
    assert named(run)[0] == {len(rows)}

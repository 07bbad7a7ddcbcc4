"""Rows that were forged in real records: ``ngb verify`` names them, or no board, rank or comparison shows them."""

import csv
import hashlib
import io
import itertools
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from counts import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurobench_grasp.errors import NgbError
from neurobench_grasp.leaderboard import comparison, rank_models
from neurobench_grasp.leaderboard.site import Facts, build_site
from neurobench_grasp.records import read_record, read_scored
from neurobench_grasp.records.consistency import contradictions
from neurobench_grasp.records.record import read_units
from neurobench_grasp.records.submission import check_record
from neurobench_grasp.records.table import LABELS, RowKey

RESULTS = Path(__file__).parents[2] / "registry" / "results"
RIVALS = []
RECORDS = {
    "encoding": "linear_kinematic-*/records/*-seed0-demo-encoding-*.json",
    "hand": "torque_ppo-*/records/torque_ppo-seed0-demo-tracking-*.json",
    "brain control": "muscle_ppo-*/records/muscle_ppo-seed0-demo-brain-control-*.json",
}
TEXTS = ("x", "")
ANYTHING = ("x", "", None, 0, 3, 0.0, 0.5, ["x"], {"a": 1})
HIDING = {
    **dict.fromkeys(("of", "session", "reference", "layer", "decoded", "group"), TEXTS),
    **dict.fromkeys(
        ("n_components", "dimension", "n_decoded_units", "noise", "n_trials", "custom"), ANYTHING
    ),
}
"""Labels that may be added to a row, and values that the schema allows there."""
SHOWN = ("single_trial_ev", "condition_averaged_ev", "tracking_error", "joint_error", "brain_control_error")


def copied(pattern, folder):
    """Copy one real record into a run folder; returns its path."""
    (path,) = RESULTS.glob(pattern)
    shutil.copytree(path.parents[1] / "splits", folder / "splits", dirs_exist_ok=True)
    (folder / "records").mkdir(exist_ok=True)
    for file in (path, path.with_suffix(".units.npz")):
        shutil.copyfile(file, folder / "records" / file.name)
    return folder / "records" / path.name


@pytest.fixture(scope="module", autouse=True)
def rivals(tmp_path_factory):
    """Run folders of other models, one network each."""
    RIVALS[:] = [tmp_path_factory.mktemp("rivals") / model for model in ("muscle_ppo", "torque_ppo")]
    for folder, protocol in itertools.product(RIVALS, ("encoding", "tracking", "brain-control")):
        copied(f"{folder.name}-*/records/*-seed0-demo-{protocol}-*.json", folder)


@pytest.fixture(scope="module", params=RECORDS)
def honest(request, tmp_path_factory):
    """Name of a real record, and what is shown of it."""
    folder = tmp_path_factory.mktemp("honest")
    return request.param, shown(copied(RECORDS[request.param], folder / "run"), folder)


@pytest.fixture
def run(honest, tmp_path):
    """A copy of the record, to be forged."""
    return copied(RECORDS[honest[0]], tmp_path / "run")


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
    others = [f for f in RIVALS if f.name not in path.name]
    scored, _ = read_scored([folder, *others], lambda labels: True)
    model = json.loads(path.read_text())["model"]
    pairs = []
    for metric, split in itertools.product(SHOWN, ("ood", "test")):
        for other in ("muscle_ppo", "torque_ppo"):
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
    "baseline_value": 99.0,
}


def test_a_forged_field_of_a_row_is_named_or_marked_as_stated_and_changes_no_board(honest, run, tmp_path):
    true = json.loads(run.read_text())["scores"]
    keys = [RowKey.of_row(row) for row in true]
    baselines = {
        key._replace(reference=row["baseline"])
        for key, row in zip(keys, true, strict=True)
        if "baseline" in row
    }
    stated = {i for i, key in enumerate(keys) if not key.needs_units}
    merged = [dict(row) for row in true]
    for field, lie in LIES.items():
        lying = {i for i, row in enumerate(true) if field in row and row["value"] is not None}
        lies = [row | {field: lie} if i in lying else row for i, row in enumerate(true)]
        lies = [
            {k: v for k, v in row.items() if k != "ci_over"} for row in lies
        ]  # nor does that hide anything
        forge(run, lambda _, lies=lies: lies)
        found, _ = named(run)
        assert lying - stated <= found
        for i in lying - found:
            merged[i] |= {} if keys[i] in baselines else {field: lie}
    forge(run, lambda _: merged)
    assert named(run)[1] == () and merged != true
    assert shown(run, tmp_path) == honest[1]
    with (tmp_path / "site" / "scores.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["record"] == run.name]
    assert {i for i, line in enumerate(lines) if line["stated"] == "true"} == stated
    assert stated >= {i for i, row in enumerate(true) if merged[i] != row}


def test_a_row_that_no_group_of_features_has_is_refused_with_one(run):
    """The scores of single units give the numbers of gains and ceilings, but under another name."""
    record = read_record(run)
    of_others = {i for i, row in enumerate(record.scores) if "of" in row and row["value"] is not None}
    of_others = {i for i in of_others if RowKey.of_row(record.scores[i]).needs_units}
    grouped = [{**row, "group": "x"} if i in of_others else row for i, row in enumerate(record.scores)]
    found = contradictions(replace(record, scores=grouped), read_units(run, record))
    assert of_others <= {int(re.match(r"scores\[(\d+)\]", problem)[1]) for problem in found}


CHANGES = st.dictionaries(
    st.sampled_from([*LABELS, *LIES, "custom"]),
    st.sampled_from([*ANYTHING, "M1", "ood", "test", 0.99]),
    min_size=1,
    max_size=3,
)


@given(st.data())
@settings(
    deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_changed_in_a_row_it_is_named_or_marked_as_stated_or_as_before(run, data):
    record = read_record(run)
    units = read_units(run, record)
    i = data.draw(st.integers(0, len(record.scores) - 1))
    true = record.scores[i]
    row = {**true, **data.draw(CHANGES)}
    again = data.draw(st.booleans())
    if not isinstance(row["metric"], str) or not isinstance(row["value"], float | int | None):
        return  # the schema refuses it
    scores = [*record.scores, row] if again else [*record.scores[:i], row, *record.scores[i + 1 :]]
    try:
        named = any(
            f"scores[{len(scores) - 1 if again else i}]" in p
            for p in contradictions(replace(record, scores=scores), units)
        )
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError):
        return  # refused as a whole
    visible = {k: v for k, v in row.items() if k in (*LABELS, *LIES)}
    same = all(str(true.get(k, "")) == str(v if v is not None else "") for k, v in visible.items())
    assert named or not RowKey.of_row(row).needs_units or (same and not again) or row["value"] is None


def test_pages_mark_what_the_record_alone_states(tmp_path):
    run = copied(RECORDS["encoding"].replace("linear_kinematic", "muscle_ppo"), tmp_path / "run")
    rows = json.loads(run.read_text())["scores"]
    layer = next(
        r for r in rows if r.get("layer") and r["metric"] == "single_trial_ev" and r["split"] == "ood"
    )
    forge(
        run,
        lambda rows: [
            r | {"value": 0.777, "ci": None} if RowKey.of_row(r) == RowKey.of_row(layer) else r for r in rows
        ],
    )
    assert named(run)[1] == ()
    page = (
        build_site([run.parents[1]], tmp_path / "site", Facts()).index.parent / "models/muscle_ppo.html"
    ).read_text()
    assert (
        "0.777*" in page
        and "* as the record states: <code>ngb verify</code> computes the other numbers again" in page
    )
    headline = next(
        r for r in rows if RowKey.of_row(r) == RowKey("single_trial_ev", split="ood", area=layer["area"])
    )
    assert f"<td>{headline['value']:.3f} [" in page


@pytest.mark.parametrize("reference", ["linear_kinematic", "untrained"])
def test_a_gain_without_unit_scores_of_its_reference_is_named_and_not_shown(tmp_path, reference):
    (path,) = RESULTS.glob("muscle_ppo-*/records/*-seed0-demo-encoding-*.json")
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

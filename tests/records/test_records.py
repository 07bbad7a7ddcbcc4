import errno
import json
import math
import os
import re

import jsonschema_rs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.errors import CorruptFileError, NgbError
from neurobench_grasp.records import (
    from_json,
    read_record,
    read_records,
    record_path,
    record_schema,
    to_json,
    write_record,
)

ROW = {
    "metric": "single_trial_ev",
    "split": "ood",
    "area": "M1",
    "value": 0.21,
    "ci": [0.18, 0.24],
    "n_units": 118,
}


def record(scores=(ROW,), **changes):
    fields = {
        "model": "a_model",
        "seed": 0,
        "dataset": {
            "id": "demo",
            "sha256": "ab" * 32,
            "splits": "cd" * 32,
            "synthetic": True,
            "licence": "CC0",
        },
        "protocol": {"name": "encoding", "version": 1, "settings": {"n_folds": 5}},
        "scores": list(scores),
        "dropped": [{"what": "trials", "n": 2, "reason": "too short"}],
        "provenance": {"date": "2026-01-01T00:00:00+00:00"},
    }
    return ScoreRecord(**fields | changes)


def test_the_schema_is_a_valid_draft_2020_12_schema():
    jsonschema_rs.meta.validate(record_schema())


def test_json_and_back_is_the_identity():
    there = to_json(record())
    assert to_json(from_json(there)) == there
    assert from_json(there) == record()


finite = st.floats(allow_nan=False, allow_infinity=False)
rows = st.lists(
    st.fixed_dictionaries(
        {"metric": st.text(min_size=1), "value": st.floats()},
        optional={
            "ci": st.none() | st.tuples(finite, finite),
            "median": st.floats(),
            "n_units": st.integers(0),
        },
    )
)


@given(rows)
def test_any_float_gives_strict_json_where_null_has_a_reason(scores):
    text = json.dumps(to_json(record(scores)), allow_nan=False)
    for before, after in zip(scores, json.loads(text)["scores"], strict=True):
        if math.isfinite(before["value"]):
            assert after["value"] == before["value"]
            assert "reason" not in after
        else:
            assert after["value"] is None
            assert after["reason"] == f"the computation gave {before['value']}"


def test_numpy_values_become_plain_numbers():
    row = {"metric": "x", "value": np.float64(0.5), "ci": np.array([0.1, 0.9]), "n_units": np.int64(3)}
    assert to_json(record([row]))["scores"] == [{"metric": "x", "value": 0.5, "ci": [0.1, 0.9], "n_units": 3}]


def test_an_interval_that_is_not_finite_becomes_null():
    (row,) = to_json(record([{**ROW, "ci": [np.nan, 0.2]}]))["scores"]
    assert row["ci"] is None


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"scores": [{"metric": "x", "value": None}]}, r"\$\.scores\[0\]: \"reason\" is a required property"),
        ({"scores": [{"value": 1.0}]}, r"\$\.scores\[0\]: \"metric\" is a required property"),
        ({"scores": [{**ROW, "ci": [0.1]}]}, r"\$\.scores\[0\]\.ci"),
        ({"model": "../escape"}, r"\$\.model"),
        ({"model": "a_model\n"}, r"\$\.model"),
        ({"dataset": {**record().dataset, "id": "a\x1b[31m"}}, r"\$\.dataset\.id"),
        (
            {"dataset": {**record().dataset, "sessions": [{"id": 7, "subject": "a", "sha256": "0" * 64}]}},
            r"\$\.dataset\.sessions\[0\]\.id",
        ),
        (
            {
                "dataset": {
                    **record().dataset,
                    "sessions": [{"id": "s\n", "subject": "a", "sha256": "0" * 64}],
                }
            },
            r"sessions\[0\]\.id",
        ),
        (
            {
                "dataset": {
                    **record().dataset,
                    "sessions": [{"id": "s", "subject": "\u202ea", "sha256": "0" * 64}],
                }
            },
            r"sessions\[0\]\.subject",
        ),
        ({"seed": -1}, r"\$\.seed"),
        ({"schema": 2}, r"\$\.schema"),
        ({"dataset": {"id": "demo"}}, r"\$\.dataset.*and 2 more"),
        ({"dropped": [{"what": "trials"}]}, r"\$\.dropped\[0\]"),
    ],
)
def test_what_breaks_the_schema_is_refused_with_its_place(changes, place):
    with pytest.raises(NgbError, match=f"The record of .* does not follow the record schema at .*{place}"):
        to_json(record(**changes))


def test_a_field_of_its_own_is_refused_at_the_top():
    with pytest.raises(NgbError, match="'extra' was unexpected"):
        from_json({**to_json(record()), "extra": 1})


def test_settings_that_json_cannot_hold_are_refused():
    with pytest.raises(NgbError, match="cannot be written as JSON: object is not a JSON value"):
        to_json(record(provenance={"thing": object()}))
    with pytest.raises(NgbError, match="cannot be written as JSON: Out of range float"):
        to_json(record(provenance={"thing": math.inf}))


def test_writing_then_reading_gives_the_record_and_leaves_nothing_else(tmp_path):
    path = write_record(tmp_path / "new" / "records", record())
    assert path == record_path(tmp_path / "new" / "records", record())
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert read_record(path) == record()


def test_the_file_name_tells_what_was_scored_and_stays_inside_the_folder(tmp_path):
    odd = record(dataset={**record().dataset, "id": "../Übung 7/…/x"})
    path = write_record(tmp_path, odd)
    assert path.parent == tmp_path
    assert re.fullmatch(r"a_model-seed0-[a-z0-9_.-]+-encoding-v1-[0-9a-f]{8}\.json", path.name)


def test_the_same_thing_replaces_its_record_and_another_does_not(tmp_path):
    write_record(tmp_path, record())
    write_record(tmp_path, record([{**ROW, "value": 0.5}], provenance={"date": "later"}))
    assert len(list(tmp_path.iterdir())) == 1
    write_record(tmp_path, record(seed=1))
    write_record(tmp_path, record(dataset={**record().dataset, "sha256": "ef" * 32}))
    write_record(tmp_path, record(protocol={"name": "encoding", "version": 1, "settings": {"n_folds": 7}}))
    assert len(list(tmp_path.iterdir())) == 4


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NgbError, match=r"Cannot write the record .* choose another folder with --out\."):
        write_record(tmp_path / "file", record())


def test_a_full_disk_leaves_the_old_record_and_no_temporary_file(tmp_path, monkeypatch):
    path = write_record(tmp_path, record())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(NgbError, match="No space left on device"):
        write_record(tmp_path, record([{**ROW, "value": 0.9}]))
    assert list(tmp_path.iterdir()) == [path]
    assert read_record(path) == record()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"schema": 1}', "\x00", "[" * 100_000, '{"schema": NaN}'],
    ids=["empty", "cut", "list", "null", "partial", "zero", "deep", "nan"],
)
def test_a_broken_file_is_a_problem_and_does_not_stop_the_rest(tmp_path, text):
    (tmp_path / "broken.json").write_text(text)
    write_record(tmp_path, record())
    records, problems = read_records([tmp_path])
    assert records == (record(),)
    assert len(problems) == 1
    assert "broken.json" in problems[0]
    assert len(problems[0]) < 600


def test_bytes_that_are_no_text_are_a_problem(tmp_path):
    (tmp_path / "broken.json").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(CorruptFileError, match=r"broken\.json is not valid JSON"):
        read_record(tmp_path / "broken.json")


def test_a_folder_that_cannot_be_listed_is_a_problem_and_not_an_empty_one(tmp_path, monkeypatch):
    write_record(tmp_path / "run" / "records", record())

    def refused(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(os, "listdir", refused)  # modes do not stop root
    monkeypatch.setattr(os, "scandir", refused)
    records, problems = read_records([tmp_path / "run"])
    assert not records
    assert problems == (f"the folder {tmp_path / 'run' / 'records'} cannot be read (Permission denied)",)


@pytest.mark.parametrize("named", ["runs", "runs/a", "runs/a/records", "flat"])
def test_naming_runs_submissions_records_or_a_folder_of_them_is_all_the_same(tmp_path, named):
    for folder in ("runs/a/records", "runs/b/records", "flat"):
        write_record(tmp_path / folder, record())
    (tmp_path / "runs/a/bundle.json").write_text("{}")
    (tmp_path / "runs/a/stages/fit-1").mkdir(parents=True)
    records, problems = read_records([tmp_path / named])
    assert problems == () and records == (record(),) * (2 if named == "runs" else 1)


def test_what_is_skipped_is_named(tmp_path):
    write_record(tmp_path / "runs/a/records", record())
    for folder in ("runs/notes", "runs/.hidden", "runs/new/records", "empty", "runs/b/records"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "runs/b/records/x.json").write_text("{")
    (tmp_path / "runs/c.json").write_text("[]")
    records, problems = read_records([tmp_path / "runs", tmp_path / "empty", tmp_path / "absent"])
    assert len(records) == 1
    assert [problem.replace(f"{tmp_path}/", "") for problem in problems] == [
        "runs/notes has no folder records",
        'runs/c.json does not follow the record schema at $: [] is not of type "object".',
        "runs/b/records/x.json is not valid JSON (Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)); remove it or score again.",
        "there are no records in empty",
        "there is no folder absent",
    ]


def test_run_folders_and_folders_of_records_are_both_read(tmp_path):
    write_record(tmp_path / "run" / "records", record())
    (tmp_path / "run" / "stage.json").write_text("{}")
    write_record(tmp_path / "flat", record(seed=1))
    records, problems = read_records([tmp_path / "run", tmp_path / "flat", tmp_path / "absent"])
    assert {r.seed for r in records} == {0, 1}
    assert problems == (f"there is no folder {tmp_path / 'absent'}",)

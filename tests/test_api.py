"""The package's own names: what a notebook gets is what the command line prints."""

import json
import subprocess
import sys

import numpy as np
import pytest
from compared import scored, steady, write
from typer.testing import CliRunner

import neurobench_grasp as ngb
from neurobench_grasp.cli import app
from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.records.record import write_record
from neurobench_grasp.records.table import LABELS


def record(model="one", seed=0, **changes):
    rows = [
        {
            "metric": "single_trial_ev",
            "split": "test",
            "area": "M1",
            "value": 0.25,
            "ci": [0.2, 0.3],
            "n_units": 9,
        },
        {
            "metric": "single_trial_ev",
            "split": "test",
            "area": "M1",
            "value": 0.1,
            "ci": None,
            "reference": "linear",
        },
        {
            "metric": "single_trial_ev",
            "split": "ood",
            "area": "M1",
            "value": None,
            "reason": "no new objects",
        },
        {"metric": "n_winsorised", "session": "a", "value": 0},
    ]
    fields = {
        "model": model, "seed": seed, "scores": rows, "dropped": [], "provenance": {},
        "dataset": {"id": "some", "sha256": "0" * 64, "splits": "0" * 64, "synthetic": True},
        "protocol": {"name": "encoding", "version": 2, "settings": {}},
    }  # fmt: skip
    return ScoreRecord(**fields | changes)


def test_names_are_there_and_importing_the_package_loads_nothing_heavy():
    assert {"evaluate", "load_session", "train", "read_records", "compare", "score_table"} <= set(dir(ngb))
    code = (
        "import sys, neurobench_grasp as ngb; heavy = {'torch', 'mujoco', 'h5py', 'pandas', 'pynwb'} & set(sys.modules);"
        "assert not heavy, heavy; assert callable(ngb.score_table); assert not {'torch', 'mujoco'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'evaluat'"):
        _ = ngb.evaluat


def test_a_table_has_a_row_for_each_number_and_its_interval():
    table = ngb.score_table([record(), record("two", 3)])
    assert len(table) == 8 and list(table)[:5] == ["model", "seed", "dataset", "protocol", "version"]
    assert set(LABELS) <= set(table) and (table["layer"] == "").all()
    first, reference, missing, count = table[table.model == "two"].itertuples()
    assert (first.seed, first.value, first.low, first.high, first.n_units) == (3, 0.25, 0.2, 0.3, 9)
    assert reference.reference == "linear" and np.isnan(reference.low)
    assert np.isnan(missing.value) and missing.reason == "no new objects"
    assert count.session == "a" and count.split == ""
    assert table.equals(ngb.score_table(iter([record(), record("two", 3)])))
    assert len(ngb.score_table(record())) == 4


def test_no_records_are_an_empty_table():
    table = ngb.score_table([])
    assert len(table) == 0 and {"model", "metric", "value", "low"} <= set(table)


def test_records_are_read_and_broken_ones_refused(tmp_path, monkeypatch):
    write_record(tmp_path / "run/records", record())
    (found,) = ngb.read_records(tmp_path / "run")
    assert found == record()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").rename(tmp_path / "ngb-runs")
    assert ngb.read_records() == [found]
    (tmp_path / "ngb-runs/records/broken.json").write_text("{")
    with pytest.raises(ngb.NgbError, match="broken"):
        ngb.read_records()
    with pytest.raises(ngb.NgbError, match="nowhere"):
        ngb.read_records(tmp_path / "nowhere")


def test_a_record_is_short_in_print_and_its_scores_are_escaped_in_a_notebook():
    one = record("<b>x</b>")
    assert repr(one) == "<ScoreRecord: <b>x</b>, seed 0, encoding on some, 4 rows>"
    html = one._repr_html_()
    assert "<b>" not in html and "&lt;b&gt;x" in html
    assert (
        html.count("<tr>") == 2 and "0.250" in html and "0.200, 0.300" in html
    )  # neither references nor counts


def test_models_are_compared_as_by_the_command(tmp_path):
    """``ngb compare --json`` on the same records."""
    entries = [
        scored(model, steady(level) + 0.002 * seed, seed=seed)
        for model, level in (("one", 0.2), ("other", 0.1))
        for seed in range(3)
    ]
    write(tmp_path / "records", *entries)
    done = CliRunner().invoke(app, ["compare", "one", "other", "--runs", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.stderr
    boards = json.loads(done.stdout)
    pairs = [(b["area"], p["a"], p["b"], p["value"], p["verdict"]) for b in boards for p in b["pairs"]]
    table = ngb.compare("one", "other", runs=tmp_path)
    assert [
        tuple(row) for row in table[["area", "a", "b", "value", "verdict"]].itertuples(index=False)
    ] == pairs
    assert (table.low < table.value).all() and set(table.metric) == {"single_trial_ev"}
    with pytest.raises(ngb.NgbError, match="name at least two"):
        ngb.compare("one", runs=tmp_path)

"""The first screen of a score: it fits, its numbers are those of the records, and it warns where it must."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from neurobench_grasp.cli.summary import summaries
from neurobench_grasp.records import read_records
from neurobench_grasp.records.table import tables_of

RESULTS = Path(__file__).parents[2] / "registry" / "results"


@pytest.fixture(scope="module")
def of_muscle_ppo():
    for folder in RESULTS.glob("muscle_ppo-*"):
        records, _ = read_records([folder])
        if records[0].dataset["id"] == "demo":
            return folder / "records", [
                r for r in records if r.protocol["name"] in ("encoding", "tracking", "brain-control")
            ]
    raise AssertionError("no results of muscle_ppo")


def screen(folder, records):
    out = io.StringIO()
    console = Console(file=out, width=80, highlight=False)
    for part in summaries(tables_of(records, folder), Path("ngb-runs")):
        console.print(part, markup=False)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("networks", [1, 5])
def test_it_fits_a_terminal_and_has_the_numbers_of_the_records(of_muscle_ppo, networks):
    folder, records = of_muscle_ppo
    lines = screen(folder, [r for r in records if r.seed < networks])
    assert len(lines) <= 24 and max(map(len, lines)) <= 80, "\n".join(lines)
    table = next(
        t
        for t in tables_of([r for r in records if r.seed < networks], folder)
        if t.first.record.protocol["name"] == "encoding"
    )
    for area in ("M1", "S1"):
        (own,) = [
            r for r in table.mean_rows
            if r["metric"] == "single_trial_ev" and r.get("area") == area and r.get("split") == "ood"
            and not {"reference", "session", "subject", "layer"} & set(r)
        ]  # fmt: skip
        (line,) = [line for line in lines if line.startswith("muscle_ppo  ")]
        assert f"{own['value']:.3f} [{own['ci'][0]:.3f}, {own['ci'][1]:.3f}]" in line
    assert any(line.startswith(" ceiling") for line in lines)
    assert not any("–" in line for line in lines), "a row without a value is not printed"


def test_a_network_that_is_worse_than_standing_still_is_called_hardly_trained(of_muscle_ppo):
    folder, records = of_muscle_ppo
    tracking = next(r for r in records if r.protocol["name"] == "tracking" and r.seed == 0)
    assert not any("hardly trained" in line for line in screen(folder, [tracking]))
    worse = [
        {**row, "value": 30.0} if row["metric"] == "tracking_error" and "reference" not in row else row
        for row in tracking.scores
    ]
    assert any("hardly trained" in line for line in screen(folder, [replace(tracking, scores=worse)]))


def test_an_area_without_a_score_says_why(of_muscle_ppo):
    folder, records = of_muscle_ppo
    encoding = next(r for r in records if r.protocol["name"] == "encoding" and r.seed == 0)
    none = [
        {**row, "value": None, "ci": None, "reason": "too few trials"}
        if row["metric"] == "single_trial_ev"
        else row
        for row in encoding.scores
    ]
    assert "too few trials" in screen(folder, [replace(encoding, scores=none)])

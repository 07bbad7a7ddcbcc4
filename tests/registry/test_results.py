"""Every submission in the registry: checked as ``ngb verify`` does, and one of them scored again."""

import json
import shutil
from pathlib import Path

import pytest

from neurobench_grasp.records.submission import check_submission
from neurobench_grasp.run.verify import verify

RESULTS = Path(__file__).parents[2] / "registry" / "results"
SUBMISSIONS = sorted(path for path in RESULTS.iterdir() if path.is_dir())
CHEAPEST = "torque_ppo-seed0-demo-tracking-v2-*.json"
"""A closed loop over four sessions."""


@pytest.mark.parametrize("folder", SUBMISSIONS, ids=lambda path: path.name)
def test_a_submission_is_what_it_says(folder):
    checked = check_submission(folder)
    assert checked.problems == ()
    assert len(checked.records) == len(list((folder / "records").glob("*.json"))) > 0
    assert not any("could not be identified" in note or "not committed" in note for note in checked.notes)


def test_reference_models_are_there_and_all_is_small():
    models = {folder.name.rsplit("-", 1)[0] for folder in SUBMISSIONS}
    assert {"fixed_muscles", "linear_kinematic", "muscle_ppo", "permuted_muscles", "torque_ppo"} <= models
    assert sum(path.stat().st_size for path in RESULTS.rglob("*") if path.is_file()) < 65e6


@pytest.mark.slow
def test_the_cheapest_record_that_claims_to_be_scored_again_gives_its_scores_again():
    (path,) = RESULTS.glob(f"torque_ppo-*/records/{CHEAPEST}")
    assert json.loads(path.read_text())["verification"]["level"] == "re-scored"
    report = verify(path, rescore=True)
    assert report.problems == ()
    assert [one.level for one in report.verified] == ["re-scored"]


@pytest.mark.parametrize("folder", SUBMISSIONS, ids=lambda path: path.name)
def test_a_changed_score_of_a_shipped_record_is_refused(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / folder.name))
    path = next((copy / "records").glob("*.json"))
    record = json.loads(path.read_text())
    record["scores"][0]["value"] += 0.001
    path.write_text(json.dumps(record))
    row = record["scores"][0]
    start = f"records/{path.name}: scores[0] ({row['metric']}, {row['split']}"
    problems = [p for p in check_submission(copy).problems if p.startswith(start)]
    assert any("is not as bundle.json says" in p for p in problems)
    assert any("the scores of single units give" in p for p in problems)

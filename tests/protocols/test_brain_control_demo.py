"""Brain control of the shipped muscle network by the neurons of one session of the built-in dataset."""

from itertools import pairwise

import pytest

from neurobench_grasp.demo import demo_files
from neurobench_grasp.protocols.brain_control import curves as brain_curves
from neurobench_grasp.protocols.settings import CurvesSettings
from neurobench_grasp.records.record import read_scored
from neurobench_grasp.records.units import Labels
from neurobench_grasp.run.evaluate import evaluate
from neurobench_grasp.run.job import Options
from neurobench_grasp.scoring.intervals import summarise

pytestmark = pytest.mark.slow
FEWER = CurvesSettings(n_units=(1, 5, 20), n_subsets=4, noise=(1.0, 4.0), n_noises=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Rows of both protocols, and the folder of the records."""
    out = tmp_path_factory.mktemp("brain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brain_curves, "CURVES", FEWER)
        records = evaluate(
            "muscle_ppo",
            demo_files()[0],
            options=Options(trained_on="demo"),
            protocols=["brain-control"],
            curves=True,
            out=out,
        )
    return records[0].scores, records[1].scores, out


def pick(rows, metric="brain_control_error", split="test", area="M1", **labels):
    wanted = {"metric": metric, "split": split, "area": area} | labels
    apart = {"reference", "dimension", "of"}
    found = [r for r in rows if all(r.get(k) == v for k, v in wanted.items())]
    found = [r for r in found if set(r) & apart == set(wanted) & apart]
    assert len(found) == 1, (wanted, found)
    return found[0]


@pytest.mark.parametrize("suffix", ["", "_joint_angles"])
def test_the_motor_cortex_drives_the_hand_better_than_any_average(run, suffix):
    rows, _, _ = run
    for reference in ("average_posture", "average_trajectory"):
        labels = {"of": f"brain_control_error{suffix}", "decoded": suffix[1:] or "embedding"}
        gain = pick(rows, f"gain_over_{reference}", **labels)
        error = pick(rows, f"brain_control_error{suffix}")
        assert gain["ci"] is None  # of one network
        assert gain["value"] > (error["ci"][1] - error["ci"][0]) / 2
        assert pick(rows, f"gain_over_{reference}", split="ood", **labels)["value"] > 0


def test_spikes_of_another_time_are_no_better_than_the_average_trajectory(run):
    rows, _, _ = run
    for area in ("M1", "S1"):
        for split in ("test", "ood"):
            shifted = pick(rows, split=split, area=area, reference="shifted_spikes")["value"]
            assert shifted > pick(rows, split=split, area=area, reference="average_trajectory")["value"]


def test_the_motor_cortex_is_better_than_the_somatosensory(run):
    _, _, out = run
    scored, problems = read_scored([out], lambda labels: labels.split == "test")
    assert not problems
    units = next(s.units.scores for s in scored if s.record.protocol["name"] == "brain-control")
    m1, s1 = ([*units[Labels(area, "test", "brain_control_error", "")]] for area in ("M1", "S1"))
    difference = summarise([a.minus(b) for a, b in zip(s1, m1, strict=True)])
    assert difference.ci[0] > 0


@pytest.mark.parametrize("split", ["test", "ood"])
def test_the_error_falls_with_units_and_rises_with_noise(run, split):
    _, rows, _ = run
    for area in ("M1", "S1"):
        for kind in ("embedding", "joint_angles"):
            mine = [r for r in rows if (r["split"], r["area"], r["decoded"]) == (split, area, kind)]
            units = [r for r in mine if not r["noise"]]
            assert [r["n_decoded_units"] for r in units] == ["1", "5", "20", "all"]
            for fewer, more in pairwise(units):
                assert more["value"] < fewer["ci"][1]
            assert units[-1]["ci"][1] < units[0]["value"]
            errors = [units[-1]["value"], *(r["value"] for r in mine if r["noise"])]
            assert errors == sorted(errors) and errors[-1] > errors[0] + 2

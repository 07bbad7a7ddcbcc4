"""Sessions of known teachers, and what the benchmark says of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from compared import draw, model_of
from movements import HAND, REST, write_grasp_session
from typer.testing import CliRunner

from neurobench_grasp.alignment.align import align
from neurobench_grasp.cli import app
from neurobench_grasp.contract import Activations, ModelSpec, Ragged
from neurobench_grasp.data import load_session, validate_file, write_session
from neurobench_grasp.demo.files import write_synthetic
from neurobench_grasp.demo.movements import ANGLE_QUANTUM
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import CORE, Provided, Registry
from neurobench_grasp.recovery import Candidate, Teacher, recover, rows, write_report
from neurobench_grasp.recovery.matrix import compare
from neurobench_grasp.recovery.sessions import taught_session

KINEMATICS = Teacher("linear_kinematic", "kinematics", 101)


@pytest.fixture(scope="module")
def movements(tmp_path_factory):
    """File with 60 trials in which a hand wanders along five synergies, stored as the demo's are."""
    folder = tmp_path_factory.mktemp("movements")
    base = load_session(write_grasp_session(folder / "raw.nwb", n_objects=12, units=False))
    (angles,) = base.signals.values()
    rng, low_high = np.random.default_rng(1), HAND.joint_limits.T
    course = np.stack(
        [np.convolve(z, np.hanning(25), "same") for z in rng.standard_normal((5, len(angles.times)))]
    )
    wandering = np.clip(REST + 0.08 * course.T @ rng.standard_normal((5, 23)), *low_high)
    whole = np.rint(wandering / ANGLE_QUANTUM) * ANGLE_QUANTUM + 0.0
    base = replace(base, signals={angles.name: replace(angles, values=whole)}, notes=())
    write_session(
        folder / "grasping.nwb",
        base,
        species="Macaca mulatta",
        sex="U",
        age="P8Y",
        session_start_time="2020-01-01T00:00:00+00:00",
        description="movements of a test",
        resolution={angles.name: ANGLE_QUANTUM},
    )
    return folder / "grasping.nwb"


@pytest.fixture(scope="module")
def taught(movements):
    """A session of 15 units that follow muscle kinematics, what it was made from, and its maker."""
    base = load_session(movements)
    aligned = align(base)
    drives = KINEMATICS.drives(ModelSpec("unused", build=lambda seed: None, summary=""), None, aligned.trials)

    def make(name):
        return taught_session(name, base, aligned, drives, 15)

    return make("lesson"), aligned, make


def test_all_random_numbers_follow_from_the_name(taught):
    session, _, make = taught
    assert make("lesson").sha256 == session.sha256
    assert make("another").sha256 != session.sha256


def test_what_drives_units_of_kinematics_is_standardised_muscle_state(taught):
    _, aligned, _ = taught
    (drives,) = KINEMATICS.drives(None, None, aligned.trials).values()
    trials = aligned.trials
    muscles = HAND.muscle_kinematics(trials.joint_angles.values, trials.dt, trials.offsets)
    expected = np.hstack([muscles.length, muscles.velocity])
    assert drives.shape == expected.shape
    np.testing.assert_allclose(drives.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(drives.std(0), 1)
    for column in (0, 50):
        assert np.corrcoef(drives[:, column], expected[:, column])[0, 1] == pytest.approx(1)


def test_a_taught_session_is_valid_synthetic_and_keeps_the_movements(taught, movements, tmp_path):
    session, _, _ = taught
    write_synthetic(tmp_path / "lesson.nwb", session, "units of a test")
    found = load_session(tmp_path / "lesson.nwb")
    assert not [f for f in validate_file(tmp_path / "lesson.nwb") if f.severity == "error"]
    assert found.synthetic and found.id == "lesson" and set(found.units.areas) == {"M1"}
    base = load_session(movements)
    np.testing.assert_array_equal(found.signals["joint_angles"].values, base.signals["joint_angles"].values)
    np.testing.assert_array_equal(found.trials.events["contact"], base.trials.events["contact"])
    assert found.sha256 == session.sha256


def test_true_rates_explain_the_spikes(taught):
    """In bins of 0.2 s the counts of each unit follow its own rate, and vary less than Poisson around it."""
    session, _, _ = taught
    rates, units = session.true_rates.values, session.units
    n_bins = len(rates) // 10
    expected = rates[: 10 * n_bins].reshape(n_bins, 10, -1).sum(1) * 0.02
    for unit in range(len(units)):
        times = units.spike_times[units.spike_offsets[unit] : units.spike_offsets[unit + 1]]
        counts = np.bincount((times / 0.2).astype(int), minlength=n_bins)[:n_bins]
        noise = ((counts - expected[:, unit]) ** 2).mean()
        assert 0.4 < noise / expected[:, unit].mean() < 1.05
        others = np.delete(expected / expected.mean(0), unit, axis=1) * counts.mean()
        assert noise < ((counts[:, None] - others) ** 2).mean(0).min()


def test_units_rest_between_the_teachers_trials(taught):
    """Where no lead reaches into a trial, the rate is the same but for the gain of the trial."""
    session, aligned, _ = taught
    times = session.true_rates.times
    dt, trials = aligned.trials.dt, aligned.trials
    first = aligned.start - trials.window[:, 0] * dt
    last = first + np.diff(trials.offsets) * dt
    near = ((times[:, None] > first - 0.2) & (times[:, None] < last + 0.2)).any(1)
    of_trial = np.searchsorted(session.trials.start, times)
    assert (~near).sum() > 20
    for trial in np.unique(of_trial[~near]):
        rest = session.true_rates.values[~near & (of_trial == trial)]
        assert (rest == rest[0]).all()
    assert session.true_rates.values[near].std(0).min() > 0


class OneJoint:
    """One angle of the recorded posture: linear too, and of another kind."""

    def fit(self, train, *, seed):
        pass

    def activations(self, trials):
        return Activations({"one_joint": Ragged(trials.joint_angles.values[:, :1], trials.offsets)})

    def state(self):
        return {}

    def restore(self, state):
        pass


@pytest.fixture
def models(monkeypatch, tmp_path):
    """Register ``one_joint``, and ``copy``, a second linear_kinematic."""
    known = Registry.model

    def model(self, name):
        if name == "one_joint":
            return Provided(ModelSpec(name, build=lambda seed: OneJoint(), summary=""), CORE, "0")
        if name == "copy":
            original = known(self, "linear_kinematic")
            return replace(original, spec=replace(original.spec, name="copy"))
        return known(self, name)

    monkeypatch.setattr(Registry, "model", model)
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))


def test_kinematics_are_recovered_against_less_and_not_against_their_like(models, movements, tmp_path):
    kinds = {"linear_kinematic": "kinematics", "one_joint": "joint"}

    def found(candidates):
        (one,) = recover(
            ["linear_kinematic"], n_units=15, candidates=candidates, dataset=movements, out=tmp_path / "run"
        )
        return one

    first = found(kinds)
    assert first.recovered and not first.why_not
    assert first.scores["linear_kinematic"].value > first.scores["one_joint"].value + 0.05
    (file,) = (tmp_path / "run" / "sessions").glob("*/*.nwb")
    made = file.stat().st_mtime_ns
    again = found(kinds)
    assert file.stat().st_mtime_ns == made
    assert rows([again]) == rows([first])
    tied = found({**kinds, "copy": "copied"})
    assert not tied.recovered and tied.why_not == "linear_kinematic does not differ from copy"
    assert tied.margins["copy"].value == 0


def planted(mean, seed, **sd):
    return model_of(draw(np.random.default_rng(seed), mean=mean, **{"network": 0.003, "noise": 0.01, **sd}))


MUSCLE = Teacher("muscle_ppo", "muscle", 101)


@pytest.mark.parametrize(
    ("torque", "kinematics", "why_not"),
    [
        (0.15, 0.10, ""),
        (0.20, 0.10, "muscle_ppo does not differ from torque_ppo"),
        (0.15, 0.25, "muscle_ppo is below linear_kinematic"),
    ],
)
def test_a_teacher_is_recovered_if_its_kind_beats_every_other(torque, kinematics, why_not):
    candidates = {
        "muscle_ppo": Candidate("muscle", planted(0.2, 0), planted(0.2, 1)),
        "torque_ppo": Candidate("torque", planted(torque, 2), planted(0.3, 3)),
        "linear_kinematic": Candidate("kinematics", planted(kinematics, 4)[:1]),
    }
    found = compare(MUSCLE, candidates)
    assert (found.recovered, found.why_not) == (not why_not, why_not)
    assert found.own == "muscle_ppo" and set(found.margins) == {"torque_ppo", "linear_kinematic"}
    assert set(found.twin_margins) == {"muscle_ppo", "torque_ppo"}  # shown, and without a say


def test_too_few_groups_for_an_interval_are_no_verdict():
    candidates = {
        "muscle_ppo": Candidate("muscle", planted(0.2, 0, n_groups=3)),
        "torque_ppo": Candidate("torque", planted(0.1, 1, n_groups=3)),
    }
    found = compare(MUSCLE, candidates)
    assert not found.recovered
    assert found.margins["torque_ppo"].value == pytest.approx(0.1, abs=0.02)


def test_the_own_twin_is_paired_network_by_network():
    """What a network and its twin share is no uncertainty of the gain."""
    apart = draw(np.random.default_rng(0), network=0.1, mean=0.2)
    twins = Candidate("muscle", model_of(apart + 0.01), model_of(apart))
    found = compare(MUSCLE, {"muscle_ppo": twins})
    assert found.twin_margins["muscle_ppo"].draw_se == pytest.approx(0, abs=1e-9)
    assert found.scores["muscle_ppo"].draw_se > 0.01


def test_table_and_picture_hold_every_cell(tmp_path):
    candidates = {
        "muscle_ppo": Candidate("muscle", planted(0.2, 0), planted(0.19, 1)),
        "linear_kinematic": Candidate("kinematics", planted(0.1, 4)[:1]),
    }
    found = [compare(replace(MUSCLE, seed=seed), candidates) for seed in (101, 102)]
    data, picture = write_report(found, tmp_path / "new")
    table = pd.read_csv(data)
    assert len(table) == 6 and set(table.teacher_seed) == {101, 102}
    (own,) = table[(table.teacher_seed == 101) & table.own & ~table.untrained].to_dict("records")
    assert own["ev"] == pytest.approx(found[0].scores["muscle_ppo"].value)
    assert np.isnan(own["margin"]) and own["recovered"]
    (other,) = table[(table.teacher_seed == 102) & (table.kind == "kinematics")].to_dict("records")
    assert (other["margin_ci_low"], other["margin_ci_high"]) == pytest.approx(
        found[1].margins["linear_kinematic"].ci
    )
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher_seeds": (4,)}, "seed 4 is among the candidates' \\(0 … 4\\)"),
        ({"networks": 1}, "use at least two"),
        ({"teachers": ["psth"]}, "'psth' is not a teacher; choose among muscle_ppo"),
        ({"teachers": ["torque_ppo"], "candidates": {"muscle_ppo": "muscle"}}, "No candidate is of the kind"),
    ],
)
def test_what_would_prove_nothing_is_refused(options, message, tmp_path):
    with pytest.raises(NgbError, match=message):
        recover(**options, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_refuses_in_one_sentence(tmp_path):
    result = CliRunner().invoke(app, ["recovery", "--teacher-seed", "0", "--out", str(tmp_path / "run")])
    assert result.exit_code == 1 and "is among the candidates'" in result.stderr
    assert result.stdout == ""

"""Sessions of known teachers, and what the benchmark says of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from compared import draw, model_of
from movements import HAND
from typer.testing import CliRunner

from neurobench_grasp.alignment.align import align
from neurobench_grasp.cli import app
from neurobench_grasp.contract import Activations, ModelSpec, Ragged
from neurobench_grasp.data import load_session, validate_file
from neurobench_grasp.demo.files import write_synthetic
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import CORE, Provided, Registry
from neurobench_grasp.recovery import Candidate, Teacher, recover, rows, write_report
from neurobench_grasp.recovery.matrix import compare, with_probabilities
from neurobench_grasp.recovery.numbers import Numbers, numbers_of
from neurobench_grasp.recovery.power import power
from neurobench_grasp.recovery.sessions import taught_session
from neurobench_grasp.recovery.statement import SURE, indistinct, kind_probabilities

KINEMATICS = Teacher("linear_kinematic", "kinematics", 101)


@pytest.fixture(scope="module")
def taught(movements):
    """A session of 15 units that follow muscle kinematics, what it was made from, and its maker."""
    base = load_session(movements)
    aligned = align(base)
    drives = KINEMATICS.drives(ModelSpec("unused", build=lambda seed: None, summary=""), None, aligned.trials)

    def make(name):
        return taught_session(name, base, aligned, {KINEMATICS.name: drives}, 15)

    return make("lesson"), aligned, make


def test_each_teacher_has_separate_units_in_one_session(movements):
    base = load_session(movements)
    aligned = align(base)
    drives = {
        "one": {"angles": aligned.trials.joint_angles.values[:, :2]},
        "two": {"angles": aligned.trials.joint_angles.values[:, 7:9]},
    }
    session = taught_session("lesson", base, aligned, drives, 4)
    assert session.units.areas == ("one",) * 4 + ("two",) * 4
    rates = session.true_rates.values
    assert np.abs(np.corrcoef(rates.T)[:4, 4:]).max() < 0.9


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
    assert found.synthetic and found.id == "lesson" and set(found.units.areas) == {KINEMATICS.name}
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


def test_kinematics_are_recovered_against_less_and_not_against_their_like(
    models, movements, tmp_path, monkeypatch
):
    monkeypatch.setattr("neurobench_grasp.alignment.splits.MAX_FOLDS", 2)  # quick, and still joined
    kinds = {"linear_kinematic": "kinematics", "one_joint": "joint"}

    def found(candidates):
        (one,) = recover(
            ["linear_kinematic"],
            teacher_seeds=(101,),
            n_units=15,
            candidates=candidates,
            dataset=movements,
            out=tmp_path / "run",
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


def policies(own_gain=0.01, torque_gain=0.01, torque=-0.03, permuted=-0.01, seed=0):
    """Three policies with twins: raw differences of the others to muscles, and all gains, are planted."""

    def candidate(kind, mean, gain, k):
        return Candidate(kind, planted(mean, seed + k), planted(mean - gain, seed + k))

    return {
        "muscle_ppo": candidate("muscle", 0.2, own_gain, 0),
        "torque_ppo": candidate("torque", 0.2 + torque, torque_gain, 10),
        "permuted_muscles": candidate("permuted", 0.2 + permuted, 0.004, 20),
        "linear_kinematic": Candidate("kinematics", planted(0.1, seed + 30)[:1]),
    }


def test_raw_differences_gains_and_contrasts_are_those_that_were_planted():
    found = compare(MUSCLE, policies(own_gain=0.01, torque_gain=0.03))
    torque, permuted = found.comparisons
    assert (torque.second, permuted.second) == ("torque_ppo", "permuted_muscles")
    assert torque.raw.value == pytest.approx(0.03, abs=0.006)
    assert permuted.raw.value == pytest.approx(0.01, abs=0.006)
    gains = [torque.gain.value, torque.other_gain.value, permuted.other_gain.value]
    assert gains == pytest.approx([0.01, 0.03, 0.004], abs=1e-9)
    assert torque.contrast.value == pytest.approx(-0.02, abs=1e-9)
    assert permuted.contrast.value == pytest.approx(0.006, abs=1e-9)
    assert torque.raw.ci[0] < torque.raw.value < torque.raw.ci[1]
    values = dict(zip(found.numbers.names, found.numbers.values, strict=True))
    assert values["muscle_ppo − torque_ppo"] == pytest.approx(torque.raw.value)
    assert values["gain of torque_ppo"] == pytest.approx(torque.other_gain.value)


def test_two_networks_give_numbers_and_no_intervals():
    few = {name: replace(c, networks=c.networks[:2], twins=c.twins[:2]) for name, c in policies().items()}
    (torque, _) = compare(MUSCLE, few).comparisons
    assert torque.contrast.value == pytest.approx(0, abs=1e-9)
    assert torque.raw.ci is None and torque.gain.ci is None and torque.contrast.ci is None


def test_the_covariance_of_the_numbers_is_that_of_means_over_units():
    """Against 400 other draws of units, in one direction that differs between units."""
    rng = np.random.default_rng(0)

    def drawn():
        unit = 0.02 * rng.standard_normal((1, 1, 40))
        both = 0.2 + unit + 0.001 * rng.standard_normal((3, 7, 40))
        plain = model_of(0.2 + 0.001 * rng.standard_normal((3, 7, 40)))
        return numbers_of(
            {
                "muscle_ppo": Candidate("muscle", model_of(both), plain),
                "torque_ppo": Candidate("torque", plain, plain),
            }
        )

    numbers = [drawn() for _ in range(400)]
    assert numbers[0].names == ("muscle_ppo − torque_ppo", "gain of muscle_ppo", "gain of torque_ppo")
    across = np.cov(np.array([n.values for n in numbers]).T)
    claimed = np.mean([n.covariance for n in numbers], axis=0)
    np.testing.assert_allclose(claimed[:2, :2], across[:2, :2], rtol=0.2)
    assert across[0, 1] > 0.9 * across[0, 0]


def test_few_units_conditions_and_networks_have_less_power():
    own, other = (
        Candidate("x", planted(mean, seed, noise=0.04, unit=0.02)) for mean, seed in ((0.2, 0), (0.195, 1))
    )
    found = {(p.what, p.size): p.share for p in power(own, other)}
    assert set(found) == {("units", 15), ("units", 30), ("networks", 3), ("networks", 4), ("networks", 5)}
    assert found["units", 15] < 1
    apart = Candidate("x", planted(0.1, 1, noise=0.04, unit=0.02))
    assert {p.share for p in power(own, apart)} == {1.0}
    assert {p.share for p in power(apart, own)} == {0.0}  # ahead on the wrong side


def teachers_of(rng, share, *, n_kinds=4, per_kind=2, n_numbers=5):
    """Numbers of teachers whose kinds make up a share of the variance; the size of the variance is unknown."""
    root = rng.standard_normal((n_numbers, n_numbers))
    size = np.exp(rng.standard_normal())
    means = (size * share) ** 0.5 * rng.standard_normal((n_kinds, n_numbers))
    kinds = [f"kind {k}" for k in range(n_kinds) for _ in range(per_kind)]
    values = means.repeat(per_kind, axis=0) + (size * (1 - share)) ** 0.5 * rng.standard_normal(
        (len(kinds), n_numbers)
    )
    return kinds, [Numbers((), root @ value, root @ root.T) for value in values]


def claims_and_truth(draws, claim=kind_probabilities):
    """The largest probability of every teacher, and whether it is of the right kind."""
    claimed, right = [], []
    for kinds, numbers in draws:
        for kind, found in zip(kinds, claim(kinds, numbers), strict=True):
            best = max(found, key=found.get)
            claimed.append(found[best])
            right.append(best == kind)
    return np.array(claimed), np.array(right)


def overconfident(kinds, numbers):
    """Probabilities that take the distances between teachers for twice what they are."""
    return [
        {k: p**4 / sum(q**4 for q in found.values()) for k, p in found.items()}
        for found in kind_probabilities(kinds, numbers)
    ]


def test_a_statement_is_right_as_often_as_it_claims():
    """In 200 simulations with any share; and the same check fails where probabilities are overconfident."""
    rng = np.random.default_rng(0)
    draws = [teachers_of(rng, rng.uniform()) for _ in range(200)]
    claimed, right = claims_and_truth(draws)
    assert claimed.mean() == pytest.approx(right.mean(), abs=0.04)
    for low, high in ((0.25, 0.5), (0.5, 0.75), (0.75, 0.95), (0.95, 1.01)):
        now = (claimed >= low) & (claimed < high)
        assert claimed[now].mean() == pytest.approx(right[now].mean(), abs=0.07)
    sharper, right = claims_and_truth(draws, overconfident)
    assert sharper.mean() > right.mean() + 0.08


def test_kinds_that_do_not_differ_are_never_surely_distinguished():
    rng = np.random.default_rng(1)
    claimed, right = claims_and_truth([teachers_of(rng, 0.0) for _ in range(100)])
    assert right.mean() < 0.3
    assert (claimed > SURE).mean() < 0.01


def test_pairs_that_are_confused_are_named():
    rng = np.random.default_rng(2)
    kinds, numbers = teachers_of(rng, 0.99, n_kinds=3)
    numbers[4:] = [
        replace(n, values=m.values + 0.01 * n.values) for n, m in zip(numbers[4:], numbers[2:4], strict=True)
    ]
    found = kind_probabilities(kinds, numbers)
    assert indistinct(kinds, found) == [("kind 1", "kind 2")]
    assert found[0]["kind 0"] > SURE


@pytest.mark.parametrize("kinds", [["muscle", "torque", "torque"], ["muscle", "muscle"]])
def test_without_another_teacher_of_its_kind_nothing_is_stated(kinds):
    _, numbers = teachers_of(np.random.default_rng(0), 0.5, n_kinds=1, per_kind=len(kinds))
    assert kind_probabilities(kinds, numbers) == [{}] * len(kinds)
    assert indistinct(kinds, [{}] * len(kinds)) == []


def four_teachers():
    """Two teachers of muscles and two of torques, with their statements."""
    return with_probabilities(
        [
            compare(Teacher(name, kind, seed), policies(torque=gap + 0.001 * seed, seed=seed))
            for name, kind, gap in (("muscle_ppo", "muscle", -0.03), ("torque_ppo", "torque", 0.03))
            for seed in (1, 2)
        ]
    )


def test_teachers_of_planted_kinds_are_distinguished_and_named_so():
    found = four_teachers()
    for one in found:
        assert one.probabilities[one.teacher.kind] > 0.8, one.probabilities
        assert sum(one.probabilities.values()) == pytest.approx(1)
    assert found[0].power and found[2].power


def test_table_and_picture_hold_every_number(tmp_path):
    found = four_teachers()
    data, picture = write_report(found, tmp_path / "new")
    table = pd.read_csv(data)
    assert picture.read_bytes().startswith(b"\x89PNG")
    first = table[(table.teacher == "muscle_ppo") & (table.teacher_seed == 1)]
    assert set(first.quantity) == {"ev", "margin", "raw", "gain", "contrast", "probability", "power"}

    def row(quantity, **labels):
        chosen = first[first.quantity == quantity]
        for name, value in labels.items():
            chosen = chosen[chosen[name] == value]
        (only,) = chosen.to_dict("records")
        return only

    own = row("ev", candidate="muscle_ppo", untrained=False)
    assert own["own"] and own["value"] == pytest.approx(found[0].scores["muscle_ppo"].value)
    margin = row("margin", candidate="linear_kinematic")
    assert (margin["ci_low"], margin["ci_high"]) == pytest.approx(found[0].margins["linear_kinematic"].ci)
    contrast = row("contrast", other="torque_ppo")
    assert contrast["value"] == pytest.approx(found[0].comparisons[0].contrast.value)
    assert row("probability", kind="torque")["value"] == pytest.approx(found[0].probabilities["torque"])
    assert len(first[first.quantity == "gain"]) == 3


def test_the_command_prints_every_number_in_80_columns(monkeypatch, tmp_path):
    monkeypatch.setattr("neurobench_grasp.recovery.recover", lambda *args, **options: four_teachers())
    result = CliRunner().invoke(app, ["recovery", "--out", str(tmp_path)], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.stderr
    printed = result.stdout.replace(str(tmp_path), "")
    assert max(map(len, printed.splitlines())) <= 80
    for text in (
        "contrast: ",
        "its untrained twin",
        "probability of each kind",
        "15 units",
        "do not distinguish",
    ):
        assert text in printed, printed


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

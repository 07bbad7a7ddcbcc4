"""Brain control on planted populations and hands: what is known comes out, what is absent has its reason."""

import dataclasses
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from claimed import records
from compared import write
from movements import HAND, grasp_trials
from planted import context_of
from scipy.special import stdtrit

from neurobench_grasp.alignment.session import AlignedSession, AlignedUnits, bins_before
from neurobench_grasp.alignment.settings import ALIGNMENT
from neurobench_grasp.bodies.myohand import JOINTS
from neurobench_grasp.contract import DecoderSpec, Ragged, Tracking
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.leaderboard import claims, of_claims
from neurobench_grasp.protocols.brain_control import curves as brain_curves
from neurobench_grasp.protocols.brain_control import protocol as brain_control
from neurobench_grasp.protocols.brain_control.decoders import RidgeDecoder, decode
from neurobench_grasp.protocols.brain_control.protocol import BASELINES, KINDS
from neurobench_grasp.protocols.brain_control.trials import DecodingTrials, postures_ahead
from neurobench_grasp.protocols.settings import BRAIN_CONTROL, CURVES, CurvesSettings
from neurobench_grasp.protocols.tracking import in_windows
from neurobench_grasp.records import read_scored
from neurobench_grasp.records.table import ScoreTable
from neurobench_grasp.run import report
from neurobench_grasp.run.evaluate import evaluate

N_TRIALS, N_OBJECTS, OFFSET = 90, 10, 0.03
TO_EMBEDDING = np.linalg.qr(np.random.default_rng(0).standard_normal((5 * 23, 5 * 23)))[0]


# --- a hand that takes the commanded posture of the step before, and is a little off ------------------


def hand(angles):
    return Tracking(angles, Ragged(HAND.keypoint_positions(angles.values), angles.offsets))


def track(trials):
    return hand(Ragged(trials.joint_angles.values + OFFSET, trials.offsets))


def embed(trials):
    goals = postures_ahead(trials.joint_angles, 5)
    return Ragged(goals.values @ TO_EMBEDDING, goals.offsets)


def drive(trials, goal):
    goals = goal.values.values @ TO_EMBEDDING.T if goal.kind == "embedding" else goal.values.values
    command = Ragged(goals[:, :23], goal.values.offsets)
    first = (trials.joint_angles[i][:1] for i in range(len(trials)))
    reached = [np.concatenate([start, own[:-1]]) for start, own in zip(first, command, strict=True)]
    joined = Ragged.of(reached)
    return hand(Ragged(joined.values + OFFSET, joined.offsets))


# --- sessions --------------------------------------------------------------------------------------


def session_of(counts_of, areas, trials=None, name="planted", recorded=None):
    """A session whose counts follow from the postures ahead of each step, padded as at the trial's edge."""
    trials = trials or grasp_trials(N_TRIALS, n_objects=N_OBJECTS)
    n, before = len(trials), bins_before(trials.dt)
    lengths = np.diff(trials.window, axis=1).ravel()
    counts = []
    for goals, (first, stop) in zip(postures_ahead(trials.joint_angles, 5), trials.window, strict=True):
        step = np.maximum(np.arange(first - before, stop), 0)
        counts.append(counts_of(goals[step]))
    windows = Ragged(np.zeros((lengths.sum(), len(areas))), np.concatenate([[0], np.cumsum(lengths)]))
    return AlignedSession(
        id=name, subject="monkey", sha256="0" * 64, trials=trials, start=10.0 * np.arange(n),
        units=AlignedUnits(
            ids=tuple(f"u{i}" for i in range(len(areas))), areas=tuple(areas), rates=windows, counts=Ragged.of(counts),
            recorded=np.ones((n, len(areas)), bool) if recorded is None else recorded,
            observed=np.ones((n, len(areas)), bool) if recorded is None else recorded,
        ),
        conditions=dict(zip(trials.ids, trials.condition, strict=True)), max_lag=0.2,
    )  # fmt: skip


def linear(n_units, noise=0.0, seed=1):
    """Units that are linear in the postures ahead, plus white noise of the given relative size."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((5 * 23, n_units))

    def counts_of(goals):
        drive = goals @ weights
        return 10 + drive + noise * drive.std(0) * rng.standard_normal(drive.shape)

    return counts_of


def context(*sessions, **changes):
    moving = {"track": track, "drive": drive, "embed": embed}
    return context_of(*sessions, **(moving | changes))


def pick(rows, metric="brain_control_error", *, split="ood", area="M1", **labels):
    wanted = {"metric": metric, "split": split, "area": area} | labels
    apart = {"reference", "session", "dimension", "of", "noise"}
    found = [r for r in rows if all(r.get(k) == v for k, v in wanted.items())]
    found = [r for r in found if set(r) & apart == set(wanted) & apart]
    assert len(found) == 1, (wanted, found)
    return found[0]


@pytest.fixture(scope="module")
def noiseless():
    session = session_of(linear(60), ["M1"] * 60)
    return session, brain_control.run(context(session)).rows


# --- what is known ----------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["test", "ood"])
@pytest.mark.parametrize("suffix", ["", "_joint_angles"])
def test_noiseless_units_that_are_linear_in_the_goal_drive_the_hand_as_the_goal_does(
    noiseless, suffix, split
):
    _, rows = noiseless
    assert pick(rows, f"decoding_ev{suffix}", split=split)["value"] > 0.99
    intact = pick(rows, split=split, reference="intact")["value"]
    assert pick(rows, f"brain_control_error{suffix}", split=split)["value"] == pytest.approx(intact, abs=0.5)
    for baseline in BASELINES:
        assert pick(rows, split=split, reference=baseline)["value"] > intact + 2
    assert pick(rows, split=split, reference="decoded_posture")["value"] < 0.5  # this hand alone is off


def test_the_sessions_of_a_report_are_the_parts_of_the_decoding_ev_in_the_record():
    animals = {"one": "anna", "two": "anna", "three": "bert"}  # not as many sessions each
    sessions = [
        dataclasses.replace(session_of(linear(12, 1.0, k), ["M1"] * 12), id=name, subject=animal)
        for k, (name, animal) in enumerate(animals.items())
    ]
    kept = {}

    def stages(stage, session, make, **inputs):
        key = stage.name, session.id, *inputs.values()
        if key not in kept:
            kept[key] = make()
        return kept[key]

    scored = context(*sessions, stages=stages)
    (made,) = records("muscle_ppo", "brain-control", rows=[brain_control.run(scored).rows], n_networks=1)
    known = {"sessions": [{"id": name, "subject": animal} for name, animal in animals.items()]}
    record = dataclasses.replace(made.record, dataset={**made.record.dataset, **known})
    networks = ScoreTable((dataclasses.replace(made, record=record),))
    parts = report._decoded_by_session(SimpleNamespace(context=lambda seed: scored), 0)
    assert set(parts) == {(name, "M1", kind) for name in animals for kind in KINDS}
    assert len(set(parts.values())) == len(parts)
    by_session = {(0, *labels): ev for labels, ev in parts.items()}
    report._compare(networks, by_session)
    by_session[0, "three", "M1", "embedding"] += 1e-4
    with pytest.raises(NgbError, match="score again"):
        report._compare(networks, by_session)


@pytest.mark.parametrize("kind", KINDS)
def test_the_true_goal_in_place_of_the_decoded_one_gives_the_intact_error(noiseless, kind):
    session, _ = noiseless
    scored = context(session)
    moves = DecodingTrials.of(scored, session)
    which = np.concatenate([moves.driven["test"], moves.driven["ood"]])
    found = brain_control.driven_errors(scored, moves, which, kind, [moves.goals[kind].select(which)])
    error = found["tracking_error"][0]
    windows = moves.trials.window[which]
    trials = moves.trials.select(which)
    tracked = track(trials).keypoints
    for i, (first, stop) in enumerate(windows):
        reached = tracked[i][first:stop].reshape(-1, 20, 3)
        wanted = HAND.keypoint_positions(trials.joint_angles[i][first:stop]).reshape(-1, 20, 3)
        assert error[i] == pytest.approx(1000 * np.linalg.norm(reached - wanted, axis=2).mean(), abs=1e-9)


def test_units_that_know_nothing_give_no_explained_variance_and_the_average_posture():
    rng = np.random.default_rng(2)
    session = session_of(lambda goals: rng.poisson(0.4, (len(goals), 20)), ["M1"] * 20)
    rows = brain_control.run(context(session)).rows
    for suffix in ("", "_joint_angles"):
        assert abs(pick(rows, f"decoding_ev{suffix}")["value"]) < 0.02
        error = pick(rows, f"brain_control_error{suffix}")
        posture = pick(rows, reference="average_posture")
        assert error["value"] == pytest.approx(posture["value"], rel=0.2)
        assert error["value"] > pick(rows, reference="average_trajectory")["value"]


def test_spikes_from_elsewhere_are_no_better_than_the_average_trajectory(noiseless):
    _, rows = noiseless
    for split in ("test", "ood"):
        shifted = pick(rows, split=split, reference="shifted_spikes")["value"]
        assert shifted > pick(rows, split=split, reference="average_trajectory")["value"]


def test_gains_are_paired_differences_and_every_joint_has_its_explained_variance(noiseless):
    _, rows = noiseless
    for suffix, references in (("", (*BASELINES, "shifted_spikes")), ("_joint_angles", BASELINES)):
        error = pick(rows, f"brain_control_error{suffix}")["value"]
        for reference in references:
            decoded = suffix.removeprefix("_") or "embedding"
            gain = pick(rows, f"gain_over_{reference}", of=f"brain_control_error{suffix}", decoded=decoded)[
                "value"
            ]
            of_reference = pick(rows, reference=reference)["value"]
            assert gain == pytest.approx(of_reference - error, abs=1e-9)
    names = [
        r["dimension"]
        for r in rows
        if r["metric"] == "decoding_ev_joint_angles" and r["split"] == "ood" and "dimension" in r
    ]
    assert names == list(JOINTS)


def test_decoding_ev_equals_plain_arithmetic():
    session = session_of(linear(12, noise=0.2), ["M1"] * 12)
    scored = context(session)
    rows = brain_control.run(scored).rows
    moves = DecodingTrials.of(scored, session)
    decoder = scored.decoder.build()
    decoder.fit(moves.training("joint_angles", np.arange(12)))
    y, yhat = [], []
    for i in moves.split["test"]:
        decoder.reset(1)
        given = [decoder.observe(row[None])[0] for row in moves.counts[int(i)]][moves.lead :]
        window = slice(*moves.trials.window[i])
        y.append(moves.goals["joint_angles"][int(i)][window])
        yhat.append(np.array(given)[window])
    y, yhat = np.concatenate(y), np.concatenate(yhat)
    varies = y.std(0) > 1e-6
    ev = 1 - (y - yhat)[:, varies].var(0) / y[:, varies].var(0)
    assert 0.1 < ev.mean() < 0.99
    found = pick(rows, "decoding_ev_joint_angles", split="test")["value"]
    assert found == pytest.approx(ev.mean(), abs=1e-6)


def test_areas_are_decoded_apart_and_the_better_population_drives_better():
    rng = np.random.default_rng(3)
    good, poor = linear(20, noise=0.2), linear(20, noise=3.0, seed=4)
    session = session_of(lambda g: np.hstack([good(g), poor(g), rng.poisson(1, (len(g), 2))]),
                         ["M1"] * 20 + ["S1"] * 20 + ["PMd"] * 2)  # fmt: skip
    rows = brain_control.run(context(session)).rows
    errors = [pick(rows, split="test", area=area)["value"] for area in ("M1", "S1", "PMd")]
    assert errors == sorted(errors) and errors[0] < errors[1] - 0.5


# --- curves -----------------------------------------------------------------------------------------


@pytest.fixture
def few_points(monkeypatch):
    few = CurvesSettings(n_units=(1, 5), n_subsets=3, noise=(1.0,), n_noises=2)
    monkeypatch.setattr(brain_curves, "CURVES", few)


@pytest.mark.slow
def test_the_error_falls_with_units_and_rises_with_noise():
    session = session_of(linear(30, noise=0.5), ["M1"] * 30)
    rows = brain_curves.run(context(session)).rows
    for suffix in ("", "_joint_angles"):
        mine = [r for r in rows if (r["split"], r["metric"]) == ("test", f"brain_control_error{suffix}")]
        units = [r for r in mine if not r["noise"]]
        assert [r["n_decoded_units"] for r in units] == ["1", "2", "5", "10", "20", "all"]
        assert [r["noise"] for r in mine if r["noise"]] == list(CURVES.noise)
        errors = [r["value"] for r in units]
        assert errors[0] - errors[-1] > 1
        for earlier, later in pairwise(units):
            assert later["value"] < earlier["ci"][1]
        rising = [units[-1]["value"], *(r["value"] for r in mine if r["noise"])]
        assert rising == sorted(rising) and rising[-1] > rising[0] + 2


def test_the_curve_of_all_units_ends_where_brain_control_stands(few_points):
    session = session_of(linear(8, noise=1.0), ["M1"] * 8)
    whole, rows = brain_control.run(context(session)).rows, brain_curves.run(context(session)).rows
    for split in ("test", "ood"):
        same = pick(rows, split=split, decoded="embedding", n_decoded_units="all", noise=0.0)
        assert same["value"] == pytest.approx(pick(whole, split=split)["value"], abs=1e-9)


def test_claims_read_the_curves_from_records(tmp_path, few_points):
    """Three networks, by 5 of 8 units and all, without noise and with noise of one standard deviation."""
    session = session_of(linear(8, noise=1.0), ["M1"] * 8)
    rows = [brain_curves.run(context(session, seed=seed)).rows for seed in range(3)]
    write(tmp_path, *records("muscle_ppo", "brain-control-curves", None, rows, n_networks=3))
    scored, problems = read_scored([tmp_path], of_claims)
    (one,) = claims(scored)
    found = {row["name"]: row for row in one["claims"]}

    def error(network, kind, **labels):
        metric = brain_control.metric_of("brain_control_error", kind)
        return pick(rows[network], metric, split="test", decoded=kind, **labels)["value"]

    def added(network, kind):
        less, more = (error(network, kind, n_decoded_units="all", noise=noise) for noise in (0.0, 1.0))
        return more - less

    few, every = ({"n_decoded_units": n, "noise": 0.0} for n in ("5", "all"))
    tens = [1.1 * error(k, "embedding", **every) - error(k, "embedding", **few) for k in range(3)]
    noise = [added(k, "joint_angles") - added(k, "embedding") for k in range(3)]
    assert not problems and found["tens"]["area"] == found["noise"]["area"] == "M1"
    assert found["tens"]["value"] == pytest.approx(np.mean(tens)) and found["tens"]["ci"]
    assert found["noise"]["value"] == pytest.approx(np.mean(noise)) and found["noise"]["ci"]


# --- which trials and units -------------------------------------------------------------------------


def test_driven_trials_are_spread_evenly_over_conditions_and_never_trained_on():
    trials = grasp_trials(360, n_objects=12)
    session = session_of(linear(4), ["M1"] * 4, trials)
    moves = DecodingTrials.of(context(session), session)
    train = set(moves.split["train"].tolist())
    for split, which in moves.driven.items():
        assert len(which) == BRAIN_CONTROL.trials_per_split and not train & set(which.tolist())
        assert set(which.tolist()) <= set(moves.split[split].tolist())
        conditions = [moves.trials.condition[i] for i in which]
        counts = [conditions.count(c) for c in set(conditions)]
        assert max(counts) - min(counts) <= 1


def test_units_and_trials_that_were_not_recorded_throughout_are_left_out():
    recorded = np.ones((N_TRIALS, 6), bool)
    recorded[: N_TRIALS // 2 + 5, 5] = False  # a unit that came late
    recorded[7, 2] = False
    session = session_of(linear(6), ["M1"] * 6, recorded=recorded)
    moves = DecodingTrials.of(context(session), session)
    assert moves.units.tolist() == [0, 1, 2, 3, 4]
    assert 7 not in moves.index and len(moves.index) == N_TRIALS - 1


def test_counts_line_up_with_commands():
    """Counts that say which step of the window they belong to, on trials with all of the lead and with less."""
    for pad in (12, 30):
        trials = grasp_trials(N_TRIALS, n_objects=N_OBJECTS, pad=pad)
        session = session_of(lambda goals: np.arange(len(goals))[:, None] + [0.0, 0.0], ["M1"] * 2, trials)
        moves = DecodingTrials.of(context(session), session)
        for i, (first, _) in enumerate(moves.trials.window):
            assert first == min(pad, ALIGNMENT.steps_before(trials.dt))
            assert moves.counts[i][moves.lead + first, 0] == bins_before(trials.dt)
            assert len(moves.counts[i]) == moves.lead + len(moves.goals["embedding"][i])


# --- what is absent ---------------------------------------------------------------------------------


def reasons(*sessions, protocol=brain_control, **changes):
    rows = protocol.run(context(*sessions, **changes)).rows
    assert all(r["value"] is None for r in rows)
    return " | ".join(dict.fromkeys(r["reason"] for r in rows))


@pytest.mark.parametrize("protocol", [brain_control, brain_curves])
def test_a_session_that_cannot_support_it_has_the_reason_in_the_record(protocol):
    blind = session_of(linear(4), ["M1"] * 4)
    blind = dataclasses.replace(blind, trials=dataclasses.replace(blind.trials, joint_angles=None))
    assert "no joint angles" in reasons(blind, protocol=protocol)
    assert "M1 has 1 unit recorded" in reasons(session_of(linear(1), ["M1"]), protocol=protocol)
    assert "no units" in reasons(session_of(linear(0), []), protocol=protocol)
    never = session_of(linear(4), ["M1"] * 4, recorded=np.zeros((N_TRIALS, 4), bool))
    assert "0 training trials have spikes from 0.48 s before" in reasons(never, protocol=protocol)


def test_an_area_with_one_unit_does_not_take_the_others_number():
    session = session_of(linear(9), ["M1"] * 8 + ["S1"])
    rows = brain_control.run(context(session)).rows
    assert pick(rows)["value"] > 0
    alone = pick(rows, area="S1")
    assert alone["value"] is None and "S1 has 1 unit" in alone["reason"]


def test_a_session_that_can_counts_where_another_cannot():
    blind = session_of(linear(4), ["M1"] * 4, name="blind", recorded=np.zeros((N_TRIALS, 4), bool))
    able = session_of(linear(30), ["M1"] * 30, name="able")
    together = brain_control.run(context(able, blind)).rows
    alone = brain_control.run(context(able)).rows
    assert pick(together)["value"] == pytest.approx(pick(alone)["value"])
    assert "without blind: 0 training trials" in pick(together)["reason"]
    assert "without" not in pick(alone)["reason"]
    assert "without blind" in pick(together, "decoding_ev")["reason"]


def test_intervals_of_decoding_ev_are_over_conditions_though_one_session_has_few():
    """The jackknife by hand over the conditions of both sessions."""
    few = session_of(linear(12, noise=0.3), ["M1"] * 12, grasp_trials(60, n_objects=4, seed=1), name="few")
    many = session_of(linear(12, noise=0.3), ["M1"] * 12, name="many")
    scored = context(few, many)
    row = pick(brain_control.run(scored).rows, "decoding_ev", split="test")
    assert row["ci_over"] == ["condition"] and row["n_conditions"] > 4
    tables = {}
    for session in (few, many):
        moves = DecodingTrials.of(scored, session)
        decoder = scored.decoder.build()
        decoder.fit(moves.training("embedding", np.arange(12)))
        which = moves.split["test"]
        decoded = decode(decoder, moves.spikes(np.arange(12), which), moves.lead)
        y, yhat = (
            in_windows(moves.trials.select(which), s)
            for s in (moves.goals["embedding"].select(which), decoded)
        )
        conditions = np.repeat([moves.trials.condition[i] for i in which], y.lengths)

        def ev(kept, y=y.values, yhat=yhat.values):
            return 1 - (y - yhat)[kept].var(0) / y[kept].var(0)

        out = {c: ev(conditions != c) for c in set(conditions)} | {"": ev(conditions != "")}
        varies = np.isfinite(np.stack(list(out.values()))).all(0)
        tables[session.id] = {c: v[varies].mean() for c, v in out.items()}
    groups = sorted({c for table in tables.values() for c in table} - {""})
    jackknife = np.array([np.mean([t.get(g, t[""]) for t in tables.values()]) for g in groups])
    n = len(groups)
    se = np.sqrt((n - 1) / n * ((jackknife - jackknife.mean()) ** 2).sum())
    assert (row["ci"][1] - row["ci"][0]) / 2 == pytest.approx(stdtrit(n - 1, 0.975) * se, rel=1e-6)


def test_training_trials_whose_lead_lies_in_a_held_out_window_teach_nothing():
    """Windows that abut: the bins before a window are those of the window before."""
    session = session_of(linear(4), ["M1"] * 4)
    length = session.units.rates.lengths.max() * 0.02
    abutting = dataclasses.replace(session, start=1 + length * np.arange(N_TRIALS))
    apart, close = (DecodingTrials.of(context(s), s) for s in (session, abutting))
    held_out = {int(i) for split in ("test", "ood") for i in close.split[split]}
    assert close.split["train"].tolist() == [i for i in apart.split["train"] if i - 1 not in held_out]
    assert len(close.split["train"]) < len(apart.split["train"])


@pytest.mark.parametrize("method", ["fit", "reset", "observe"])
def test_what_goes_wrong_in_a_decoder_is_told_as_its_own(method):
    class Broken(RidgeDecoder):
        pass

    def fails(self, *arguments):
        raise np.linalg.LinAlgError("Singular matrix")

    setattr(Broken, method, fails)
    session = session_of(linear(4), ["M1"] * 4)
    scored = context(session, decoder=DecoderSpec("broken", build=Broken, summary=""))
    with pytest.raises(
        NgbError, match=rf"decoder broken failed in `{method}` \(LinAlgError: Singular matrix\)"
    ):
        brain_control.run(scored)


def test_a_model_without_a_body_is_refused():
    session = session_of(linear(4), ["M1"] * 4)
    for protocol in (brain_control, brain_curves):
        with pytest.raises(UnsupportedError, match="moves no body"):
            protocol.run(context_of(session))


def test_curves_of_a_model_without_a_body_are_refused_before_anything_is_scored(tmp_path):
    with pytest.raises(UnsupportedError, match="linear_kinematic moves no body"):
        evaluate("linear_kinematic", "demo", curves=True, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_decoder_that_breaks_its_contract_is_told_before_the_hand_moves():
    class Remembers:
        def fit(self, train):
            self.width, self.seen = train.commands.values.shape[1], 0

        def reset(self, n_trials):
            self.n = n_trials

        def observe(self, spikes):
            self.seen += 1
            return np.full((self.n, self.width), float(self.seen))

    session = session_of(linear(4), ["M1"] * 4)
    bad = DecoderSpec("bad", build=Remembers, summary="counts bins for ever")
    driven = []
    scored = context(session, decoder=bad, drive=lambda trials, goal: driven.append(goal))
    with pytest.raises(NgbError, match="remembers earlier trials"):
        brain_control.run(scored)
    assert not driven

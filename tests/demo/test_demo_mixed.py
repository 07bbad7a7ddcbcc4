"""The dataset mixed: movements of the demo, units that follow what their kind says, and a key apart."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from neurobench_grasp import NgbError, cache
from neurobench_grasp.alignment.align import align
from neurobench_grasp.data import load_session, unit_labels
from neurobench_grasp.demo import files, mixed, movements, sessions
from neurobench_grasp.demo.driven import muscle_features, standardised
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.run.dataset import load_dataset

N, SET = 8, mixed.MIXED


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A session of the demo with two trials of each object, and its file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(movements, "REPEATS", 2)
        session = sessions.make_session("demo_a_1")
    path = tmp_path_factory.mktemp("base") / "demo_a_1.nwb"
    files.write_synthetic(path, session, "movements of a test")
    return session, align(session), path


@pytest.fixture(scope="module")
def features(base):
    """Features that stand for those of the three networks: slow, and unrelated to each other."""
    _, aligned, _ = base
    rng, n = np.random.default_rng(0), aligned.trials.offsets[-1]
    slow = [np.convolve(x, np.hanning(15), "same") for x in rng.standard_normal((9, n))]
    return {
        kind: {"layer": standardised(np.array(slow[3 * k : 3 * k + 3]).T)}
        for k, kind in enumerate(SET.policies)
    }


@pytest.fixture(scope="module")
def made(base, features):
    return mixed.mixed_session(SET.name, *base[:2], features, N)


def test_every_kind_has_its_share_in_random_order(made):
    session, kinds = made
    assert Counter(kinds) == dict.fromkeys(SET.kinds, N)
    assert kinds != tuple(sorted(kinds, key=SET.kinds.index))
    assert set(zip(kinds, session.units.areas, strict=True)) == {
        (kind, "S1" if kind == "afferents" else "M1") for kind in SET.kinds
    }
    assert session.synthetic and session.id == "demo_a_1"


def fit_of(session, aligned, values, units, lead):
    """EV of the true rates of some units by features, ``lead`` steps later, during the trials."""
    rates = session.true_rates.values[:, units]
    moving = mixed.in_trials(session, aligned, values)
    inside = np.flatnonzero(mixed.in_trials(session, aligned, np.ones((len(values), 1)))[:, 0])
    x = np.column_stack([moving[inside], np.ones(len(inside))])
    y = rates[inside - lead]
    return 1 - (y - x @ np.linalg.lstsq(x, y, rcond=None)[0]).var(0) / y.var(0)


def test_units_follow_what_their_kind_says(made, base, features):
    """Each is explained best by the features of that kind; afferents follow muscles, after a delay."""
    session, kinds = made
    aligned = base[1]
    every = {kind: found["layer"] for kind, found in features.items()}
    every["kinematics"] = muscle_features(aligned.trials)["muscle kinematics"]
    for kind in every:
        units = np.flatnonzero(np.array(kinds) == kind)
        explained = {k: fit_of(session, aligned, values, units, 4).mean() for k, values in every.items()}
        assert max(explained, key=explained.get) == kind and explained[kind] > 0.5, (kind, explained)
    afferents = np.flatnonzero(np.array(kinds) == "afferents")
    ahead, behind = (
        fit_of(session, aligned, every["kinematics"], afferents, lead).mean() for lead in (4, -2)
    )
    assert behind > ahead + 0.1


def test_afferents_are_noisy(monkeypatch, made, base, features):
    """Without the noise, muscles explain them better."""
    monkeypatch.setattr(mixed, "AFFERENT_NOISE", 0.0)
    silent, kinds = mixed.mixed_session(SET.name, *base[:2], features, N)
    muscles = muscle_features(base[1].trials)["muscle kinematics"]
    afferents = np.flatnonzero(np.array(kinds) == "afferents")
    noisy, clean = (fit_of(s, base[1], muscles, afferents, -2).mean() for s in (made[0], silent))
    assert clean > noisy + 0.1


def test_all_random_numbers_follow_from_the_name(made, base, features):
    session, kinds = mixed.mixed_session(SET.name, *base[:2], features, N)
    assert (session.sha256, kinds) == (made[0].sha256, made[1])


def test_training_trials_are_those_on_which_networks_are_trained(base):
    """So that networks trained for the demo serve."""
    _, aligned, path = base
    data = load_dataset(load_registry(), path)
    for seed in (0, 100, 103):
        found = mixed.training_trials([aligned], seed)
        assert found.sha256 == data.for_network(seed).behaviour("train").sha256


def test_without_its_network_it_is_not_made(base, monkeypatch, tmp_path):
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    aligned = base[1]
    with pytest.raises(NgbError, match=r"No network of permuted_muscles \(seed 100\)"):
        mixed.policy_features(SET.policies["permuted"], mixed.training_trials([aligned], 100), aligned.trials)


@pytest.fixture
def small(base, features, monkeypatch, tmp_path):
    """The dataset of two small sessions, whose networks are replaced, in a separate cache."""
    session, _, path = base
    other = replace(session, id="demo_a_2")
    files.write_synthetic(tmp_path / "demo_a_2.nwb", replace(other, sha256=""), "movements of a test")
    monkeypatch.setattr(mixed, "demo_files", lambda: [path, tmp_path / "demo_a_2.nwb"])
    kinds = {policy: kind for kind, policy in SET.policies.items()}
    monkeypatch.setattr(mixed, "policy_features", lambda policy, train, trials: features[kinds[policy]])
    (tmp_path / "trial").mkdir()
    digests = mixed._write(SET, tmp_path / "trial", lambda text: None)
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    return replace(SET, sha256=cache.combined_digest(digests)), digests


def test_files_are_made_at_first_use_and_kept(small, tmp_path):
    made, digests = small
    first, second = made.files()
    assert first.parent.parent == tmp_path / "cache"
    assert {s.id: s.sha256 for s in map(load_session, (first, second))} == digests
    written = first.stat().st_mtime_ns
    assert made.files() == [first, second] and first.stat().st_mtime_ns == written
    manifest = json.loads((first.parent / "manifest.json").read_text())
    assert manifest["sessions"] == digests


def test_the_key_is_in_the_file_and_not_in_the_session(small):
    first, second = small[0].files()
    session = load_session(first)
    key = unit_labels(first, mixed.KEY)
    assert tuple(key) == session.units.ids and Counter(key.values()) == dict.fromkeys(
        SET.kinds, mixed.N_OF_EACH
    )
    assert unit_labels(second, mixed.KEY) == {} and len(load_session(second).units) == 0
    assert not set(SET.kinds) & {*session.units.ids, *session.units.areas, *session.notes}


def test_behaviour_is_that_of_the_demo(small, base):
    """To the digest of every split, which is how networks are found."""
    first, _ = small[0].files()
    demo, own = (load_dataset(load_registry(), path) for path in (base[2], first))
    for split in ("train", "test", "ood"):
        assert own.behaviour(split).sha256 == demo.behaviour(split).sha256
    assert own.sha256 != demo.sha256 and own.synthetic


def test_other_content_than_the_published_is_refused(small, tmp_path):
    with pytest.raises(NgbError, match="The dataset mixed made here"):
        replace(small[0], sha256="f" * 64).make(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_sets_have_units_and_candidates_of_the_same_kinds_and_other_random_numbers(base, features):
    """Units of a kind in both sets are other units."""
    for one in mixed.MIXED_SETS.values():
        assert {*one.candidates.values()} == {*one.kinds} - {"afferents"}
        assert len(one.sha256) == 64 and load_registry().dataset(one.name).spec.synthetic
    alone = {"muscle": features["muscle"]}
    spikes = {
        name: mixed.mixed_session(name, *base[:2], alone, 2)[0].units.spike_times for name in mixed.MIXED_SETS
    }
    assert not np.array_equal(spikes["mixed"], spikes["mixed_memory"])

"""Decoders: independent references, planted truth, causality, and every cheat that the contract makes possible."""

import dataclasses
from typing import ClassVar

import ngb_kalman_decoder as kalman
import numpy as np
import pytest
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from lazy import Lazy
from planted import smooth_latents

from neurobench_grasp.alignment.splits import folds_by_condition
from neurobench_grasp.contract import DecodedTrials, Decoder, Ragged
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.protocols.brain_control.decoders import check_decoder, decode
from neurobench_grasp.protocols.settings import BRAIN_CONTROL

decomposition = Lazy("sklearn.decomposition")
linear_model = Lazy("sklearn.linear_model")
metrics = Lazy("sklearn.metrics")

LEAD, N_UNITS, N_FEATURES = 9, 5, 3
BUILD = {p.spec.name: p.spec.build for p in load_registry().decoders()}
SHIPPED = ("ridge", "kalman")


def trials_of(rng, n_trials=24, *, n_conditions=6, n_units=N_UNITS):
    """Spikes that follow smooth commands; lengths differ from trial to trial."""
    latents = smooth_latents(n_trials, LEAD + 25, N_FEATURES, rng)
    mix = np.random.default_rng(99).standard_normal((N_FEATURES, n_units))
    counts = rng.poisson(3 * np.exp(0.5 * latents @ mix)).astype(np.int32)
    lengths = 25 - np.arange(n_trials) % 7
    return DecodedTrials(
        Ragged.of([x[: LEAD + n] for x, n in zip(counts, lengths, strict=True)]),
        Ragged.of([5 + x[LEAD : LEAD + n] for x, n in zip(latents, lengths, strict=True)]),
        tuple(f"object_{i % n_conditions}" for i in range(n_trials)),
        dt=0.02,
    )


def with_counts(train, values):
    return dataclasses.replace(train, counts=Ragged(values, train.counts.offsets))


def with_commands(train, values):
    return dataclasses.replace(train, commands=Ragged(values, train.commands.offsets))


def fitted(name, train):
    decoder = BUILD[name]()
    decoder.fit(train)
    return decoder


@pytest.fixture(scope="module")
def train():
    return trials_of(np.random.default_rng(0))


@pytest.fixture(scope="module")
def new():
    return trials_of(np.random.default_rng(1), 8)


@pytest.fixture(scope="module")
def ready(train):
    """Every registered decoder, fitted."""
    return {name: fitted(name, train) for name in BUILD}


# --- references -----------------------------------------------------------------------------------


def histories(counts, train):
    """Standardised counts of the ten bins up to each command, by plain loops."""
    mean, deviation = train.counts.values.mean(0), train.counts.values.std(0)
    rows = []
    for trial in counts:
        for step in range(LEAD, len(trial)):
            row = []
            for unit in range(trial.shape[1]):
                for back in range(9, -1, -1):
                    row.append((trial[step - back, unit] - mean[unit]) / deviation[unit])
            rows.append(row)
    return np.array(rows)


def test_ridge_is_the_ridge_of_scikit_learn_with_cross_validated_penalties(train, new, ready):
    x, fold = histories(train.counts, train), folds_by_condition(train.condition, BRAIN_CONTROL.n_folds)
    fold = np.repeat(fold, train.commands.lengths)
    y = train.commands.values
    scores = []  # alpha by feature
    for alpha in BRAIN_CONTROL.alphas:
        found = []
        for held in (fold == k for k in range(BRAIN_CONTROL.n_folds)):
            predicted = linear_model.Ridge(alpha).fit(x[~held], y[~held]).predict(x[held])
            found.append(metrics.explained_variance_score(y[held], predicted, multioutput="raw_values"))
        scores.append(np.mean(found, axis=0))
    penalties = BRAIN_CONTROL.alphas[np.argmax(scores, axis=0)]
    wanted = linear_model.Ridge(penalties).fit(x, y).predict(histories(new.counts, train))
    commands = decode(ready["ridge"], new.counts, LEAD)
    np.testing.assert_allclose(commands.values, wanted, rtol=1e-8)
    assert metrics.explained_variance_score(new.commands.values, commands.values) > 0.6


def test_kalman_is_the_textbook_filter(train, new, ready):
    """Means and covariances trial by trial, the gain from the covariance of the counts."""
    pca = decomposition.PCA(whiten=True).fit(train.commands.values)
    n = len(train.commands.values)
    scale = np.sqrt(n / (n - 1))  # scikit-learn's divides by n − 1
    mean, deviation = train.counts.values.mean(0), train.counts.values.std(0)
    states = [pca.transform(y) * scale for y in train.commands]
    seen = [(c[LEAD:] - mean) / deviation for c in train.counts]

    def regression(x, y):
        x, y = np.concatenate(x), np.concatenate(y)
        fit = linear_model.Ridge(kalman.RIDGE * len(x), fit_intercept=False).fit(x, y)
        return fit.coef_, np.mean([np.outer(r, r) for r in y - fit.predict(x)], axis=0)

    dynamics, drift = regression([x[:-1] for x in states], [x[1:] for x in states])
    observation, noise = regression(states, seen)
    noise = noise + kalman.RIDGE * np.eye(N_UNITS)
    first = np.array([x[0] for x in states])

    commands = decode(ready["kalman"], new.counts, LEAD)
    for trial, given_commands in zip(new.counts, commands, strict=True):
        x, p = first.mean(0), np.cov(first.T, bias=True)
        for step, spikes in enumerate(trial):
            x, p = dynamics @ x, dynamics @ p @ dynamics.T + drift
            surprise = (spikes - mean) / deviation - observation @ x
            gain = p @ observation.T @ np.linalg.inv(observation @ p @ observation.T + noise)
            x, p = x + gain @ surprise, p - gain @ observation @ p
            if step >= LEAD:
                wanted = pca.inverse_transform((x / scale)[None])[0]
                np.testing.assert_allclose(given_commands[step - LEAD], wanted, rtol=1e-8)


def test_kalman_finds_planted_dynamics():
    """It is nearly as good as the filter that knows the truth, and far better than the newest bin alone."""
    rng = np.random.default_rng(3)
    turn = 0.97 * np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    observation, drift, n = rng.standard_normal((6, 2)), 1 - 0.97**2, 100
    x = rng.standard_normal((n, 2))
    states = []
    for _ in range(60):
        x = x @ turn.T + drift**0.5 * rng.standard_normal((n, 2))
        states.append(x)
    states = np.stack(states, axis=1)
    counts = states @ observation.T + 3 * rng.standard_normal((n, 60, 6))
    halves = [
        DecodedTrials(Ragged.of(list(counts[s])), Ragged.of(list(states[s])), ("a",) * 50, dt=0.02)
        for s in (slice(50), slice(50, None))
    ]
    x, p, best = np.zeros((50, 2)), np.eye(2), []
    for step in range(60):
        x, p = x @ turn.T, turn @ p @ turn.T + drift * np.eye(2)
        gain = p @ observation.T @ np.linalg.inv(observation @ p @ observation.T + 9 * np.eye(6))
        x, p = x + (counts[50:, step] - x @ observation.T) @ gain.T, p - gain @ observation @ p
        best.append(x)
    best = np.stack(best, axis=1).reshape(-1, 2)
    newest = linear_model.LinearRegression().fit(halves[0].counts.values, halves[0].commands.values)
    wanted = halves[1].commands.values
    found = metrics.explained_variance_score(
        wanted, decode(fitted("kalman", halves[0]), halves[1].counts, 0).values
    )
    assert found > metrics.explained_variance_score(wanted, best) - 0.01
    assert found > metrics.explained_variance_score(wanted, newest.predict(halves[1].counts.values)) + 0.1


def test_kalman_does_not_grow_for_ever_when_spikes_say_nothing(train):
    """Not even if commands grew in every training trial."""
    size = [np.exp(0.2 * np.arange(len(y))) for y in train.commands]
    growing = np.concatenate([-x if i % 3 else x for i, x in enumerate(size)])[:, None]
    silent = with_counts(train, train.counts.values * 0)
    decoder = fitted("kalman", with_commands(silent, growing * [1.0, 2.0, -1.0]))
    decoder.reset(1)
    largest = max(np.abs(decoder.observe(np.zeros((1, N_UNITS)))).max() for _ in range(3000))
    assert largest < 2 * np.abs(growing).max()


def test_units_begin_at_their_mean_for_ridge(train, new, ready):
    begun = [np.vstack([np.tile(train.counts.values.mean(0), (LEAD, 1)), trial]) for trial in new.counts]
    found = decode(ready["ridge"], new.counts, 0)
    np.testing.assert_allclose(found.values, decode(ready["ridge"], Ragged.of(begun), LEAD).values, rtol=1e-9)


# --- laws of any decoder --------------------------------------------------------------------------


def test_the_shipped_decoders_are_registered_and_fulfil_the_contract(train, ready):
    assert set(SHIPPED) <= set(BUILD)
    for decoder in ready.values():
        assert isinstance(decoder, Decoder)
        check_decoder(decoder, train)


@pytest.mark.parametrize("name", BUILD)
@given(data=st.data())
@settings(max_examples=examples(25), deadline=None)
def test_spikes_after_a_bin_change_no_command_at_or_before_it(ready, new, name, data):
    before = decode(ready[name], new.counts, LEAD)
    values = new.counts.values.copy()
    last = [data.draw(st.integers(-1, n - 1)) for n in new.counts.lengths]  # bin of each trial
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    for start, n, t in zip(new.counts.offsets, new.counts.lengths, last, strict=False):
        later = values[start + t + 1 : start + n]
        later[:] = rng.integers(0, 50, later.shape)
    after = decode(ready[name], Ragged(values, new.counts.offsets), LEAD)
    for one, other, t in zip(before, after, last, strict=True):
        stop = max(t + 1 - LEAD, 0)
        np.testing.assert_array_equal(one[:stop], other[:stop])


@pytest.mark.parametrize("name", SHIPPED)
def test_the_newest_bin_changes_the_command(ready, new, name):
    """So that the law above is no law of decoders that listen to nothing."""
    values = new.counts.values.copy()
    values[new.counts.offsets[1:] - 1, 0] += 5
    one, other = (
        decode(ready[name], Ragged(v, new.counts.offsets), LEAD) for v in (new.counts.values, values)
    )
    for before, after in zip(one, other, strict=True):
        assert np.array_equal(before[:-1], after[:-1]) and not np.allclose(before[-1], after[-1], atol=1e-3)


@pytest.mark.parametrize("name", BUILD)
def test_trials_of_unequal_length_side_by_side_are_each_trial_alone(ready, new, name):
    assert len(set(new.counts.lengths)) > 1
    together = decode(ready[name], new.counts, LEAD)
    assert together.lengths.tolist() == new.commands.lengths.tolist()
    for i, commands in enumerate(together):
        alone = decode(ready[name], new.counts.select([i]), LEAD)
        np.testing.assert_allclose(alone[0], commands, rtol=1e-9)


@pytest.mark.parametrize("name", BUILD)
def test_no_trials_give_no_commands(ready, new, name):
    assert len(decode(ready[name], new.counts.select([]), LEAD)) == 0


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(
    "change",
    [
        lambda t: with_counts(t, t.counts.values * 0),
        lambda t: with_counts(t, t.counts.values[:, :1]),
        lambda t: with_commands(t, t.commands.values * 0 + 2.0),
        lambda t: dataclasses.replace(t, condition=("cup",) * len(t.condition)),
        lambda t: DecodedTrials(t.counts.select([0]), t.commands.select([0]), ("cup",), t.dt),
        lambda t: with_commands(t, t.commands.values * [1e-8, 1.0, 1e8]),
    ],
    ids=["all silent", "one unit", "constant command", "one condition", "one trial", "other units"],
)
def test_poor_training_gives_finite_commands(train, name, change):
    train = change(train)
    decoder = fitted(name, train)
    check_decoder(decoder, train)
    commands = decode(decoder, train.counts, LEAD).values
    largest = np.abs(train.commands.values).max(0)
    assert np.all(np.abs(commands) <= 3 * largest)


@pytest.mark.parametrize("name", SHIPPED)
def test_units_that_are_constant_in_training_say_nothing_even_if_they_fire_later(train, new, ready, name):
    def beside(counts, silent, steady):
        ones = np.ones((len(counts), 1), np.int32)
        return np.hstack([silent * ones, counts, steady * ones])

    decoder = fitted(name, with_counts(train, beside(train.counts.values, 0, 2)))
    found = decode(decoder, Ragged(beside(new.counts.values, 7, 30), new.counts.offsets), LEAD)
    np.testing.assert_allclose(found.values, decode(ready[name], new.counts, LEAD).values, rtol=1e-9)


def test_a_unit_that_stands_twice_says_no_more_to_kalman_than_once(train, new, ready):
    twice = [np.hstack([t.counts.values, t.counts.values[:, :1]]) for t in (train, new)]
    decoder = fitted("kalman", with_counts(train, twice[0]))
    found = decode(decoder, Ragged(twice[1], new.counts.offsets), LEAD)
    once = decode(ready["kalman"], new.counts, LEAD)
    np.testing.assert_allclose(found.values, once.values, atol=1e-2)


def test_ridge_gives_a_feature_that_it_cannot_predict_as_its_mean(train, new, ready):
    noise = np.random.default_rng(7).standard_normal((len(train.commands.values), 1))
    decoder = fitted("ridge", with_commands(train, np.hstack([train.commands.values, 4 + noise])))
    found = decode(decoder, new.counts, LEAD).values
    np.testing.assert_allclose(found[:, -1], 4 + noise.mean(), rtol=1e-12)
    np.testing.assert_allclose(found[:, :-1], decode(ready["ridge"], new.counts, LEAD).values, rtol=1e-9)


# --- cheats and faults ----------------------------------------------------------------------------


class Honest:
    """Commands that are the newest counts of the first units."""

    def fit(self, train): ...

    def reset(self, n_trials): ...

    def observe(self, spikes):
        return spikes[:, :N_FEATURES] + 0.5


class Oracle(Honest):
    """Remembers every trial, and once it comes again decodes the bin ahead."""

    sights = 1  # of a trial before it is used

    def __init__(self):
        self.next, self.now = {}, []

    def remember(self, trial):
        for n in range(1, len(trial)):
            self.next.setdefault(trial[:n].tobytes(), []).append(trial[n])

    def reset(self, n_trials):
        for trial in np.stack(self.now, axis=1) if self.now else ():
            self.remember(trial)
        self.now = []

    def observe(self, spikes):
        self.now.append(spikes)
        ahead = spikes.copy()
        for row, trial in enumerate(np.stack(self.now, axis=1)):
            known = self.next.get(trial.tobytes(), [])
            if len(known) >= self.sights:
                ahead[row] = known[0]
        return super().observe(ahead)


class PatientOracle(Oracle):
    sights = 2


class SharedOracle(Oracle):
    """Remembers what all decoders of its kind have seen, and the training trials."""

    everything: ClassVar[dict] = {}

    def __init__(self):
        self.next, self.now = self.everything, []

    def fit(self, train):
        for trial in train.counts:
            self.remember(np.vstack([trial, np.zeros_like(trial)]))  # as it goes on after its end


class Rewriter(Honest):
    """Overwrites its last command with what the next bin says."""

    given = None

    def observe(self, spikes):
        command = super().observe(spikes)
        if self.given is not None and self.given.shape == command.shape:
            self.given[:] = command
        self.given = command.copy()
        return self.given


class OneBuffer(Honest):
    """Returns the same array each time."""

    def reset(self, n_trials):
        self.buffer = np.zeros((n_trials, N_FEATURES))

    def observe(self, spikes):
        self.buffer[:] = super().observe(spikes)
        return self.buffer


class RewriterAtReset(Honest):
    """Waits for the end of the trials before it overwrites what it gave."""

    def __init__(self):
        self.given = []

    def reset(self, n_trials):
        for now, later in zip(self.given[:-1], self.given[1:], strict=True):
            now[:] = later
        self.given = []

    def observe(self, spikes):
        self.given.append(super().observe(spikes))
        return self.given[-1]


class Postponed(Honest):
    """Returns an array that is computed whenever it is read."""

    def observe(self, spikes):
        self.newest = super().observe(spikes)
        decoder = self

        class Promise:
            def __array__(self, dtype=None, copy=None):
                return np.array(decoder.newest, dtype)

        return Promise()


class Blend(Honest):
    def observe(self, spikes):
        return super().observe(spikes) - 0.01 * spikes[:, :N_FEATURES].mean(0)


class Neighbour(Honest):
    def observe(self, spikes):
        return super().observe(np.roll(spikes, 1, axis=0))


class SecondTrial(Honest):
    """Takes part of the batch for another's spikes: only the first row is its own."""

    def observe(self, spikes):
        return super().observe(spikes) + 0.1 * (np.arange(len(spikes)) > 0)[:, None]


class Drawn(Honest):
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def observe(self, spikes):
        return super().observe(spikes) + self.rng.standard_normal(1)


class Forgetful(Honest):
    """Does not clear its sum."""

    total = 0.0

    def observe(self, spikes):
        self.total = self.total + spikes.sum()
        return super().observe(spikes) + self.total


class SmallFeature(Oracle):
    """Cheats in a feature that is small beside the others."""

    def observe(self, spikes):
        return np.hstack([Honest.observe(self, spikes)[:, :2] * 1e5, Oracle.observe(self, spikes)[:, 2:]])


def test_an_honest_decoder_passes(train):
    for _ in range(5):  # each time other trials
        check_decoder(Honest(), train)


def test_one_of_single_precision_passes(train, ready):
    """Products of matrices of another height differ in their last bits."""

    class Single(Honest):
        def __init__(self, weights):
            self.weights = weights.astype(np.float32)

        def reset(self, n_trials):
            self.state = np.zeros((n_trials, 200), np.float32)

        def observe(self, spikes):
            self.state = np.tanh(self.state @ self.weights[:200] + np.float32(spikes) @ self.weights[200:])
            return self.state[:, :N_FEATURES]

    check_decoder(Single(0.05 * np.random.default_rng(0).standard_normal((200 + N_UNITS, 200))), train)


@pytest.mark.parametrize(
    ("cheat", "message"),
    [
        (Oracle, "it remembers earlier trials"),
        (SmallFeature, "it remembers earlier trials"),
        (Forgetful, "it remembers earlier trials"),
        (Drawn, "or draws random numbers; `reset` must start new trials"),
        (PatientOracle, "looks ahead: commands before a bin depend on the spikes in it"),
        (Rewriter, "changes a command after giving it"),
        (OneBuffer, "changes a command after giving it"),
        (RewriterAtReset, "changes a command after giving it"),
        (Postponed, "changes a command after giving it"),
        (Blend, "mixes trials"),
        (Neighbour, "mixes trials"),
        (SecondTrial, "mixes trials"),
    ],
)
def test_a_cheat_is_caught(train, cheat, message):
    for _ in range(5):  # each time on other trials
        with pytest.raises(NgbError, match=message):
            check_decoder(cheat(), train)


def test_what_all_decoders_of_a_kind_remember_is_caught_too(train):
    """Also once they know the training trials and those of earlier checks."""
    for _ in range(3):
        decoder = SharedOracle()
        decoder.fit(train)
        decode(decoder, train.counts, LEAD)
        with pytest.raises(NgbError, match="it remembers earlier trials"):
            check_decoder(decoder, train)


def test_the_oracle_does_decode_the_bin_ahead(train):
    """So what is caught is the cheat it is said to be."""
    oracle = Oracle()
    honest = decode(oracle, train.counts, LEAD)
    for again, first in zip(decode(oracle, train.counts, LEAD), honest, strict=True):
        np.testing.assert_array_equal(again[:-1], first[1:])


def test_what_is_rewritten_later_is_not_decoded(train):
    for cheat in (Rewriter, OneBuffer, RewriterAtReset, Postponed):
        found, honest = (decode(d, train.counts, LEAD) for d in (cheat(), Honest()))
        np.testing.assert_array_equal(found.values, honest.values)


def test_the_array_that_a_decoder_gets_leads_to_no_other_bins(train):
    got = []

    class Looks(Honest):
        def observe(self, spikes):
            got.append(spikes)
            return super().observe(spikes)

    check_decoder(Looks(), train)
    decode(Looks(), train.counts, LEAD)
    assert got and all(
        spikes.base is None and not np.shares_memory(spikes, train.counts.values) for spikes in got
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: np.full((n, N_FEATURES), np.nan), "not finite"),
        (lambda n: np.full((n, N_FEATURES), np.inf), "not finite"),
        (lambda n: np.zeros(n), r"shape \(20,\); it must be \(20, n_features\)"),
        (lambda n: np.zeros((N_FEATURES, n)), r"shape \(3, 20\)"),
        (lambda n: np.zeros((n + 1, N_FEATURES)), r"shape \(21, 3\)"),
        (lambda n: None, r"shape \(\)"),
        (lambda n: "rest", "gave a str as command; it must be an array of numbers"),
        (lambda n: [[1.0]] * (n - 1) + [[]], "gave a list as command"),
        (lambda n: np.zeros((n, N_FEATURES + 1)), "commands of 4 features, but learned from 3"),
        (
            lambda n: np.zeros((n, np.random.default_rng().integers(1, 99))),
            r"commands of .*\d and \d+ features",
        ),
    ],
    ids=["nan", "inf", "flat", "transposed", "a row more", "none", "text", "ragged", "features", "varying"],
)
def test_a_command_that_is_none_is_told(train, answer, message):
    class Faulty(Honest):
        def observe(self, spikes):
            return answer(len(spikes))

    with pytest.raises(NgbError, match=message):
        check_decoder(Faulty(), train)


def test_a_decoder_that_fails_late_is_told(train):
    """A trial that has ended goes on without spikes, which must not spoil the others' commands."""

    class Rate(Honest):
        def observe(self, spikes):
            with np.errstate(all="ignore"):
                return super().observe(spikes) / (spikes.sum(1, keepdims=True) > 0)

    with pytest.raises(NgbError, match="not finite"):
        check_decoder(Rate(), train)

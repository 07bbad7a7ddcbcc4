"""Sessions with a known truth, for tests."""

from dataclasses import replace

import numpy as np

from neurobench_grasp.alignment.rates import SMOOTHING_BINS
from neurobench_grasp.alignment.session import AlignedSession, AlignedUnits
from neurobench_grasp.alignment.splits import make_splits
from neurobench_grasp.contract import Activations, DecoderSpec, Ragged, Trials
from neurobench_grasp.protocols.brain_control.decoders import RidgeDecoder
from neurobench_grasp.protocols.context import Context, LazyModel

PAD = 10
DT = 0.02
RIDGE = DecoderSpec("ridge", build=RidgeDecoder, summary="ridge")


def smooth_latents(n_trials, n_steps, n_latents, rng, width=6):
    """Autocorrelated latents of unit variance, (n_trials, n_steps, n_latents)."""
    kernel = np.ones(width) / width
    raw = rng.standard_normal((n_trials, n_steps + width - 1, n_latents))
    smoothed = sum(kernel[k] * raw[:, k : k + n_steps] for k in range(width))
    return smoothed * width**0.5


def aligned_session(
    latents, rates, conditions, *, name="planted", subject="a", areas=None, observed=None, lengths=None
):
    """An AlignedSession whose behaviour is ``latents`` (padding included) and whose rates are given.

    ``latents`` (n_trials, n_steps + 2 · PAD, n_latents), ``rates`` (n_trials, n_steps, n_units).
    """
    n_trials, n_steps, n_units = rates.shape
    lengths = np.full(n_trials, n_steps) if lengths is None else lengths
    behaviour = Ragged.of([x[: n + 2 * PAD] for x, n in zip(latents, lengths, strict=True)])
    measured = Ragged.of([y[:n] for y, n in zip(rates, lengths, strict=True)])
    mean = measured.values.mean(0)
    noise_of_one_bin = (measured.values - mean) * SMOOTHING_BINS**0.5  # averaging makes it that of the rates
    ids = tuple(f"t{i:04d}" for i in range(n_trials))
    trials = Trials(
        sessions=(name,) * n_trials,
        ids=ids,
        condition=tuple(conditions),
        dt=DT,
        window=np.stack([np.full(n_trials, PAD), PAD + lengths], axis=1).astype(np.int64),
        offsets=behaviour.offsets,
        signals={"latents": behaviour},
        joint_angles=None,
        events={},
    )
    return AlignedSession(
        id=name,
        subject=subject,
        sha256="0" * 64,
        trials=trials,
        start=1.0 + 10.0 * np.arange(n_trials),
        units=AlignedUnits(
            ids=tuple(f"u{i}" for i in range(n_units)),
            areas=("M1",) * n_units if areas is None else tuple(areas),
            rates=measured,
            counts=Ragged((mean + noise_of_one_bin) * DT, measured.offsets),
            recorded=np.zeros((n_trials, n_units), bool),
            observed=np.ones((n_trials, n_units), bool) if observed is None else observed,
        ),
        conditions=dict(zip(ids, conditions, strict=True)),
        max_lag=0.2,
    )


def with_units(session, **changes):
    """The session with other fields of its units."""
    return replace(session, units=replace(session.units, **changes))


def _absent(*arguments):
    raise NotImplementedError


class Planted:
    """A model whose methods are given; those that are not cannot be called."""

    def __init__(self, activations, observe=None, untrained=None, track=None, drive=None, embed=None):
        self.activations, self.observe, self.embed = activations, observe or _absent, embed or _absent
        self._untrained, self._track, self._drive = untrained, track, drive

    def fit(self, train, *, seed):
        pass

    def state(self):
        return {}

    def restore(self, state):
        pass

    def track(self, trials, *, goal=None):
        return self._track(trials) if goal is None else self._drive(trials, goal)

    def activations_of(self, observations):
        return self._untrained(observations)

    def untrained(self, *, seed):
        return self


def context_of(
    *sessions, activations=None, seed=0, fold=0, seeded=False, stages=None, decoder=RIDGE, **methods
):
    """A context that scores the latents themselves on one fold, and keeps nothing.

    ``methods`` make the model a controller, see :class:`Planted`; ``stages`` may record what every stage
    makes: ``stages(stage, session, make, **inputs)``.
    """
    activations = activations or (lambda trials: Activations({"latents": trials.signals["latents"]}))
    model = Planted(activations, **methods)
    return Context(
        sessions=sessions,
        splits=make_splits({s.id: s.conditions for s in sessions})[fold],
        model=LazyModel(lambda: model, moves_body=bool(methods), seed=seed, seeded=seeded),
        decoder=decoder,
        stages=stages or (lambda stage, session, make, **inputs: make()),
        seed=seed,
        progress=lambda text: None,
    )


def population(rng, *, snr=1.0, n_objects=20, n_repeats=10, n_steps=30, n_units=20, n_latents=5, lag=0):
    """Units that are linear in the latents plus white noise; returns (session, latents)."""
    n_trials = n_objects * n_repeats
    latents = smooth_latents(n_trials, n_steps + 2 * PAD, n_latents, rng)
    weights = rng.standard_normal((n_latents, n_units))
    drive = latents[:, PAD + lag : PAD + lag + n_steps] @ weights
    drive /= drive.std((0, 1))
    rates = 10 + drive + rng.standard_normal(drive.shape) / snr**0.5
    conditions = [f"object_{i // n_repeats:02d}" for i in range(n_trials)]
    return aligned_session(latents, rates, conditions), latents


def repeating_population(
    rng, *, snr=1.0, n_objects=35, n_repeats=8, n_steps=25, n_units=20, n_latents=5, lag=0, trial_gain=0.0
):
    """Units that are linear in latents which repeat in every trial of an object, plus white noise.

    The rates without noise are the session's true rates. ``trial_gain`` is the standard deviation of a gain
    of each unit in each trial: known to the true rates, and to no behaviour.
    """
    n_trials = n_objects * n_repeats
    of_objects = smooth_latents(n_objects, n_steps + 2 * PAD, n_latents, rng)
    latents = np.repeat(of_objects, n_repeats, axis=0)
    drive = latents[:, PAD + lag : PAD + lag + n_steps] @ rng.standard_normal((n_latents, n_units))
    drive = 10 + drive / drive.std((0, 1))
    drive *= 1 + trial_gain * rng.standard_normal((n_trials, 1, n_units))
    rates = drive + rng.standard_normal(drive.shape) / snr**0.5
    conditions = [f"object_{i // n_repeats:02d}" for i in range(n_trials)]
    session = aligned_session(latents, rates, conditions)
    return with_units(session, true_rates=Ragged(drive.reshape(-1, n_units), session.units.rates.offsets))


def row_of(rows, metric="single_trial_ev", split="ood", **labels):
    """The one row with these labels and without a session, layer, group, reference or ``of`` that is not asked for."""
    wanted = {"metric": metric, "split": split, "area": "M1"} | labels
    apart = {"session", "subject", "layer", "group", "reference", "of"}
    found = [
        r
        for r in rows
        if all(r.get(k) == v for k, v in wanted.items()) and set(r) & apart == set(wanted) & apart
    ]
    assert len(found) == 1, (wanted, found)
    return found[0]

"""M1 and S1 units that follow the movements: named drives, saturating rates, spikes on an integer clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.bodies.myohand import build_myohand
from neurobench_grasp.contract import Floats, Ints
from neurobench_grasp.demo.movements import STEP, TICK_RATE, TICKS_PER_STEP, Movements
from neurobench_grasp.demo.random_stream import Stream

RATE_QUANTA = 16  # rates are multiples of 1/16 spikes/s: exact in binary, so spikes are reproducible
INTERVAL_QUANTA = 64  # intervals between spikes are multiples of this fraction of the rates' unit of count
REFRACTORY_TICKS = TICK_RATE // 1000
TRIALS_OF_DRIFT = 100  # trials (about 3.5 minutes) time constant of a unit's gain


@dataclass(frozen=True)
class Area:
    """Parameters of the units of one area; pairs are ranges from which units are drawn.

    Parameters
    ----------
    n_units : int
    lead : tuple of float
        Seconds by which firing is ahead of its drives; negative when it follows.
    drives : mapping of str to float
        Weight of each drive: ``muscle`` (lengths and velocities), ``joint`` (angles and velocities), ``goal``
        (posture of the coming grasp), ``timing`` (a time course after onset, the same for all objects).
    regularity : tuple of float
        Refractory fraction of the mean interval; 0 is a Poisson process.
    trial_gain, drift : float
        Standard deviation of the unit's gain from trial to trial, and of its slow drift.
    """

    n_units: int
    lead: tuple[float, float]
    drives: Mapping[str, float]
    regularity: tuple[float, float]
    trial_gain: float
    drift: float


AREAS = {
    "M1": Area(
        n_units=60,
        lead=(0.06, 0.12),
        drives={"muscle": 0.6, "joint": 0.3, "goal": 0.7, "timing": 0.5},
        regularity=(0.1, 0.4),
        trial_gain=0.08,
        drift=0.1,
    ),
    "S1": Area(
        n_units=40,
        lead=(-0.06, -0.03),
        drives={"muscle": 0.9, "joint": 0.4, "goal": 0.15, "timing": 0.3},
        regularity=(0.05, 0.25),
        trial_gain=0.1,
        drift=0.1,
    ),
}
HIGHEST_RATE = (15.0, 75.0)  # spikes/s at saturation, drawn evenly on a logarithmic scale
SLOPE = (0.9, 1.9)
BIAS = (-2.6, -0.8)


@dataclass(frozen=True)
class Population:
    """The units of one session.

    Parameters
    ----------
    areas : tuple of str, length n_units
    leads : ndarray, shape (n_units,)
        Seconds by which each unit is ahead of its drives.
    rates : ndarray, shape (n_steps, n_units)
        Rates that generated the spikes, gain and drift included; spikes/s, multiples of 1/16.
    spikes : tuple of ndarray of int64, length n_units
        Ticks of 1/30000 s, ascending, at least 1 ms apart.
    """

    areas: tuple[str, ...]
    leads: Floats
    rates: Floats
    spikes: tuple[Ints, ...]


@dataclass(frozen=True)
class Responses:
    """Responses of the units of one area to their drives.

    Parameters
    ----------
    quanta : ndarray of int64, shape (n_steps, n_units)
        Rates in 1/16 spikes/s.
    leads, regularity : ndarray, shape (n_units,)
        Seconds; dead fraction of the mean interval between spikes.
    """

    quanta: Ints
    leads: Floats
    regularity: Floats


def make_population(session: str, movements: Movements) -> Population:
    """Draw the units of a session and their spikes.

    Parameters
    ----------
    session : str
        Name of the random streams.
    movements : Movements
    """
    features = _features(movements)
    starts = movements.ticks["start"] / TICK_RATE
    areas = []
    for name, area in AREAS.items():
        stream = Stream(f"{session}/{name}")
        drives = draw_drives(stream, area, features)
        areas.append(respond(stream, area, drives, movements.times, starts))
    return generate_spikes(session, dict(zip(AREAS, areas, strict=True)))


def generate_spikes(session: str, areas: Mapping[str, Responses]) -> Population:
    """Draw the spikes of all areas.

    Parameters
    ----------
    session : str
        Name of the random streams.
    areas : mapping of str to Responses
    """
    quanta = np.concatenate([area.quanta for area in areas.values()], axis=1)
    regularity = np.concatenate([area.regularity for area in areas.values()])
    streams = [Stream(f"{session}/spikes/{unit}") for unit in range(quanta.shape[1])]
    return Population(
        areas=tuple(name for name, area in areas.items() for _ in area.leads),
        leads=np.concatenate([area.leads for area in areas.values()]),
        rates=quanta / RATE_QUANTA,
        spikes=tuple(map(draw_spikes, streams, quanta.T, regularity)),
    )


def _features(movements: Movements) -> dict[str, Floats]:
    """Return the features of each kind of drive, (n_steps, n_features) each."""
    muscles = build_myohand().muscle_kinematics(movements.joint_angles, STEP)
    angles = movements.joint_angles
    since_onset = _time_since(movements.times, movements.ticks["move_onset"] / TICK_RATE)
    centres = np.arange(-0.2, 1.4, 0.2)
    return {
        "muscle": _standardise(np.concatenate([muscles.length, muscles.velocity], axis=1)),
        "joint": _standardise(np.concatenate([angles, np.gradient(angles, STEP, axis=0)], axis=1)),
        "goal": movements.goal,
        "timing": np.clip(1 - np.abs(since_onset[:, None] - centres) / 0.3, 0, None) ** 2,
    }


def _time_since(times: Floats, onsets: Floats) -> Floats:
    """Return the seconds since the nearest onset, shape (n_steps,)."""
    nearest = np.searchsorted((onsets[1:] + onsets[:-1]) / 2, times)
    since: Floats = times - onsets[nearest]
    return since


def _standardise(values: Floats) -> Floats:
    standardised: Floats = (values - values.mean(axis=0)) / values.std(axis=0)
    return standardised


def draw_drives(stream: Stream, area: Area, features: Mapping[str, Floats]) -> Floats:
    """Mix the drives of the units of an area, each unit with its own weights.

    Parameters
    ----------
    stream : Stream
    area : Area
    features : mapping of str to ndarray, shape (n_steps, n_features)
        By kind of drive.

    Returns
    -------
    ndarray, shape (n_steps, n_units)
        With about unit variance.
    """
    n = area.n_units
    weights = {name: weight * stream.uniform(0.3, 1.7, n) for name, weight in area.drives.items()}
    total = np.sqrt(np.sum([w**2 for w in weights.values()], axis=0))
    drives = np.zeros(n)
    for name, values in features.items():
        # cubed normal weights: a few muscles or joints dominate
        mixture = _standardise(values @ stream.normal(values.shape[1], n) ** 3)
        drives = drives + weights[name] / total * mixture
    return drives


def respond(stream: Stream, area: Area, drives: Floats, times: Floats, starts: Floats) -> Responses:
    """Convert drives to rates: a saturating function, after a lead or lag, with a gain for each trial.

    Parameters
    ----------
    stream : Stream
    area : Area
    drives : ndarray, shape (n_steps, n_units)
        See :func:`draw_drives`.
    times : ndarray, shape (n_steps,)
        Seconds.
    starts : ndarray, shape (n_trials,)
        Seconds at which trials start.
    """
    n = area.n_units
    leads = stream.uniform(*area.lead, n)
    low, high = np.log(HIGHEST_RATE)
    highest = np.exp(stream.uniform(low, high, n))
    activation = stream.uniform(*SLOPE, n) * _shift(drives, leads / STEP) + stream.uniform(*BIAS, n)
    rates = highest / (1 + np.exp(-activation)) * _gain(stream, area, times, starts)
    quanta = np.rint(RATE_QUANTA * rates).astype(np.int64)
    return Responses(quanta, leads, stream.uniform(*area.regularity, n))


def _shift(drive: Floats, steps: Floats) -> Floats:
    """Shift each column by its number of steps, with linear interpolation."""
    whole = np.floor(steps).astype(np.int64)
    now = np.arange(len(drive))[:, None]
    unit = np.arange(drive.shape[1])
    before, after = (drive[np.clip(now + whole + i, 0, len(drive) - 1), unit] for i in (0, 1))
    shifted: Floats = before + (steps - whole) * (after - before)
    return shifted


def _gain(stream: Stream, area: Area, times: Floats, starts: Floats) -> Floats:
    """Return a factor on the rates, around 1 and below 2: constant in a trial, correlated over trials."""
    shape = (len(starts), area.n_units)
    drift = stream.normal(*shape)
    keep = 1 - 1 / TRIALS_OF_DRIFT
    for i in range(1, len(drift)):
        drift[i] = keep * drift[i - 1] + np.sqrt(1 - keep**2) * drift[i]
    logit = 2 * (area.trial_gain * stream.normal(*shape) + area.drift * drift)
    per_trial = 2 / (1 + np.exp(-logit))
    trial = np.clip(np.searchsorted(starts, times) - 1, 0, None)
    gain: Floats = per_trial[trial]
    return gain


def draw_spikes(stream: Stream, quanta: Ints, regularity: float) -> Ints:
    """Draw spikes from a rate that is constant in each step, in integer arithmetic.

    Intervals are drawn in units of the expected count, where the rate is 1, and mapped back to time.

    Parameters
    ----------
    stream : Stream
    quanta : ndarray of int64, shape (n_steps,)
        Rate in 1/16 spikes/s.
    regularity : float
        Dead fraction of the mean interval; the rest is exponential.

    Returns
    -------
    ndarray of int64, shape (n_spikes,)
        Ticks.
    """
    one_spike = round(RATE_QUANTA / STEP) * INTERVAL_QUANTA
    passed = np.concatenate([[0], np.cumsum(quanta * INTERVAL_QUANTA)])  # expected count at each step's edge
    expected = passed[-1] / one_spike
    intervals = regularity + (1 - regularity) * stream.exponential(int(expected + 6 * np.sqrt(expected)) + 20)
    counts = np.cumsum(np.rint(one_spike * intervals).astype(np.int64))
    counts = counts[counts < passed[-1]]
    step = np.searchsorted(passed, counts, side="right") - 1
    ticks: Ints = step * TICKS_PER_STEP + (counts - passed[step]) * TICKS_PER_STEP // np.diff(passed)[step]
    separated = np.diff(ticks, prepend=-TICK_RATE) >= REFRACTORY_TICKS
    return ticks[separated]

"""Units driven by given features during the trials of a session, and otherwise like the demo's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.bodies import muscle_kinematics
from neurobench_grasp.contract import Floats, Ints, Model, Session, Signal, Trials, Units
from neurobench_grasp.data import session_digest
from neurobench_grasp.demo.movements import STEP
from neurobench_grasp.demo.neurons import Area, Population, Responses, draw_drives, respond
from neurobench_grasp.demo.random_stream import Stream
from neurobench_grasp.demo.sessions import as_rates, as_units

LAYERS = ("actor/integration", "actor/decoder", "critic/integration", "critic/decoder")
"""Layers of a network that drive units, with equal weight on average: those after its inputs are combined."""


def network_features(model: Model, trials: Trials) -> dict[str, Floats]:
    """Return layers of a fitted network in closed loop, standardised, (n_total_steps, n_features) each."""
    layers = model.activations(trials).layers
    return {name: standardised(np.asarray(layers[name].values, np.float64)) for name in LAYERS}


def muscle_features(trials: Trials) -> dict[str, Floats]:
    """Return lengths, then velocities of the muscles in the recorded posture, standardised."""
    return {"muscle kinematics": standardised(muscle_kinematics(trials).values)}


def standardised(values: Floats) -> Floats:
    """Return columns of mean 0 and variance 1; constant ones are omitted."""
    spread = values.std(axis=0)
    moving = spread > 1e-9 * max(float(spread.max()), 1e-300)
    out: Floats = (values[:, moving] - values[:, moving].mean(axis=0)) / spread[moving]
    return out


def mixed_responses(
    name: str, area: Area, base: Session, aligned: AlignedSession, features: Mapping[str, Floats]
) -> Responses:
    """Return responses of units that each follow a mixture of features; outside the trials the drive is 0.

    Parameters
    ----------
    name : str
        Name of the stream of random numbers.
    area : Area
        Properties of the units; its drives are the features, with equal weights on average.
    base : Session
        Like the demo's: joint angles at the centres of bins of 20 ms from time 0.
    aligned : AlignedSession
        The same session.
    features : mapping of str to ndarray, shape (n_total_steps, n_features)
        At the steps of the aligned trials, standardised.
    """
    area, stream = replace(area, drives=dict.fromkeys(features, 1.0)), Stream(name)
    drives = in_trials(base, aligned, draw_drives(stream, area, features))
    return respond(stream, area, drives, times_of(base), base.trials.start)


def times_of(base: Session) -> Floats:
    """Return the times of the samples of joint angles, (n_steps,) in seconds."""
    return base.signals["joint_angles"].times


def in_trials(base: Session, aligned: AlignedSession, values: Floats) -> Floats:
    """Place values at the steps of aligned trials on the clock of the session, (n_steps, n_columns)."""
    bins = _bins(aligned)
    out = np.zeros((len(times_of(base)), values.shape[1]))
    recorded = (bins >= 0) & (bins < len(out))
    out[bins[recorded]] = values[recorded]
    return out


def _bins(aligned: AlignedSession) -> Ints:
    """Return the bin of the session's clock for each step of the aligned trials, shape (n_total_steps,)."""
    trials = aligned.trials
    first = np.rint(aligned.start / STEP).astype(np.int64) - trials.window[:, 0]
    steps = [a + np.arange(n) for a, n in zip(first, np.diff(trials.offsets), strict=True)]
    return np.concatenate(steps)


def with_population(base: Session, name: str, population: Population) -> Session:
    """Return the movements of a session with other units, under another name."""
    rates = as_rates(population, times_of(base))
    return with_units(replace(base, id=name, synthetic=True), as_units(population), rates)


def with_units(base: Session, units: Units, rates: Signal | None) -> Session:
    """Return the movements of a session with other units and their true rates."""
    session = replace(base, sha256="", units=units, true_rates=rates, notes=())
    return replace(session, sha256=session_digest(session))

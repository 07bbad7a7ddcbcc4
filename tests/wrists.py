"""Planted sessions of a held wrist with EMG: the axes of a screen, turned against those of the wrist."""

from dataclasses import replace
from functools import cache

import numpy as np
from courses import minimum_jerk

from neurobench_grasp.bodies import find_body, pulling_directions
from neurobench_grasp.bodies.isometric_wrist import LEVER
from neurobench_grasp.bodies.static_optimisation import static_optimisation
from neurobench_grasp.contract import Endpoint, Session, Signal, TrialTable, Units, Window

BODY = "isometric_wrist"
CHANNELS = {
    "ECRb": ("ECRB",),
    "ECRl": ("ECRL",),
    "ECU": ("ECU",),
    "EDC": ("EDC2", "EDC3", "EDC4", "EDC5"),
    "FCR": ("FCR",),
    "FCU": ("FCU",),
    "FDS": ("FDS2", "FDS3", "FDS4", "FDS5"),
}
"""Channel → muscles, single ones and groups."""
BIN, STEP = 0.05, 0.02
ENDPOINT = Endpoint("cursor", ("x", "y"), 0.01, origin=(0.0, 0.0), aligned_by="emg")


def rotation(degrees):
    """Matrix that turns a plane counter-clockwise."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


def angle_of(turn):
    """Degrees of a rotation of a plane."""
    (c, _), (s, _) = turn
    return float(np.degrees(np.arctan2(s, c)))


def apart(a, b):
    """Degrees between two angles."""
    return abs((a - b + 180) % 360 - 180)


@cache
def courses(n_directions, n_repeats, seed):
    """Start of each trial, times of samples, the path of the body's handle in cm, and each trial's target.

    Pauses differ, so that trials are no clock.
    """
    rng = np.random.default_rng(seed)
    n = n_directions * n_repeats
    onset = np.round(1.0 + np.cumsum(rng.uniform(1.9, 3.0, n)), 3)
    times = STEP * np.arange(int((onset[-1] + 3) / STEP))
    target = np.concatenate([rng.permutation(n_directions) for _ in range(n_repeats)])
    angle = 2 * np.pi * target / n_directions + 0.05 * rng.standard_normal(n)
    way = 8 * rng.uniform(0.85, 1.15, n)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    out = minimum_jerk((times[:, None] - onset - 0.2) / rng.uniform(0.4, 0.7, n))
    back = minimum_jerk((times[:, None] - onset - 1.4) / 0.4)
    return onset, times, (out - back) @ way, target


@cache
def optimised(n_directions, n_repeats, seed):
    """Least activations of all muscles along the path, (n_times, n_muscles)."""
    _, _, path, _ = courses(n_directions, n_repeats, seed)
    return static_optimisation(find_body(BODY), path / 100 / LEVER, STEP)


def active_where_they_pull(path, muscles=CHANNELS):
    """Activity of each channel: its pull along the way, (n_times, n_channels)."""
    body = find_body(BODY)
    places = [tuple(body.muscles.index(name) for name in names) for names in muscles.values()]
    return np.maximum(path @ pulling_directions(body, places).T, 0.0) / 8


def wrist_session(
    *,
    turn=0.0,
    n_directions=8,
    n_repeats=5,
    n_units=0,
    noise=0.1,
    gain=20.0,
    seed=0,
    follows="pulls",
    endpoint=ENDPOINT,
):
    """A session whose screen has to be turned by ``turn`` degrees, counter-clockwise, into the wrist's axes.

    EMG follows the directions in which muscles pull, or (``follows="optimised"``) the least activations. Units
    are counts driven by the least activations of single muscles; without units there are none.
    """
    rng = np.random.default_rng(seed + 1)
    onset, times, path, target = courses(n_directions, n_repeats, seed)
    shown = path @ rotation(turn)  # the inverse of a rotation is its transpose
    if follows == "pulls":
        active = active_where_they_pull(path)
    else:
        every, place = optimised(n_directions, n_repeats, seed), find_body(BODY).muscles.index
        active = np.stack([every[:, [place(m) for m in ms]].mean(1) for ms in CHANNELS.values()], axis=1)
        active = active / active.max(0)
    emg = gain * np.maximum(active + noise * active * rng.standard_normal(active.shape), 0.0)
    emg += gain * noise * np.abs(rng.standard_normal(active.shape)) / 5
    units = Units((), (), spike_times=np.empty(0), spike_offsets=np.zeros(1, np.int64))
    if n_units:
        units = _driven(rng, optimised(n_directions, n_repeats, seed), times, n_units)
    return Session(
        id="wrist",
        subject="monkey-w",
        layout="planted@1",
        sha256="0" * 64,
        synthetic=True,
        units=units,
        trials=TrialTable(
            ids=tuple(f"t{i}" for i in range(len(target))),
            start=onset,
            stop=onset + 1.35,
            condition=tuple(f"target {k}" for k in target),
            events={"go_cue": onset, "reward": onset + 1.3},
        ),
        signals={
            "cursor": Signal("cursor", "position", ("x", "y"), "cm", times, shown),
            "emg": Signal("emg", "emg", tuple(CHANNELS), "uV", times, emg),
        },
        window=Window("go_cue", "reward", max_lag=0.1),
        body=BODY,
        endpoint=endpoint,
        muscle_map=CHANNELS,
    )


def _driven(rng, activation, times, n_units):
    """Counts in bins; each unit's rate follows a mixture of muscles, some of which inhibit it."""
    drive = (activation / activation.std(0)) @ rng.standard_normal((activation.shape[1], n_units))
    rates = 120 + 50 * (drive - drive.mean(0)) / drive.std(0)
    n_bins = int(times[-1] / BIN)
    edges = BIN * np.arange(n_bins)
    mean = np.stack([np.interp(edges + BIN / 2, times, rate) for rate in rates.T], axis=1)
    return Units(
        ids=tuple(f"u{i}" for i in range(n_units)),
        areas=("M1",) * n_units,
        counts=rng.poisson(np.maximum(mean, 1.0) * BIN).astype(np.int32),
        count_times=edges,
        bin_width=BIN,
    )


def with_emg(session, values):
    """The session with other EMG."""
    signals = dict(session.signals)
    signals["emg"] = replace(signals["emg"], values=values)
    return replace(session, signals=signals)

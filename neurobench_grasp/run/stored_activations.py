"""Activations from a file instead of a plugin, because most laboratories have arrays (docs/arrays.md)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.contract import Activations, Floats, Ints, ModelSpec, Ragged, Trials
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import NAME
from neurobench_grasp.protocols.settings import ENCODING
from neurobench_grasp.scoring.ev import between_rows

KEYS = {
    "session": ("USiu", "names"),
    "trial": ("USiu", "names"),
    "n_steps": ("iu", "whole numbers"),
    "time": ("fiu", "numbers"),
}
"""Arrays that state where the rows of the layers belong → kinds of numpy that they may be, and as text."""
LAYER = "layer_"
"""How the name of a layer's array begins; other arrays are left alone."""
Key = tuple[str, str]


def write_steps(path: Path, sessions: Sequence[AlignedSession]) -> None:
    """Write the inputs of a model: the steps of every trial, and the behaviour at each.

    Parameters
    ----------
    path : path
        Of the npz file.
    sessions : sequence of AlignedSession

    Raises
    ------
    NgbError
        If the file cannot be written.
    """
    trials = Trials.join([s.trials for s in sessions])
    arrays: dict[str, NDArray[Any]] = {
        "session": np.array(trials.sessions),
        "trial": np.array(trials.ids),
        "n_steps": np.diff(trials.offsets),
        "time": np.concatenate(
            [_times(s.trials, s.start, i) for s in sessions for i in range(len(s.trials))]
        ),
        "condition": np.array(trials.condition),
        "window": trials.window,
        **{f"signal {name}": signal.values for name, signal in trials.signals.items()},
    }
    if trials.joint_angles is not None:
        arrays["joint_angles"] = trials.joint_angles.values
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue(), what="the steps", advice="choose another file with --to")


def _times(trials: Trials, start: Floats, trial: int) -> Floats:
    """Return the centre of each step of a trial, seconds on the session's clock."""
    step = np.arange(trials.offsets[trial + 1] - trials.offsets[trial]) - trials.window[trial, 0]
    times: Floats = start[trial] + (step + 0.5) * trials.dt
    return times


@dataclass(frozen=True)
class StoredActivations:
    """A model whose activations were computed elsewhere; read them with :meth:`read`.

    Parameters
    ----------
    layers : mapping of str to mapping
        Layer → (session, trial) → array (n_steps, n_features) at the steps of the trial.
    notes : mapping of str to str
        Session → what was filled in, a sentence.
    sha256 : str
        Digest of the file.
    """

    layers: Mapping[str, Mapping[Key, Floats]]
    notes: Mapping[str, str]
    sha256: str

    @classmethod
    def read(cls, path: Path, sessions: Sequence[AlignedSession]) -> StoredActivations:
        """Read a file and interpolate its layers at the steps of the sessions' scored trials.

        Values between two rows are interpolated linearly; beyond a trial's first and last row they are held,
        which is noted and must not happen within a scored window.

        Parameters
        ----------
        path : path
            An npz file of plain arrays, see docs/arrays.md.
        sessions : sequence of AlignedSession

        Raises
        ------
        NgbError
            If the file cannot be read, or does not fit the trials.
        """
        raw, arrays = _load(path)
        rows, layers = _rows(path, arrays, sessions)
        found: dict[str, dict[Key, Floats]] = {name: {} for name in layers}
        notes = {}
        for session in sessions:
            absent = [t for t in session.trials.ids if (session.id, t) not in rows]
            if absent:
                raise NgbError(
                    f"{path} has no activations for {len(absent)} of the {len(session.trials)} trials of "
                    f"{session.id} (the first is {absent[0]!r}); every trial that is scored needs them."
                )
            n_held = 0
            for i, trial in enumerate(session.trials.ids):
                mine = rows[session.id, trial]
                at, times = _times(session.scored, session.start, i), arrays["time"][mine]
                n_held += _check_times(path, session, i, at, times)
                for name in layers:
                    found[name][session.id, trial] = _between(arrays[name][mine], times, at)
            if n_held:
                notes[session.id] = (
                    f"activations of {n_held} trials end within {session.max_lag} s of the window, held "
                    "where a lag reaches beyond"
                )
        return cls(found, notes, hashlib.sha256(raw).hexdigest())

    def as_model(self, name: str) -> ModelSpec:
        """Model of this name, as a plugin would offer it."""
        if not NAME.fullmatch(name):
            raise NgbError(
                f"{name!r} cannot name a model; give a name of a-z, 0-9, '_', '.' and '-' with --model."
            )
        return ModelSpec(
            name=name,
            build=lambda seed: self,
            summary="Activations from a file.",
            depends_on=lambda seed, train: self.sha256,
            seeded=False,
        )

    def fit(self, train: Trials, *, seed: int) -> None:
        """Nothing is left to learn."""

    def activations(self, trials: Trials) -> Activations:
        """Return the layers of the trials."""
        keys = list(zip(trials.sessions, trials.ids, strict=True))
        return Activations(
            {
                name.removeprefix(LAYER): Ragged.of([layer[key] for key in keys])
                for name, layer in self.layers.items()
            }
        )

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Nothing was learned."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Nothing was learned."""


def _load(path: Path) -> tuple[bytes, dict[str, NDArray[Any]]]:
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a file")
        raw = path.read_bytes()
        file = np.load(io.BytesIO(raw), allow_pickle=False)
        return raw, {name: file[name] for name in file.files}
    except Exception as error:  # the parsers of zip and npy may raise anything
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not such a file"
        raise NgbError(
            f"{path} cannot be read as an npz file of plain arrays ({reason}); write it with numpy.savez and "
            "without Python objects."
        ) from error


def _rows(
    path: Path, arrays: Mapping[str, NDArray[Any]], sessions: Sequence[AlignedSession]
) -> tuple[dict[Key, slice], list[str]]:
    """Rows of each (session, trial), and the names of the layers."""
    needed = [key for key in KEYS if key != "session" or len(sessions) > 1]
    absent = [key for key in needed if key not in arrays]
    layers = [name for name in arrays if name.startswith(LAYER)]
    if absent or not layers:
        what = f"the array {absent[0]!r}" if absent else f"an array whose name begins with {LAYER!r}"
        raise NgbError(f"{path} lacks {what}; docs/arrays.md says what such a file holds.")
    for name in (key for key in KEYS if key in arrays):
        array, (kinds, words) = arrays[name], KEYS[name]
        if array.ndim != 1 or array.dtype.kind not in kinds:
            raise NgbError(f"The array {name!r} in {path} is {_what(array)}; it must be a list of {words}.")
    trial = arrays["trial"].astype(str).tolist()
    session = arrays["session"].astype(str).tolist() if "session" in arrays else [sessions[0].id] * len(trial)
    n_steps, time = arrays["n_steps"], arrays["time"]
    keys = list(zip(session, trial, strict=False))
    if not len(session) == len(trial) == len(n_steps) == len(set(keys)):
        raise NgbError(f"{path} must name each trial once: 'session', 'trial' and 'n_steps' go together.")
    if (n_steps < 1).any() or int(n_steps.sum()) != len(time):
        raise NgbError(f"{path} says {n_steps.sum()} steps in 'n_steps', but 'time' has {len(time)}.")
    for name in layers:
        layer = arrays[name]
        if layer.ndim != 2 or len(layer) != len(time) or not layer.size or layer.dtype.kind not in "fiu":
            raise NgbError(
                f"The layer {name!r} in {path} is {_what(layer)}; it must hold numbers of shape "
                f"({len(time)}, n_features), a row for each of 'time'."
            )
        if not np.isfinite(layer).all():
            raise NgbError(f"The layer {name!r} in {path} holds numbers that are not finite.")
    ends: Ints = np.cumsum(n_steps)
    return {key: slice(int(z - n), int(z)) for key, n, z in zip(keys, n_steps, ends, strict=True)}, layers


def _what(array: NDArray[Any]) -> str:
    return f"an array of {array.dtype.name} of shape {array.shape}"


def _check_times(path: Path, session: AlignedSession, trial: int, at: Floats, times: Floats) -> bool:
    """Refuse rows that do not cover a trial's window; return True if a lag reaches beyond them."""
    t = session.scored
    first, last = at[t.window[trial, 0]], at[t.window[trial, 1] - 1]
    where = f"The activations of trial {t.ids[trial]!r} of {session.id} in {path}"
    steps = np.diff(times)
    if not np.isfinite(times).all() or (steps <= 0).any():
        raise NgbError(f"{where} have times that do not increase.")
    if (steps > ENCODING.max_signal_gap_s).any():
        raise NgbError(f"{where} have a gap of {steps.max():.3f} s between two rows.")
    half = t.dt / 2 + 1e-9
    if times[0] > first + half or times[-1] < last - half:
        window = f"{first - t.dt / 2:.3f} to {last + t.dt / 2:.3f} s on the session's clock"
        raise NgbError(
            f"{where} are from {times[0]:.3f} to {times[-1]:.3f} s, but its window is from {window}."
        )
    return bool(times[0] > first - session.max_lag + half or times[-1] < last + session.max_lag - half)


def _between(values: NDArray[Any], times: Floats, at: Floats) -> Floats:
    """Linear interpolation of every column, held at the ends."""
    position = np.interp(at, times, np.arange(len(times)))
    low = np.minimum(position.astype(int), max(len(times) - 2, 0))
    return between_rows(values, low, np.minimum(low + 1, len(times) - 1), position - low)

"""The built-in datasets ``mixed`` and ``mixed_memory``: movements of the demo, units of known kinds.

Their sessions are those of the demo with other units, so that networks trained for the demo serve: behaviour
and names of sessions, trials and conditions are the same. The first session has units, the others have
none. Which kind each unit is of, the *key*, is a column of the units table that is not part of a session:
neither models nor scores receive it. See docs/mixed.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.alignment.splits import make_splits
from neurobench_grasp.cache import CachedDataset
from neurobench_grasp.contract import Floats, Session, Trials
from neurobench_grasp.data import load_session
from neurobench_grasp.data.nwb.read import NO_UNITS
from neurobench_grasp.demo.driven import (
    in_trials,
    mixed_responses,
    muscle_features,
    network_features,
    standardised,
    times_of,
    with_population,
    with_units,
)
from neurobench_grasp.demo.files import demo_files, write_synthetic
from neurobench_grasp.demo.neurons import AREAS, Area, Population, Responses, generate_spikes, respond
from neurobench_grasp.demo.random_stream import Stream

DESCRIPTION = (
    "Synthetic, a self-test: movements and spikes were generated, not recorded. Units are of known kinds, "
    "which the column driven_by of the units table names. Scores are no evidence about brains."
)
KEY = "driven_by"
"""Column of the units table with the kind of each unit."""
TEACHER_SEED = 100
"""Seed of the networks that drive units; none of those that are scored."""
N_OF_EACH = 30
"""Units of each kind; afferents are in S1, all others in M1."""
AFFERENT_EXPONENT = 0.6
"""Of velocity in the response of a muscle spindle: Prochazka and Gorassini (1998), J. Physiol. 507:277."""
AFFERENT_NOISE = 0.5
"""Standard deviation of the noise on an afferent's drive, which has variance 1 without it."""
NOISE_STEPS = 5
"""Steps over which that noise is averaged: 0.1 s."""


@dataclass(frozen=True)
class Policy:
    """A controller that drives units by its layers.

    Parameters
    ----------
    model, action : str
    tendons : str, optional
        Of the body that it moves.
    """

    model: str
    action: str = "muscle"
    tendons: str | None = None


@dataclass(frozen=True)
class MixedSet:
    """A dataset with a key.

    Parameters
    ----------
    name : str
    policies : mapping of str to Policy
        Kind of units → what drives them. Every set also has the kinds ``kinematics`` and ``afferents``.
    sha256 : str
        Digest over the content of the sessions, as in every record that was scored on them.
    """

    name: str
    policies: Mapping[str, Policy]
    sha256: str

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of its units; afferents are in S1, all others in M1."""
        return (*self.policies, "kinematics", "afferents")

    @property
    def candidates(self) -> dict[str, str]:
        """Models → the kind that each is a candidate for; afferents have none."""
        return {policy.model: kind for kind, policy in self.policies.items()} | {
            "linear_kinematic": "kinematics"
        }

    def files(self) -> list[Path]:
        """Return the paths of its files in the cache; make them if they are missing.

        Raises
        ------
        NgbError
            See :meth:`make`.
        """
        return CachedDataset(self.name, self.sha256).files() or self.make()

    def make(
        self, folder: str | Path | None = None, progress: Callable[[str], None] = lambda text: None
    ) -> list[Path]:
        """Make its files; their folder appears atomically.

        Parameters
        ----------
        folder : path, optional
            A new folder, or one made by an earlier call. Default: in the user's cache folder.
        progress : callable, optional
            Called with status messages.

        Returns
        -------
        list of pathlib.Path
            One NWB file per session.

        Raises
        ------
        NgbError
            If a network that drives units is missing, the folder contains something else, or the content is
            not the published one.
        """
        kept = CachedDataset(self.name, self.sha256, None if folder is None else Path(folder))
        return kept.make(lambda new: _write(self, new, progress))


MIXED = MixedSet(
    "mixed",
    {
        "muscle": Policy("muscle_ppo"),
        "torque": Policy("torque_ppo", "torque"),
        "permuted": Policy("permuted_muscles", tendons="permuted-{seed}"),
    },
    "92c142007635c39d19e42d72f273fe4edec0fc3b0df4c03e40de4b63f6e7929e",
)
MIXED_MEMORY = MixedSet(
    "mixed_memory",
    {
        "lstm": Policy("muscle_lstm"),
        "stack": Policy("muscle_stack"),
        "muscle": Policy("muscle_ppo"),
        "supervised": Policy("muscle_sl"),
    },
    "a88763470656f5c3d43311d7156612b1e23704945595c50092574adc4328e9cc",
)
MIXED_SETS = {one.name: one for one in (MIXED, MIXED_MEMORY)}


def _write(made: MixedSet, folder: Path, progress: Callable[[str], None]) -> dict[str, str]:
    progress(f"{made.name} (synthetic, a self-test): movements of the demo")
    bases = [load_session(path, quarantine=False) for path in demo_files()]
    aligned = [align(base) for base in bases]
    train = training_trials(aligned, TEACHER_SEED)
    features = {}
    for kind, policy in made.policies.items():
        progress(f"{made.name}: closed loop of {policy.model}, network {TEACHER_SEED}")
        features[kind] = policy_features(policy, train, aligned[0].trials)
    progress(f"{made.name}: units")
    first, key = mixed_session(made.name, bases[0], aligned[0], features)
    sessions = [first, *(with_units(base, NO_UNITS, None) for base in bases[1:])]
    for day, session in enumerate(sessions, start=1):
        labels = {KEY: key} if session is first else None
        write_synthetic(folder / f"{session.id}.nwb", session, DESCRIPTION, day, labels)
    return {session.id: session.sha256 for session in sessions}


def training_trials(sessions: Sequence[AlignedSession], seed: int) -> Trials:
    """Return the training trials of a network's fold in all sessions, as every dataset is split."""
    folds = make_splits({s.id: s.conditions for s in sessions}, {s.id: s.groups for s in sessions})
    train = folds[seed % len(folds)].train
    return Trials.join(
        [
            s.trials.select([i for i, trial in enumerate(s.trials.ids) if trial in set(train[s.id])])
            for s in sessions
        ]
    )


def policy_features(policy: Policy, train: Trials, trials: Trials) -> dict[str, Floats]:
    """Return the features of a trained network in closed loop, see :func:`network_features`.

    Raises
    ------
    NgbError
        If there is no network of that model for these training trials.
    """
    from neurobench_grasp.controllers.controller import NetworkController

    controller = NetworkController(policy.model, policy.action, tendons=policy.tendons)
    controller.fit(train, seed=TEACHER_SEED)
    return network_features(controller, trials)


def mixed_session(
    dataset: str,
    base: Session,
    aligned: AlignedSession,
    policies: Mapping[str, Mapping[str, Floats]],
    n_of_each: int = N_OF_EACH,
) -> tuple[Session, tuple[str, ...]]:
    """Return the movements of a session with units of every kind, in random order, and the kind of each.

    All random numbers follow from the names of dataset and session.

    Parameters
    ----------
    dataset : str
        Name of the set.
    base : Session
    aligned : AlignedSession
        The same session.
    policies : mapping of str to mapping
        Kind → features of the network that drives its units, (n_total_steps, n_features) each.
    n_of_each : int

    Returns
    -------
    Session
    tuple of str, length n_units
    """
    name, m1, s1 = f"{dataset}-1/{base.id}", *(replace(AREAS[a], n_units=n_of_each) for a in ("M1", "S1"))
    muscles = muscle_features(aligned.trials)
    responses = {
        kind: mixed_responses(f"{name}/{kind}", m1, base, aligned, features)
        for kind, features in {**policies, "kinematics": muscles}.items()
    }
    responses["afferents"] = _afferents(f"{name}/afferents", s1, base, aligned, muscles["muscle kinematics"])
    population = generate_spikes(name, responses)  # its areas are the kinds
    order = Stream(f"{name}/order").order(len(population.areas))
    kinds = tuple(population.areas[u] for u in order)
    population = Population(
        areas=tuple("S1" if kind == "afferents" else "M1" for kind in kinds),
        leads=population.leads[order],
        rates=population.rates[:, order],
        spikes=tuple(population.spikes[u] for u in order),
    )
    return with_population(base, base.id, population), kinds


def _afferents(name: str, area: Area, base: Session, aligned: AlignedSession, muscles: Floats) -> Responses:
    """Return responses of muscle spindles: one muscle each, delayed and noisy.

    ``muscles`` has lengths, then velocities of all muscles, (n_total_steps, n_features).
    """
    stream, n_muscles = Stream(name), muscles.shape[1] // 2
    mine = stream.uniform(0, n_muscles, area.n_units).astype(np.int64)
    share = stream.uniform(0.3, 0.7, area.n_units)
    length, velocity = muscles[:, mine], muscles[:, n_muscles + mine]
    response = standardised(np.sign(velocity) * np.abs(velocity) ** AFFERENT_EXPONENT)
    drives = in_trials(base, aligned, standardised(share * length + (1 - share) * response))
    noise = stream.normal(len(times_of(base)) + NOISE_STEPS - 1, area.n_units)
    averaged = np.lib.stride_tricks.sliding_window_view(noise, NOISE_STEPS, axis=0).sum(-1) / NOISE_STEPS**0.5
    return respond(stream, area, drives + AFFERENT_NOISE * averaged, times_of(base), base.trials.start)

"""Compare the network of ``behaviour_gru`` with what behaviour determines, where that is known; prints JSON.

Explained variance of the recorded rates on ``test`` and ``ood`` of fold 0, by area: of the network and of
the drift-free drive, and their ratio. That drive is the rate that generated the spikes without the gain of
single trials and, in ``mixed``, without the noise on afferents: all that behaviour determines. For a session
of ``demo`` also of a ridge map from the very features that drive its units, at two leads about the mean of
the area's: what so many trials give to a model that knows all but weights, leads and saturation.

    python benchmarks/behaviour_gru.py demo_a_1
    python benchmarks/behaviour_gru.py mixed
    python benchmarks/behaviour_gru.py mixed_memory
"""

import json
import sys
import time
from dataclasses import replace
from unittest.mock import patch

import numpy as np
from ngb_behaviour_gru.reference import gru_predictions

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.splits import folds_by_condition, make_splits
from neurobench_grasp.contract import Session
from neurobench_grasp.data import load_session
from neurobench_grasp.demo import demo_files, mixed, neurons, sessions
from neurobench_grasp.demo.movements import STEP, make_movements
from neurobench_grasp.protocols.context import Context, LazyModel
from neurobench_grasp.scoring.estimators import UnitRidge
from neurobench_grasp.scoring.ev import explained_variance

LEADS = {"M1": (4, 5), "S1": (-2, -1)}
"""Steps by which units lead the features."""
STILL = {name: replace(area, trial_gain=0.0, drift=0.0) for name, area in neurons.AREAS.items()}
"""The same units; random numbers are drawn as before, and multiplied by zero."""


def recorded_and_drift_free(name: str) -> tuple[Session, Session]:
    """Return a session of ``demo``, or of a set with a key, and the same without what is not behaviour."""
    if name not in mixed.MIXED_SETS:
        with patch.object(neurons, "AREAS", STILL):
            still = sessions.make_session(name)
        return sessions.make_session(name), still
    bases = [load_session(path, quarantine=False) for path in demo_files()]
    aligned = [align(base) for base in bases]
    train = mixed.training_trials(aligned, mixed.TEACHER_SEED)
    policies = mixed.MIXED_SETS[name].policies
    features = {
        kind: mixed.policy_features(policy, train, aligned[0].trials) for kind, policy in policies.items()
    }
    recorded, _ = mixed.mixed_session(name, bases[0], aligned[0], features)
    with patch.object(mixed, "AREAS", STILL), patch.object(mixed, "AFFERENT_NOISE", 0.0):
        still, _ = mixed.mixed_session(name, bases[0], aligned[0], features)
    return recorded, still


def context_of(session) -> Context:
    """Return fold 0 of a session; nothing is kept, and no model is asked."""
    splits = make_splits({session.id: session.conditions}, {session.id: session.groups})[0]
    model = LazyModel(lambda: None, moves_body=False, seed=0)
    return Context((session,), splits, model, None, lambda stage, session, make: make(), 0, print)


def mapped_features(
    context: Context, session, leads: dict[str, tuple[int, int]] = LEADS
) -> dict[str, np.ndarray]:
    """Return the predictions of a ridge map from the features of the generator, by split; ``demo`` alone."""
    movements = make_movements(session.subject, session.id)
    features = np.hstack(list(neurons._features(movements).values()))
    first, lengths = np.rint(session.start / STEP).astype(int), session.units.rates.lengths
    index = {
        split: context.index(session, getattr(context.splits, split)) for split in ("train", "test", "ood")
    }
    made = {
        split: np.empty((int(lengths[index[split]].sum()), len(session.units))) for split in ("test", "ood")
    }
    conditions = [session.trials.condition[i] for i in index["train"]]
    fold = np.repeat(folds_by_condition(conditions, 5), lengths[index["train"]])
    for area, lags in leads.items():
        mine = np.array(session.units.areas) == area
        steps = {
            split: np.concatenate([first[i] + np.arange(lengths[i]) for i in trials])
            for split, trials in index.items()
        }
        x = {split: np.hstack([features[at + lag] for lag in lags]) for split, at in steps.items()}
        mean, sd = x["train"].mean(0), x["train"].std(0) + 1e-9
        rates = session.units.rates.select(index["train"]).values[:, mine]
        ridge = UnitRidge().fit((x["train"] - mean) / sd, rates, groups=fold)
        for split in made:
            made[split][:, mine] = ridge.predict((x[split] - mean) / sd)
    return made


if __name__ == "__main__":
    recorded, still = recorded_and_drift_free(sys.argv[1])
    session = align(replace(recorded, true_rates=still.true_rates))
    context, started = context_of(session), time.monotonic()
    made = gru_predictions(context, session)
    mapped = None if sys.argv[1] in mixed.MIXED_SETS else mapped_features(context, session)
    result = {"session": session.id, "seconds": round(time.monotonic() - started, 1)}
    for split in ("test", "ood"):
        trials = context.index(session, getattr(context.splits, split))
        y, truth = (x.select(trials).values for x in (session.units.rates, session.units.true_rates))
        for area in sorted(set(session.units.areas)):
            mine = np.array(session.units.areas) == area
            network, drive = (
                float(np.nanmean(explained_variance(y[:, mine], p[:, mine]))) for p in (made[split], truth)
            )
            result[f"{split}, {area}"] = {"network": network, "drive": drive, "ratio": network / drive}
            if mapped is not None:
                known = float(np.nanmean(explained_variance(y[:, mine], mapped[split][:, mine])))
                result[f"{split}, {area}"]["ratio of mapped features"] = known / drive
    print(json.dumps(result, indent=1))

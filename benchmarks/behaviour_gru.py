"""Compare the network of ``behaviour_gru`` with what behaviour determines, where that is known; prints JSON.

Explained variance of the recorded rates on ``test`` and ``ood`` of fold 0, by area: of the network and of
the drift-free drive, and their ratio. That drive is the rate that generated the spikes without the gain
of single trials and, in ``mixed``, without the noise on afferents: all that behaviour determines.

    python benchmarks/behaviour_gru.py demo_a_1
    python benchmarks/behaviour_gru.py mixed
"""

import json
import sys
import time
from dataclasses import replace
from unittest.mock import patch

import numpy as np
from ngb_behaviour_gru.reference import gru_predictions

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.splits import make_splits
from neurobench_grasp.contract import Session
from neurobench_grasp.data import load_session
from neurobench_grasp.demo import demo_files, mixed, neurons, sessions
from neurobench_grasp.protocols.context import Context, LazyModel
from neurobench_grasp.scoring.ev import explained_variance

STILL = {name: replace(area, trial_gain=0.0, drift=0.0) for name, area in neurons.AREAS.items()}
"""The same units; random numbers are drawn as before, and multiplied by zero."""


def recorded_and_drift_free(name: str) -> tuple[Session, Session]:
    """Return a session of ``demo``, or of ``mixed``, and the same without what is not behaviour."""
    if name != "mixed":
        with patch.object(neurons, "AREAS", STILL):
            still = sessions.make_session(name)
        return sessions.make_session(name), still
    bases = [load_session(path, quarantine=False) for path in demo_files()]
    aligned = [align(base) for base in bases]
    train = mixed.training_trials(aligned, mixed.TEACHER_SEED)
    features = {kind: mixed.policy_features(kind, train, aligned[0].trials) for kind in mixed.POLICIES}
    recorded, _ = mixed.mixed_session(bases[0], aligned[0], features)
    with patch.object(mixed, "AREAS", STILL), patch.object(mixed, "AFFERENT_NOISE", 0.0):
        still, _ = mixed.mixed_session(bases[0], aligned[0], features)
    return recorded, still


def context_of(session) -> Context:
    """Return fold 0 of a session; nothing is kept, and no model is asked."""
    splits = make_splits({session.id: session.conditions}, {session.id: session.groups})[0]
    model = LazyModel(lambda: None, moves_body=False, seed=0)
    return Context((session,), splits, model, None, lambda stage, session, make: make(), 0, print)


if __name__ == "__main__":
    recorded, still = recorded_and_drift_free(sys.argv[1])
    session = align(replace(recorded, true_rates=still.true_rates))
    context, started = context_of(session), time.monotonic()
    made = gru_predictions(context, session)
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
    print(json.dumps(result, indent=1))

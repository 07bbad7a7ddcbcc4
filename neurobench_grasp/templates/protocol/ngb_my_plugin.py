"""Representational similarity of neurons and model.

In each area the mean responses to any two objects are correlated over units, and so are the mean activations
of each layer over its features. The score is the correlation of the two lists, on held-out trials
(Kriegeskorte, Mur and Bandettini 2008, doi:10.3389/neuro.06.004.2008).
"""

import numpy as np
from neurobench_grasp import ProtocolSpec, Scores, hookimpl

METRIC, SPLIT, MIN_OBJECTS, MIN_UNITS = "object_similarity", "test", 4, 2


def run(context):
    """Return one row per session, area and layer; the model is already fitted on training trials."""
    rows = []
    for session in context.sessions:
        held_out = context.index(session, getattr(context.splits, SPLIT))
        trials = context.clock(session).scored.select(held_out)  # on the steps of the model
        rates, layers = session.units.rates.select(held_out), context.model.activations(trials).layers
        for area in sorted(set(session.units.areas)):
            units = (np.array(session.units.areas) == area) & session.units.observed[held_out].all(0)
            responses = np.array([trial[:, units].mean(0) for trial in rates])
            for name, layer in layers.items():
                scored = layer.cut(*trials.window.T)  # without the padding before and after the window
                activity = np.array([trial.mean(0) for trial in scored])
                row = {"metric": METRIC, "session": session.id, "area": area, "layer": name}
                row |= {"split": SPLIT, "n_units": int(units.sum())}
                rows.append(row | match(responses, activity, trials.condition))
    return Scores([*overall(rows), *rows])


def overall(rows):
    """Return the mean over sessions and layers for each area; the rows without a session are printed."""
    for area in dict.fromkeys(row["area"] for row in rows):
        values = [row["value"] for row in rows if row["area"] == area and row["value"] is not None]
        found = (
            {"value": float(np.mean(values))} if values else {"value": None, "reason": "no session has one"}
        )
        yield {"metric": METRIC, "area": area, "split": SPLIT} | found


def match(responses, activity, condition):
    """Compare (n_trials, n_units) with (n_trials, n_features); return a score or the reason for none."""
    if len(set(condition)) < MIN_OBJECTS or responses.shape[1] < MIN_UNITS:
        return {"value": None, "reason": f"fewer than {MIN_OBJECTS} objects or {MIN_UNITS} units"}
    with np.errstate(invalid="ignore"):
        value = np.corrcoef(similarities(responses, condition), similarities(activity, condition))[0, 1]
    return {"value": float(value)} if np.isfinite(value) else {"value": None, "reason": "nothing varies"}


def similarities(trials, condition):
    """Return the correlation of the mean rows of any two objects, shape (n_pairs,)."""
    objects, mine = np.unique(condition, return_inverse=True)
    means = np.stack([trials[mine == i].mean(0) for i in range(len(objects))])
    means = means - means.mean(0)  # the mean over objects carries no information on similarity
    return np.corrcoef(means)[np.triu_indices(len(objects), 1)]


@hookimpl
def ngb_protocols():
    """Offer the protocol; raise its version whenever its numbers change."""
    yield ProtocolSpec(
        "my_plugin",
        version=1,
        run=run,
        summary="are objects that are similar to the neurons similar to the model?",
        settings={"split": SPLIT, "min_objects": MIN_OBJECTS, "min_units": MIN_UNITS},
    )

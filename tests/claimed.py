"""Records of all that the claims need, with planted effects: units, conditions and networks vary at random."""

from collections import Counter

import numpy as np

from neurobench_grasp.contract import ScoreRecord
from neurobench_grasp.leaderboard import claims
from neurobench_grasp.leaderboard.claims import CLAIMS
from neurobench_grasp.records import Scored
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.intervals import UnitScores, summarise
from neurobench_grasp.scoring.sums import Sums

NAMES = [claim.name for claim in CLAIMS]
OF_UNITS = ("trained", "linear", "muscle", "anatomy", "recurrence", "memory", "reward")
"""Claims whose statistic is a difference of unit scores of two models."""
N_FOLDS = 5
LAYERS = ("actor/trajectory", "actor/integration", "actor/decoder")
ENCODED = {
    "muscle_ppo": ("", "untrained", "linear_kinematic", "quadratic_kinematic"),
    "torque_ppo": ("", "untrained"),
    "fixed_muscles": ("",),
    "permuted_muscles": ("",),
}
"""Model → itself and the references beside it."""
LATER = ("muscle_lstm", "muscle_stack", "muscle_delayed", "muscle_sl")
"""Controllers of claims on memory and on the teacher, with no reference beside them."""
SD = {"network": 0.003, "condition": 0.006, "unit": 0.008, "between": 0.006, "noise": 0.03}
"""Standard deviations of a score: ``between`` of a network in a condition, ``noise`` of a unit in these."""


def draw(rng, sd, n_networks, n_conditions, n_units, mean=0.0):
    """Scores (n_networks, n_conditions, n_units) with random effects."""
    shape = n_networks, n_conditions, n_units
    return (
        mean
        + sd["network"] * rng.standard_normal((n_networks, 1, 1))
        + sd["condition"] * rng.standard_normal((1, n_conditions, 1))
        + sd["unit"] * rng.standard_normal((1, 1, n_units))
        + sd["between"] * rng.standard_normal((n_networks, n_conditions, 1))
        + sd["noise"] * rng.standard_normal(shape)
    )


def folded(data, n_folds=N_FOLDS, n_sessions=2):
    """Networks of one model, each with the conditions of its fold; as many animals as sessions.

    Without folds every network has all conditions.
    """
    networks = []
    for k, scores in enumerate(data):
        mine = np.arange(len(scores)) % n_folds == k % n_folds if n_folds else np.ones(len(scores), bool)
        labels = tuple(f"c{i:03d}" for i in np.flatnonzero(mine))
        places = np.array_split(np.arange(scores.shape[1]), n_sessions)
        parts = []
        for s, at in enumerate(places):
            values = scores[mine][:, at]
            sums = Sums("mean", labels, np.stack([np.ones_like(values), values]))
            units = tuple(f"u{i}" for i in at)
            part = UnitScores.of_terms(f"s{s}", f"animal{s}", units, ((1, sums),))
            parts.append(part if n_folds else UnitScores(*part_of(part)))
        networks.append(parts)
    return networks


def part_of(part):
    """Fields of unit scores that do not join."""
    return part.session, part.subject, part.units, part.values, part.left_out


def records(model, protocol, units=None, rows=None, *, n_networks=5, **changes):
    """Records of a model's networks: ``units`` labels → networks, ``rows`` network → rows."""
    out = []
    for k in range(n_networks):
        table = {labels: tuple(networks[k]) for labels, networks in (units or {}).items()}
        scores = [
            {
                "metric": of.metric,
                "split": of.split,
                **{n: v for n, v in (("area", of.area), ("reference", of.reference)) if v},
                "value": 0.5,
                "ci": None,
            }
            for of in table
        ]
        dataset = {
            "id": changes.get("id", "planted"),
            "sha256": changes.get("sha256", "aa" * 32),
            "splits": f"{k}" * 64,
            "folds": "cc" * 32,
            "fold": k % N_FOLDS,
            "n_folds": N_FOLDS,
            "synthetic": True,
        }
        how = {
            "name": protocol,
            "version": changes.get("version", 2),
            "settings": changes.get("settings", {}),
        }
        provenance = {"date": changes.get("date", "2026-01-01")}
        record = ScoreRecord(model, k, dataset, how, scores + (rows[k] if rows else []), [], provenance)
        out.append(Scored(record, UnitTable(table)))
    return out


def row(metric, data, **labels):
    """A row with the mean and the interval of scores (n_conditions, n_units), without scores of units."""
    ((part,),) = folded(data[None], n_folds=0, n_sessions=1)
    total = summarise([part])
    return {"metric": metric, **labels, "value": total.value, "ci": total.ci}


def encoding(rng, area="M1", sd=SD, n_conditions=35, n_units=30, n_networks=5, layers=True, **true):
    """Records by encoding; the true effects are those of the claims, as in :func:`planted`."""
    size = n_networks, n_conditions, n_units
    base = draw(rng, {**SD, "network": 0, "between": 0, "unit": 0.1, "condition": 0.05}, 1, *size[1:], 0.3)
    below = {
        ("muscle_ppo", "untrained"): true.get("trained", 0.0),
        ("muscle_ppo", "linear_kinematic"): true.get("linear", 0.0),
        ("muscle_ppo", "quadratic_kinematic"): true.get("quadratic", 0.0),
        ("torque_ppo", ""): true.get("muscle", 0.0),
        ("torque_ppo", "untrained"): true.get("muscle", 0.0)
        + true.get("trained", 0.0)
        - true.get("contrast", 0.0),
        ("permuted_muscles", ""): true.get("anatomy", 0.0),
    }
    out = []
    for model, references in ENCODED.items():
        units = {
            Labels(area, "ood", "single_trial_ev", reference): folded(
                base + draw(rng, sd, *size, -below.get((model, reference), 0.0))
            )
            for reference in references
        }
        rows = (
            _layer_rows(rng, area, sd, size, true.get("layer", 0.0))
            if model == "muscle_ppo" and layers
            else None
        )
        out += records(model, "encoding", units, rows, n_networks=n_networks)
    return [*out, *_later(rng.spawn(1)[0], area, sd, size, base, layers, true)]


def _later(rng, area, sd, size, base, layers, true):
    """Records by encoding of the controllers of :data:`LATER`."""
    stack = true.get("recurrence", 0.0)
    below = dict(
        zip(LATER, (0.0, stack, stack + true.get("memory", 0.0), true.get("reward", 0.0)), strict=True)
    )
    out = []
    for model in LATER:
        units = {
            Labels(area, "ood", "single_trial_ev", ""): folded(base + draw(rng, sd, *size, -below[model]))
        }
        of_layers = layers and model == "muscle_lstm"
        rows = _layer_rows(rng, area, sd, size, true.get("recurrent_layer", 0.0)) if of_layers else None
        out += records(model, "encoding", units, rows, n_networks=size[0])
    return out


def _layer_rows(rng, area, sd, size, above):
    """Rows of each layer, network by network, on the conditions of its fold."""
    common = draw(rng, {**sd, "network": 0, "between": 0, "unit": 0.05, "condition": 0.02}, 1, *size[1:], 0.2)
    layers = {
        name: common + draw(rng, sd, *size, above if name == "actor/integration" else 0.0) for name in LAYERS
    }
    of = [np.arange(size[1]) % N_FOLDS == k % N_FOLDS for k in range(size[0])]
    return [
        [
            row("single_trial_ev", data[k][of[k]], split="ood", area=area, layer=name)
            for name, data in layers.items()
        ]
        for k in range(size[0])
    ]


MM = {"network": 0.3, "condition": 0.4, "unit": 0.0, "between": 0.2, "noise": 0.2}
"""Standard deviations of an error, mm; its units are the hands of the sessions."""
ERROR = 8.0


def moving(rng, area="M1", sd=MM, n_conditions=35, n_networks=5, **true):
    """Records by tracking, brain control and its curves, with one hand in each of two sessions."""
    size = n_networks, n_conditions, 2
    shared = {**sd, "network": 0, "between": 0, "condition": 1.0}
    errors = Labels("", "ood", "tracking_error", "")
    base = draw(rng, shared, 1, *size[1:], ERROR)
    out = []
    for model, above in (("muscle_ppo", true.get("accuracy", 0.0)), ("torque_ppo", 0.0)):
        units = {errors: folded(base + draw(rng, sd, *size, above))}
        out += records(model, "tracking", units, n_networks=n_networks)
    units = {}
    for name in ("M1", "S1"):
        base = draw(rng, shared, 1, *size[1:], ERROR)
        angles = base + draw(rng, sd, *size)
        embedded = (base + draw(rng, sd, *size)) * 1.1 - true.get("embedding", 0.0)
        units[Labels(name, "ood", "brain_control_error_joint_angles", "")] = folded(angles)
        units[Labels(name, "ood", "brain_control_error", "")] = folded(embedded)
    rows = _decoding_rows(rng, size, true.get("areas", 0.0))
    out += records("muscle_ppo", "brain-control", units, rows, n_networks=n_networks)
    out += records(
        "muscle_ppo", "brain-control-curves", None, _curves(rng, area, sd, size, true), n_networks=n_networks
    )
    base = draw(rng, shared, 1, *size[1:], ERROR)
    for model, above in (("fixed_muscles", 0.0), ("permuted_muscles", true.get("tracking", 0.0))):
        units = {errors: folded(base + draw(rng, sd, *size, above))}
        out += records(model, "tracking", units, n_networks=n_networks)
    own, base = rng.spawn(1)[0], draw(rng.spawn(1)[0], shared, 1, *size[1:], ERROR)
    for model in LATER:
        units = {errors: folded(base + draw(own, sd, *size))}
        out += records(model, "tracking", units, n_networks=n_networks)
    return out


KINDS = {
    "muscles": ({"trained": 0.02, "linear": 0.04, "quadratic": 0.04, "muscle": 0.02, "contrast": 0.02}, 0.02),
    "torques": ({"trained": 0.02, "linear": 0.02, "quadratic": 0.02, "muscle": -0.02}, 0.0),
    "kinematics": ({"linear": -0.03, "quadratic": -0.03, "muscle": -0.02}, 0.0),
}
"""Kind of units → effects of claims that are true of them, or whose opposite is; that of the right muscles."""
WORSE = 4.0
"""By how much permuted muscles track worse, mm."""
BY_TRACKING = 0.01
"""What tracking so much worse takes from the EV of a network, whatever the units follow."""


def of_kind(rng, kind):
    """Records on units of one kind, as in ``mixed``: permuted muscles explain less because they track worse."""
    effects, anatomy = KINDS[kind]
    return planted(rng, **effects, anatomy=anatomy + BY_TRACKING, tracking=WORSE, accuracy=1.0)


def _decoding_rows(rng, size, above):
    """Decoding EV of two areas on the same conditions, which all networks share."""
    common = {"network": 0, "condition": 0.05, "unit": 0, "between": 0, "noise": 0.02}
    own = {"network": 0.01, "condition": 0.06, "unit": 0, "between": 0.02, "noise": 0.02}
    base = draw(rng, common, 1, *size[1:], 0.5)
    areas = {"M1": base + draw(rng, own, *size, above), "S1": base + draw(rng, own, *size)}
    labels = {"split": "test", "decoded": "embedding"}
    return [
        [row("decoding_ev", data[k], area=name, **labels) for name, data in areas.items()]
        for k in range(size[0])
    ]


def _curves(rng, area, sd, size, true):
    """Errors by number of units and by noise on the same conditions, which all networks share."""
    base = draw(rng, {**sd, "network": 0, "between": 0}, 1, *size[1:], ERROR)
    clean = base + draw(rng, sd, *size)
    few = 1.1 * (base + draw(rng, sd, *size)) - true.get("tens", 0.0)
    added = 2.0
    points = {
        ("embedding", "50", 0.0): few,
        ("embedding", "10", 0.0): few + 5.0,
        ("embedding", "all", 0.0): clean,
        ("embedding", "all", 1.0): base + draw(rng, sd, *size, added - true.get("noise", 0.0)),
        ("joint_angles", "all", 0.0): base + draw(rng, sd, *size),
        ("joint_angles", "all", 1.0): base + draw(rng, sd, *size, added),
    }
    metrics = {"embedding": "brain_control_error", "joint_angles": "brain_control_error_joint_angles"}
    return [
        [
            row(
                metrics[decoded],
                data[k],
                split="test",
                area=area,
                decoded=decoded,
                n_decoded_units=n,
                noise=noise,
            )
            for (decoded, n, noise), data in points.items()
        ]
        for k in range(size[0])
    ]


def planted(rng, **true):
    """Records with true effects by the names of claims, 0 where none is named.

    Of claims that something is as good as another, 0 is what is just no longer tolerated. ``tracking`` is how
    much worse permuted muscles track than right ones, mm.
    """
    sizes = {name: true.pop(name) for name in ("n_networks", "n_conditions") if name in true}
    sd = {name: true.pop(name) for name in ("sd", "n_units") if name in true}
    return encoding(rng, **sizes, **sd, **true) + moving(rng, **sizes, **true)


def judged(scored, area="M1", **options):
    """Rows of the one dataset by the names of the claims, of one area."""
    (one,) = claims(scored, **options)
    return {row["name"]: row for row in one["claims"] if row["area"] in ("", area)}


def shares(n, make=planted, **true):
    """How often each claim got each verdict in ``n`` designs, and the mean power."""
    found = [judged(make(np.random.default_rng(k), **true)) for k in range(n)]
    names = found[0]
    verdicts = {name: Counter(rows[name]["verdict"] for rows in found) for name in names}
    power = {name: np.mean([rows[name]["power"] or 0.0 for rows in found]) for name in names}
    return {name: {v: k / n for v, k in count.items()} for name, count in verdicts.items()}, power


def share(verdicts, verdict):
    return max(verdicts.get(verdict, 0.0) for verdicts in verdicts.values())

"""Records of a planted board, some of them hostile, and the facts that a site shows beside them."""

import dataclasses

import numpy as np
from compared import draw, of_means, scored, steady

from neurobench_grasp.contract import DatasetSpec, ProtocolSpec
from neurobench_grasp.leaderboard.site import Facts
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.intervals import summarise

BAD = '<script>window.hurt=1;alert("x")</script>'
WORSE = '"><img src=x onerror="window.hurt=2;alert(2)"><svg onload=alert(3)>'
CARD = {
    "licence": "MIT", "authors": ["A. Maker", BAD], "citation": WORSE, "action_space": "39 muscles",
    "training_data": ["other"], "parameters": 205485, "steps": 1200000, "compute": "13 min on one core",
    "seeds": [0, 1], "simulator": "MuJoCo 4",
}  # fmt: skip
FACTS = Facts(
    {
        "data": DatasetSpec(
            "data",
            list,
            "a planted dataset",
            licence="CC0-1.0",
            details={"citation": "Me, https://example.org/x."},
        )
    },
    {"encoding": ProtocolSpec("encoding", 1, list, "explained variance of single units")},
    {"data": "myohand", "other": "planar_arm"},
    {"net": [{"steps": 0.0, "train": 30.0, "ood": 31.0}, {"steps": 1e6, "train": 4.0, "ood": 4.5}]},
    citation={"authors": [{"name": "The makers"}], "title": BAD, "version": "1.2.3", "license": "MIT"},
)


def whole(model, value, *, seed=0, noise=0.0, card=None, verification=None, more=(), **changes):
    """A record with several metrics, splits, layers and references, as scoring writes it."""
    data = (
        steady(value)
        + noise * draw(np.random.default_rng(hash_of(model)), n_networks=1, n_units=10, group=1)[0]
    )
    entry = scored(model, data, seed=seed, untrained=steady(value - 0.05), **changes)
    area = changes.get("area", "M1")
    rows, parts = list(entry.record.scores), dict(entry.units.scores)
    parts[Labels(area, "ood", "single_trial_ev", "linear_kinematic")] = (of_means(steady(0.2)),)
    parts[Labels(area, "ood", "single_trial_ev", "ceiling")] = (of_means(steady(0.6)),)
    for metric, split in (("single_trial_ev", "test"), ("condition_averaged_ev", "ood")):
        part = of_means(data + 0.02)
        parts[Labels(area, split, metric, "")] = (part,)
        total = summarise([part])
        rows.append(
            {
                "metric": metric,
                "split": split,
                "area": area,
                "value": total.value,
                "ci": list(total.ci),
                "n_units": 10,
            }
        )
    ood = {"metric": "single_trial_ev", "split": "ood", "area": area}
    rows += [
        {**ood, "layer": name, "value": value * share}
        for name, share in (("actor/first", 0.5), (f"{BAD}\u202e\x1b[31m", 0.9))
    ]
    rows += [{**ood, "layer": "deep", "n_components": n, "value": value * n / 10} for n in (1, 5, 10)]
    provenance = {
        **entry.record.provenance,
        "ngb": "0.1.0",
        "weights": "net",
        "git": {"commit": "abc", "dirty": False},
    }
    record = dataclasses.replace(
        entry.record, scores=[*rows, *more], card=card, verification=verification, provenance=provenance
    )
    return dataclasses.replace(entry, record=record, units=UnitTable(parts))


def hash_of(text):
    return sum(map(ord, text))


def hand(model, mm, **changes):
    """A record of tracking."""
    entry = scored(
        model, steady(mm, n_units=1), area="", metric="tracking_error", protocol="tracking", **changes
    )
    row = {
        "metric": "brain_control_error",
        "split": "ood",
        "area": "M1",
        "decoded": "embedding",
        "value": mm * 2,
        "ci": None,
    }
    curve = [
        {
            **row,
            "split": split,
            "noise": noise,
            "n_decoded_units": "all",
            "value": mm * (2 + noise),
            "unit": "mm",
        }
        for split in ("test", "ood")
        for noise in (0.0, 1.0, 2.0)
    ]
    return dataclasses.replace(
        entry, record=dataclasses.replace(entry.record, scores=[*entry.record.scores, row, *curve])
    )


def planted():
    """Records of recordings and of self-tests: ties, verified and contaminated ones, and a hostile one."""
    checked = {"level": "re-scored", "how": "scored again", "date": "2026-01-02", "largest_difference": 0.0}
    evil = whole(
        "evil..-model", 0.1, reason=WORSE, card=CARD, id=f"z{BAD}/../../x", area=WORSE,
        more=[
            {"metric": BAD, "value": None, "reason": f"{BAD}\x1b]0;x\x07\u2066", "split": WORSE},
            {"metric": "unique_ev", "of": "single_trial_ev", "group": BAD, "value": 0.1, "split": "ood", "area": WORSE},
        ],
    )  # fmt: skip
    evil.record.dataset.update(licence=BAD, sessions=[{"id": BAD, "subject": "<i>", "sha256": "ab" * 32}])
    evil.record.dataset["held_out_conditions"] = [BAD, "\u202eevil"]
    evil.record.provenance.update(date=BAD, code=[BAD], packages={BAD: BAD}, git=[1])
    evil.record.dropped.append({"reason": BAD, "session": WORSE})
    parts = {
        key: tuple(dataclasses.replace(p, units=tuple(BAD + u for u in p.units)) for p in found)
        for key, found in evil.units.scores.items()
    }
    return [
        *(whole("muscle", 0.42, seed=k, card={**CARD, "training_data": []}, verification=checked) for k in range(2)),
        whole("torque", 0.4, noise=0.05),
        whole("linear_kinematic", 0.2),
        whole("greedy", 0.3, card={**CARD, "training_data": ["data"]}),
        scored("few", steady(0.3, n_groups=4), reason="too few conditions"),
        *(whole("muscle", 0.3, seed=k, area="S1", id="other") for k in range(2)),
        whole("linear_kinematic", 0.31, area="S1", id="other"),
        hand("muscle", 4.2), hand("torque", 6.1),
        whole("muscle", 0.5, synthetic=True, id="demo"), hand("muscle", 4.0, synthetic=True, id="demo"),
        dataclasses.replace(evil, units=UnitTable(parts)),
    ]  # fmt: skip

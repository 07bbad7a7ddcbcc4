"""The networks that come with the project: intact, honestly labelled, and as good as their cards say."""

import json

import numpy as np
import pytest
from lazy import Lazy
from movements import HAND

from neurobench_grasp.controllers import NetworkCard
from neurobench_grasp.controllers.checkpoints import CHECKPOINTS, load_weights
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.resources import resource
from neurobench_grasp.run.dataset import load_dataset

closed_loop = Lazy("neurobench_grasp.controllers.closed_loop")
controllers = Lazy("neurobench_grasp.controllers.controller")
networks = Lazy("neurobench_grasp.controllers.network")

CARDS = sorted(resource(CHECKPOINTS).glob("*/*.json"))
MODELS = ("muscle_ppo", "torque_ppo")


@pytest.fixture(scope="module")
def demo():
    return load_dataset(load_registry(), "demo")


def test_the_default_networks_are_there():
    assert {f"{m}-0" for m in MODELS} <= {p.stem for p in CARDS if p.parent.name == "demo"}


@pytest.mark.parametrize("path", CARDS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_shipped_network_is_intact_small_and_labelled(path):
    card = NetworkCard.read(path)
    settings = card.controller_settings()
    load_weights(path, card, networks.network_state(networks.Network(HAND, card.action, settings)))
    assert path.with_suffix(".safetensors").stat().st_size < 5e6
    assert path.stem == f"{card.model}-{card.seed}" and path.parent.name == card.dataset["id"]
    if card.dataset["synthetic"]:
        assert card.licence == "CC0-1.0"
    else:
        assert card.dataset["licence"] in card.licence
    errors = card.errors_mm
    assert errors["ood"] < 20 and np.isfinite(list(errors.values())).all()
    assert card.curve[-1]["steps"] == card.steps
    assert "/" not in json.dumps(json.loads(path.read_text())["versions"])


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, id=p.stem, marks=() if p.stem.endswith("-0") else pytest.mark.slow)
        for p in CARDS
        if p.parent.name == "demo"
    ],
)
def test_a_shipped_network_tracks_as_well_as_its_card_says(path, demo):
    card = NetworkCard.read(path)
    model = load_registry().model(card.model).spec.build(card.seed)
    of_fold = demo.for_network(card.seed)
    assert card.dataset.get("fold", 0) == of_fold.fold
    model.fit(of_fold.behaviour("train"), seed=card.seed)
    ood = of_fold.behaviour("ood")
    some = ood.select(range(0, len(ood), 6))
    assert closed_loop.window_error(model.track(some).keypoints, some) == pytest.approx(
        card.errors_mm["ood"], rel=0.1
    )


CONTROLLERS = sorted({p.stem.removesuffix("-0") for p in CARDS if p.match("demo/*-0.json")})


@pytest.mark.parametrize("name", [*CONTROLLERS, "untrained"])
def test_every_controller_knows_its_network_before_training(name, demo):
    """It stands beside each of them as a reference."""
    model = load_registry().model(name).spec.build(0)
    model.fit(demo.behaviour("train"), seed=0)
    seen = model.observe(demo.behaviour("ood").select([0]))
    own, before = model.activations_of(seen).layers, model.untrained(seed=0).activations_of(seen).layers
    assert own.keys() == before.keys()
    same = [np.array_equal(own[layer].values, before[layer].values) for layer in own]
    assert all(same) if name == "untrained" else not any(same)


def test_torques_track_better_than_muscles_and_both_better_than_the_network_before_training():
    pairs = [
        p
        for p in CARDS
        if p.stem.startswith("muscle") and p.with_name(p.name.replace("muscle", "torque")) in CARDS
    ]
    assert pairs
    for path in pairs:
        muscle, torque = (
            NetworkCard.read(path.with_name(path.name.replace("muscle", kind)))
            for kind in ("muscle", "torque")
        )
        assert torque.errors_mm["ood"] < muscle.errors_mm["ood"] < 0.5 * muscle.curve[0]["ood"]

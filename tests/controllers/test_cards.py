"""Trained networks on disk: what does not fit its card or its data is refused in one sentence."""

import hashlib
import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from lazy import Lazy
from movements import grasp_trials
from safetensors.numpy import load, save

from neurobench_grasp.controllers import NetworkCard, find_network, trained_digest
from neurobench_grasp.controllers import checkpoints as cards
from neurobench_grasp.controllers.checkpoints import save_network
from neurobench_grasp.controllers.files import read_arrays
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.errors import CorruptFileError, NgbError, UnsupportedError

controllers = Lazy("neurobench_grasp.controllers.controller")
networks = Lazy("neurobench_grasp.controllers.network")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A network in the user's cache: the card's path, and the trials it was trained on."""
    monkeypatch.setenv("NGB_CACHE", str(tmp_path))
    train, settings = grasp_trials(), ControllerSettings()
    card = {
        "model": "planted",
        "action": "muscle",
        "seed": 4,
        "settings": vars(settings),
        "dataset": {"id": "somewhere", "licence": "CC0-1.0"},
        "train_sha256": train.sha256,
        "licence": "CC0-1.0",
        "steps": 7,
        "errors_mm": {"ood": 5.0},
        "curve": [],
        "wall_time_s": 1.0,
        "threads": 1,
        "versions": {},
    }
    weights = networks.network_state(networks.initial_network("muscle", settings, 4, train))
    return save_network(tmp_path / "checkpoints" / "somewhere", weights, card), train


def fitted(train, seed=4):
    model = controllers.NetworkController("planted", "muscle")
    model.fit(train, seed=seed)
    return model


def rewrite(path, change):
    """Change the weights and let the card vouch for them: what a forger would do."""
    file = path.with_suffix(".safetensors")
    file.write_bytes(change(file.read_bytes()))
    card = json.loads(path.read_text())
    card["weights_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    path.write_text(json.dumps(card))


def test_a_network_is_found_by_the_trials_it_was_trained_on(kept):
    path, train = kept
    found, card = find_network("planted", 4, train.sha256)
    assert found == path and card.controller_settings() == ControllerSettings()
    assert trained_digest("planted", 4, train) == card.sha256
    weights = load(path.with_suffix(".safetensors").read_bytes())
    for name, array in fitted(train).state().items():
        if not name.startswith("settings."):
            np.testing.assert_array_equal(array, weights[name])


def test_a_network_of_other_data_or_seed_is_not_used(kept):
    _, train = kept
    for trials, seed in ((grasp_trials(seed=1), 4), (train, 5)):
        with pytest.raises(NgbError, match=r"there are networks for somewhere seed 4.*ngb train"):
            fitted(trials, seed)


def test_without_joint_angles_it_says_why(kept):
    _, train = kept
    blind = replace(train, joint_angles=None)
    with pytest.raises(UnsupportedError, match="no joint angles"):
        trained_digest("planted", 4, blind)


@pytest.mark.parametrize("at", [20, 5000, -1])
def test_one_changed_byte_is_refused(kept, at):
    path, train = kept
    file = path.with_suffix(".safetensors")
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)
    with pytest.raises(CorruptFileError, match="not the file described by its card"):
        fitted(train)


def test_a_pickle_is_refused_and_never_run(kept, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path, train = kept
    rewrite(path, lambda raw: pickle.dumps(Bomb()))
    with pytest.raises(CorruptFileError, match="not a valid safetensors file"):
        fitted(train)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w | {"value.bias": np.zeros(2, np.float32)}, r"value.bias is float32 \(2,\) instead"),
        (lambda w: w | {"value.bias": np.zeros(1)}, "value.bias is float64"),
        (lambda w: {k: v for k, v in w.items() if k != "value.bias"}, "value.bias is absent"),
        (lambda w: w | {"more": np.zeros(1, np.float32)}, "more is float32"),
        (lambda w: w | {"value.bias": np.full(6, np.nan, np.float32)}, "not finite"),
    ],
)
def test_weights_of_another_network_are_refused(kept, change, said):
    path, train = kept
    rewrite(path, lambda raw: save(change(load(raw))))
    with pytest.raises(CorruptFileError, match=said):
        fitted(train)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "not a network card"),
        ('{"schema": 1}', "missing, unknown or invalid"),
    ],
)
def test_a_card_that_is_none_is_refused(kept, text, said):
    path, train = kept
    path.write_text(text)
    with pytest.raises(CorruptFileError, match=said):
        fitted(train)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trick": 1}, "invalid are trick"),
        ({"settings": None}, "invalid are settings"),
        ({"dataset": "x", "train_sha256": "other"}, "invalid are dataset"),
        ({"seed": "4"}, "invalid are seed"),
        ({"action": "torque"}, "another action"),
        ({"settings.momentum": 1}, "invalid are momentum"),
        ({"settings.encoder_units": "x"}, "encoder_units is 'x' instead of a number"),
        ({"settings.settle_steps": -5}, "settle_steps is -5"),
        ({"settings.physics_steps": 0}, "physics_steps is 0"),
        ({"settings.gamma": float("nan")}, "NaN is not a JSON number"),
        ({"settings.integration_units": 8}, "does not match its network"),
    ],
)
def test_a_card_with_an_unfit_field_is_refused_by_name(kept, change, said):
    path, train = kept
    card = json.loads(path.read_text())
    for name, value in change.items():
        where, _, setting = name.partition(".")
        (card[where] if setting else card)[setting or where] = value
    path.write_text(json.dumps(card))
    with pytest.raises(CorruptFileError, match=said):
        fitted(train)


def test_other_settings_in_a_card_are_another_network(kept):
    path, train = kept
    before = trained_digest("planted", 4, train)
    card = json.loads(path.read_text())
    card["settings"]["settle_steps"] += 1
    path.write_text(json.dumps(card))
    assert trained_digest("planted", 4, train) != before


def test_a_network_trained_here_is_preferred_to_one_that_came_with_the_project(kept, tmp_path, monkeypatch):
    path, train = kept
    shipped = tmp_path / "shipped"
    shutil.copytree(path.parent, shipped / "somewhere")
    monkeypatch.setattr(cards, "resource", lambda name: shipped)
    assert find_network("planted", 4, train.sha256)[0] == path
    shutil.rmtree(path.parent)
    assert find_network("planted", 4, train.sha256)[0] == shipped / "somewhere" / path.name


def test_missing_weights_are_named(kept):
    path, train = kept
    path.with_suffix(".safetensors").unlink()
    with pytest.raises(CorruptFileError, match=r"planted-4\.safetensors cannot be read"):
        fitted(train)


def test_a_card_reads_back_as_it_was_written(kept):
    path, _ = kept
    card = NetworkCard.read(path)
    assert (card.model, card.seed, card.errors_mm) == ("planted", 4, {"ood": 5.0})


@pytest.mark.parametrize(
    ("kind", "n"), [("F8_E4M3", 16), ("F8_E5M2", 16), ("F8_E8M0", 16), ("F4", 32), ("BF16", 8), ("C64", 2)]
)
def test_numbers_of_a_kind_that_numpy_lacks_are_named(tmp_path, kind, n):
    header = json.dumps({"a": {"dtype": kind, "shape": [n], "data_offsets": [0, 16]}}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(CorruptFileError) as why:
        read_arrays(path)
    assert str(why.value) == (
        f"{path} is not a valid safetensors file (a has numbers of the kind {kind}), so it was not used; fetch or train it again."
    )

"""A planted wrist: EMG is the least activation of its muscles, on a screen that is turned, and units follow it."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from recorded import write_for_test
from wrists import BODY, CHANNELS, angle_of, apart, courses, optimised, wrist_session

from neurobench_grasp.bodies import find_body
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.protocols.emg.activation import _static
from neurobench_grasp.records import read_scored
from neurobench_grasp.records.consistency import contradictions
from neurobench_grasp.records.record import read_units
from neurobench_grasp.records.table import RowKey, tables_of
from neurobench_grasp.run.dataset import load_dataset
from neurobench_grasp.run.evaluate import evaluate
from neurobench_grasp.run.verify import verify

TURN = 35.0
BIAS = 7.0
"""Degrees: least activations are not largest where a muscle pulls, but where it pulls and others do not."""


def scored(folder, session, seeds=(0,)):
    path = write_for_test(folder / "wrist.nwb", session)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NGB_CACHE", str(folder / "cache"))
        return evaluate("static_optimisation", path, protocols=["emg"], seeds=seeds, out=folder / "run")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The record of one network, and its unit scores as read from their file."""
    folder = tmp_path_factory.mktemp("planted")
    session = wrist_session(turn=TURN, n_repeats=15, n_units=36, noise=0.1, follows="optimised")
    (record,) = scored(folder, session)
    (path,) = (folder / "run" / "records").glob("*.json")
    return record, read_units(path, record)


def row(record, metric, split="test", **labels):
    key = RowKey.of_labels(metric, split=split, **labels)
    (found,) = [r for r in record.scores if RowKey.of_row(r) == key]
    return found


def value(record, metric, split="test", **labels):
    return row(record, metric, split, **labels)["value"]


def test_the_turn_of_the_screen_is_recovered(planted):
    record, _ = planted
    assert apart(angle_of(record.dataset["turns"]["wrist"]), TURN) < BIAS
    (note,) = [r["reason"] for r in record.dropped if str(r["reason"]).startswith("the axes of cursor")]
    assert float(re.search(r"mean cosine of (\S+) over", note)[1]) > 0.95
    assert note.endswith(f"over {', '.join(CHANNELS)}")


def test_activation_is_correlated_with_emg_up_to_the_ceiling(planted):
    record, _ = planted
    assert value(record, "emg_correlation") > 0.95
    assert value(record, "ceiling", of="emg_correlation") > 0.95
    gain = row(record, "gain_over_permuted_muscles", of="emg_correlation")
    permuted = value(record, "emg_correlation", reference="permuted_muscles")
    np.testing.assert_allclose(gain["value"], value(record, "emg_correlation") - permuted, atol=1e-9)
    assert gain["ci"][0] > 0
    assert value(record, "muscle_rsa") > 0.9 and value(record, "ceiling", of="muscle_rsa") > 0.9
    for channel in CHANNELS:
        assert value(record, "emg_correlation", dimension=channel) > 0.95
        assert value(record, "ceiling", of="emg_correlation", dimension=channel) > 0.9
    assert {r["dimension"] for r in record.scores if "dimension" in r} == {*CHANNELS}
    channels = [value(record, "emg_correlation", dimension=channel) for channel in CHANNELS]
    np.testing.assert_allclose(value(record, "emg_correlation"), np.mean(channels), atol=1e-9)


def test_the_model_is_as_good_as_the_reference_that_it_is(planted):
    record, _ = planted
    for metric, labels in (("emg_correlation", {}), ("muscle_rsa", {}), ("single_trial_ev", {"area": "EMG"})):
        own = value(record, metric, **labels)
        assert value(record, metric, **labels, reference="static_optimisation") == own
    for metric, of in (("single_trial_ev", {}), ("added_ev", {"of": "single_trial_ev"})):
        rows = [
            {**row(record, metric, split, **of, area="M1", group=group), "group": "either"}
            for split in ("test", "ood")
            for group in ("activation", "static_optimisation")
        ]
        assert rows[0] == rows[1] and rows[2] == rows[3]


@pytest.mark.slow
def test_a_record_with_a_fitted_turn_is_the_same_when_it_is_scored_again(tmp_path, monkeypatch):
    session = wrist_session(turn=TURN, n_repeats=6, n_units=4, noise=0.1, follows="optimised")
    scored(tmp_path, session)
    (path,) = (tmp_path / "run" / "records").glob("*.json")
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    assert verify(path, rescore=True, dataset=tmp_path / "wrist.nwb").problems == ()


def test_static_optimisation_is_that_of_the_bodys_muscles_whatever_the_model_moves(tmp_path):
    """For a model with permuted muscles the screen is turned otherwise; the reference is not."""
    session = wrist_session(turn=TURN, n_repeats=4, n_units=3, noise=0.1, follows="optimised")
    data = load_dataset(load_registry(), write_for_test(tmp_path / "wrist.nwb", session))
    found, turns = [], []
    for tendons in (None, "permuted-{seed}"):
        mine = data.for_network(0, tendons)
        context = SimpleNamespace(stages=lambda stage, session, make, **inputs: make(), splits=mine.splits)
        turns.append(mine.sessions[0].turn)
        (activation,) = _static(context, mine.sessions[0])
        found.append(activation.values)
    assert turns[0] != turns[1]
    np.testing.assert_allclose(found[0], found[1], atol=1e-9)


def test_nulls_are_far_below(planted):
    record, _ = planted
    permuted = {"reference": "permuted_muscles"}
    assert value(record, "emg_correlation", **permuted) < value(record, "emg_correlation") - 0.5
    assert value(record, "muscle_rsa", **permuted) < value(record, "muscle_rsa") - 0.5
    shifted = row(record, "emg_correlation", reference="shifted_emg")
    assert shifted["value"] < 0.5 and shifted["ci"][0] < 0.05
    assert not [
        r for r in record.scores if r["metric"] == "muscle_rsa" and r.get("reference") == "shifted_emg"
    ]
    assert value(record, "single_trial_ev", area="EMG", reference="circular_shift") < 0.05


def test_emg_is_explained_up_to_its_noise(planted):
    """Noise of a tenth of the activity, and some that is always there, leave 98 % of the variance."""
    record, _ = planted
    assert value(record, "single_trial_ev", area="EMG") > 0.97
    assert value(record, "condition_averaged_ev", area="EMG") > 0.99
    quadratic = value(record, "single_trial_ev", area="EMG", reference="quadratic_kinematic")
    assert quadratic < value(record, "single_trial_ev", area="EMG")


def test_activation_and_emg_explain_of_neurons_what_force_does_not(planted):
    record, _ = planted
    added = {g: row(record, "added_ev", of="single_trial_ev", area="M1", group=g)
             for g in ("activation", "static_optimisation", "emg", "shifted_emg", "permuted_muscles")}  # fmt: skip
    for group in ("activation", "static_optimisation", "emg"):
        assert added[group]["value"] > 0.01 and added[group]["ci"][0] > 0
    assert added["shifted_emg"]["ci"][0] < 0 and abs(added["shifted_emg"]["value"]) < 0.01
    assert added["permuted_muscles"]["value"] < added["activation"]["value"]
    alone = {g: value(record, "single_trial_ev", area="M1", group=g) for g in (*added, "quadratic")}
    assert alone["activation"] > alone["quadratic"] > 0.4 and alone["activation"] > alone["permuted_muscles"]
    assert abs(alone["shifted_emg"]) < 0.05
    new = {g: value(record, "added_ev", "ood", of="single_trial_ev", area="M1", group=g)
           for g in ("activation", "permuted_muscles")}  # fmt: skip
    assert new["activation"] > max(new["permuted_muscles"], 0) + 0.05


# --- the record -------------------------------------------------------------------------------------


def test_the_record_agrees_with_its_unit_scores(planted):
    assert list(contradictions(*planted)) == []


FORGED = {
    "value": lambda row: row["value"] - 0.01,
    "median": lambda row: row["median"] + 0.01,
    "ci": lambda row: [row["ci"][0] + 0.05, row["ci"][1]],
    "n_units": lambda row: row["n_units"] + 1,
}
KINDS = {
    "correlation": ("emg_correlation", {}),
    "RSA": ("muscle_rsa", {}),
    "a channel": ("emg_correlation", {"dimension": "FCR"}),
    "its ceiling": ("ceiling", {"of": "emg_correlation", "dimension": "FCR"}),
    "EV of channels": ("single_trial_ev", {"area": "EMG"}),
    "a group alone": ("single_trial_ev", {"area": "M1", "group": "emg"}),
    "what a group adds": ("added_ev", {"of": "single_trial_ev", "area": "M1", "group": "activation"}),
    "a null": ("emg_correlation", {"reference": "shifted_emg"}),
    "the gain over permuted muscles": ("gain_over_permuted_muscles", {"of": "emg_correlation"}),
}


@pytest.mark.parametrize("field", FORGED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_forged_row_is_named(planted, kind, field):
    record, units = planted
    metric, labels = KINDS[kind]
    true = row(record, metric, **labels)
    if field not in true or true[field] is None:
        assert (kind, field) == ("the share of the ceiling", "median")
        return
    i = record.scores.index(true)
    lie = {**true, field: FORGED[field](true)}
    forged = replace(record, scores=[*record.scores[:i], lie, *record.scores[i + 1 :]])
    named = {int(k) for p in contradictions(forged, units) for k in re.findall(r"^scores\[(\d+)\]", p)}
    assert named == {i}


@pytest.mark.parametrize(
    ("metric", "labels", "other"),
    [
        ("added_ev", {"of": "single_trial_ev", "area": "M1", "group": "emg"}, {"group": "x"}),
        ("emg_correlation", {}, {"dimension": "Soleus"}),
        ("emg_correlation", {}, {"area": "M9"}),
        ("muscle_rsa", {}, {"area": "M9"}),
        ("single_trial_ev", {"area": "M1", "group": "emg"}, {"group": "x"}),
    ],
)
def test_a_row_that_is_added_under_another_name_is_named_or_stands_behind_no_board(
    planted, metric, labels, other
):
    """What no unit scores stand behind is refused where boards rank it, and marked as stated elsewhere."""
    record, units = planted
    lie = {**row(record, metric, **labels), **other, "value": 0.999}
    forged = replace(record, scores=[*record.scores, lie])
    named = {int(k) for p in contradictions(forged, units) for k in re.findall(r"^scores\[(\d+)\]", p)}
    assert named == {len(record.scores)} or not RowKey.of_row(lie).needs_units


# --- over the folds ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_over_all_folds_new_directions_are_known_too(tmp_path):
    """Two directions are new to a network; joined, there are eight, and scores of channels are of all of them."""
    session = wrist_session(turn=TURN, n_repeats=8, n_units=10, noise=0.1, follows="optimised")
    records = scored(tmp_path, session, seeds=range(5))
    assert all(apart(angle_of(r.dataset["turns"]["wrist"]), TURN) < BIAS + 2 for r in records)
    (table,) = tables_of(records, tmp_path / "run" / "records")
    joined = {metric: table.score(metric, split="ood") for metric in ("emg_correlation", "muscle_rsa")}
    assert joined["emg_correlation"].value > 0.95 and joined["muscle_rsa"].n_units == 1
    single = [value(r, "emg_correlation", "ood") for r in records]
    assert joined["emg_correlation"].value > np.mean(single)  # of two directions, in which a muscle may rest
    null = table.score("emg_correlation", split="ood", reference="permuted_muscles")
    assert null.value < joined["emg_correlation"].value - 0.4
    explained, permuted = (
        table.score("single_trial_ev", split="ood", area="EMG", **labels).value
        for labels in ({}, {"reference": "permuted_muscles"})
    )
    assert explained > permuted + 0.3
    for name in CHANNELS:
        assert table.score("emg_correlation", split="ood", dimension=name).value > 0.9
    for seed, record in enumerate(records):
        path = next((tmp_path / "run" / "records").glob(f"*-seed{seed}-*.json"))
        assert list(contradictions(record, read_units(path, record))) == []
    assert read_scored([tmp_path / "run"], lambda labels: True)[1] == ()


# --- anatomy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("muscle", "flexion", "radial"),
    [("FCR", 1, 1), ("FCU", 1, -1), ("ECRL", -1, 1), ("ECRB", -1, 1), ("ECU", -1, -1)],
)
def test_simulated_muscles_are_most_active_in_their_quadrant(muscle, flexion, radial):
    """Flexion is along x, radial deviation along y; least activations while a force is held in 16 directions."""
    _, _, path, _ = courses(16, 2, 0)
    active = optimised(16, 2, 0)[:, find_body(BODY).muscles.index(muscle)]
    centre = (active[:, None] * path).sum(0)
    assert np.sign(centre).tolist() == [flexion, radial]
    inside = (np.sign(path) == [flexion, radial]).all(1) & (np.abs(path).min(1) > 1)
    opposite = (np.sign(path) == [-flexion, -radial]).all(1) & (np.abs(path).min(1) > 1)
    assert active[inside].mean() > 5 * active[opposite].mean()
    assert active.max() > 0.1

"""What protocol ``emg`` says of sessions and models that it cannot compare, and what it leaves out."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from recorded import write_for_test
from wrists import CHANNELS, ENDPOINT, angle_of, apart, rotation, with_emg, wrist_session

from neurobench_grasp import ModelSpec
from neurobench_grasp.alignment.align import align
from neurobench_grasp.contract import Tracking
from neurobench_grasp.data import load_layout, load_session, validate_file
from neurobench_grasp.errors import LayoutError, NgbError, UnsupportedError
from neurobench_grasp.plugins import CORE, Provided, Registry
from neurobench_grasp.protocols.emg import activation
from neurobench_grasp.resources import resource
from neurobench_grasp.run import evaluate as run

sys.path.append(str(Path(__file__).resolve().parents[1] / "public"))  # the files of public dandisets
SENTENCE = re.compile(r"[A-Z0-9wx][^\n]*[^.?!]\.")
"""One line that ends with one full stop; it may begin with the name of a session."""


@pytest.fixture(autouse=True, scope="module")
def quick(tmp_path_factory):
    """A separate cache, and no permuted muscles, which take the most time."""

    def absent(*_):
        raise UnsupportedError("left out of this test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NGB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(activation, "_permuted", absent)
        yield


@pytest.fixture
def score(tmp_path):
    """Score a session, or a file, by the protocol."""
    return lambda session, model="static_optimisation": scored(tmp_path, session, model)


def scored(folder, session, model="static_optimisation"):
    path = session if isinstance(session, Path) else write_for_test(folder / "wrist.nwb", session)
    (record,) = run.evaluate(model, path, protocols=["emg"], seeds=(0,), out=folder / "run")
    return record


@pytest.fixture(scope="module")
def session():
    return wrist_session(turn=30, n_repeats=8)


@pytest.fixture(scope="module")
def whole(session, tmp_path_factory):
    """The record of the session as it is."""
    return scored(tmp_path_factory.mktemp("whole"), session)


def with_times(session, change):
    emg = session.signals["emg"]
    return replace(session, signals=session.signals | {"emg": replace(emg, times=change(emg.times))})


def row_with(record, metric, **labels):
    (row,) = [
        row
        for row in record.scores
        if row["metric"] == metric and row.get("split", "test") == "test" and labels.items() <= row.items()
        and not {"reference", "dimension"} & (row.keys() - labels.keys())
    ]  # fmt: skip
    return row


def notes_of(record):
    return [row["reason"] for row in record.dropped if row["what"] == "note"]


# --- sessions that are refused ----------------------------------------------------------------------


def refused(score, session):
    """The one sentence that a session is refused with."""
    with pytest.raises(UnsupportedError) as error:
        score(session)
    assert SENTENCE.fullmatch(str(error.value))
    return str(error.value)


def test_a_session_without_emg_is_refused(score, session):
    silent = replace(session, signals={"cursor": session.signals["cursor"]})
    assert refused(score, silent) == "There is no EMG to compare with: wrist has no EMG."


def test_a_session_without_a_map_is_told_which_channels_to_map(score, session):
    turned = replace(ENDPOINT, turn=tuple(map(tuple, rotation(30).tolist())), aligned_by="")
    why = refused(score, replace(session, muscle_map={}, endpoint=turned))
    assert "No EMG of wrist is mapped to a muscle of isometric_wrist" in why
    assert f"name the muscles of its channels ({', '.join(CHANNELS)}) in the layout's muscle_map" in why


def test_a_muscle_that_the_body_lacks_is_named_with_the_nearest(session):
    with pytest.raises(UnsupportedError) as error:
        align(replace(session, muscle_map=CHANNELS | {"FCR": ("FCRR",)}))
    assert str(error.value) == (
        "The muscle_map of planted@1 maps FCR to 'FCRR', which is no muscle of isometric_wrist (did you mean "
        "'FCR'?); `ngb bodies isometric_wrist` lists them."
    )


def test_a_channel_that_was_not_recorded_is_noted_with_the_similar_one(session):
    mapped = {{"FCR": "FCRr"}.get(channel, channel): muscles for channel, muscles in CHANNELS.items()}
    notes = align(replace(session, muscle_map=mapped | {"Soleus": ("FCU",)})).notes
    assert "EMG without a muscle of isometric_wrist in muscle_map: FCR" in notes
    assert "names of muscle_map that were not recorded: FCRr, Soleus; similar to FCRr: FCR" in notes


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda t: 1e3 * t, "its times are probably in ms; write seconds"),
        (lambda t: 1e6 * t, "its times are probably in µs; write seconds"),
        (lambda t: t + 3600, "are both in seconds, on one clock?"),
    ],
    ids=["ms", "µs", "an hour later"],
)
def test_emg_on_another_clock_is_a_finding_and_refused(score, session, tmp_path, change, hint):
    moved = with_times(session, change)
    why = refused(score, moved)
    assert why == (
        "There is no EMG to compare with: wrist has EMG, but throughout no scored window; check that its times "
        "are on the clock of the trials, in seconds."
    )
    found = [f for f in validate_file(tmp_path / "wrist.nwb") if f.place == "emg"]
    assert [f.severity for f in found] == ["warning"] and found[0].message.endswith(hint)
    notes = align(load_session(tmp_path / "wrist.nwb")).notes
    assert any(hint in note for note in notes)


def test_emg_that_is_late_by_half_a_minute_differs_from_condition_to_condition_no_more(score, session):
    assert "No EMG of wrist differs reliably from condition to condition" in refused(
        score, with_times(session, lambda t: t + 31.7)
    )


def test_flat_channels_only_are_refused(score, session):
    why = refused(score, with_emg(session, np.full_like(session.signals["emg"].values, 2.0)))
    assert why == (
        "There is no EMG to compare with: No EMG of wrist differs reliably from condition to condition in the "
        f"training trials ({', '.join(CHANNELS)}); the highest reliability is 0.00, and below 0.5 averages are "
        "more noise than signal."
    )


# --- layouts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"signals": "cursor"}, "muscle_map: none of its signals has the role emg"),
        ({"muscle_map": {}}, "endpoint.aligned_by: muscle_map must name the muscles of the EMG"),
        ({"muscle_map": {"FCR": []}}, "muscle_map: 'FCR' names no muscle"),
        ({"turn": [[1.0, 0.0]]}, "endpoint.turn: expected a row for each of the axes, with a number for each"),
        ({"turn": [[1.0], [0.0]]}, "endpoint.turn: expected a row for each of the axes, with a number for each"),
        ({"turn": []}, "endpoint.turn: expected a row for each of the axes, with a number for each"),
        ({"turn": [[1.0, "x"], [0.0, 1.0]]}, "endpoint.turn[0][1]: expected float, not 'x'"),
        ({"aligned_by": "eye"}, "endpoint.aligned_by: 'eye' is not one of emg"),
        ({"turn": [[0.0, 0.0], [0.0, 0.0]]}, "endpoint.turn: expected a rotation; mirrored axes are stated by their signs"),
        ({"turn": [[-1.0, 0.0], [0.0, 1.0]]}, "endpoint.turn: expected a rotation; mirrored axes are stated by their signs"),
        ({"turn": [[float("nan"), 0.0], [0.0, 1.0]]}, "endpoint.turn: expected a rotation; mirrored axes are stated by their signs"),
        ({"turn": [[0.0, -1.0], [1.0, 0.0]]}, None),
    ],
)  # fmt: skip
def test_a_layout_that_contradicts_itself_is_refused_at_the_field(tmp_path, change, says):
    content = yaml.safe_load((resource("nwb_schemas") / "m1-wrist.yaml").read_text())
    if "signals" in change:
        change = {"signals": [s for s in content["signals"] if s["role"] != "emg"]}
    of_endpoint = {key: change.pop(key) for key in ("turn", "aligned_by") if key in change}
    content |= {**change, "endpoint": content["endpoint"] | of_endpoint}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    if says is None:
        assert load_layout(path).endpoint.turn == ((0.0, -1.0), (1.0, 0.0))
        return
    with pytest.raises(LayoutError) as error:
        load_layout(path)
    assert str(error.value) == f"The layout file mine.yaml is wrong at {says}."


# --- what is left out -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [3.0, np.nan])
def test_a_flat_channel_or_one_without_a_number_is_left_out_and_named(score, session, value):
    emg = session.signals["emg"].values.copy()
    emg[:, list(CHANNELS).index("ECU")] = value
    record = score(with_emg(session, emg))
    row = row_with(record, "n_channels_silent")
    assert (row["value"], row["units"], row["session"]) == (1, ["ECU"], "wrist")
    assert {row["dimension"] for row in record.scores if "dimension" in row} == {*CHANNELS} - {"ECU"}
    assert row_with(record, "emg_correlation")["n_units"] == len(CHANNELS) - 1
    assert any(note.endswith("; without signal: ECU") for note in notes_of(record))
    assert apart(angle_of(record.dataset["turns"]["wrist"]), 30) < 3


def test_missing_samples_change_little(score, session, whole):
    """Of one channel in twenty samples: between the others, all channels are interpolated."""
    emg = session.signals["emg"].values.copy()
    emg[np.random.default_rng(0).random(len(emg)) < 0.05, 2] = np.nan
    holey = score(with_emg(session, emg))
    assert row_with(holey, "n_trials_without_emg")["value"] == 0
    pairs = [(row_with(r, "emg_correlation")["value"]) for r in (whole, holey)]
    assert abs(pairs[0] - pairs[1]) < 0.02 and min(pairs) > 0.8
    assert any("values are missing (NaN), in ECU" in note for note in notes_of(holey))


@pytest.mark.parametrize("lost", ["cut off", "missing"])
def test_trials_in_which_emg_was_not_recorded_are_left_out_and_counted(score, session, whole, lost):
    emg = session.signals["emg"]
    stop = session.trials.start[40] - 0.5
    keep = emg.times < stop
    if lost == "cut off":
        shorter = replace(emg, times=emg.times[keep], values=emg.values[keep])
        record = score(replace(session, signals=session.signals | {"emg": shorter}))
    else:
        record = score(with_emg(session, np.where(keep[:, None], emg.values, np.nan)))
    assert row_with(record, "n_trials_without_emg")["value"] == len(session.trials) - 40
    values = [row_with(r, "single_trial_ev", area="EMG")["value"] for r in (whole, record)]
    assert min(values) > 0.9  # values that are held would not be explained
    assert apart(angle_of(record.dataset["turns"]["wrist"]), 30) < 3


# --- models -----------------------------------------------------------------------------------------


def of_candidate(record):
    """Rows that a model without muscles cannot have, and those that it has."""
    own = [
        row
        for row in record.scores
        if "reference" not in row and not row["metric"].startswith("n_")
        and row.get("group", "activation") == "activation" and row["metric"] != "ceiling"
    ]  # fmt: skip
    others = [row for row in record.scores if row not in own and row.get("split") == "test"]
    return own, others


def test_a_model_without_muscles_has_rows_with_the_reason_beside_the_references(score, session):
    own, others = of_candidate(score(session, "linear_kinematic"))
    why = "the model neither moves a body nor has a layer muscle_activation"
    assert len(own) > 10 and {(row["value"], row["reason"]) for row in own} == {(None, why)}
    found = {(row["metric"], row.get("reference", "")): row["value"] for row in others}
    assert found["emg_correlation", "static_optimisation"] > 0.8
    assert found["ceiling", ""] > 0.8 and found["single_trial_ev", "static_optimisation"] > 0.9


class Motors:
    """A controller that follows the movement exactly, by motors."""

    def fit(self, train, *, seed):
        pass

    def activations(self, trials):
        raise NgbError("not asked for")

    observe = embed = activations_of = activations

    def state(self):
        return {}

    def restore(self, state):
        pass

    def track(self, trials, *, goal=None):
        from neurobench_grasp.bodies import body_of
        from neurobench_grasp.contract import Ragged

        places = body_of(trials).keypoint_positions(trials.joint_angles.values)
        return Tracking(trials.joint_angles, Ragged(places, trials.offsets))


def test_a_controller_with_motors_has_rows_with_the_reason(score, session, monkeypatch):
    spec = ModelSpec("motors", build=lambda seed: Motors(), summary="", controller=True, step_s=0.02)
    known = Registry.model
    provided = Provided(spec, CORE, "0")
    monkeypatch.setattr(
        Registry, "model", lambda self, name: provided if name == "motors" else known(self, name)
    )
    own, others = of_candidate(score(session, "motors"))
    why = "the model moves joints by motors, so it activates no muscle"
    assert len(own) > 10 and {(row["value"], row["reason"]) for row in own} == {(None, why)}
    assert any(row.get("reference") == "static_optimisation" and row["value"] > 0.8 for row in others)


@pytest.mark.parametrize("broken", ["a column too few", "not a number"])
def test_activations_of_other_muscles_or_without_numbers_are_refused(score, session, monkeypatch, broken):
    import ngb_static_optimisation as plugin

    activations = plugin.StaticOptimisation.activations

    def wrong(self, trials):
        made = activations(self, trials)
        layer = made.layers["muscle_activation"]
        values = layer.values[:, 1:] if broken == "a column too few" else layer.values * np.nan
        return replace(made, layers={"muscle_activation": replace(layer, values=values)})

    monkeypatch.setattr(plugin.StaticOptimisation, "activations", wrong)
    with pytest.raises(
        NgbError, match=r"^The model's muscle activation has shape .*; it must be finite, of shape"
    ):
        score(session)


def test_a_recording_of_emg_alone_scores_neurons_by_emg_and_says_why_nothing_is_tracked(score, tmp_path):
    import public_files

    record = score(public_files.falcon_m1(tmp_path / "falcon.nwb"))
    nothing = "no muscle can be simulated and there is no movement to track"
    own, _ = of_candidate(record)
    own = [row for row in own if row.get("group") != "emg"]
    assert len(own) > 10 and all(row["value"] is None for row in own)
    assert {row["reason"] for row in own if "group" not in row} == {
        f"20120924 has EMG, but no joint angles and no endpoint of a body, so {nothing}"
    }
    by_emg, shifted = (row_with(record, "single_trial_ev", group=g) for g in ("emg", "shifted_emg"))
    assert by_emg["value"] > 0.15 > 0.1 > shifted["value"] and by_emg["n_units"] == 7
    ceiling = row_with(record, "ceiling", of="emg_correlation")
    assert (ceiling["value"], ceiling["reason"]) == (None, "no condition has 2 trials in this split")
    added = row_with(record, "added_ev", group="emg")
    assert added["value"] is None and "the recorded movement is unknown" in added["reason"]

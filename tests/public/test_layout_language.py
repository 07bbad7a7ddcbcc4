"""Fields that public files need are refused where they are wrong, in a sentence that says where."""

import h5py
import pytest
import yaml

from neurobench_grasp.data import load_layout, load_session
from neurobench_grasp.errors import LayoutError, NgbError
from neurobench_grasp.resources import resource


def changed(tmp_path, name, change):
    """A shipped layout with a change, as a file."""
    content = yaml.safe_load((resource("nwb_schemas") / f"{name}.yaml").read_text())
    change(content)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def _condition(**fields):
    return lambda layout: layout["trials"].update(condition=fields)


def _direction(**fields):
    return lambda layout: layout["trials"]["condition"]["direction"].update(fields)


def _endpoint(**fields):
    return lambda layout: layout["endpoint"].update(fields)


def _posture(index, **fields):
    return lambda layout: layout["posture"][index].update(fields)


def _signal(index, **fields):
    return lambda layout: layout["signals"][index].update(fields)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("falcon-m1", _condition(), "trials.condition: expected one of column, columns, constant and direction"),
        ("falcon-m1", _condition(column="a", constant="b"), "expected one of column, columns, constant"),
        ("falcon-m1", _condition(constant=" "), "trials.condition.constant: expected a label"),
        ("falcon-m1", _condition(columns="tgt_obj"), "trials.condition.columns: expected a list"),
        ("falcon-m1", lambda c: c["trials"].update(keep={"column": "result"}), "either values or without"),
        ("falcon-m1", lambda c: c["trials"]["keep"].update(without=["A"]), "either values or without"),
        ("falcon-m1", _condition(column="a", labels={"b": {"0": "c"}}), "condition.labels: 'b' is not one of the condition's columns"),
        ("nlb-mc-rtt", _direction(signal="hand_pos"), "direction.signal: 'hand_pos' is not one of its required signals"),
        ("nlb-mc-rtt", _direction(axes=["x", "w"]), "direction.axes: 'w' is not a column of finger_pos"),
        ("nlb-mc-rtt", _direction(axes=["x", "y", "z"]), "direction.axes: expected 2 values"),
        ("nlb-mc-rtt", _direction(start="go"), "direction: 'go' is not one of the events that its trials define"),
        ("nlb-mc-rtt", _direction(sectors=1), "direction: expected at least 2 sectors"),
        ("nlb-mc-rtt", _endpoint(axes=["x", "-w"]), "endpoint.axes: 'w' is not a column of finger_pos"),
        ("nlb-mc-rtt", _endpoint(signal="hand"), "endpoint.signal: 'hand' is not one of its signals"),
        ("nlb-mc-rtt", _endpoint(scale=0.0), "endpoint.scale: expected metres per unit above 0, not 0"),
        ("nlb-mc-rtt", _endpoint(origin=[0.1]), "endpoint.origin: expected a value for each of the axes"),
        ("nlb-mc-rtt", lambda c: c["trials"].update(block=0.0), "trials.block: expected seconds above 0"),
        ("falcon-h1", _signal(0, rate=-50.0), "wrong at the rate of kinematics: expected Hz above 0"),
        ("link", _signal(0, columns=[]), "finger_pos: the columns of a separate_timeseries must be named"),
        ("link", _signal(0, container="separate"), "'separate' is not one of timeseries, behavioral_timeseries"),
        ("link", _posture(0, signal="thumb"), "wrong at posture: 'thumb' is not one of its signals"),
        ("link", _posture(0, joints={}), "wrong at posture: 'index_position' drives no joint"),
        ("link", _posture(0, joints={"mcp3_flexion": [0.0, 1.0]}), "the joint 'mcp3_flexion' is driven twice"),
        ("link", _posture(0, joints={"a": [0.0]}), r"posture\[0\].joints.a: expected 2 values"),
        ("link", _signal(0, role="joint_angle"), "wrong at posture: the layout already has joint angles"),
        ("falcon-m1", lambda c: c.update(subject="Monkey"), "not a regular expression with one group"),
        ("falcon-m1", lambda c: c.update(subject="(Monkey"), "not a regular expression with one group"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused(tmp_path, name, change, message):
    with pytest.raises(LayoutError, match=message) as caught:
        load_layout(changed(tmp_path, name, change))
    assert "mine.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_column_in_no_spelling_is_named_in_all(public, tmp_path):
    path = changed(tmp_path, "link", lambda c: c["trials"]["condition"].update(columns=["here|there"]))
    with pytest.raises(
        LayoutError, match=r"the trials column 'here' or 'there' .looked for at intervals/trials/here or"
    ):
        load_session(public("link"), path)


def test_a_posture_of_a_column_that_is_not_there_is_refused(public, tmp_path):
    path = changed(tmp_path, "link", _posture(0, column="thumb_position"))
    with pytest.raises(NgbError, match="finger_pos: it has no column 'thumb_position'"):
        load_session(public("link"), path)


def test_series_of_one_signal_must_share_a_clock(public, tmp_path):
    path = tmp_path / "link.nwb"
    path.write_bytes(public("link").read_bytes())
    with h5py.File(path, "r+") as file:
        file["analysis/mrs_position/timestamps"][...] += 0.001
    with pytest.raises(
        NgbError, match="analysis/mrs_position: its sample times differ from those of index_position"
    ):
        load_session(path)


def test_a_trial_that_lacks_a_part_of_its_label_is_left_out(public, tmp_path):
    path = tmp_path / "m2.nwb"
    path.write_bytes(public("falcon-m2").read_bytes())
    with h5py.File(path, "r+") as file:
        file["intervals/trials/tgt_loc"][3, 1] = float("nan")
    session = load_session(path)
    assert len(session.trials) == 59 and "3" not in session.trials.ids
    assert any("1 trials without a condition label were left out" in note for note in session.notes)


def test_a_damaged_index_of_tags_is_refused(public, tmp_path):
    path = tmp_path / "h1.nwb"
    path.write_bytes(public("falcon-h1").read_bytes())
    with h5py.File(path, "r+") as file:
        file["intervals/epochs/tags_index"][10] = 3
    with pytest.raises(NgbError, match="intervals/epochs/tags_index: falls from"):
        load_session(path)

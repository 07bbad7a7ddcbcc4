"""Scores of single units survive a file, and a file that is not one of them is refused."""

import io

import numpy as np
import pytest
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobench_grasp.errors import CorruptFileError
from neurobench_grasp.records.record import pack_units
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.intervals import UnitScores

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
numbers = st.floats(width=32, allow_infinity=False)


@st.composite
def parts(draw):
    """One session's scores; a score left out is a number of single precision or NaN."""
    units = draw(st.lists(text, max_size=3, unique=True))
    scores = st.lists(numbers, min_size=len(units), max_size=len(units))
    groups = draw(st.lists(text, max_size=3, unique=True))
    left_out = {g: np.array(draw(scores), np.float64) for g in groups}
    return UnitScores(draw(text), draw(text), tuple(units), np.array(draw(scores), np.float64), left_out)


tables = st.lists(st.tuples(st.builds(Labels, text, text, text, text), parts()), max_size=4).map(UnitTable.of)


def from_bytes(raw):
    with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
        return UnitTable.from_arrays(dict(arrays))


def assert_same(a, b):
    assert list(a.scores) == list(b.scores)
    for labels, sessions in a.scores.items():
        assert len(b.scores[labels]) == len(sessions)
        for x, y in zip(sessions, b.scores[labels], strict=True):
            assert (x.session, x.subject, x.units) == (y.session, y.subject, y.units)
            assert list(x.left_out) == list(y.left_out)
            np.testing.assert_array_equal(x.values, y.values)
            for group, scores in x.left_out.items():
                np.testing.assert_array_equal(scores, y.left_out[group])


@given(tables)
@settings(deadline=None, max_examples=examples(60))
def test_a_table_survives_its_file(table):
    raw = pack_units(table.arrays())
    assert_same(from_bytes(raw), table)
    assert pack_units(table.arrays()) == raw


def small_table():
    one = UnitScores("s", "a", ("u0", "u1"), np.array([0.1, np.nan]), {g: np.array([0.2, 0.3]) for g in "gh"})
    other = UnitScores("t", "b", ("u0",), np.array([1 / 3]), {"g": np.array([1 / 3])})
    labels = Labels("M1", "ood", "single_trial_ev", "")
    return UnitTable.of([(labels, one), (labels._replace(reference="untrained"), one), (labels, other)])


def test_sessions_of_one_label_stay_together_and_in_order():
    table = from_bytes(pack_units(small_table().arrays()))
    candidate = table.scores["M1", "ood", "single_trial_ev", ""]
    assert [(p.session, p.subject, len(p.units)) for p in candidate] == [("s", "a", 2), ("t", "b", 1)]
    assert [p.session for p in table.scores["M1", "ood", "single_trial_ev", "untrained"]] == ["s"]


def test_values_keep_every_digit_and_scores_left_out_keep_seven():
    (_, other) = from_bytes(pack_units(small_table().arrays())).scores["M1", "ood", "single_trial_ev", ""]
    assert other.values[0] == 1 / 3
    assert other.left_out["g"][0] == np.float32(1 / 3)


@pytest.mark.parametrize("name", sorted(small_table().arrays()))
@pytest.mark.parametrize("damage", ["missing", "cut", "scalar"])
def test_damaged_arrays_are_refused(name, damage):
    arrays = small_table().arrays()
    whole = arrays.pop(name)
    if damage == "cut":  # the last row, or the last column of the labels
        arrays[name] = whole[:, :-1] if name == "labels" else whole[:-1]
    elif damage == "scalar":
        arrays[name] = np.array(whole.ravel()[0])
    with pytest.raises(CorruptFileError, match="not the scores of single units"):
        UnitTable.from_arrays(arrays)


@pytest.mark.parametrize("name", ["labels", "values_0", "left_out_0"])
def test_arrays_of_other_dimensions_are_refused(name):
    arrays = small_table().arrays()
    with pytest.raises(CorruptFileError):
        UnitTable.from_arrays(arrays | {name: arrays[name][None]})


def test_text_where_numbers_belong_is_refused():
    with pytest.raises(CorruptFileError):
        UnitTable.from_arrays(small_table().arrays() | {"values_0": np.array(["a", "b"])})

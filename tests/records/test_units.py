"""Scores of single units survive a file, and a file that is not one of them is refused."""

import io
from dataclasses import replace

import numpy as np
import pytest
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobench_grasp.errors import CorruptFileError
from neurobench_grasp.records.record import pack_units
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.intervals import UnitScores
from neurobench_grasp.scoring.sums import Sums

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
numbers = st.floats(-(2.0**90), 2.0**90, width=32) | st.just(float("nan"))


@st.composite
def parts(draw):
    """One session's scores; units without a score have none without a group."""
    units = draw(st.lists(text, max_size=3, unique=True))
    scores = st.lists(numbers, min_size=len(units), max_size=len(units))
    groups = draw(st.lists(text, max_size=3, unique=True))
    values = np.array(draw(scores), np.float64)
    left_out = {g: np.array(draw(scores), np.float64) + 0 * values for g in groups}
    draws = (np.array([draw(scores), draw(scores)], np.float64),) if draw(st.booleans()) else ()
    return UnitScores(draw(text), draw(text), tuple(units), values, left_out, draws)


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
            np.testing.assert_allclose(x.values, y.values, rtol=1e-7)
            assert len(x.draws) == len(y.draws)
            for mine, other in zip(x.draws, y.draws, strict=True):
                np.testing.assert_allclose(mine, other, rtol=1e-7)
            for group, scores in x.left_out.items():
                again = y.left_out[group]
                np.testing.assert_array_equal(np.isnan(scores), np.isnan(again))
                change = np.abs(x.values - again)
                largest = np.maximum(np.abs(x.values), np.abs(again))
                allowed = 1e-3 * change + 4e-7 * largest + 1e-7
                assert np.all((np.abs(scores - again) <= allowed) | np.isnan(scores))


@given(tables)
@settings(deadline=None, max_examples=examples(60))
def test_a_table_survives_its_file(table):
    raw = pack_units(table.arrays())
    assert_same(table, from_bytes(raw))
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


def test_scores_keep_seven_digits_and_what_a_group_changes_keeps_three():
    (one, other) = from_bytes(pack_units(small_table().arrays())).scores["M1", "ood", "single_trial_ev", ""]
    assert other.values[0] == np.float32(1 / 3)
    assert one.left_out["g"][0] == pytest.approx(0.2, abs=1e-4)


def test_tables_of_version_one_are_read():
    """Their labels have no kind of score, and every part has its own arrays."""
    arrays = {
        "labels": np.array([["M1", "ood", "single_trial_ev", "", "s", "a"]]),
        "units_0": np.array(["u0", "u1"]),
        "groups_0": np.array(["g"]),
        "values_0": np.array([1 / 3, 0.5]),
        "left_out_0": np.array([[0.25, 0.75]], np.float32),
    }
    ((labels, (part,)),) = UnitTable.from_arrays(arrays).scores.items()
    assert labels == Labels("M1", "ood", "single_trial_ev", "")
    assert (part.session, part.subject, part.units, part.draws) == ("s", "a", ("u0", "u1"), ())
    assert part.values.tolist() == [1 / 3, 0.5]
    assert part.left_out["g"].tolist() == [0.25, 0.75]


def summed(errors=1.0):
    """Scores that follow from sums, of which the data are the same whatever the errors."""
    values = np.random.default_rng(0).uniform(20, 30, (7, 3, 2))
    values[[2, 4]] += 100  # squares are at least what the sums imply
    values[[1, 2]] *= errors
    sums = Sums("ev", ("g", "h", "i"), values)
    draws = np.random.default_rng(1).uniform(0, 1, (5, 2))
    return replace(UnitScores.of_terms("s", "a", ("u0", "u1"), ((1, sums),)), draws=(draws,))


def test_sums_survive_the_file_and_broken_ones_are_refused():
    table = UnitTable.of([(Labels("M1", "ood", "single_trial_ev", ""), summed())])
    (read,) = from_bytes(pack_units(table.arrays())).scores["M1", "ood", "single_trial_ev", ""]
    ((_, again),), ((_, sums),) = read.terms, summed().terms
    np.testing.assert_array_equal(again.values, np.float32(sums.values))
    np.testing.assert_array_equal(read.draws[0], np.float32(summed().draws[0]))
    arrays = table.arrays()
    data, errors, draws = (arrays[f"array_{k}"] for k in (2, 3, 4))
    broken = [("array_3", wrong) for wrong in (errors[:1], errors[:, :2], errors * np.nan, errors[:, :, :1])]
    for name, wrong in (*broken, ("array_2", -data), ("array_4", draws[:, :1])):
        with pytest.raises(CorruptFileError, match="not the scores of single units"):
            UnitTable.from_arrays(arrays | {name: wrong})


def test_what_predictions_share_is_stored_once():
    labels = Labels("M1", "ood", "single_trial_ev", "")
    one = UnitTable.of([(labels, summed())]).arrays()
    two = UnitTable.of([(labels, summed()), (labels._replace(reference="untrained"), summed(2.0))]).arrays()
    assert set(two) - set(one) == {"array_5"}


@pytest.mark.parametrize("name", sorted(small_table().arrays()))
@pytest.mark.parametrize("damage", ["missing", "cut", "scalar"])
def test_damaged_arrays_are_refused(name, damage):
    arrays = small_table().arrays()
    whole = arrays.pop(name)
    if damage == "cut":  # the last row, or the last column of the labels
        arrays[name] = whole[:, :-2] if name == "labels" else whole[:-1]
    elif damage == "scalar":
        arrays[name] = np.array(whole.ravel()[0])
    with pytest.raises(CorruptFileError, match="not the scores of single units"):
        UnitTable.from_arrays(arrays)


@pytest.mark.parametrize("name", ["labels", "array_2", "array_3"])
def test_arrays_of_other_dimensions_are_refused(name):
    arrays = small_table().arrays()
    with pytest.raises(CorruptFileError):
        UnitTable.from_arrays(arrays | {name: arrays[name][None]})


def test_text_where_numbers_belong_is_refused():
    with pytest.raises(CorruptFileError):
        UnitTable.from_arrays(small_table().arrays() | {"array_3": np.array([["a", "b"]] * 2)})


def test_parts_that_name_one_large_array_again_and_again_are_refused():
    arrays = small_table().arrays()
    many = {"array_0": np.arange(20_000).astype(str), "array_2": np.zeros((1, 20_000), np.float32)}
    many["array_3"] = np.zeros((2, 20_000), np.float16)
    first = arrays["labels"][:1]
    with pytest.raises(CorruptFileError, match="parts repeat large arrays"):
        UnitTable.from_arrays(arrays | many | {"labels": np.repeat(first, 1000, axis=0)})
    with pytest.raises(CorruptFileError, match="there are 100001 parts"):
        UnitTable.from_arrays(arrays | {"labels": np.repeat(first, 100_001, axis=0)})


@pytest.mark.parametrize("name", ["array_2", "array_3"])
def test_sums_that_no_numbers_have_are_refused(name):
    """A negative squared error would explain more than everything."""
    arrays = UnitTable.of([(Labels("M1", "ood", "single_trial_ev", ""), summed())]).arrays()
    impossible = arrays[name].copy()
    impossible[1 if name == "array_3" else 2] *= -1
    with pytest.raises(CorruptFileError, match="sums are not those of any numbers"):
        UnitTable.from_arrays(arrays | {name: impossible})


def test_a_unit_that_is_named_twice_is_refused():
    arrays = UnitTable.of([(Labels("M1", "ood", "single_trial_ev", ""), summed())]).arrays()
    with pytest.raises(CorruptFileError, match="or of one twice"):
        UnitTable.from_arrays(arrays | {"array_0": np.array(["u0", "u0"])})

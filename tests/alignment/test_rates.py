import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobench_grasp.alignment import rates
from neurobench_grasp.alignment.rates import Rates, bin_spikes, smooth, to_ticks

spike_trains = st.lists(
    st.lists(st.floats(0, 20, allow_nan=False), max_size=40).map(sorted), min_size=1, max_size=4
)


def flat(trains):
    return np.array([t for train in trains for t in train], float), np.cumsum([0, *map(len, trains)])


@given(spike_trains, st.integers(-50, 50), st.sampled_from([0.02, 0.05, 0.01]))
@settings(deadline=None)
def test_binning_conserves_spikes_for_any_offset(trains, offset, dt):
    """Abutting bins from any first bin on hold every spike of their span exactly once."""
    times, offsets = flat(trains)
    n_bins = round(25 / dt)
    counts = bin_spikes(times, offsets, np.arange(offset, offset + n_bins), dt)
    ticks, low = to_ticks(times), offset * to_ticks(dt)
    inside = (ticks >= low) & (ticks < low + n_bins * to_ticks(dt))
    assert counts.sum() == inside.sum()


@given(spike_trains)
@settings(deadline=None)
def test_bins_agree_with_a_plain_loop_in_exact_arithmetic(trains):
    times, offsets = flat(trains)
    bins = np.array([0, 3, 7, 7, 999, 2])
    expected = [
        [sum(20_000 * b <= round(t * 1e6) < 20_000 * (b + 1) for t in train) for train in trains]
        for b in bins
    ]
    assert bin_spikes(times, offsets, bins, 0.02).tolist() == expected


def test_a_spike_on_an_edge_belongs_to_the_bin_that_begins_there():
    """0.06 / 0.02 is 2.9999… in floats; as microseconds it is 3."""
    edges = np.arange(1, 500) * 0.02
    counts = bin_spikes(edges, np.array([0, len(edges)]), np.arange(501), 0.02)
    assert counts[:, 0].tolist() == [0, *[1] * 499, 0]


def test_smoothing_is_a_boxcar_inside_and_renormalised_at_the_edge():
    rng = np.random.default_rng(0)
    counts = rng.poisson(2, (12, 3))
    valid = np.ones_like(counts, bool)
    expected = np.stack([np.convolve(c, np.ones(3) / 3, "valid") for c in counts.T], 1)
    np.testing.assert_allclose(smooth(counts, valid), expected, atol=1e-12)
    valid[0, :] = False  # the stretch begins with the second bin
    np.testing.assert_allclose(smooth(counts, valid)[0], counts[1:3].mean(0), atol=1e-12)
    np.testing.assert_allclose(smooth(counts, valid)[1:], expected[1:], atol=1e-12)


@given(spike_trains, st.integers(1, 3000))
@settings(deadline=None)
def test_counts_do_not_depend_on_the_block(trains, block):
    times, offsets = flat(trains)
    bins = np.arange(-3, 1005)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "BLOCK", block)
        found = bin_spikes(times, offsets, bins, 0.02)
    np.testing.assert_array_equal(found, bin_spikes(times, offsets, bins, 0.02))
    assert found.dtype == np.uint8


def test_more_counts_than_a_byte_holds_in_one_unit_of_several_blocks(monkeypatch):
    trains = [[0.01], [0.03] * 300, [0.05] * 2]
    monkeypatch.setattr(rates, "BLOCK", 1)
    expected = [[1, 0, 0], [0, 300, 0], [0, 0, 2]]
    assert bin_spikes(*flat(trains), np.arange(3), 0.02).tolist() == expected


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.sampled_from([1, 43, 300, 70_000]),
    st.sampled_from([0.02, 0.05, 0.01, 0.1]),
)
@settings(deadline=None)
def test_rates_are_the_smoothed_counts_to_the_last_bit(seed, lengths, largest, dt):
    """Whatever is asked for: one trial, some trials, units or steps, or all."""
    rng = np.random.default_rng(seed)
    counts = [rng.integers(0, largest + 1, (n + 2, 5)).astype(np.uint32) for n in lengths]
    valid = [rng.random(c.shape) < 0.8 for c in counts]
    known = Rates.of(counts, valid, dt)
    expected = [smooth(c, v) / dt for c, v in zip(counts, valid, strict=True)]
    for trial, other in zip(known, expected, strict=True):
        np.testing.assert_array_equal(trial, other)
    np.testing.assert_array_equal(known.values, np.concatenate(expected))
    some, units = [len(lengths) - 1, 0], np.array([0, 3])
    part = known.part(some, units)
    np.testing.assert_array_equal(part.values, np.concatenate([expected[i][:, units] for i in some]))
    assert part.lengths.tolist() == known.select(some).lengths.tolist() == [lengths[i] for i in some]
    steps = rng.integers(0, sum(lengths), 6)
    np.testing.assert_array_equal(known.at(steps, units), known.values[steps][:, units])
    assert len(known) == len(lengths) and known.lengths.tolist() == lengths


def test_rates_of_usual_counts_take_a_byte_each():
    counts = np.full((12, 3), 42)
    assert Rates.of([counts], [np.ones(counts.shape, bool)], 0.02).sixths.values.nbytes == 10 * 3

"""Units that are scored block by block have the scores of those that are scored together."""

import functools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import context_of, repeating_population, with_units
from threadpoolctl import threadpool_limits

from neurobench_grasp.contract import Activations, Ragged
from neurobench_grasp.protocols.encoding import predictions
from neurobench_grasp.protocols.encoding import protocol as encoding
from neurobench_grasp.protocols.encoding.blocks import Reduction
from neurobench_grasp.protocols.encoding.reduction import LagWindow
from neurobench_grasp.scoring import components, ridge

N_UNITS = 7


def two_layers(trials):
    latents = trials.signals["latents"]
    layers = {"linear": latents.values, "squashed": np.tanh(latents.values[:, :3])}
    return Activations({name: Ragged(x, latents.offsets) for name, x in layers.items()})


def world(n_objects, n_units=N_UNITS, n_repeats=6, seed=3):
    """Two areas; one unit was not observed in some trials, and one never fires."""
    rng = np.random.default_rng(seed)
    session = repeating_population(
        rng, n_objects=n_objects, n_repeats=n_repeats, n_steps=14, n_units=n_units, n_latents=4, lag=1
    )
    observed = np.ones((len(session.trials), n_units), bool)
    observed[::4, 1] = False
    rates = session.units.rates.values.copy()
    rates[:, 2] = 0.0
    areas = tuple("S1" if u % 3 else "M1" for u in range(n_units))
    rates = Ragged(rates, session.units.rates.offsets)
    counts = Ragged(np.abs(rates.values), rates.offsets)
    return with_units(session, rates=rates, counts=counts, areas=areas, observed=observed)


def scores(session, **limits):
    with pytest.MonkeyPatch.context() as patch:
        for module, name, limit in limits.values():
            patch.setattr(module, name, limit)
        found = encoding.run(context_of(session, activations=two_layers))
    return found.rows, found.units


@functools.cache
def together(n_objects):
    """A session and its scores in one block; of six objects, too few are in train for an interval over them."""
    session = world(n_objects)
    return session, scores(session)


def assert_same(found, expected):
    rows, units = found
    assert len(rows) == len(expected[0])
    for row, other in zip(rows, expected[0], strict=True):
        assert row.keys() == other.keys()
        for key, value in other.items():
            if isinstance(value, float | tuple):
                assert row[key] == pytest.approx(value, rel=1e-9, abs=1e-9), row
            else:
                assert row[key] == value, row
    assert units.keys() == expected[1].keys()
    for key, values in expected[1].items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(units[key], values, rtol=1e-9, atol=1e-9)
        else:
            np.testing.assert_array_equal(units[key], values)


@given(
    n_objects=st.sampled_from([6, 15]),
    block=st.integers(1, 15_000),
    piece=st.integers(1, 2_000),
    features=st.integers(1, 20_000),
)
@settings(deadline=None, max_examples=examples(16))
def test_scores_do_not_depend_on_the_size_of_blocks(n_objects, block, piece, features):
    """Of rates that are converted, predicted and scored, of rows that are summed, of features that are read."""
    session, expected = together(n_objects)
    found = scores(
        session,
        block=(predictions, "BLOCK", block),
        piece=(ridge, "PIECE", piece),
        features=(components, "BLOCK", features),
    )
    assert_same(found, expected)


def test_another_unit_in_a_block_would_be_noticed():
    """Whether the comparison above can fail: the predictions of two units of the second block are exchanged."""
    session, expected = together(15)
    fit_units = predictions.fit_units

    def exchanged(*arguments, **options):
        fitted = fit_units(*arguments, **options)
        return replace(fitted, predict=lambda units: fitted.predict(np.where(units == 3, 4, units)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "fit_units", exchanged)
        found = scores(session, block=(predictions, "BLOCK", 1))
    with pytest.raises(AssertionError):
        assert_same(found, expected)


def peak(n_units, n_repeats, block):
    """Bytes that predicting and scoring a session needs beside what it holds already."""
    session = world(10, n_units, n_repeats)
    context = context_of(session, activations=two_layers)
    lagged = LagWindow.of(context, session)
    layers = lagged.reduce(context.model.activations(session.scored), context.clock(session)).layers
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(limits=1):
        patch.setattr(predictions, "BLOCK", block)
        patch.setattr(predictions, "on_all_cores", lambda task, items: [task(item) for item in items])
        fitted = predictions.fit_units(context, lagged, layers, candidate=True)
        keep = Reduction.of(context, session)
        tracemalloc.start()
        keep(fitted)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_session_beyond_the_block():
    """Sums of four times as many units are a few bytes; predictions of four times as many steps are not."""
    block = 40_000  # rates: 0.3 MB
    longer = peak(40, 80, block) / peak(40, 20, block)
    wider = peak(160, 20, block) / peak(40, 20, block)
    whole = peak(40, 80, 1 << 30) / peak(40, 20, 1 << 30)
    assert whole > 3
    assert longer < 1.5
    assert wider < 1.5

"""All pairs at once give what the plain loop over pairs gives."""

from dataclasses import astuple
from itertools import combinations

import numpy as np
import pytest
from claimed import SD, folded
from claimed import draw as spread
from compared import draw, of_means
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from lazy import Lazy

from neurobench_grasp.leaderboard.pairs import all_differences
from neurobench_grasp.leaderboard.ranking import difference, tie_groups
from neurobench_grasp.scoring.intervals import UnitScores

nx = Lazy("networkx")


def networks(seed, n_networks, sessions, *, lost=(), undefined=(), holes=(), n_groups=7):
    """Networks of one model: sessions is a list of (name, animal, n_units); what is missing, by session."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(n_networks):
        parts = []
        for name, animal, n_units in sessions:
            (data,) = draw(
                rng, n_networks=1, n_groups=n_groups, n_units=n_units, group=0.1, unit=0.2, noise=0.05
            )
            part = of_means(data, session=name, subject=animal)
            keep = [k for k in range(n_units) if (name, k) not in lost]
            values = part.values.copy()
            values[[k for k in range(n_units) if (name, k) in undefined]] = np.nan
            left_out = {g: v[keep].copy() for g, v in part.left_out.items()}
            for hole in holes:
                left_out["g0"][0] = np.nan if hole == name else left_out["g0"][0]
            parts.append(UnitScores(name, animal, tuple(part.units[k] for k in keep), values[keep], left_out))
        out.append(parts)
    return out


TWO, ONE = [("s1", "a", 8), ("s2", "a", 5), ("t1", "b", 6)], [("s1", "a", 8)]
BOARDS = {
    "alike": [networks(k, 1 + k % 3, TWO) for k in range(6)],
    "one copied": [networks(0, 2, TWO), networks(0, 2, TWO), networks(1, 1, TWO)],
    "other units": [
        networks(0, 2, TWO),
        networks(1, 2, TWO, lost={("s1", 3), ("t1", 0)}),
        networks(2, 1, TWO, undefined={("s2", 4)}),
        networks(3, 1, TWO, undefined={("s2", 4)}),
    ],
    "other sessions": [
        networks(0, 2, TWO),
        networks(1, 1, TWO[::-1]),
        networks(2, 2, ONE),
        networks(3, 1, TWO[1:]),
    ],
    "nothing in common": [networks(0, 1, ONE), networks(1, 1, TWO[1:]), networks(2, 2, ONE)],
    "no unit": [networks(0, 1, [("s1", "a", 0)]), networks(1, 1, [("s1", "a", 0)]), networks(2, 1, ONE)],
    "one unit": [networks(k, 2, [("s1", "a", 1), ("s2", "b", 3)]) for k in range(3)],
    "a hole": [networks(0, 1, TWO), networks(1, 2, TWO, holes=["s2"]), networks(2, 1, TWO, holes=["s1"])],
    "too few groups": [networks(k, 2, TWO, n_groups=4) for k in range(3)],
    "other groups": [networks(0, 1, TWO, n_groups=7), networks(1, 1, TWO, n_groups=6), networks(2, 1, TWO)],
    "folds": [folded(spread(np.random.default_rng(k), SD, 5, 12, 9)) for k in range(3)],
    "another animal": [networks(0, 1, ONE), networks(1, 1, [("s1", "z", 8)])],
}


@pytest.mark.parametrize("name", BOARDS)
def test_all_pairs_at_once_are_the_plain_loop_over_pairs(name):
    models = dict(enumerate(BOARDS[name]))
    found = all_differences(models)
    assert list(found) == list(combinations(models, 2))
    for (i, j), total in found.items():
        plain = difference(models[i], models[j])
        assert (total is None) == (plain is None)
        if plain is None:
            continue
        assert (total.n_units, total.n_groups) == (plain.n_units, plain.n_groups)
        assert (total.ci is None) == (plain.ci is None) and (total.data_se is None) == (plain.data_se is None)
        numbers = [(t.value, t.median, t.draw_se, t.data_se or 0, *(t.ci or ())) for t in (total, plain)]
        np.testing.assert_allclose(*numbers, rtol=0, atol=1e-12)
        assert (total.variances is None) == (plain.variances is None) and total.n_folds == plain.n_folds
        if plain.variances:
            np.testing.assert_allclose(*(astuple(t.variances) for t in (total, plain)), rtol=0, atol=1e-12)
        assert total.value == 0 if models[i] is models[j] else True


def test_copies_differ_by_nothing_at_all():
    found = all_differences(dict(enumerate(BOARDS["one copied"])))
    assert (found[0, 1].value, found[0, 1].data_se) == (0.0, 0.0)
    assert abs(found[0, 2].value) > 0.001


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 9), st.integers(0, 2**36 - 1))
def test_groups_of_ties_are_the_largest_cliques(n, bits):
    better = np.zeros((n, n), bool)
    pairs = list(combinations(range(n), 2))
    for k, (i, j) in enumerate(pairs):
        better[i, j] = bits >> k & 1
    tied = nx.Graph()
    tied.add_nodes_from(range(n))
    tied.add_edges_from(pair for pair in pairs if not better[pair])
    assert tie_groups(better) == sorted(tuple(sorted(group)) for group in nx.find_cliques(tied))

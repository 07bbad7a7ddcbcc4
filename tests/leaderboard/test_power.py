"""Power that a pilot predicts is found in simulated designs; variances add up to the standard error."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
from claimed import SD, draw, encoding, folded
from compared import draw as whole
from compared import model_of
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobench_grasp.leaderboard import powers
from neurobench_grasp.leaderboard.evidence import effect_of
from neurobench_grasp.leaderboard.power import MOST, POWER, Design, middle, possible_designs
from neurobench_grasp.leaderboard.ranking import difference
from neurobench_grasp.scoring.intervals import (
    MIN_GROUPS,
    MIN_NETWORKS,
    Variances,
    jackknife_variance,
    summarise,
)
from neurobench_grasp.scoring.networks import average

SIZES = ("n_units", "n_conditions", "n_networks")


@cache
def measured(seed, effect, size, n_folds, sd):
    """Difference of two models by one simulated design; units and conditions differ for both alike."""
    rng, sd = np.random.default_rng(seed), dict(sd)
    n_units, n_conditions, n_networks = size
    alike = {**SD, "network": 0.0, "between": 0.0, "unit": 0.1, "condition": 0.05}
    shared = draw(rng, alike, 1, n_conditions, n_units)
    a, b = (
        folded(shared + draw(rng, sd, n_networks, n_conditions, n_units, mean), n_folds)
        for mean in (effect, 0.0)
    )
    return effect_of((a, ""), (b, ""))[0]


def found(effect, size, n_folds, sd, n=250):
    """Share of simulated designs whose interval lies above 0."""
    totals = (measured(10**6 + k, effect, size, n_folds, tuple(sd.items())) for k in range(n))
    return np.mean([total.ci[0] > 0 for total in totals])


def pilots(effect, size, n_folds, sd, n=60):
    totals = (measured(k, effect, size, n_folds, tuple(sd.items())) for k in range(n))
    return [Design.of(total, size[2]) for total in totals]


DESIGNS = {
    "folds": (0.01, (30, 35, 5), 5, SD),
    "networks vary": (0.02, (30, 35, 5), 5, {**SD, "network": 0.01}),
    "networks vary, few conditions": (0.02, (30, 10, 5), 5, {**SD, "network": 0.01}),
    "all vary": (0.03, (30, 20, 5), 5, {**SD, "network": 0.01, "condition": 0.02, "unit": 0.03}),
    "no folds": (0.008, (30, 35, 5), 0, SD),
}
FEW_CHANGES = ({}, {"n_units": 90}, {"n_conditions": 70})
CHANGES = (
    *FEW_CHANGES,
    {"n_units": 10},
    {"n_conditions": 15},
    {"n_networks": 10},
    {"n_units": 60, "n_conditions": 50, "n_networks": 10},
)


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_the_power_that_pilots_predict_is_found(name):
    """To 10 points: the mean over 60 pilots, as their variances are estimates, against 250 designs of each size."""
    effect, size, n_folds, sd = DESIGNS[name]
    designs = pilots(effect, size, n_folds, sd)
    for change in CHANGES:
        predicted = np.mean([replace(design, **change).power(effect) for design in designs])
        new = tuple(change.get(key, n) for key, n in zip(SIZES, size, strict=True))
        assert found(effect, new, n_folds, sd) == pytest.approx(predicted, abs=0.1), (change, predicted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "sd"), [((40, 10, 5), {"noise": 0.2}), ((30, 20, 5), {"condition": 0.03, "unit": 0.03})]
)
def test_where_networks_hardly_vary_no_more_is_predicted_than_is_found(size, sd):
    """Chance passes for a difference between networks, which more units and conditions do not change."""
    effect, sd = 0.03, {**SD, **sd}
    designs = pilots(effect, size, 5, sd)
    for change in ({}, {"n_units": 90}, {"n_conditions": 30}, {"n_networks": 10}):
        predicted = np.mean([replace(design, **change).power(effect) for design in designs])
        new = tuple(change.get(key, n) for key, n in zip(SIZES, size, strict=True))
        assert found(effect, new, 5, sd) > predicted - 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "effect", "what"),
    [
        ("folds", 0.011, "units"),
        ("folds", 0.011, "conditions"),
        ("all vary", 0.035, "conditions"),
        ("networks vary", 0.02, "networks"),
        ("no folds", 0.008, "networks"),
    ],
)
def test_with_the_numbers_that_are_needed_the_power_is_as_wanted(name, effect, what):
    """By the mean variances of 60 pilots; networks of folds are added five at a time, which may give more."""
    _, size, n_folds, sd = DESIGNS[name]
    designs = pilots(effect, size, n_folds, sd)
    parts = {
        f.name: np.mean([getattr(d, f.name) for d in designs]) for f in fields(Design) if f.name[:3] == "of_"
    }
    needed = getattr(replace(designs[0], **parts), f"{what}_for")(effect)
    assert needed > dict(zip(SIZES, size, strict=True))[f"n_{what}"]
    new = tuple(needed if key == f"n_{what}" else n for key, n in zip(SIZES, size, strict=True))
    assert found(effect, new, n_folds, sd) == pytest.approx(POWER, abs=0.1), needed


@pytest.mark.slow
@pytest.mark.parametrize("change", FEW_CHANGES)
@pytest.mark.parametrize("name", DESIGNS)
def test_the_interval_of_a_predicted_power_covers_what_is_found(name, change):
    """Of 60 pilots, against 250 designs: nominal are 95 %; it is more where folds and conditions vary alike."""
    effect, size, n_folds, sd = DESIGNS[name]
    new = tuple(change.get(key, n) for key, n in zip(SIZES, size, strict=True))
    power = found(effect, new, n_folds, sd)
    covered = []
    for k in range(60):
        pilot = measured(k, effect, size, n_folds, tuple(sd.items()))
        designs = [replace(design, **change) for design in possible_designs(pilot, size[2], 2)]
        low, high = middle(design.power(effect) for design in designs)
        covered.append(low <= power <= high)
    assert np.mean(covered) >= 0.88


# --- laws -----------------------------------------------------------------------------------------

variances = st.floats(0, 1).map(lambda x: x**4)
designs = st.builds(
    Design,
    of_unit=variances,
    of_condition=variances,
    of_both=variances,
    of_network=variances,
    n_units=st.integers(1, 300),
    n_conditions=st.integers(MIN_GROUPS, 100),
    n_networks=st.integers(MIN_NETWORKS, 20),
    n_folds=st.sampled_from([0, 5]),
)


@settings(max_examples=examples(300), deadline=None)
@given(designs, st.sampled_from(SIZES), st.integers(1, 50), st.floats(0.001, 3))
def test_more_of_anything_shows_more(design, what, more, effect):
    larger = replace(design, **{what: getattr(design, what) + more})
    assert larger.detectable <= design.detectable
    assert design.power(2 * effect) >= design.power(effect)
    if design.power(effect) >= 0.5:  # below, an effect is shown by chance rather than by its size
        assert larger.power(effect) >= design.power(effect)
    assert design.power(design.detectable) == pytest.approx(POWER) or design.se == 0


@settings(max_examples=examples(300), deadline=None)
@given(designs, st.floats(0.01, 3))
def test_needed_numbers_are_the_least(design, effect):
    steps = {"units": (1, 1), "conditions": (1, 5), "networks": (design.n_folds or 1, design.n_folds or 3)}
    for what, (step, least) in steps.items():
        needed = getattr(design, f"{what}_for")(effect)
        power = lambda n, key=f"n_{what}": replace(design, **{key: n}).power(effect)  # noqa: E731
        if needed is None:
            assert power(MOST * step) < POWER
            continue
        assert power(needed) >= POWER and needed % step == 0
        assert needed == least or power(needed - step) < POWER


# --- variances ------------------------------------------------------------------------------------


@settings(max_examples=examples(200), deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_variances_add_up_to_those_over_conditions_and_units_less_what_both_have(groups, units, both):
    parts = Variances.apart(groups, units, both)
    assert parts.error**2 == pytest.approx(groups + max(units - both, 0.0))
    assert min(parts.groups, parts.units, parts.both) >= 0


def test_variances_of_a_mean_are_those_that_its_error_consists_of():
    rng = np.random.default_rng(0)
    for n_groups in (5, 7, 35):
        data = whole(rng, n_networks=1, n_groups=n_groups, n_units=12, group=0.1, unit=0.2, noise=0.3)[0]
        ((part,),) = model_of([data])
        total = summarise([part])
        left_out = np.array([v.mean() for v in part.left_out.values()])
        over_groups = float(jackknife_variance(left_out))
        over_units = part.values.var(ddof=1) / 12
        both = float(jackknife_variance(np.array(list(part.left_out.values())).T).mean()) / 12
        assert total.data_se**2 == pytest.approx(over_groups + max(over_units - both, 0.0))
        assert total.data_se == total.variances.error
    assert summarise([model_of([data[:4]])[0][0]]).variances is None  # too few


def test_planted_variances_are_found_and_fall_with_their_numbers():
    rng = np.random.default_rng(1)
    sizes = {"n_networks": 4, "n_groups": 12, "n_units": 20}
    totals = [
        average(model_of(whole(rng, **sizes, network=0.2, group=0.3, unit=0.4, noise=0.5)))
        for _ in range(300)
    ]
    design = [Design.of(total, 4) for total in totals]
    mean = {
        name: np.mean([getattr(d, name) for d in design])
        for name in ("of_unit", "of_condition", "of_network")
    }
    assert mean["of_unit"] == pytest.approx(0.4**2, rel=0.1)
    assert mean["of_condition"] == pytest.approx(0.3**2, rel=0.1)
    assert mean["of_network"] == pytest.approx(0.2**2, rel=0.1)


def test_networks_of_folds_are_told_from_their_conditions():
    """Five networks with two conditions each: the variance over conditions has that of networks in it."""
    sd = {**SD, "network": 0.05, "condition": 0.02}
    designs = pilots(0.0, (30, 10, 5), 5, sd, n=300)
    assert np.mean([d.of_network for d in designs]) == pytest.approx(2 * 0.05**2, rel=0.2)  # of two models
    assert {d.n_folds for d in designs} == {5}


def test_the_design_of_a_pilot_is_as_precise_as_the_pilot():
    total = measured(3, 0.01, (30, 35, 5), 0, tuple(SD.items()))
    design = Design.of(total, 5)
    assert design.se == pytest.approx(np.hypot(total.data_se, total.draw_se))
    a, b = (model_of(whole(np.random.default_rng(k), n_networks=5, network=0.1, unit=0.2)) for k in range(2))
    assert difference(a, b).n_folds == 0


# --- rows -----------------------------------------------------------------------------------------


def test_rows_state_what_the_pilot_can_show():
    (one,) = powers(encoding(np.random.default_rng(0), muscle=0.02), "planted", 0.01)
    rows = {row["effect"]: row for row in one["effects"]}
    assert list(rows) == [
        "muscle_ppo − untrained",
        "muscle_ppo − torque_ppo",
        "fixed_muscles − permuted_muscles",
        "muscle_ppo − torque_ppo, gains",
    ]
    row = rows["muscle_ppo − torque_ppo"]
    assert row["value"] == pytest.approx(0.02, abs=0.01) and row["ci"][0] < row["value"] < row["ci"][1]
    assert (row["n_units"], row["n_conditions"], row["n_networks"]) == (30, 35, 5)
    assert rows["muscle_ppo − torque_ppo, gains"]["wanted"] == 0.005
    assert row["detectable"] > row["se"] > 0 and 0 < row["power"] < 1
    for name in ("detectable", "power"):
        low, high = row[f"{name}_ci"]
        assert low < row[name] < high


def test_the_interval_of_a_power_is_narrower_for_a_larger_pilot():
    widths = []
    for size in ((30, 10, 5), (90, 50, 20)):
        pilots = [measured(k, 0.01, size, 0, tuple(SD.items())) for k in range(5)]
        bounds = [middle(d.detectable for d in possible_designs(p, size[2], 2)) for p in pilots]
        widths.append(np.mean([high / low for low, high in bounds]))
    assert widths[1] < 0.7 * widths[0]


@pytest.mark.parametrize("n_networks", [1, 3])
def test_a_pilot_without_an_interval_predicts_nothing(n_networks):
    """One network, or not all folds."""
    (one,) = powers(encoding(np.random.default_rng(0), n_networks=n_networks), "planted", 0.01)
    assert all("se" not in row and "no interval" in row["reason"] for row in one["effects"])

import dataclasses
import hashlib
import itertools

import numpy as np
import pytest
from compared import draw, model_of, of_means, scored, steady, write
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from lazy import Lazy

from neurobench_grasp.errors import NgbError
from neurobench_grasp.leaderboard import comparison, unit_scores_of
from neurobench_grasp.leaderboard.ranking import (
    beats,
    difference,
    holm,
    mann_whitney,
    rank_intervals,
    smallest_mann_whitney,
    tie_groups,
    verdict,
    wilcoxon_signed_rank,
)
from neurobench_grasp.records import read_scored, write_record
from neurobench_grasp.records.record import pack_units, units_path
from neurobench_grasp.scoring.networks import average

stats = Lazy("scipy.stats")


@pytest.mark.parametrize(
    ("network", "group", "unit"), [(0.3, 0.5, 0.4), (0.8, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.6)]
)
def test_errors_from_networks_and_from_data_are_those_that_were_planted(network, group, unit):
    rng = np.random.default_rng(0)
    totals = [
        average(model_of(draw(rng, network=network, group=group, unit=unit, noise=0.1))) for _ in range(200)
    ]
    noise = 0.1**2 / (5 * 7 * 30)
    planted = network**2 / 5, group**2 / 7 + unit**2 / 30
    measured = [np.mean([getattr(t, name) ** 2 for t in totals]) for name in ("draw_se", "data_se")]
    for found, truth in zip(measured, planted, strict=True):
        assert found == pytest.approx(truth + noise, rel=0.15, abs=noise)
    # both together are what the mean scatters by
    assert np.var([t.value for t in totals]) == pytest.approx(sum(planted), rel=0.25)


def covered(rng, planted, n_networks):
    """Of 200 paired differences of two models: how many intervals cover the truth, and how wide they are."""
    totals = []
    for _ in range(200):
        shared = draw(rng, n_networks=1, group=0.5, unit=0.8)
        a, b = (
            model_of(
                shared
                + draw(rng, n_networks=n_networks, mean=mean, network=0.1, group=0.1, unit=0.2, noise=0.1)
            )
            for mean in (planted, 0.0)
        )
        totals.append(difference(a, b).ci)
    return sum(low <= planted <= high for low, high in totals), np.mean([high - low for low, high in totals])


@pytest.mark.parametrize("planted", [0.0, 0.4])
def test_the_interval_of_a_paired_difference_covers_the_truth(planted):
    """With 5 networks and 7 conditions; what the models share cancels, all else is in the interval."""
    hits, width = covered(np.random.default_rng(1), planted, n_networks=5)
    assert 180 <= hits <= 198
    assert width < 0.6  # unpaired it would be 1.7


def test_with_one_network_the_interval_covers_too_little():
    """So the output says which models have one network only."""
    hits, _ = covered(np.random.default_rng(1), 0.0, n_networks=1)
    assert hits < 160


def test_with_one_network_there_is_no_error_from_networks():
    assert average(model_of(draw(np.random.default_rng(2), n_networks=1, group=1.0))).draw_se == 0


@pytest.mark.parametrize("n_networks", [1, 2, 5])
def test_copies_tie_even_if_rounded_differently(n_networks):
    rng = np.random.default_rng(3)
    for _ in range(50):
        data = draw(rng, n_networks=n_networks, network=0.1, group=0.3, unit=0.2, noise=0.1)
        total = difference(model_of(data), model_of(data))
        assert total.value == 0 and verdict(total) == 0
        rounded = model_of(data.astype(np.float32))
        assert verdict(difference(model_of(data), rounded)) == 0
    if n_networks == 1:
        assert total.ci == (0, 0)


def test_only_an_interval_that_excludes_zero_decides():
    better = model_of([steady(0.5)])
    assert verdict(difference(better, model_of([steady(0.4)]))) == 1
    assert verdict(difference(model_of([steady(0.4)]), better)) == -1
    rng = np.random.default_rng(4)
    noisy = model_of([steady(0.45) + 0.5 * rng.standard_normal((7, 10))])
    assert verdict(difference(better, noisy)) == 0
    few = model_of([steady(0.1, n_groups=4)])
    assert difference(model_of([steady(0.5, n_groups=4)]), few).ci is None
    assert verdict(difference(model_of([steady(0.5, n_groups=4)]), few)) == 0


def test_a_difference_is_over_the_sessions_units_and_groups_that_both_have():
    rng = np.random.default_rng(5)
    x, y, z = (rng.standard_normal((7, 4)) for _ in range(3))
    a = [[of_means(x, "one", units="abcd"), of_means(z, "two", units="abcd")]]
    scores = of_means(y, "one", units="cxda")
    without = {g: v for g, v in scores.left_out.items() if g != "g3"}
    values = np.where([True, True, True, False], scores.values, np.nan)
    b = [[type(scores)("one", "a", scores.units, values, without)]]
    total = difference(a, b)
    by_hand = [x.mean(0)[2] - y.mean(0)[0], x.mean(0)[3] - y.mean(0)[2]]  # c and d; a has no score
    assert total.value == pytest.approx(np.mean(by_hand))
    assert (total.n_units, total.n_groups) == (2, 6)
    assert difference(a, [[of_means(y, "three", units="abcd")]]) is None
    assert wilcoxon_signed_rank(a, [[of_means(y, "three", units="abcd")]]) is None
    assert mann_whitney(a * 2, [[of_means(y, "three", units="abcd")]] * 2) is None


def table_of(better, n):
    out = np.zeros((n, n), bool)
    for i, j in better:
        out[i, j] = True
    return out


@pytest.mark.parametrize(
    ("better", "ranks", "groups"),
    [
        ([], [(1, 3)] * 3, [(0, 1, 2)]),
        ([(0, 1), (0, 2), (1, 2)], [(1, 1), (2, 2), (3, 3)], [(0,), (1,), (2,)]),
        ([(0, 2)], [(1, 2), (1, 3), (2, 3)], [(0, 1), (1, 2)]),  # being tied is not transitive
        ([(0, 1), (0, 2)], [(1, 1), (2, 3), (2, 3)], [(0,), (1, 2)]),
    ],
)
def test_ranks_and_groups_of_ties_made_by_hand(better, ranks, groups):
    table = table_of(better, 3)
    assert rank_intervals(table) == ranks
    assert tie_groups(table) == groups


def test_no_models_have_no_ranks_and_no_groups():
    assert rank_intervals(np.zeros((0, 0), bool)) == tie_groups(np.zeros((0, 0), bool)) == []


@settings(deadline=None)
@given(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda p: p[0] < p[1])))
def test_groups_are_all_largest_sets_without_a_difference(pairs):
    def tied(members):
        return not any(pair in pairs for pair in itertools.combinations(sorted(members), 2))

    subsets = [set(s) for n in range(1, 7) for s in itertools.combinations(range(6), n) if tied(s)]
    largest = sorted(tuple(sorted(s)) for s in subsets if not any(s < other for other in subsets))
    assert tie_groups(table_of(pairs, 6)) == largest


def test_better_means_higher_scores_or_lower_errors():
    high, low = model_of([steady(0.5)]), model_of([steady(0.3)])
    differences = {(0, 1): difference(high, low)}
    assert beats(differences, 2, lower=False).tolist() == [[False, True], [False, False]]
    assert beats(differences, 2, lower=True).tolist() == [[False, False], [True, False]]


def test_holm_against_a_published_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_against_its_definition(p):
    """A hypothesis is rejected at level x if every smaller p passes its own share of x."""
    adjusted = holm(p)
    for i in range(len(p)):
        steps = [p[j] * sum(q >= p[j] for q in p) for j in range(len(p)) if p[j] <= p[i]]
        assert adjusted[i] == pytest.approx(min(1.0, max(steps)))


def test_tests_agree_with_scipy_called_by_hand():
    rng = np.random.default_rng(6)
    a, b = draw(rng, mean=0.1, network=0.1, noise=0.2), draw(rng, n_networks=4, network=0.1, noise=0.2)
    expected = stats.mannwhitneyu(a.mean((1, 2)), b.mean((1, 2)), method="exact").pvalue
    assert mann_whitney(model_of(a), model_of(b)) == pytest.approx(expected)
    expected = stats.wilcoxon(a.mean((0, 1)), b.mean((0, 1))).pvalue
    assert wilcoxon_signed_rank(model_of(a), model_of(b)) == pytest.approx(expected)
    assert mann_whitney(model_of(a[:1]), model_of(b)) is None
    assert wilcoxon_signed_rank(model_of(a), model_of(a)) == 1.0


def test_networks_that_are_all_better_reach_the_smallest_p():
    rng = np.random.default_rng(7)
    for n, m, known in ((5, 5, 2 / 252), (2, 2, 1 / 3), (3, 5, 2 / 56)):
        a, b = draw(rng, n_networks=n, mean=9.0, noise=0.1), draw(rng, n_networks=m, noise=0.1)
        assert smallest_mann_whitney(n, m) == pytest.approx(known)
        assert mann_whitney(model_of(a), model_of(b)) == pytest.approx(known)


def test_the_contrast_is_of_gains_over_each_networks_own_twin():
    """The muscle hand's inputs alone are worth 0.3, so it scores higher although it learned less."""
    rng = np.random.default_rng(8)
    twins = {name: draw(rng, mean=base, network=0.05) for name, base in (("muscle", 0.4), ("torque", 0.1))}
    learned = {"muscle": 0.05, "torque": 0.15}
    entries = [
        scored(name, steady(gain) + twins[name][seed, :, :10], seed=seed, untrained=twins[name][seed, :, :10])
        for name, gain in learned.items()
        for seed in range(5)
    ]
    (board,) = comparison(entries, ["muscle", "torque"])
    for row in board["models"]:
        assert row["gain"]["value"] == pytest.approx(learned[row["model"]])
        assert row["gain"]["network_se"] == pytest.approx(0, abs=1e-9)  # each has its own twin's luck
        assert row["network_se"] > 0.01
    (pair,) = board["pairs"]
    sign = 1 if pair["a"] == "muscle" else -1
    assert sign * pair["contrast"]["value"] == pytest.approx(-0.1)
    assert sign * pair["value"] > 0.05
    without = [*entries[:-1], scored("torque", steady(0.3), seed=4)]
    (board,) = comparison(without, ["muscle", "torque"])
    assert board["pairs"][0]["contrast"] is None
    assert {row["model"]: row["gain"] is None for row in board["models"]} == {"muscle": False, "torque": True}


def test_a_comparison_has_ranks_verdicts_and_corrected_tests():
    entries = [
        scored(name, steady(value) + 0.001 * seed, seed=seed)
        for name, value in (("bad", 0.1), ("good", 0.5), ("twin", 0.5))
        for seed in range(3)
    ]
    (board,) = comparison(entries, ["bad", "twin", "good"])
    assert [(r["model"], r["rank"], r["rank_worst"], r["ties"]) for r in board["models"]] == [
        ("good", 1, 2, "a"),
        ("twin", 1, 2, "a"),
        ("bad", 3, 3, "b"),
    ]
    assert [(p["a"], p["b"], p["verdict"]) for p in board["pairs"]] == [
        ("good", "twin", "tie"),
        ("good", "bad", "good"),
        ("twin", "bad", "twin"),
    ]
    for test in ("mann_whitney", "wilcoxon"):
        found = [p[test] for p in board["pairs"]]
        assert [f["p_holm"] for f in found] == pytest.approx(holm([f["p"] for f in found]))
    assert [p["mann_whitney"]["smallest_p"] for p in board["pairs"]] == pytest.approx([0.1] * 3)


def test_lower_errors_come_first():
    kind = {"metric": "tracking_error", "area": "", "protocol": "tracking"}
    entries = [scored(name, steady(mm, n_units=1), **kind) for name, mm in (("clumsy", 9.0), ("deft", 5.0))]
    (board,) = comparison(entries, ["clumsy", "deft"], metric="tracking_error")
    assert board["lower_is_better"] and board["area"] == ""
    assert [(r["model"], r["rank"]) for r in board["models"]] == [("deft", 1), ("clumsy", 2)]
    assert board["pairs"][0]["verdict"] == "deft"
    assert board["pairs"][0]["value"] == pytest.approx(-4)


def test_two_models_without_enough_conditions_are_not_ranked_with_the_reason():
    few = [scored(m, steady(v, n_groups=3), reason="too few conditions") for m, v in (("a", 0.1), ("b", 0.2))]
    (board,) = comparison(few, ["a", "b"])
    assert [(r["rank"], r["ties"], r["reason"]) for r in board["models"]] == [
        (None, None, "too few conditions")
    ] * 2
    assert board["pairs"][0]["verdict"] is None
    assert abs(board["pairs"][0]["value"]) == pytest.approx(0.1)


def test_each_area_and_dataset_is_a_board_of_its_own():
    entries = [
        scored(model, steady(0.2), area=area, id=dataset)
        for model in ("a", "b")
        for area in ("M1", "S1")
        for dataset in ("one", "two")
    ]
    boards = comparison([*entries, scored("a", steady(0.2), id="alone")], ["a", "b"])
    assert [(b["dataset"], b["area"]) for b in boards] == [
        ("one", "M1"),
        ("one", "S1"),
        ("two", "M1"),
        ("two", "S1"),
    ]
    assert {b["dataset"] for b in comparison(entries, ["a", "b"], dataset="two")} == {"two"}


def test_who_is_missing_from_a_board_is_named():
    entries = [
        scored(m, steady(0.2), id=d) for m, d in (("a", "one"), ("b", "one"), ("b", "two"), ("c", "two"))
    ]
    boards = comparison(entries, ["a", "b", "c"])
    assert [(b["dataset"], b["absent"]) for b in boards] == [("one", ["c"]), ("two", ["a"])]


A, B = scored("a", steady(0.1)), scored("b", steady(0.2))


@pytest.mark.parametrize(
    ("entries", "models", "options", "message"),
    [
        ([A, B], ["a"], {}, r"One model alone cannot be compared; name at least two\."),
        ([A, B], ["a", "a"], {}, "name at least two"),
        ([A, B], ["a", "c"], {}, r"no record of a model 'c' here, but of a, b; score it with `ngb score`"),
        ([], ["a", "b"], {}, "no record of a model 'a' here; score it"),
        ([A, B], ["a", "b"], {"dataset": "x"}, "no record on the dataset 'x'; there are records on data"),
        ([A, B], ["a", "b"], {"metric": "x"}, "a has no x on ood; it has single_trial_ev on ood"),
        ([A, B], ["a", "b"], {"split": "x"}, "a has no single_trial_ev on x; it has single_trial_ev on ood"),
        (
            [A, scored("b", steady(0.2), splits="cc" * 32)],
            ["a", "b"],
            {},
            r"a and b cannot be compared, .* differ in splits \(bbbbbbbb and cccccccc\); score both",
        ),
        (
            [A, scored("b", steady(0.2), trained_on="demo", settings={"x": 1})],
            ["a", "b"],
            {},
            r"training data \(the scored dataset and demo\), settings of the protocol \(",
        ),
        (
            [
                A,
                B,
                scored("c", steady(0.2), version=2, sha256="ee" * 32),
                scored("c", steady(0.1), version=2),
            ],
            ["a", "b", "c"],
            {},
            r"c and a cannot be compared, .* differ in version of the protocol \(2 and 1\); score",
        ),
        (
            [A, scored("b", None)],
            ["a", "b"],
            {},
            "b cannot be compared by single_trial_ev on ood, .* no scores of single units for seed 0; .* score it again if",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_sentence_that_says_why(entries, models, options, message):
    with pytest.raises(NgbError, match=message):
        comparison(entries, models, **options)


def test_a_comparison_of_files_is_that_of_their_records(tmp_path):
    entries = [
        scored(name, steady(value), seed=seed, untrained=steady(0.1))
        for name, value in (("a", 0.3), ("b", 0.2))
        for seed in (0, 1)
    ]
    write(tmp_path, *entries)
    found, problems = read_scored([tmp_path], unit_scores_of())
    assert problems == ()
    assert [sorted(s.units.scores) for s in found] == [sorted(e.units.scores) for e in entries]
    (read,), (made,) = (comparison(x, ["a", "b"]) for x in (found, entries))
    for got, expected in zip(read["pairs"], made["pairs"], strict=True):
        assert got["value"] == pytest.approx(expected["value"], abs=1e-6)
        assert got["ci"] == pytest.approx(expected["ci"], abs=1e-6)
        assert got["contrast"]["ci"] == pytest.approx(expected["contrast"]["ci"], abs=1e-6)


def test_only_the_scores_that_are_wanted_are_read(tmp_path):
    write(tmp_path, scored("a", steady(0.1), untrained=steady(0.1)))
    (entry,), _ = read_scored([tmp_path], lambda labels: labels.reference == "untrained")
    assert [labels.reference for labels in entry.units.scores] == ["untrained"]
    (entry,), _ = read_scored([tmp_path], unit_scores_of("condition_averaged_ev", "test"))
    assert entry.units.scores == {} and entry.problem == ""


def spoil(path, how):
    beside = units_path(path)
    if how == "gone":
        beside.unlink()
    elif how == "cut":
        beside.write_bytes(beside.read_bytes()[:-50])
    else:
        beside.write_bytes(how)


@pytest.mark.parametrize("how", ["gone", "cut", b"", b"no npz"], ids=str)
def test_spoiled_scores_of_units_are_a_problem_that_stops_comparing_but_not_reading(tmp_path, how):
    paths = write(tmp_path, scored("a", steady(0.1)), scored("b", steady(0.2)))
    spoil(paths[0], how)
    found, problems = read_scored([tmp_path], unit_scores_of())
    assert len(found) == 2 and len(problems) == 1
    assert paths[0].stem in problems[0] and problems[0].endswith("score again.")
    with pytest.raises(NgbError, match="score again"):
        comparison(found, ["a", "b"])


@settings(max_examples=examples(25), deadline=None)
@given(st.binary(max_size=300), st.integers(0, 3000))
def test_bytes_that_bear_the_right_digest_but_are_no_scores_are_a_problem(tmp_path_factory, noise, place):
    """A record made by hand may vouch for anything."""
    entry = scored("a", steady(0.1))
    raw = bytearray(pack_units(entry.units.arrays()))
    place %= len(raw)
    raw[place : place + len(noise)] = noise
    provenance = {"units_sha256": hashlib.sha256(raw).hexdigest()}
    folder = tmp_path_factory.mktemp("records")
    write_record(folder, dataclasses.replace(entry.record, provenance=provenance), bytes(raw))
    (found,), problems = read_scored([folder], unit_scores_of())
    assert len(problems) == (found.problem != "")
    assert found.problem == "" or "does not hold scores of single units" in found.problem


def test_scores_of_units_behind_a_link_are_a_problem_and_the_record_stays(tmp_path):
    entry = scored("a", steady(0.1))
    (path,) = write(tmp_path / "records", entry)
    beside = path.with_suffix(".units.npz")
    beside.rename(tmp_path / "elsewhere")
    beside.symlink_to(tmp_path / "elsewhere")
    (found,), problems = read_scored([tmp_path], unit_scores_of())
    assert (
        problems == (found.problem,) == (f"{beside.name} is a link, folder or device, so it was not read.",)
    )
    assert not found.units.scores

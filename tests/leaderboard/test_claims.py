"""Claims are judged by the records at hand, with what is missing, and with what has to be known to read them."""

import json
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
from claimed import KINDS, NAMES, SD, encoding, judged, moving, of_kind, planted, records
from compared import write
from typer.testing import CliRunner

from neurobench_grasp import NgbError
from neurobench_grasp.cli import app
from neurobench_grasp.leaderboard import Models, claims, of_claims
from neurobench_grasp.leaderboard.evidence import evidence
from neurobench_grasp.records import read_scored
from neurobench_grasp.records.units import UnitTable


@pytest.fixture(scope="module")
def null():
    return planted(np.random.default_rng(0))


def of(scored, model, protocol):
    return [one for one in scored if (one.record.model, one.record.protocol["name"]) == (model, protocol)]


def without(scored, *left_out):
    return [one for one in scored if all(one is not other for other in left_out)]


def test_every_claim_is_measured_with_its_statistic(null):
    rows = judged(null)
    assert list(rows) == NAMES
    assert all(
        row["verdict"] != "missing" and row["ci"][0] < row["value"] < row["ci"][1] for row in rows.values()
    )
    assert rows["anatomy"]["statistic"].endswith("fixed_muscles − permuted_muscles")


def test_rows_of_curves_are_read_by_their_labels(null):
    """50 of the few units and not 10, and noise of one standard deviation."""
    rows = judged(null)
    curves = [one.record.scores for one in of(null, "muscle_ppo", "brain-control-curves")]
    at = lambda network, decoded, n, noise: next(  # noqa: E731
        r["value"] for r in network if (r["decoded"], r["n_decoded_units"], r["noise"]) == (decoded, n, noise)
    )
    tens = [1.1 * at(r, "embedding", "all", 0.0) - at(r, "embedding", "50", 0.0) for r in curves]
    added = [
        sum(sign * (at(r, kind, "all", 1.0) - at(r, kind, "all", 0.0)) for sign, kind in signs)
        for signs in [((1, "joint_angles"), (-1, "embedding"))]
        for r in curves
    ]
    assert rows["tens"]["value"] == pytest.approx(np.mean(tens))
    assert rows["noise"]["value"] == pytest.approx(np.mean(added))


def test_several_areas_are_judged_one_by_one():
    rng = np.random.default_rng(0)
    (one,) = claims([*_both_areas(rng), *moving(rng)])
    rows = {(row["name"], row["area"]): row for row in one["claims"]}
    assert (
        rows["muscle", "M1"]["verdict"] == "supported" and rows["muscle", "S1"]["verdict"] == "contradicted"
    )
    assert ("accuracy", "") in rows and ("areas", "") in rows


def _both_areas(rng):
    """Records by encoding with units of two areas, of which one follows muscles and the other torques."""
    parts = encoding(rng, "M1", muscle=0.1), encoding(rng, "S1", muscle=-0.1)
    return [
        replace(
            a,
            record=replace(a.record, scores=[*a.record.scores, *b.record.scores]),
            units=UnitTable({**a.units.scores, **b.units.scores}),
        )
        for a, b in zip(*parts, strict=True)
    ]


@pytest.mark.parametrize(("linear", "quadratic"), [(0.1, 0.2), (0.2, 0.1)])
def test_the_closer_kinematics_decide(linear, quadratic):
    rng = np.random.default_rng(0)
    rows = judged(encoding(rng, linear=linear, quadratic=quadratic))
    assert (
        rows["quadratic"]["value"] == pytest.approx(0.1, abs=0.02)
        and rows["quadratic"]["verdict"] == "supported"
    )
    rows = judged(encoding(rng, linear=-linear, quadratic=quadratic))
    assert rows["quadratic"]["verdict"] == "contradicted"


def test_the_closest_layer_decides_whether_one_is_ahead():
    sd = {**SD, "noise": 0.001, "unit": 0.001}
    rng = np.random.default_rng(0)
    assert judged(encoding(rng, sd=sd, layer=0.5))["layer"]["verdict"] == "supported"
    assert judged(encoding(rng, sd=sd, layer=-0.5))["layer"]["verdict"] == "contradicted"


def test_claims_on_memory_and_on_the_teacher_are_between_controllers_of_equal_inputs():
    rng = np.random.default_rng(0)
    rows = judged(encoding(rng, recurrence=0.05, memory=-0.04, reward=0.03, recurrent_layer=0.1))
    for name, value, one, other in (
        ("recurrence", 0.05, "muscle_lstm", "muscle_stack"),
        ("memory", -0.04, "muscle_stack", "muscle_delayed"),
        ("reward", 0.03, "muscle_ppo", "muscle_sl"),
    ):
        assert rows[name]["value"] == pytest.approx(value, abs=0.01)
        assert rows[name]["verdict"] == ("supported" if value > 0 else "contradicted")
        assert rows[name]["statistic"].endswith(f"{one} − {other}")
    assert rows["recurrent_layer"]["verdict"] == "supported"
    assert rows["layer"]["verdict"] == "inconclusive"


@pytest.mark.parametrize("name", ["actor/hidden", "actor/cell"])
def test_the_states_of_a_recurrent_layer_are_no_other_layers(name, null):
    """They cannot be what the layer has to be above."""
    state = lambda r: {**r, "layer": name, "value": 9.0}  # noqa: E731
    with_state = [
        replace(one, record=replace(one.record, scores=[*one.record.scores, state(one.record.scores[-1])]))
        if one.record.model == "muscle_lstm" and one.record.protocol["name"] == "encoding"
        else one
        for one in null
    ]
    assert judged(with_state)["recurrent_layer"]["value"] == judged(null)["recurrent_layer"]["value"]


# --- what a verdict has to be read beside ----------------------------------------------------------

OF_TWO = {"muscle", "contrast", "anatomy", "recurrence", "memory", "reward"}
"""Claims about two controllers, of which one may track better."""


@pytest.mark.parametrize("kind", KINDS)
def test_no_claim_that_the_generator_contradicts_is_supported_without_a_remark(kind):
    """Permuted muscles track worse, so that the right ones explain more of units that follow no muscle, too."""
    effects, anatomy = KINDS[kind]
    true = {name for name, effect in effects.items() if effect > 0} | ({"anatomy"} if anatomy else set())
    rows = [judged(of_kind(np.random.default_rng(seed), kind)) for seed in range(5)]
    supported = [row for one in rows for row in one.values() if row["verdict"] == "supported"]
    of_neurons = {"trained", "linear", "quadratic", "muscle", "contrast", "anatomy"}
    false = [row for row in supported if row["name"] in of_neurons - true]
    assert {row["name"] for row in false} <= {"anatomy"}
    assert all("permuted_muscles tracks" in row["remark"] for row in false)
    assert any(row["name"] == "anatomy" for row in false) or anatomy
    assert true <= {row["name"] for row in supported}


def test_a_difference_in_tracking_is_stated_with_its_size_and_interval():
    rng = np.random.default_rng(0)
    rows = judged(planted(rng, tracking=4.0, accuracy=-2.0))
    worse = r"([\d.]+) \[([\d.]+), ([\d.]+)\] mm worse than"
    for name, start, end, size in (
        ("anatomy", "permuted_muscles", "fixed_muscles", 4.0),
        ("muscle", "torque_ppo", "muscle_ppo", 2.0),
        ("contrast", "torque_ppo", "muscle_ppo", 2.0),
    ):
        found = re.fullmatch(rf"{start} tracks {worse} {end}, .* docs/claims.md", rows[name]["remark"])
        value, low, high = map(float, found.groups())
        assert low < value < high and value == pytest.approx(size, abs=0.6)
    assert not any(
        row["remark"] for name, row in rows.items() if name not in {*OF_TWO, "layer", "recurrent_layer"}
    )


def test_only_controllers_that_track_differently_get_a_remark():
    """By the rule of the claim ``accuracy``."""
    designs = [
        judged(planted(np.random.default_rng(seed), accuracy=accuracy, layers=False))
        for seed in range(4)
        for accuracy in (0.0, 2.0)
    ]
    apart = [rows["accuracy"]["verdict"] != "inconclusive" for rows in designs]
    assert any(apart) and not all(apart)
    for name in ("muscle", "contrast"):
        assert [bool(rows[name]["remark"]) for rows in designs] == apart


def test_without_records_of_tracking_it_is_not_known_who_tracks_better(null):
    rows = judged([one for one in null if one.record.protocol["name"] == "encoding"])
    for name, model in (("muscle", "muscle_ppo"), ("anatomy", "fixed_muscles")):
        why = "track equally well is not known: no record of"
        assert why in rows[name]["remark"] and f"--model {model}" in rows[name]["remark"]


def test_the_layer_that_peaks_and_the_closest_are_named():
    rng, names = np.random.default_rng(0), "actor/trajectory|actor/decoder"
    peak = judged(encoding(rng, layer=0.5))["layer"]["remark"]
    assert re.fullmatch(rf"EV is highest in actor/integration \(0\.\d+\), 0\.\d+ in ({names}); .*", peak)
    assert "wider than it should be" not in peak
    other = judged(encoding(rng, layer=-0.5))["layer"]["remark"]
    assert re.match(rf"EV is highest in ({names}) \(0\.\d+\), -0\.\d+ in actor/integration", other)
    assert judged(encoding(rng))["layer"]["remark"].endswith("no unit scores of layers are kept to pair them")


def test_remarks_are_printed_with_the_verdict_and_in_json(tmp_path):
    write(tmp_path / "records", *of_kind(np.random.default_rng(0), "kinematics"))
    command = ["claims", "--runs", str(tmp_path)]
    printed = CliRunner().invoke(app, command).stdout
    assert "supported*" in printed and "* anatomy, M1: permuted_muscles tracks" in printed
    rows = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)[0]["claims"]
    (row,) = [row for row in rows if row["name"] == "anatomy"]
    assert row["verdict"] == "supported" and f"* anatomy, M1: {row['remark']}" in printed


# --- what is missing ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_networks", [1, 2])
def test_few_networks_have_a_value_and_no_verdict(n_networks):
    rows = judged(planted(np.random.default_rng(0), n_networks=n_networks))
    for row in rows.values():
        assert row["verdict"] == "inconclusive" and row["value"] is not None
        assert row["ci"] is None is row["power"] and row["reason"].startswith("no interval")


def test_an_open_fold_leaves_new_conditions_without_an_interval(null):
    rows = judged([one for one in null if one.record.seed < 4])
    assert "4 of 5 folds" in rows["muscle"]["reason"] and rows["muscle"]["verdict"] == "inconclusive"
    assert rows["areas"]["ci"]  # on new trials


def test_rows_without_intervals_have_no_verdict(null):
    """Units that all networks share are not in the variance over networks."""
    strip = lambda r: {**r, "ci": None} if "layer" in r else r  # noqa: E731
    bare = [replace(s, record=replace(s.record, scores=[*map(strip, s.record.scores)])) for s in null]
    assert judged(bare)["layer"]["verdict"] == "inconclusive"
    assert "rows have none" in judged(bare)["layer"]["reason"]


def test_what_is_missing_is_named_with_a_command(null):
    rows = judged(
        without(null, *of(null, "torque_ppo", "encoding"), *of(null, "muscle_ppo", "brain-control-curves")),
        known={"planted"},
    )
    for name, model, protocol in (
        ("muscle", "torque_ppo", "encoding"),
        ("contrast", "torque_ppo", "encoding"),
        ("tens", "muscle_ppo", "brain-control-curves"),
    ):
        assert rows[name]["verdict"] == "missing" and rows[name]["value"] is None
        command = f"`ngb score --model {model} --dataset planted --protocol {protocol} --seeds 5`"
        assert command in rows[name]["reason"]
    assert rows["trained"]["verdict"] != "missing"


def test_a_dataset_without_a_name_is_that_of_a_file(null):
    rows = judged(without(null, *of(null, "torque_ppo", "encoding")))
    command = "`ngb score --model torque_ppo --dataset FILE --protocol encoding --seeds 5` makes it"
    assert (
        f"{command}, where FILE is the path or address that was scored as planted" in rows["muscle"]["reason"]
    )


def of_conditions(scored, n):
    """The records as those of a dataset with few conditions, one in each fold."""
    few = [one for one in scored if one.record.seed < n]
    return [replace(s, record=replace(s.record, dataset={**s.record.dataset, "n_folds": n})) for s in few]


@pytest.mark.parametrize("n_scored", [1, 4])
def test_where_conditions_are_too_few_for_an_interval_no_command_is_named_that_gives_one(n_scored):
    few = of_conditions(planted(np.random.default_rng(0), n_conditions=4, n_networks=4), 4)
    rows = judged([one for one in few if one.record.seed < n_scored])
    for name in ("trained", "muscle", "accuracy", "embedding"):
        assert rows[name]["verdict"] == "inconclusive" and "`" not in rows[name]["reason"]
        assert re.match("no interval: 4 conditions, fewer than 5; no command gives one", rows[name]["reason"])
    rows = judged(
        without(few, *of(few, "torque_ppo", "encoding"), *of(few, "muscle_ppo", "brain-control-curves"))
    )
    assert rows["muscle"]["reason"].endswith("but there will be no interval: 4 conditions, fewer than 5")
    assert "but there will be" not in rows["tens"]["reason"]  # on new trials


def test_where_no_condition_is_held_out_no_command_is_named(null):
    bare = [replace(s, record=replace(s.record, dataset={**s.record.dataset, "n_folds": 1})) for s in null]
    bare = [replace(s, units=UnitTable({})) if s.record.model == "torque_ppo" else s for s in bare]
    reason = judged(bare)["muscle"]["reason"]
    assert reason.endswith("no command makes them, since with fewer than 3 conditions none is held out")


def test_an_area_that_was_not_recorded_is_said_to_be_none(null):
    strip = lambda rows: [r for r in rows if r.get("area") != "S1"]  # noqa: E731
    bare = [replace(s, record=replace(s.record, scores=strip(s.record.scores))) for s in null]
    row = judged(bare)["areas"]
    assert row["verdict"] == "missing" and row["reason"] == "the recording has no units of S1"


def test_the_command_that_is_named_is_one_that_scores(tmp_path):
    """The plan of its jobs is what would run."""
    write(tmp_path / "records", *records("torque_ppo", "encoding", id="demo"))
    options = ["--dataset", "demo", "--runs", str(tmp_path)]
    result = CliRunner().invoke(app, ["claims", *options])
    assert result.exit_code == 0
    command = next(part for part in result.stdout.split("`") if "--model muscle_ppo" in part)
    program, verb, *named = shlex.split(command)
    assert (program, verb) == ("ngb", "score")
    plan = CliRunner().invoke(app, ["plan", *named])
    assert plan.exit_code == 0 and plan.stdout.count("muscle_ppo") >= 5


@pytest.mark.parametrize("verb", [["claims"], ["power", "demo"]])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--muscle", "linear_kinematic"], "linear_kinematic moves no body"),
        (["--torque", "static_optimisation"], "static_optimisation moves no body"),
        (["--muscle", "torque_ppo"], "name two models"),
    ],
)
def test_models_that_the_claims_cannot_be_about_are_refused(tmp_path, verb, options, says):
    write(tmp_path / "records", *records("torque_ppo", "encoding", id="demo"))
    result = CliRunner().invoke(app, [*verb, *options, "--runs", str(tmp_path)])
    assert result.exit_code == 2 and says in result.stderr


def test_damaged_unit_scores_are_reported_and_named(tmp_path, null):
    mine = of(null, "muscle_ppo", "encoding") + of(null, "torque_ppo", "encoding")
    paths = write(tmp_path, *mine)
    paths[1].with_suffix(".units.npz").write_bytes(b"damaged")
    scored, problems = read_scored([tmp_path], of_claims)
    assert len(problems) == 1
    rows = judged(scored)
    assert rows["muscle"]["verdict"] == "missing" and "seed 1 (" in rows["muscle"]["reason"]
    assert rows["accuracy"]["verdict"] == "missing"


@pytest.mark.parametrize("change", [{"version": 1}, {"settings": {"n_folds": 7}}, {"date": "2020-01-01"}])
def test_records_of_another_version_settings_or_date_are_not_mixed_with_the_others(null, change):
    other = encoding(np.random.default_rng(1), n_networks=3, muscle=0.5)
    protocol = lambda r: {**r.protocol, **{k: v for k, v in change.items() if k != "date"}}  # noqa: E731
    aged = lambda r: {**r.provenance, "date": change.get("date", "2030-01-01")}  # noqa: E731
    older = [
        replace(s, record=replace(s.record, protocol=protocol(s.record), provenance=aged(s.record)))
        for s in other
    ]
    assert claims([*older, *null]) == claims(null) == claims([*null, *older])


def test_models_that_were_scored_by_different_versions_are_not_compared(null):
    newer = [
        replace(s, record=replace(s.record, protocol={**s.record.protocol, "version": 3}))
        for s in of(null, "muscle_ppo", "encoding")
    ]
    rows = judged([*without(null, *of(null, "muscle_ppo", "encoding")), *newer])
    assert rows["muscle"]["verdict"] == "missing" and rows["trained"]["verdict"] != "missing"


def test_each_content_of_a_dataset_is_judged_by_itself(null):
    other = [
        replace(s, record=replace(s.record, dataset={**s.record.dataset, "sha256": "dd" * 32})) for s in null
    ]
    assert len(evidence([*null, *other])) == 2 == len(claims([*null, *other]))


def test_a_model_that_was_named_and_has_no_record_is_missing(null):
    rows = judged(null, models=Models(muscle="mine"))
    assert "no record of mine by encoding" in rows["muscle"]["reason"]
    assert rows["anatomy"]["verdict"] != "missing"


def test_without_records_or_with_those_of_others_there_is_nothing_to_judge(null):
    assert claims([]) == [] == claims(null, Models(*"abcdefgh"))
    with pytest.raises(NgbError, match="'nothing'; there are records on planted"):
        claims(null, dataset="nothing")


@pytest.mark.parametrize("command", [["claims"], ["claims", "--dataset", "planted"], ["power", "planted"]])
def test_the_commands_print_tables_and_json(tmp_path, null, command):
    write(tmp_path / "records", *null)
    for option in ([], ["--json"]):
        result = CliRunner().invoke(app, [*command, "--runs", str(tmp_path), *option])
        assert result.exit_code == 0 and "planted" in result.stdout, result.stderr


@pytest.mark.parametrize("command", [["claims"], ["claims", "-d", "nothing"], ["power", "nothing"]])
def test_the_commands_say_what_to_do_without_records(tmp_path, null, command):
    for folder in (tmp_path / "empty", tmp_path / "full"):
        write(folder / "records", *(null if folder.name == "full" and len(command) > 1 else []))
        folder.mkdir(exist_ok=True)
        result = CliRunner().invoke(app, [*command, "--runs", str(folder)])
        assert result.exit_code == 1 and result.stdout == ""
        assert "There is no record" in result.stderr

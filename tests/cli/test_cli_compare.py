"""``ngb compare`` and ``ngb leaderboard`` on records in folders."""

import json
import re

import pytest
from compared import scored, steady, write
from typer.testing import CliRunner

from neurobench_grasp.cli import app
from neurobench_grasp.records.record import units_path


@pytest.fixture
def ngb(tmp_path, tmp_path_factory, monkeypatch):
    """Run the command line in an empty folder, without the results that are shipped."""
    none = tmp_path_factory.mktemp("results")
    monkeypatch.setattr("neurobench_grasp.resources.resource", lambda _: none)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def words(text):
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.fixture
def runs(tmp_path):
    """Records of a muscle and a torque model with twins, of one model without, and of tracking."""
    entries = [
        scored(name, steady(value) + 0.002 * seed, seed=seed, untrained=steady(twin), synthetic=True)
        for name, value, twin in (("muscle_ppo", 0.5, 0.4), ("torque_ppo", 0.45, 0.3))
        for seed in range(2)
    ]
    entries.append(scored("linear_kinematic", steady(0.2), synthetic=True))
    hand = {"metric": "tracking_error", "area": "", "protocol": "tracking"}
    entries += [
        scored(name, steady(mm, n_units=1), **hand) for name, mm in (("muscle_ppo", 9), ("torque_ppo", 5))
    ]
    write(tmp_path / "ngb-runs" / "records", *entries)
    return tmp_path / "ngb-runs"


def test_the_tables_say_who_is_better_by_how_much_and_why(ngb, runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    result = ngb("compare", "linear_kinematic", "torque_ppo", "muscle_ppo")
    assert result.exit_code == 0, result.stderr
    lines = words(result.stdout)
    assert lines[0] == "M1 on data (synthetic self-test, data aaaaaaaa), encoding v1 (settings 44136fa3)"
    assert lines[1] == "single-trial EV on ood; higher is better"
    (models,) = [k for k, line in enumerate(lines) if line.startswith("rank model")]
    assert [re.sub(r"-?0\.\d+", "#", line) for line in lines[models + 2 : models + 5]] == [
        "1 a muscle_ppo # [#, #] 2 # # 10",
        "2 b torque_ppo # [#, #] 2 # # 10",
        "3 c linear_kinematic # [#, #] 1 # – 10",
    ]
    (differences,) = [k for k, line in enumerate(lines) if line.startswith("difference mean")]
    assert lines[differences + 2].startswith("muscle_ppo − torque_ppo 0.050 [")
    assert lines[differences + 2].endswith(" muscle_ppo")
    (twins,) = [k for k, line in enumerate(lines) if line.startswith("above the untrained twin")]
    gains = ("muscle_ppo 0.101", "torque_ppo 0.151", "contrast: muscle_ppo − torque_ppo -0.050")
    for line, gain in zip(lines[twins + 2 : twins + 5], gains, strict=True):
        assert line.startswith(f"{gain} –") and "[" not in line, "two networks give no interval"
    (tests,) = [k for k, line in enumerate(lines) if line.startswith("tests, which decide nothing")]
    assert lines[tests + 2] == "muscle_ppo − torque_ppo 0.333 0.333 0.002 0.006"
    assert lines[tests + 3] == "muscle_ppo − linear_kinematic – – 0.002 0.006"
    assert "The smallest p that Mann–Whitney can reach is 0.333 for muscle_ppo − torque_ppo." in lines
    assert "linear_kinematic: one network, so intervals do not contain how networks differ" in lines
    assert lines[-1].startswith("Two models differ if and only if the 95 % interval of their difference")


def test_the_tables_fit_80_columns_and_nothing_is_cut(ngb, runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = ngb("compare", "linear_kinematic", "torque_ppo", "muscle_ppo").stdout.splitlines()
    tables = [line for line in lines if line.startswith("─")]
    assert len(tables) == 4 and max(map(len, tables)) <= 80
    assert any(re.match(r"3 c +linear_kinematic +0\.200 \[0\.\d{3}, 0\.\d{3}\] +1 ", line) for line in lines)


def test_json_has_it_all(ngb, runs):
    (board,) = json.loads(ngb("compare", "muscle_ppo", "torque_ppo", "--json").stdout)
    assert board["lower_is_better"] is False and board["metric"] == "single_trial_ev"
    assert [row["seeds"] for row in board["models"]] == [[0, 1], [0, 1]]
    (pair,) = board["pairs"]
    assert (pair["a"], pair["b"], pair["verdict"]) == ("muscle_ppo", "torque_ppo", "muscle_ppo")
    assert pair["contrast"]["value"] == pytest.approx(-0.05)
    assert pair["network_se"] == pytest.approx(0.001 * 2**0.5, rel=1e-5)


def test_lower_errors_are_better_and_have_their_unit(ngb, tmp_path):
    hand = {"metric": "tracking_error", "area": "", "protocol": "tracking", "unit": "mm"}
    write(tmp_path / "x", *(scored(n, steady(mm, n_units=1), **hand) for n, mm in (("a", 9), ("b", 5))))
    result = ngb("compare", "a", "b", "--metric", "tracking_error", "--runs", "x")
    lines = words(result.stdout)
    assert lines[0] == "movement on data (recordings, data aaaaaaaa), tracking v1 (settings 44136fa3)"
    assert lines[1] == "tracking error (mm) on ood; lower is better"
    assert [line[:5] for line in lines[5:7]] == ["1 a b", "2 b a"]
    assert any(line.startswith("b − a -4.00 [-4.00, -4.00]") and line.endswith(" b") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["muscle_ppo"], 2, "name at least two models"),
        (["muscle_ppo", "muscle_ppo"], 2, "name at least two models"),
        ([], 2, "Missing argument"),
        (["muscle_ppo", "musle"], 1, "no record of a model 'musle' here, but of linear_kinematic, muscle_ppo"),
        (["muscle_ppo", "torque_ppo", "--dataset", "x"], 1, "no record on the dataset 'x'; there are records on data"),
        (["muscle_ppo", "torque_ppo", "--split", "x"], 1, "has no single_trial_ev on x; it has single_trial_ev"),
        (["linear_kinematic", "muscle_ppo", "--metric", "tracking_error"], 1, "linear_kinematic has no tracking_error"),
    ],
)  # fmt: skip
def test_wrong_questions_are_one_sentence(ngb, runs, arguments, code, message):
    result = ngb("compare", *arguments)
    assert result.exit_code == code and result.stdout == ""
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_without_records_the_answer_says_what_to_do(ngb):
    result = ngb("compare", "a", "b")
    assert result.exit_code == 1
    assert result.stderr == (
        "There is no record of a model 'a' here; score it with `ngb score`, or name its run "
        "folder with --runs.\n"
    )


def test_scores_of_units_that_cannot_be_read_stop_a_comparison_but_not_the_leaderboard(ngb, tmp_path):
    _, bad, also = write(
        tmp_path / "x", *(scored(m, steady(v)) for m, v in (("good", 0.3), ("bad", 0.2), ("also", 0.1)))
    )
    units_path(bad).write_bytes(b"spoilt")
    units_path(also).unlink()
    result = ngb("compare", "good", "bad", "--runs", "x")
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr.splitlines()[-1].endswith(
        ".units.npz is not what its record was made with; score again."
    )
    result = ngb("leaderboard", "x")
    assert result.exit_code == 0
    assert result.stderr.count("\n") == result.stderr.count("left out: ") == 2
    lines = words(result.stdout)
    assert re.fullmatch(r"1 a good 0\.\d+ \[.*\] 1 10", lines[3])
    assert [re.sub(r"0\.\d+", "#", line) for line in lines[4:6]] == ["– bad # – 0 10", "– also # – 0 10"]
    assert "bad, also: no scores of single units for seed 0" in lines
    assert len(json.loads(ngb("leaderboard", "x", "--json").stdout)) == 3

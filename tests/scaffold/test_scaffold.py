"""New plugins work as they are; bad names, taken names and faults leave nothing behind."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from planted import PAD, context_of, repeating_population
from typer.testing import CliRunner

from neurobench_grasp.checks import run_checks
from neurobench_grasp.cli import app
from neurobench_grasp.contract import Activations, DecodedTrials, Goal, Ragged
from neurobench_grasp.errors import NgbError
from neurobench_grasp.protocols.brain_control.trials import postures_ahead
from neurobench_grasp.run.evaluate import evaluate
from neurobench_grasp.scaffold import new_plugin

ROOT = Path(__file__).parents[2]
KINDS = ("model", "controller", "dataset", "protocol", "decoder", "body")


def ngb(*arguments):
    return CliRunner().invoke(app, [str(word) for word in arguments])


@pytest.mark.parametrize(
    "kind", [pytest.param("controller", marks=pytest.mark.slow), "dataset", "protocol", "decoder", "body"]
)  # a model: tests/evening
def test_a_new_plugin_passes_every_check(made, kind):
    made(kind, f"our_{kind}")
    report = run_checks(f"our_{kind}")
    assert [row for row in report.rows if row.status not in ("pass", "skip")] == []
    assert len([row for row in report.rows if row.status == "pass"]) > 10


def test_new_model_dataset_and_protocol_score_together(made, tmp_path):
    made("model", "our_model")
    made("dataset", "our_data")
    made("protocol", "our_measure")
    encoding, similarity = evaluate(
        "our_model", "our_data", protocols=["encoding", "our_measure"], seeds=(0,), out=tmp_path / "run"
    )
    overall = [
        row["value"]
        for row in encoding.scores
        if row["metric"] == "single_trial_ev"
        and row["split"] == "test"
        and not row.keys() & {"session", "layer", "reference", "of"}
    ]
    assert min(overall) > 0.1, "units follow the fingers, so the network must explain them"
    assert {row.get("layer") for row in similarity.scores} == {None, "hidden", "forecast"}
    assert all(-1 <= row["value"] <= 1 for row in similarity.scores)
    assert similarity.protocol["settings"]["split"] == "test"


def test_the_new_protocol_knows_a_model_that_is_like_the_neurons_from_one_that_is_not(made):
    made("protocol", "our_measure")
    import ngb_our_measure

    rng = np.random.default_rng(0)
    session = repeating_population(rng, n_objects=12, n_repeats=6)
    padded = {
        trial: np.pad(rates, ((PAD, PAD), (0, 0)))
        for trial, rates in zip(session.trials.ids, session.units.rates, strict=True)
    }
    noise = {trial: rng.standard_normal(rates.shape) for trial, rates in padded.items()}

    def activations(trials):
        layers = {"same": padded, "noise": noise}
        return Activations({name: Ragged.of([x[t] for t in trials.ids]) for name, x in layers.items()})

    scores = ngb_our_measure.run(context_of(session, activations=activations))
    found = {row.get("layer"): row["value"] for row in scores.rows}
    assert found[None] == pytest.approx((found["same"] + found["noise"]) / 2)
    assert found["same"] == pytest.approx(1.0)
    assert abs(found["noise"]) < 0.4


def test_what_the_new_dataset_writes_has_no_error_and_no_warning(made):
    made("dataset", "our_data")
    import ngb_our_data

    (path,) = ngb_our_data.files()
    before = path.stat().st_mtime_ns
    done = ngb("data", "validate", path)
    summary, joints = done.stdout.splitlines()
    assert done.exit_code == 0 and summary == f"{path}: 1 info"
    assert "joints not recorded, held at neutral" in joints
    assert ngb_our_data.files() == [path] and path.stat().st_mtime_ns == before, "made once"


def test_the_new_decoder_finds_a_planted_command(made):
    made("decoder", "our_decoder")
    import ngb_our_decoder

    rng = np.random.default_rng(0)
    counts = [rng.poisson(3.0, (60, 30)) for _ in range(20)]
    weights = rng.standard_normal((30, 2))
    kept = np.exp(-0.02 / 0.12)

    def command(bins):  # a leaky sum, as a plain loop
        total, rows = np.zeros(30), []
        for row in bins:
            total = kept * total + row
            rows.append(total @ weights)
        return np.array(rows)[10:]

    train, test = counts[:15], counts[15:]
    decoder = ngb_our_decoder.LeakyLinear()
    wanted = Ragged.of([command(bins) for bins in train])
    decoder.fit(DecodedTrials(Ragged.of(train), wanted, ("cup",) * 15, dt=0.02))
    decoder.reset(len(test))
    found = np.stack([decoder.observe(np.stack([bins[t] for bins in test])) for t in range(60)], axis=1)[
        :, 10:
    ]
    truth = np.stack([command(bins) for bins in test])
    assert 1 - ((found - truth) ** 2).mean() / truth.var() > 0.99


def test_the_new_controller_imitates_better_than_a_hand_that_stays(made):
    from movements import HAND, grasp_trials

    from neurobench_grasp.bodies import keypoint_distances

    made("controller", "our_hand")
    import ngb_our_hand

    trials = grasp_trials(n_trials=6)
    (spec,) = ngb_our_hand.ngb_models()
    model = spec.build(0)
    model.fit(trials, seed=0)
    wanted = HAND.keypoint_positions(trials.joint_angles.values)
    still = HAND.keypoint_positions(
        np.concatenate([np.repeat(a[:1], len(a), axis=0) for a in trials.joint_angles])
    )
    tracked = model.track(trials).keypoints.values
    error = keypoint_distances(tracked, wanted).mean()
    assert error < 0.85 * keypoint_distances(still, wanted).mean()

    goal = Goal("joint_angles", postures_ahead(trials.joint_angles, 5))  # as in brain control
    np.testing.assert_allclose(model.track(trials, goal=goal).keypoints.values, tracked, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_new_code_keeps_the_projects_style(tmp_path, kind):
    for name in ("a", "b" * 40):
        new_plugin(kind, name, tmp_path)
    for arguments in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ruff",
                *arguments,
                "--no-cache",
                "--config",
                str(ROOT / "pyproject.toml"),
                ".",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_of_the_template_is_left_and_the_folder_says_what_it_is(tmp_path):
    for kind in KINDS:
        folder = new_plugin(kind, f"our-{kind}", tmp_path)
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {"LICENSE", "README.md", "pyproject.toml", f"ngb_our_{kind}.py"} < {
            path.name for path in files
        }
        for path in files:
            assert not re.search(r"my.plugin|a_kind", path.read_text() + path.name), path
        assert f'our-{kind} = "ngb_our_{kind}"' in (folder / "pyproject.toml").read_text()
        assert f'description = "A {kind} for' in (folder / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("My Model!", "such as 'my_model'"),
        ("../outside", "such as 'outside'"),
        ("", "cannot be a plugin's name"),
        ("model_", "such as 'model'"),
        ("m.odel", "such as 'm_odel'"),
        ("ä", "cannot be a plugin's name"),
        ("a\nb", "such as 'a_b'"),
        ("x" * 41, f"such as '{'x' * 40}'"),
    ],
)
def test_bad_names_are_refused_with_a_better_one(tmp_path, name, why):
    with pytest.raises(NgbError, match=re.escape(why)):
        new_plugin("model", name, tmp_path / "inside")
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_taken_are_refused(made, tmp_path):
    made("model", "our_model")
    for kind, name, why in (
        ("dataset", "demo", "already provides a dataset called demo"),
        ("controller", "muscle_ppo", "already provides a plugin called muscle_ppo"),
        ("decoder", "kalman", "already provides a decoder called kalman"),
        ("dataset", "our_model", "ngb-our-model 0.1.0 already provides a plugin called our_model"),
        ("dataset", "our-model", "The Python module ngb_our_model exists already"),
    ):
        with pytest.raises(NgbError, match=re.escape(why)):
            new_plugin(kind, name, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    assert new_plugin("model", "demo", tmp_path).is_dir(), "a model may be called like a dataset"


def test_keywords_and_names_of_the_library_are_harmless(tmp_path):
    for name in ("class", "json", "1st", "numpy"):
        folder = new_plugin("model", name, tmp_path)
        assert (folder / f"ngb_{name}.py").is_file()


@pytest.mark.parametrize("there", ["folder", "file", "link"])
def test_what_is_there_is_never_touched(tmp_path, there):
    place = tmp_path / "our_model"
    {
        "folder": place.mkdir,
        "file": lambda: place.write_text("mine"),
        "link": lambda: place.symlink_to(tmp_path / "nowhere"),
    }[there]()
    was = os.lstat(place)
    done = ngb("new", "model", "our_model", "--to", tmp_path)
    assert done.exit_code == 1 and f"{place} exists already" in done.stderr
    now = os.lstat(place)
    assert (now.st_ino, now.st_mtime_ns) == (was.st_ino, was.st_mtime_ns)
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("after", [0, 3])
def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, after):
    written = []
    write = Path.write_text

    def full(path, *args, **kwargs):
        written.append(path)
        if len(written) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(NgbError, match=r"our_model \(No space left on device\); free some space"):
        new_plugin("model", "our_model", tmp_path)
    assert len(written) == after + 1 and list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_or_not_writable_is_one_sentence(tmp_path):
    done = ngb("new", "decoder", "our_decoder", "--to", tmp_path / "nowhere")
    assert done.exit_code == 1 and done.stderr.count("\n") == 1 and "No such file" in done.stderr
    (tmp_path / "file").write_text("")
    done = ngb("new", "decoder", "our_decoder", "--to", tmp_path / "file")
    assert done.exit_code == 1 and done.stderr.count("\n") == 1 and "Not a directory" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_command_tells_what_is_there_and_what_comes_next(tmp_path):
    done = ngb("new", "model", "our_hand", "--controller", "--to", tmp_path, "--json")
    reported = json.loads(done.stdout)
    assert done.exit_code == 0
    assert {str(path.relative_to(reported["folder"])) for path in Path(reported["folder"]).rglob("*.*")} <= {
        *reported["files"]
    }
    assert reported["next"][1:] == ["ngb check our_hand", "ngb score --model our_hand"]
    assert "controller=True" in (tmp_path / "our_hand/ngb_our_hand.py").read_text()
    printed = ngb("new", "decoder", "our_decoder", "--to", tmp_path).stdout
    assert f"pip install -e '{tmp_path}/our_decoder[test]'" in printed
    assert "--decoder our_decoder" in printed

"""A score trains the network that it needs, once, and only where it may."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from arms import BODY, write_reaches
from recorded import write_planted
from typer.testing import CliRunner

from neurobench_grasp.bodies import find_body
from neurobench_grasp.cli import app
from neurobench_grasp.controllers import NetworkCard
from neurobench_grasp.controllers.files import read_arrays
from neurobench_grasp.controllers.settings import ControllerSettings, estimated_minutes
from neurobench_grasp.errors import MissingNetworkError
from neurobench_grasp.run import missing
from neurobench_grasp.run.evaluate import evaluate
from neurobench_grasp.run.job import Options
from neurobench_grasp.run.train import train_network

STEPS = 600
MAY_TRAIN = Options(train=True, steps=STEPS)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own


@pytest.fixture(scope="module")
def reaches(tmp_path_factory):
    return write_reaches(tmp_path_factory.mktemp("arm") / "reaches.nwb")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def quick(monkeypatch):
    """Train for a few of the movements, and count trainings."""
    pytest.importorskip("torch")
    done, train_on = [], missing.train_on

    def counted(candidate, *arguments, **options):
        done.append((candidate.spec.name, options["seed"]))
        return train_on(candidate, *arguments, **options)

    monkeypatch.setattr(missing, "train_on", counted)
    return done


def ngb(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def score(model, dataset, out, *arguments):
    return ngb("score", "-m", model, "-d", dataset, "-o", out, "-p", "tracking", *arguments)


def cards(cache):
    return sorted(cache.glob("checkpoints/*/*.json"))


def weights(card):
    return card.with_suffix(".safetensors").read_bytes()


def rows(records):
    return [record.scores for record in records]


# --- it trains --------------------------------------------------------------------------------------


def test_one_command_trains_what_is_missing_and_the_next_finds_it(quick, reaches, cache, tmp_path):
    first = score("torque_ppo", reaches, tmp_path / "run", "--steps", "6e2")
    assert first.exit_code == 0, first.stderr
    for said in (
        "one is trained now (`--no-train` refuses)",
        "min on idle cores (an estimate)",
        "mm while exploring",
    ):
        assert said in first.stderr
    assert quick == [("torque_ppo", 0)]
    (card,) = cards(cache)
    assert f"network: {card} (1,024 steps in " in first.stdout
    assert NetworkCard.read(card).body == BODY
    assert not list(card.parent.glob(".*")), "nothing of the training is left"

    again = score("torque_ppo", reaches, tmp_path / "run")
    assert again.exit_code == 0 and "while exploring" not in again.stderr
    assert quick == [("torque_ppo", 0)] and first.stdout == again.stdout


def test_network_and_scores_are_those_of_a_separate_training(quick, reaches, cache, tmp_path, monkeypatch):
    at_once = evaluate(
        "torque_ppo", reaches, out=tmp_path / "a", protocols=["tracking", "encoding"], options=MAY_TRAIN
    )
    path, card = train_network("torque_ppo", reaches, steps=STEPS, to=tmp_path / "apart")
    assert weights(path) == weights(*cards(cache)) and card.sha256 == NetworkCard.read(*cards(cache)).sha256
    apart = evaluate("torque_ppo", reaches, out=tmp_path / "b", protocols=["tracking", "encoding"])
    assert rows(at_once) == rows(apart) and len(quick) == 1


def test_the_network_before_training_has_its_trained_twin_trained(quick, reaches, cache, tmp_path):
    run = score("untrained", reaches, tmp_path / "run", "--steps", STEPS)
    assert run.exit_code == 0, run.stderr
    assert quick == [("muscle_ppo", 0)] and "muscle_ppo-0.json (1,024 steps" in run.stdout
    assert "untrained (seed 0) needs a network of muscle_ppo" in run.stderr
    assert score("muscle_ppo", reaches, tmp_path / "run").exit_code == 0 and len(quick) == 1


def test_an_expert_is_trained_before_the_network_that_imitates_it(quick, reaches, cache, tmp_path):
    run = score("muscle_sl", reaches, tmp_path / "run", "--steps", STEPS)
    assert run.exit_code == 0, run.stderr
    assert quick == [("muscle_ppo", 0), ("muscle_sl", 0)]
    expert, pupil = (NetworkCard.read(card) for card in cards(cache))
    assert expert.expert is None and len(pupil.expert) == 64
    assert expert.settings == pupil.settings and expert.weights_sha256 != pupil.weights_sha256
    cards(cache)[0].unlink()  # once trained, it needs its expert no more
    assert score("muscle_sl", reaches, tmp_path / "other", "--no-train").exit_code == 0


def test_each_seed_that_is_missing_is_trained(quick, reaches, cache, tmp_path):
    assert (
        score("permuted_muscles", reaches, tmp_path / "run", "--seed", "1", "--steps", STEPS).exit_code == 0
    )
    run = score("permuted_muscles", reaches, tmp_path / "run", "--seeds", "2", "--steps", STEPS)
    assert run.exit_code == 0, run.stderr
    assert quick == [("permuted_muscles", 1), ("permuted_muscles", 0)]
    assert [f"network: {card} (" in run.stdout for card in cards(cache)] == [True, True]


@pytest.mark.slow
def test_worker_processes_train_their_networks(reaches, cache, tmp_path):
    pytest.importorskip("torch")
    run = score("torque_ppo", reaches, tmp_path / "run", "--seeds", "2", "--steps", STEPS, "--on", "local:2")
    assert run.exit_code == 0, run.stderr
    assert [card.name for card in cards(cache)] == ["torque_ppo-0.json", "torque_ppo-1.json"]
    assert all(f"network: {card} (" in run.stdout for card in cards(cache))


def test_an_interrupted_training_resumes_to_the_same_network(quick, reaches, cache, tmp_path, monkeypatch):
    monkeypatch.setattr("neurobench_grasp.controllers.training.CHECKPOINT_SECONDS", 0.0)
    options = Options(train=True, steps=4 * 512)
    whole, _ = train_network("torque_ppo", reaches, steps=4 * 512, to=tmp_path / "whole")

    class Dead(BaseException):
        """Stands for the end of the process."""

    def die(text):
        if "1,024 of 2,048" in text:
            raise Dead

    with pytest.raises(Dead):
        evaluate("torque_ppo", reaches, out=tmp_path / "run", options=options, progress=die)
    assert cards(cache) == []
    (checkpoint,) = cache.glob("checkpoints/*/.*/training.safetensors")
    assert read_arrays(checkpoint)[1]["steps"] == "512"
    said = []
    evaluate(
        "torque_ppo", reaches, out=tmp_path / "run", protocols=["tracking"], options=options,
        progress=said.append,
    )  # fmt: skip
    assert not any(text.startswith("512 of") for text in said)
    assert weights(*cards(cache)) == weights(whole)


def test_two_that_need_the_same_network_train_it_once(quick, reaches, cache, tmp_path):
    said = []

    def scored(model):
        return evaluate(
            model, reaches, out=tmp_path / model, protocols=["tracking"], options=MAY_TRAIN,
            progress=said.append,
        )  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(scored, ["muscle_ppo", "untrained"]))
    assert quick == [("muscle_ppo", 0)] and len(both) == 2
    assert any("waiting for another process" in text for text in said)


def test_a_network_of_another_dataset_of_that_name_is_kept(quick, reaches, cache, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "run").mkdir()
    wider = write_reaches(other / reaches.name, turn=0.25)
    for dataset in (reaches, wider, reaches, wider):
        assert score("torque_ppo", dataset, tmp_path / "run", "--steps", STEPS).exit_code == 0
    assert len(quick) == 2 and len(cards(cache)) == 2


def test_a_frozen_model_is_trained_on_the_dataset_that_trains_it(quick, reaches, cache, tmp_path):
    wider = write_reaches(tmp_path / "wider.nwb", turn=0.25, seed=1)
    run = score("torque_ppo", wider, tmp_path / "run", "--trained-on", reaches, "--steps", STEPS)
    assert run.exit_code == 0, run.stderr
    assert [NetworkCard.read(card).dataset["id"] for card in cards(cache)] == ["reaches"]


# --- it does not --------------------------------------------------------------------------------------


def test_without_permission_one_sentence_says_what_to_do(quick, reaches, cache, tmp_path):
    run = score("torque_ppo", reaches, tmp_path / "run", "--no-train")
    assert run.exit_code == 1 and run.stdout == ""
    last = run.stderr.strip().splitlines()[-1]
    assert "`ngb train --model torque_ppo --seed 0`" in last and "without `--no-train`" in last
    with pytest.raises(MissingNetworkError):  # the library's default
        evaluate("torque_ppo", reaches, out=tmp_path / "run", protocols=["tracking"])
    assert quick == [] and not (cache / "checkpoints").exists()


def test_a_session_without_a_body_says_so_and_trains_nothing(quick, cache, tmp_path):
    run = ngb("score", "-m", "muscle_ppo", "-d", write_planted(tmp_path / "planted.nwb"), "-o", tmp_path)
    assert run.exit_code == 1 and "no joint angles of a body" in run.stderr.strip().splitlines()[-1]
    assert quick == [] and not (cache / "checkpoints").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("-m", "torque_ppo", "--steps", "0"), 2, "not a whole number"),
        (("-m", "torque_ppo", "--steps", "1.5"), 2, "not a whole number"),
        (("-m", "torque_ppo", "--steps", "nan"), 2, "not a whole number"),
        (("-m", "torque_ppo", "--steps", "1e30"), 2, "not a whole number"),
        (("-m", "torque_ppo", "--steps", "600", "--no-train"), 2, "nothing is trained with"),
        (("-m", "linear_kinematic", "--steps", "600"), 1, "leave out --steps"),
    ],
)
def test_steps_of_nothing_are_refused(reaches, cache, tmp_path, arguments, code, why):
    run = ngb("score", *arguments, "-d", reaches, "-o", tmp_path / "run")
    assert run.exit_code == code and why in " ".join(run.stderr.replace("│", " ").split())
    assert not (cache / "checkpoints").exists()


# --- jobs ---------------------------------------------------------------------------------------------


def test_jobs_carry_the_choice(reaches):
    def options(*arguments):
        run = ngb("plan", "-d", reaches, "-p", "tracking", "--seed", "0", "--json", *arguments)
        assert run.exit_code == 0, run.stderr
        return [job["options"] for job in json.loads(run.stdout)]

    assert options("-m", "muscle_ppo") == [{"train": True}]
    assert options("-m", "muscle_ppo", "--no-train") == [{}]
    both = options("-m", "muscle_ppo", "-m", "linear_kinematic", "--steps", "1e5")
    assert both == [{"train": True, "steps": 100_000}, {}]


def test_a_job_trains_where_it_runs(quick, reaches, cache, tmp_path):
    job = {"model": "torque_ppo", "dataset": str(reaches), "protocol": "tracking"}
    (tmp_path / "jobs").write_text(json.dumps(job))
    assert ngb("score", "--job", tmp_path / "jobs", "-o", tmp_path / "run").exit_code == 1
    assert quick == []
    (tmp_path / "jobs").write_text(json.dumps({**job, "options": {"train": True, "steps": STEPS}}))
    assert ngb("score", "--job", tmp_path / "jobs", "-o", tmp_path / "run").exit_code == 0
    assert quick == [("torque_ppo", 0)]


# --- rules --------------------------------------------------------------------------------------------


def test_a_small_body_needs_fewer_steps():
    arm, hand = find_body(BODY), find_body("myohand")
    assert ControllerSettings().steps_for(arm) == 200_000 * len(arm.joints)
    assert ControllerSettings().steps_for(hand) == ControllerSettings().default_steps
    assert ControllerSettings(default_steps=1000).steps_for(arm) == 1000
    assert estimated_minutes(1000, arm) < estimated_minutes(1000, hand)

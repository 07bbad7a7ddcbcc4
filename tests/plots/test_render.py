import json
import os
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pandas as pd
import planted
import pytest
from movements import HAND
from PIL import Image
from typer.testing import CliRunner

from neurobench_grasp.alignment.session import bins_before
from neurobench_grasp.alignment.settings import ALIGNMENT
from neurobench_grasp.alignment.splits import make_splits
from neurobench_grasp.bodies import find_body, keypoint_distances
from neurobench_grasp.bodies import render as drawing
from neurobench_grasp.bodies.myohand import JOINTS, MUSCLES, NEUTRAL
from neurobench_grasp.cli import app
from neurobench_grasp.contract import DecoderSpec, ModelSpec, Ragged, Tracking, Trials
from neurobench_grasp.errors import NgbError, UnknownNameError, UnsupportedError
from neurobench_grasp.plots import trajectory as course
from neurobench_grasp.plots import video
from neurobench_grasp.plots.trial_figure import figure_png
from neurobench_grasp.plugins import Provided
from neurobench_grasp.protocols import tracking
from neurobench_grasp.protocols.brain_control import protocol as brain_control
from neurobench_grasp.protocols.brain_control.decoders import RidgeDecoder
from neurobench_grasp.run.dataset import Dataset
from neurobench_grasp.run.fitted import make_context
from neurobench_grasp.run.render import render_trial
from neurobench_grasp.run.stages import Unkept
from neurobench_grasp.run.task import Task

N_STEPS, WINDOW = 6, (2, 5)
PANEL = (112, 128)
RELAXED = np.array([NEUTRAL[joint] for joint in JOINTS])
FINGERS = slice(7, None)


def moving_hand(name, n_trials=12):
    """A session of short trials in which the fingers close, each trial a little further."""
    close = np.linspace(0, 0.8, N_STEPS)[:, None] * np.linspace(0.5, 1, n_trials)[:, None, None]
    angles = np.tile(RELAXED, (n_trials, N_STEPS, 1))
    angles[:, :, FINGERS] += close
    conditions = [f"object_{i % 4}" for i in range(n_trials)]
    session = planted.aligned_session(
        np.zeros((n_trials, 22, 1)), np.zeros((n_trials, 2, 1)), conditions, name=name
    )
    joint_angles = Ragged.of(list(angles))
    trials = Trials(
        sessions=(name,) * n_trials, ids=session.trials.ids, condition=tuple(conditions), dt=0.02,
        window=np.tile(np.array(WINDOW), (n_trials, 1)), offsets=joint_angles.offsets, signals={},
        joint_angles=joint_angles, events={},
    )  # fmt: skip
    return replace(session, trials=trials, dropped=(("t9999", "it lacks the event contact"),))


class StiffHand:
    """A controller whose fingers close half as far as they should."""

    has_muscles = True

    def fit(self, train, *, seed):
        self.fitted_on = train.ids

    def track(self, trials, *, goal=None):
        angles = trials.joint_angles.values.copy()
        if goal is not None:
            command = goal.values.values
            angles[:, FINGERS] = (
                command if goal.kind == "embedding" else command[:, : len(JOINTS)][:, FINGERS]
            )
        angles[:, FINGERS] -= (angles[:, FINGERS] - RELAXED[FINGERS]) / 2
        activation = np.linspace(0, 1, len(angles))[:, None] * np.linspace(0, 1, len(MUSCLES))
        return Tracking(
            Ragged(angles, trials.offsets),
            Ragged(HAND.keypoint_positions(angles), trials.offsets),
            Ragged(activation, trials.offsets) if self.has_muscles else None,
        )

    def embed(self, trials):
        return Ragged(trials.joint_angles.values[:, FINGERS], trials.offsets)

    def state(self):
        return {}

    def restore(self, state):
        pass

    def unused(self, *arguments):
        raise AssertionError("rendering needs nothing else")

    activations = observe = activations_of = unused


class StiffMotors(StiffHand):
    has_muscles = False


class SlowHand(StiffHand):
    """Its fingers are where they were on average since the trial began, so that it matters when that was."""

    def track(self, trials, *, goal=None):
        stiff = super().track(trials, goal=goal)
        means = [np.cumsum(a, 0) / np.arange(1, len(a) + 1)[:, None] for a in stiff.joint_angles]
        angles = Ragged.of(means)
        return replace(
            stiff,
            joint_angles=angles,
            keypoints=Ragged(HAND.keypoint_positions(angles.values), angles.offsets),
        )


class HandOfWrongSize(StiffHand):
    def track(self, trials, *, goal=None):
        tracking = super().track(trials)
        return replace(tracking, keypoints=Ragged(tracking.keypoints.values[:, :9], trials.offsets))


class Deaf:
    """A decoder that gives the mean of what it learned from, whatever it hears."""

    def fit(self, train):
        self.mean = train.commands.values.mean(0)

    def reset(self, n_trials):
        self.n_trials = n_trials

    def observe(self, spikes):
        return np.tile(self.mean, (self.n_trials, 1))


MODELS = {
    "stiff": ModelSpec("stiff", lambda seed: StiffHand(), "", controller=True),
    "motors": ModelSpec("motors", lambda seed: StiffMotors(), "", controller=True),
    "slow": ModelSpec("slow", lambda seed: SlowHand(), "", controller=True),
    "wrong_size": ModelSpec("wrong_size", lambda seed: HandOfWrongSize(), "", controller=True),
    "still": ModelSpec("still", lambda seed: None, ""),
}
DECODERS = {"ridge": DecoderSpec("ridge", RidgeDecoder, ""), "deaf": DecoderSpec("deaf", Deaf, "")}


@pytest.fixture
def offer(monkeypatch, tmp_path):
    """Make a dataset of sessions, with fake models, small pictures, an empty folder."""

    def make(*sessions):
        dataset = Dataset("hands", "", True, sessions, make_splits({s.id: s.conditions for s in sessions}))
        registry = SimpleNamespace(
            model=lambda name: Provided(MODELS[name], "fake", "1.0"),
            decoder=lambda name: Provided(DECODERS[name], "fake", "1.0"),
            datasets=lambda: (),
        )
        monkeypatch.setattr("neurobench_grasp.run.render.load_registry", lambda: registry)
        monkeypatch.setattr("neurobench_grasp.run.workspace.load_dataset", lambda *a, **k: dataset)
        return dataset

    monkeypatch.setattr(video, "PANEL", PANEL)
    monkeypatch.chdir(tmp_path)
    return make


@pytest.fixture
def data(offer):
    """Two sessions of moving hands."""
    return offer(moving_hand("monday"), moving_hand("tuesday", 13))


@pytest.fixture
def opengl():
    """Tests that draw are skipped without OpenGL, but not in continuous integration, which installs it."""
    try:
        drawing.drawing_backend()
    except NgbError as reason:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(reason))


def gif_frames(path):
    with Image.open(path) as picture:
        for i in range(picture.n_frames):
            picture.seek(i)
            yield np.array(picture.convert("RGB")).astype(int)


def panels(frame):
    """Each hand without captions, the recorded one first."""
    above, below = video.CAPTIONS
    return np.split(frame[above:-below], frame.shape[1] // PANEL[0], axis=1)


def test_the_video_shows_both_hands_moving_at_every_step(data, opengl, tmp_path):
    result = CliRunner().invoke(app, ["render", "--model", "stiff", "--trial", "monday/t0011", "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert "driven" not in found
    assert found["video"] == "stiff-monday_t0011.gif"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"stiff-monday_t0011.{e}" for e in ("csv", "gif", "png")
    ]
    frames = list(gif_frames(found["video"]))
    assert len(frames) == N_STEPS
    for side in (0, 1):
        first, last = panels(frames[0])[side], panels(frames[-1])[side]
        assert np.mean(np.abs(first - last).max(2) > 60) > 0.02  # the fingers close
    recorded, simulated = panels(frames[-1])
    assert recorded.mean((0, 1))[2] > recorded.mean((0, 1))[0]  # blue
    assert simulated.mean((0, 1))[0] > simulated.mean((0, 1))[2]  # vermilion
    silhouettes = [side.min(2) < 200 for side in (recorded, simulated)]
    assert np.mean(silhouettes[0] != silhouettes[1]) > 0.02  # one is less closed


def test_the_table_is_what_happened_and_the_error_is_that_of_tracking(data, opengl):
    drawn = render_trial("stiff", "hands", trial="tuesday/t0004")
    trials = data.sessions[1].trials.select([4])
    recorded = trials.joint_angles[0]
    tracking = StiffHand().track(trials)
    table = pd.read_csv(drawn.data)
    assert len(table) == N_STEPS
    np.testing.assert_allclose(table["time_s"], 0.02 * (np.arange(N_STEPS) - WINDOW[0]), atol=1e-12)
    assert np.flatnonzero(table["scored"]).tolist() == list(range(*WINDOW))
    for i, joint in enumerate(JOINTS):
        np.testing.assert_allclose(table[f"recorded_{joint}_deg"], np.degrees(recorded[:, i]))
        np.testing.assert_allclose(
            table[f"simulated_{joint}_deg"], np.degrees(tracking.joint_angles[0][:, i])
        )
    activation = table[[f"activation_{muscle}" for muscle in MUSCLES]].to_numpy()
    np.testing.assert_allclose(activation, tracking.muscle_activation[0])
    window = slice(*WINDOW)
    expected = (
        1000
        * keypoint_distances(tracking.keypoints[0][window], HAND.keypoint_positions(recorded)[window]).mean()
    )
    assert drawn.error_mm == pytest.approx(expected)
    assert table["error_mm"][window].mean() == pytest.approx(expected)
    session = data.sessions[1]
    train = [i for i, t in enumerate(session.trials.ids) if t in data.splits.train["tuesday"]]
    posture = np.concatenate([session.trials.joint_angles[i][window] for i in train]).mean(0)
    held = HAND.keypoint_positions(np.tile(posture, (N_STEPS, 1)))
    expected = 1000 * keypoint_distances(held[window], HAND.keypoint_positions(recorded)[window]).mean()
    assert drawn.average_posture_error_mm == pytest.approx(expected)


@pytest.mark.slow
def test_an_mp4_has_the_same_frames_and_a_hand_without_muscles_no_panel_for_them(data, opengl, tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    drawn = render_trial("motors", "hands", trial="monday/t0000", to=tmp_path / "new" / "hand.mp4")
    with_muscles = render_trial("stiff", "hands", trial="monday/t0000")
    assert imageio_ffmpeg.count_frames_and_secs(str(drawn.video))[0] == N_STEPS
    assert not any(column.startswith("activation") for column in pd.read_csv(drawn.data))
    with Image.open(drawn.figure) as short, Image.open(with_muscles.figure) as tall:
        assert short.width == tall.width and short.height < 0.6 * tall.height


def test_the_figure_of_a_body_with_few_joints_and_muscles_is_low_and_fills_its_width():
    arm, columns = find_body("planar_arm"), ["recorded", "simulated"]
    table = pd.DataFrame({"time_s": np.arange(20) * 0.02, "scored": True, "error_mm": 1.0})
    table = table.assign(average_posture_error_mm=2.0)
    table = table.assign(**{f"{name}_{joint}_deg": 30.0 for name in columns for joint in arm.joints})
    table = table.assign(**{f"activation_{muscle}": 0.5 for muscle in arm.muscles})
    with Image.open(BytesIO(figure_png(table, arm, "an arm", ["simulated"]))) as drawn:
        dark = np.array(drawn.convert("L")) < 128
        assert drawn.height < drawn.width  # six muscles need less height than dozens
        angles = dark[int(0.08 * drawn.height) : int(0.3 * drawn.height)]
        right = angles[:, int(0.6 * drawn.width) : int(0.95 * drawn.width)]
        assert right.any()  # the second of two joints


def test_the_default_trial_is_the_first_of_a_held_out_object(data, opengl):
    drawn = render_trial("stiff", "hands")
    session = data.sessions[0]
    assert drawn.session == "monday" and drawn.condition in data.splits.held_out
    assert drawn.trial == next(
        t for t, c in zip(session.trials.ids, session.trials.condition, strict=True) if c == drawn.condition
    )


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"trial": "t0003"}, UnknownNameError, r"in 2 sessions; name one of monday/t0003, tuesday/t0003\.$"),
        ({"trial": "monday/t03"}, UnknownNameError, r"no trial 'monday/t03'; did you mean 'monday/t0003'"),
        ({"trial": "zzz"}, UnknownNameError, r"no trial 'zzz'; the first is 't0000'\.$"),
        ({"trial": "t9999"}, UnknownNameError, r"of monday was left out: it lacks the event contact\.$"),
        ({"model": "still"}, UnsupportedError, r"still moves no body"),
        ({"model": "wrong_size"}, NgbError, r"keypoints of wrong_size have shape \(6, 9\).*\(6, 60\)"),
        ({"to": "hand.avi"}, UnsupportedError, r"a \.gif or an \.mp4 file, not \.avi"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_one_sentence(data, tmp_path, monkeypatch, arguments, error, sentence):
    monkeypatch.setattr("neurobench_grasp.run.render.drawing_backend", lambda: "not needed")
    to = tmp_path / arguments.pop("to", "hand.gif")
    with pytest.raises(error, match=sentence):
        render_trial(
            arguments.pop("model", "stiff"), "hands", to=to, **({"trial": "monday/t0000"} | arguments)
        )
    assert list(tmp_path.iterdir()) == []


def test_drawing_that_fails_leaves_no_file(data, tmp_path, monkeypatch):
    class BrokenPainter:
        def __init__(self, *size):
            pass

        def paint(self, *arguments):
            raise KeyboardInterrupt

        def close(self):
            pass

    monkeypatch.setattr("neurobench_grasp.run.render.drawing_backend", lambda: "fake")
    monkeypatch.setattr(drawing, "Painter", BrokenPainter)
    with pytest.raises(KeyboardInterrupt):
        render_trial("stiff", "hands", trial="monday/t0000")
    assert list(tmp_path.iterdir()) == []


# --- a third hand, driven by spikes -----------------------------------------------------------------

BEFORE, N_WINDOW = 24, 8  # steps; BEFORE is more than scores need, and more than is driven


def spiking_hand(name="monday", n_trials=40):
    """Fingers that close in the window of each trial as far as the object asks, and units that follow them."""
    rng = np.random.default_rng(0)
    course = np.clip((np.arange(BEFORE + N_WINDOW + 6) - BEFORE) / N_WINDOW, 0, 1)
    how_far = 0.3 + 0.2 * (np.arange(n_trials) % 4) + 0.05 * rng.standard_normal(n_trials)
    closed = course * how_far[:, None]
    conditions = [f"object_{i % 4}" for i in range(n_trials)]
    areas = ["M1"] * 6 + ["S1"]
    session = planted.aligned_session(
        np.zeros((n_trials, N_WINDOW + 20, 1)), np.zeros((n_trials, N_WINDOW, 7)), conditions,
        name=name, areas=areas,
    )  # fmt: skip
    angles = np.tile(RELAXED, (*closed.shape, 1))
    angles[:, :, FINGERS] += closed[:, :, None]
    heard = closed[:, BEFORE - bins_before(planted.DT) : BEFORE + N_WINDOW, None]
    counts = 5 + 5 * heard + 0.5 * rng.standard_normal((*heard.shape[:2], 7))
    joint_angles = Ragged.of(list(angles))
    trials = Trials(
        sessions=(name,) * n_trials, ids=session.trials.ids, condition=tuple(conditions), dt=planted.DT,
        window=np.tile([BEFORE, BEFORE + N_WINDOW], (n_trials, 1)), offsets=joint_angles.offsets, signals={},
        joint_angles=joint_angles, events={},
    )  # fmt: skip
    recorded = np.ones((n_trials, 7), bool)
    spiking = planted.with_units(
        session, counts=Ragged.of(list(counts)), recorded=recorded, observed=recorded
    )
    return replace(spiking, trials=trials, max_lag=0.4)


@pytest.fixture
def blank(monkeypatch):
    """Videos of white paper, for tests that do not inspect them; they need no OpenGL."""

    class Blank:
        def __init__(self, body, width, height):
            self.paper = np.full((height, width, 3), 255, np.uint8)

        def paint(self, joint_angles, colour):
            return self.paper

        def project(self, points):
            return np.zeros((20, 2))

        def close(self):
            pass

    monkeypatch.setattr("neurobench_grasp.run.render.drawing_backend", lambda: "not needed")
    monkeypatch.setattr(drawing, "Painter", Blank)


def first_of(dataset, split, session="monday"):
    return getattr(dataset.splits, split)[session][0]


@pytest.mark.parametrize("decoded", ["embedding", "joint_angles"])
@pytest.mark.parametrize("split", ["test", "ood"])
def test_errors_are_those_of_the_record(offer, blank, decoded, split):
    whole = offer(spiking_hand())
    known = Provided(MODELS["slow"], "fake", "1"), Provided(DECODERS["ridge"], "fake", "1")
    context = make_context(
        Task(known[0], whole, whole.behaviour("train"), known[1], whole), 0, Unkept(), Unkept()
    )
    (session,) = whole.sessions
    recorded = brain_control.measure(context, session)
    hand = tracking.per_trial(context, session)
    place = int(recorded[f"driven {split}"][0])
    drawn = render_trial("slow", "hands", trial=session.trials.ids[place], area="M1", decoded=decoded)
    assert drawn.driven.error_mm == pytest.approx(recorded[f"M1 {decoded}"][place], abs=1e-9)
    assert drawn.error_mm == pytest.approx(hand["tracking_error"][place], abs=1e-9)
    posture = hand["tracking_error average_posture"][place]
    assert drawn.average_posture_error_mm == pytest.approx(posture, abs=1e-9)
    assert abs(drawn.driven.error_mm - drawn.error_mm) > 0.01 and not drawn.driven.fitted_on_trial
    table = pd.read_csv(drawn.data)
    inside = table[table["scored"]]
    assert inside["driven_error_mm"].mean() == pytest.approx(drawn.driven.error_mm)
    angles, reached = (
        np.radians(inside[[f"{hand}_{joint}_deg" for joint in JOINTS]].to_numpy())
        for hand in ("recorded", "driven")
    )
    np.testing.assert_allclose(
        angles, session.trials.joint_angles[place][slice(*session.trials.window[place])]
    )
    expected = 1000 * keypoint_distances(
        HAND.keypoint_positions(reached), HAND.keypoint_positions(angles)
    ).mean(1)
    np.testing.assert_allclose(inside["driven_error_mm"], expected)


@pytest.mark.slow
def test_three_hands_stand_side_by_side_from_the_first_command_to_the_end_of_the_window(offer, opengl):
    dataset = offer(spiking_hand())
    result = CliRunner().invoke(app, ["render", "--model", "stiff", "--area", "M1", "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["trial"] == first_of(dataset, "ood")
    assert found["video"] == f"stiff-{found['trial']}-M1.gif"
    assert {k: v for k, v in found["driven"].items() if k != "error_mm"} == {
        "area": "M1", "decoded": "embedding", "decoder": "ridge", "fitted_on_trial": False
    }  # fmt: skip
    shown = ALIGNMENT.steps_before(planted.DT) + N_WINDOW
    frames = list(gif_frames(found["video"]))
    table = pd.read_csv(found["data"])
    assert len(frames) == len(table) == shown
    assert np.flatnonzero(table["scored"]).tolist() == list(range(shown - N_WINDOW, shown))
    for panel, colour in zip(panels(frames[-1]), (2, 0, 1), strict=True):  # blue, vermilion, green
        vivid = panel.argmax(2)[np.ptp(panel, axis=2) > 40]  # the hand, and on two of them blue dots
        assert np.bincount(vivid, minlength=3).argmax() == colour


def test_the_figure_has_a_line_of_its_own_for_the_driven_hand(offer, blank):
    offer(spiking_hand())
    plain, three = (render_trial("stiff", "hands", area=area) for area in (None, "M1"))
    for colour in (course.RECORDED, *course.SIMULATED):
        of_lines = np.round(255 * np.array(colour))
        lines = []
        for drawn in (plain, three):
            with Image.open(drawn.figure) as picture:
                lines.append((np.array(picture.convert("RGB")) == of_lines).all(2).sum())
        assert lines[1] > 500
        assert lines[0] == 0 if colour == course.SIMULATED[1] else lines[0] > 500
    assert not any(column.startswith("driven") for column in pd.read_csv(plain.data))


@pytest.mark.parametrize(("split", "said"), [("train", True), ("test", False)])
def test_a_trial_that_the_decoder_was_fitted_on_is_said_to_be_one(offer, blank, split, said):
    trial = first_of(offer(spiking_hand()), split)
    arguments = ["render", "--model", "motors", "--area", "M1", "--trial", trial]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    line = result.stdout.splitlines()[0]
    error = pd.read_csv(f"motors-{trial}-M1.csv").query("scored")["driven_error_mm"].mean()
    assert f"; M1 {error:.1f} mm (embedding decoded from M1 by ridge" in line
    assert "intact goal" in line and "average posture" in line
    assert ("fitted on this trial" in line) == said


def test_another_decoder_drives_another_hand(offer, blank):
    offer(spiking_hand())
    drawn = render_trial("stiff", "hands", area="M1", decoded="joint_angles", decoder="deaf")
    assert (drawn.driven.decoder, drawn.driven.decoded) == ("deaf", "joint_angles")
    driven = pd.read_csv(drawn.data)[f"driven_{JOINTS[FINGERS][0]}_deg"]
    assert np.ptp(driven) < 1e-9 < 1 < np.ptp(pd.read_csv(drawn.data)[f"simulated_{JOINTS[FINGERS][0]}_deg"])


@pytest.mark.parametrize(
    ("arguments", "change", "error", "sentence"),
    [
        ({"area": "V1"}, {}, UnknownNameError, r"^monday has no area 'V1'; it has M1, S1\.$"),
        ({"area": "S1"}, {}, UnsupportedError, r"^Spikes of monday cannot drive a body: S1 has 1 unit .*needs 2\.$"),
        ({}, {"ids": (), "areas": ()}, UnsupportedError, r"cannot drive a body: .*no units to decode from\.$"),
        ({}, dict.fromkeys(("recorded", "observed"), np.zeros((40, 7), bool)), UnsupportedError, r"cannot drive a body: 0 training trials"),
        ({"trial": "t0000"}, {"recorded": np.arange(40)[:, None] + np.zeros(7) > 0}, UnsupportedError,
         r"^Spikes cannot drive trial 't0000' of monday, .* from 0\.48 s before .*; the first .* is 't0001'\.$"),
        ({"decoded": "velocity"}, {}, UnknownNameError, r"'velocity' are not decoded; give one of embedding, joint_an"),
        ({"model": "still"}, {}, UnsupportedError, r"^still moves no body"),
    ],
)  # fmt: skip
def test_spikes_that_cannot_drive_are_one_sentence(
    offer, blank, tmp_path, arguments, change, error, sentence
):
    offer(planted.with_units(spiking_hand(), **change))
    with pytest.raises(error, match=sentence):
        render_trial(**({"model": "stiff", "dataset": "hands", "area": "M1"} | arguments))
    assert list(tmp_path.iterdir()) == []


def test_hands_without_recorded_angles_are_not_driven(offer, blank):
    session = spiking_hand()
    offer(replace(session, trials=replace(session.trials, joint_angles=None)))
    with pytest.raises(UnsupportedError, match=r"^monday has no joint angles of a body"):
        render_trial("stiff", "hands", area="M1")


# --- drawing ----------------------------------------------------------------------------------------


def test_the_camera_stays_with_the_wrist(opengl):
    painter = HAND.painter(96, 128)
    bent = RELAXED.copy()
    bent[JOINTS.index("flexion")] = 0.6
    red = (1.0, 0.0, 0.0)
    straight, turned = (painter.paint(angles, red).astype(int) for angles in (RELAXED, bent))
    columns, rows = painter.project(HAND.keypoint_positions(RELAXED[None])[0]).round().astype(int).T
    painter.close()
    assert np.abs(straight[:64] - turned[:64]).mean() < 1  # the fingers are where they were
    assert np.abs(straight[100:] - turned[100:]).mean() > 5  # the forearm is not
    assert np.all(straight[rows, columns].min(1) < 250)  # keypoints are on the hand, not on the paper


@pytest.mark.parametrize("name", ["egl", "osmesa"])
@pytest.mark.skipif(sys.platform != "linux", reason="these two are Linux's ways to draw without a display")
def test_each_way_without_a_display_draws(opengl, name):
    script = (
        "from neurobench_grasp.bodies.myohand import build_myohand; hand = build_myohand(); "
        "print(hand.painter(64, 64).paint(hand.neutral, (1, 0, 0)).std() > 10)"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("PYOPENGL_PLATFORM", "DISPLAY")}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment | {"MUJOCO_GL": name}
    )
    if "does not work here" in run.stderr and not os.environ.get("CI"):
        pytest.skip(f"{name} is not installed")
    assert run.stdout == "True\n", run.stderr


def test_without_opengl_a_sentence_says_what_to_install(monkeypatch):
    drawing._working.cache_clear()
    monkeypatch.setenv("MUJOCO_GL", "bogus")
    with pytest.raises(NgbError, match=r"^MUJOCO_GL=bogus does not work here; unset it, or set"):
        drawing.drawing_backend()
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(drawing, "BACKENDS", ("no_such", "nor_such"))
    with pytest.raises(NgbError, match=r"^No OpenGL is available .* `apt-get install libosmesa6`\.$"):
        drawing.drawing_backend()

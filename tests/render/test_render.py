import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import planted
import pytest
from PIL import Image
from typer.testing import CliRunner

from neurobench_grasp.body import JOINTS, MUSCLES, NEUTRAL, keypoint_distances, keypoints
from neurobench_grasp.body import render as drawing
from neurobench_grasp.cli import app
from neurobench_grasp.errors import NgbError, UnknownNameError, UnsupportedError
from neurobench_grasp.plugins import Provided
from neurobench_grasp.render import render_trial, video
from neurobench_grasp.run import Dataset
from neurobench_grasp.scoring.splits import make_splits
from neurobench_grasp.types import ModelSpec, Ragged, Tracking, Trials

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
        angles[:, FINGERS] -= (angles[:, FINGERS] - RELAXED[FINGERS]) / 2
        activation = np.linspace(0, 1, len(angles))[:, None] * np.linspace(0, 1, len(MUSCLES))
        return Tracking(
            Ragged(angles, trials.offsets),
            Ragged(keypoints(angles), trials.offsets),
            Ragged(activation, trials.offsets) if self.has_muscles else None,
        )

    def unused(self, *arguments):
        raise AssertionError("rendering needs nothing else")

    activations = state = restore = embed = observe = activations_of = unused


class StiffMotors(StiffHand):
    has_muscles = False


class HandOfWrongSize(StiffHand):
    def track(self, trials, *, goal=None):
        tracking = super().track(trials)
        return replace(tracking, keypoints=Ragged(tracking.keypoints.values[:, :9], trials.offsets))


MODELS = {
    "stiff": ModelSpec("stiff", lambda seed: StiffHand(), "", controller=True),
    "motors": ModelSpec("motors", lambda seed: StiffMotors(), "", controller=True),
    "wrong_size": ModelSpec("wrong_size", lambda seed: HandOfWrongSize(), "", controller=True),
    "still": ModelSpec("still", lambda seed: None, ""),
}


@pytest.fixture
def data(monkeypatch, tmp_path):
    """Two sessions of moving hands, fake models, small pictures, an empty folder."""
    sessions = (moving_hand("monday"), moving_hand("tuesday", 13))
    dataset = Dataset("hands", "", True, sessions, make_splits({s.id: s.conditions for s in sessions}))
    registry = SimpleNamespace(model=lambda name: Provided(MODELS[name], "fake", "1.0"))
    monkeypatch.setattr("neurobench_grasp.render.load_registry", lambda: registry)
    monkeypatch.setattr("neurobench_grasp.render.load_dataset", lambda *arguments: dataset)
    monkeypatch.setattr(video, "PANEL", PANEL)
    monkeypatch.chdir(tmp_path)
    return dataset


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
    """Recorded and simulated hand without captions."""
    above, below = video.CAPTIONS
    hands = frame[above:-below]
    return hands[:, : PANEL[0]], hands[:, PANEL[0] :]


def test_the_video_shows_both_hands_moving_at_every_step(data, opengl, tmp_path):
    result = CliRunner().invoke(app, ["render", "--model", "stiff", "--trial", "monday/t0011", "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
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
    expected = 1000 * keypoint_distances(tracking.keypoints[0][window], keypoints(recorded)[window]).mean()
    assert drawn.error_mm == pytest.approx(expected)
    assert table["error_mm"][window].mean() == pytest.approx(expected)
    session = data.sessions[1]
    train = [i for i, t in enumerate(session.trials.ids) if t in data.splits.train["tuesday"]]
    posture = np.concatenate([session.trials.joint_angles[i][window] for i in train]).mean(0)
    held = keypoints(np.tile(posture, (N_STEPS, 1)))
    expected = 1000 * keypoint_distances(held[window], keypoints(recorded)[window]).mean()
    assert drawn.average_posture_error_mm == pytest.approx(expected)


def test_an_mp4_has_the_same_frames_and_a_hand_without_muscles_no_panel_for_them(data, opengl, tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    drawn = render_trial("motors", "hands", trial="monday/t0000", to=tmp_path / "new" / "hand.mp4")
    with_muscles = render_trial("stiff", "hands", trial="monday/t0000")
    assert imageio_ffmpeg.count_frames_and_secs(str(drawn.video))[0] == N_STEPS
    assert not any(column.startswith("activation") for column in pd.read_csv(drawn.data))
    with Image.open(drawn.figure) as short, Image.open(with_muscles.figure) as tall:
        assert short.width == tall.width and short.height < 0.6 * tall.height


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
        ({"trial": "t0003"}, UnknownNameError, r"in 2 sessions; give one of monday/t0003, tuesday/t0003\.$"),
        ({"trial": "monday/t03"}, UnknownNameError, r"no trial 'monday/t03'; did you mean 'monday/t0003'"),
        ({"trial": "zzz"}, UnknownNameError, r"no trial 'zzz'; the first is 't0000'\.$"),
        ({"trial": "t9999"}, UnknownNameError, r"of monday was left out: it lacks the event contact\.$"),
        ({"model": "still"}, UnsupportedError, r"still moves no hand"),
        ({"model": "wrong_size"}, NgbError, r"keypoints of wrong_size have shape \(6, 9\).*\(6, 60\)"),
        ({"to": "hand.avi"}, UnsupportedError, r"a \.gif or an \.mp4 file, not \.avi"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_one_sentence(data, tmp_path, monkeypatch, arguments, error, sentence):
    monkeypatch.setattr("neurobench_grasp.render.drawing_backend", lambda: "not needed")
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

    monkeypatch.setattr("neurobench_grasp.render.drawing_backend", lambda: "fake")
    monkeypatch.setattr(video, "HandPainter", BrokenPainter)
    with pytest.raises(KeyboardInterrupt):
        render_trial("stiff", "hands", trial="monday/t0000")
    assert list(tmp_path.iterdir()) == []


def test_the_camera_stays_with_the_wrist(opengl):
    painter = drawing.HandPainter(96, 128)
    bent = RELAXED.copy()
    bent[JOINTS.index("flexion")] = 0.6
    red = (1.0, 0.0, 0.0)
    straight, turned = (painter.paint(angles, red).astype(int) for angles in (RELAXED, bent))
    columns, rows = painter.project(keypoints(RELAXED[None])[0]).round().astype(int).T
    painter.close()
    assert np.abs(straight[:64] - turned[:64]).mean() < 1  # the fingers are where they were
    assert np.abs(straight[100:] - turned[100:]).mean() > 5  # the forearm is not
    assert np.all(straight[rows, columns].min(1) < 250)  # keypoints are on the hand, not on the paper


@pytest.mark.parametrize("name", ["egl", "osmesa"])
@pytest.mark.skipif(sys.platform != "linux", reason="these two are Linux's ways to draw without a display")
def test_each_way_without_a_display_draws(opengl, name):
    script = (
        "import numpy as np; from neurobench_grasp.body.render import HandPainter; "
        "print(HandPainter(64, 64).paint(np.zeros(23), (1, 0, 0)).std() > 10)"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("PYOPENGL_PLATFORM", "DISPLAY")}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment | {"MUJOCO_GL": name}
    )
    if "gives no OpenGL that works here" in run.stderr and not os.environ.get("CI"):
        pytest.skip(f"{name} is not installed")
    assert run.stdout == "True\n", run.stderr


def test_without_opengl_a_sentence_says_what_to_install(monkeypatch):
    drawing._working.cache_clear()
    monkeypatch.setenv("MUJOCO_GL", "bogus")
    with pytest.raises(NgbError, match=r"^MUJOCO_GL=bogus gives no OpenGL that works here; unset it, or set"):
        drawing.drawing_backend()
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(drawing, "BACKENDS", ("no_such", "nor_such"))
    with pytest.raises(NgbError, match=r"^There is no OpenGL here .* `apt-get install libosmesa6`\.$"):
        drawing.drawing_backend()

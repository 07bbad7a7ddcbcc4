"""The macaque arm from its published file: it is fetched once, is that of anatomy, and reaches.

Nothing of the file is in the repository: these tests are skipped without it.
"""

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from courses import minimum_jerk
from planted_postures import missed
from scipy.optimize import lsq_linear
from typer.testing import CliRunner

from neurobench_grasp.bodies import macaque_arm
from neurobench_grasp.bodies.macaque_arm import FILE, JOINTS, build_macaque_arm, fetch_macaque_arm
from neurobench_grasp.bodies.planar_arm import SCALE
from neurobench_grasp.cli import app
from neurobench_grasp.errors import CorruptFileError, NgbError

WITHIN = 3e-3
"""Largest error of a muscle's length over the workspace, root mean square in m."""


@pytest.fixture(scope="module")
def osim(shared_data):
    return shared_data / "bodies" / FILE


@pytest.fixture(scope="module")
def cache(osim, tmp_path_factory):
    """Fetch the arm by the command into an empty cache, once for the module."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NGB_CACHE", str(folder))
        build_macaque_arm.cache_clear()
        done = CliRunner().invoke(app, ["body", "fetch", "macaque_arm", "--from", str(osim), "--json"])
        assert done.exit_code == 0, done.stderr
        assert "MIT" in json.loads(done.stdout)["licence"]
        yield folder
    build_macaque_arm.cache_clear()


@pytest.fixture(scope="module")
def arm(cache):
    return build_macaque_arm()


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """Use an empty cache, and a conversion that takes no time."""
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "empty"))
    return tmp_path / "empty"


def arms(body, angles=None):
    """Return moment arms in mm, positive where a muscle increases the angle: (muscle, joint) → (n,)."""
    angles = body.neutral[None] if angles is None else angles
    found = -1000 * body.muscle_capacity(angles)[0]
    return lambda muscle, joint: found[:, body.muscles.index(muscle), body.joints.index(joint)]


# -- fetching ----------------------------------------------------------------------------------------------


def test_a_second_fetch_does_nothing(cache, osim):
    (place,) = (cache / "bodies").glob("macaque_arm-*")
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    said = []
    assert fetch_macaque_arm("/nowhere", progress=said.append) == place
    assert said == ["macaque_arm is already in the cache"]
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before


def test_another_file_is_refused_by_its_digest(empty, osim, tmp_path):
    other = tmp_path / FILE
    other.write_bytes(osim.read_bytes() + b"\n")
    with pytest.raises(NgbError, match=r"is another file than the pinned one \(sha256 4148aee2c8dd…\)"):
        fetch_macaque_arm(other)
    assert list((empty / "bodies").iterdir()) == []


def test_a_missing_file_is_one_sentence(empty, tmp_path):
    with pytest.raises(CorruptFileError, match=rf"^{FILE} cannot be read"):
        fetch_macaque_arm(tmp_path / FILE)
    done = CliRunner().invoke(app, ["body", "fetch", "macaque_arm", "--from", str(tmp_path / FILE)])
    assert done.exit_code == 1 and done.stdout == ""
    assert (
        done.stderr.splitlines()[-1].startswith(f"{FILE} cannot be read") and "Unexpected" not in done.stderr
    )
    assert CliRunner().invoke(app, ["body", "fetch", "horse_leg"]).exit_code == 2


def test_a_failed_conversion_leaves_nothing(empty, osim, monkeypatch):
    def fails(model):
        raise NgbError("no.")

    monkeypatch.setattr(macaque_arm, "convert", fails)
    with pytest.raises(NgbError):
        fetch_macaque_arm(osim)
    assert list((empty / "bodies").iterdir()) == []


@pytest.fixture
def server(osim):
    """Serve the folder of the file on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(osim.parent)))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_it_is_downloaded_and_checked(empty, cache, server, monkeypatch):
    """The conversion is that of the module, which takes half a minute."""
    (converted,) = (cache / "bodies").glob("macaque_arm-*/conversion.json")
    seen = []

    def known(model):
        seen.append(len(model.muscles))
        raise NgbError(f"{converted.stat().st_size} bytes.")

    monkeypatch.setattr(macaque_arm, "convert", known)
    with pytest.raises(NgbError, match=r"^\d+ bytes\.$"):
        fetch_macaque_arm(url=f"{server}/{FILE}")
    assert seen == [len(json.loads(converted.read_text())["muscles"])]
    with pytest.raises(NgbError, match=r"cannot be downloaded .*--from"):
        fetch_macaque_arm(url=f"{server}/nowhere.osim")
    monkeypatch.setattr(macaque_arm, "LARGEST", 1000)
    with pytest.raises(NgbError, match=r"more than 1000 bytes"):
        fetch_macaque_arm(url=f"{server}/{FILE}")
    with pytest.raises(NgbError, match=r"cannot be downloaded"):
        fetch_macaque_arm(url="http://127.0.0.1:9/x")


def test_it_says_how_to_fetch_it(empty):
    build_macaque_arm.cache_clear()
    with pytest.raises(NgbError, match=r"run `ngb body fetch macaque_arm` first"):
        build_macaque_arm()


# -- the body ----------------------------------------------------------------------------------------------


def test_names_are_those_of_the_laboratory(arm):
    assert arm.joints == JOINTS == (
        "shoulder_adduction", "shoulder_rotation", "shoulder_flexion", "elbow_flexion", "radial_pronation",
        "wrist_flexion", "wrist_abduction",
    )  # fmt: skip
    assert len(arm.muscles) == 39 and arm.keypoints == ("elbow", "wrist", "hand")
    assert {"brachialis", "bicep_lh", "tricep_lon", "flex_carpi_radialis", "lat_dorsi_cen"} < set(arm.muscles)
    low, high = arm.joint_limits.T
    assert ((low < arm.neutral) & (arm.neutral < high)).all()


def test_lengths_are_those_of_the_original_wraps(cache):
    """Root mean square over 200 postures that fill the ranges of all joints, against the original objects."""
    (place,) = (cache / "bodies").glob("macaque_arm-*/conversion.json")
    errors = json.loads(place.read_text())["errors"]
    assert len(errors) == 39
    assert {muscle: e["rms"] for muscle, e in errors.items() if e["rms"] > WITHIN} == {}
    assert sum(e["rms"] < 1e-4 for e in errors.values()) > 20
    replaced = {kind.split()[0] for e in errors.values() for kind in e["replaced"]}
    assert replaced <= {"ellipsoid", "torus", "conditional"}


@pytest.mark.parametrize(
    ("muscle", "joint", "sign"),
    [
        ("bicep_lh", "elbow_flexion", 1),
        ("bicep_sh", "elbow_flexion", 1),
        ("brachialis", "elbow_flexion", 1),
        ("brachioradialis", "elbow_flexion", 1),
        ("tricep_lat", "elbow_flexion", -1),
        ("tricep_lon", "elbow_flexion", -1),
        ("tricep_sho", "elbow_flexion", -1),
        ("dorsoepitrochlearis", "elbow_flexion", -1),
        ("flex_carpi_radialis", "wrist_flexion", 1),
        ("flex_carpi_ulnaris", "wrist_flexion", 1),
        ("palmaris_longus", "wrist_flexion", 1),
        ("flex_digit_superficialis", "wrist_flexion", 1),
        ("ext_carpi_rad_longus", "wrist_flexion", -1),
        ("ext_carpi_ulnaris", "wrist_flexion", -1),
        ("ext_digitorum", "wrist_flexion", -1),
        ("deltoid_ant", "shoulder_flexion", 1),
        ("pectoralis_sup", "shoulder_flexion", 1),
        ("deltoid_pos", "shoulder_flexion", -1),
        ("teres_major", "shoulder_flexion", -1),
        ("lat_dorsi_cen", "shoulder_flexion", -1),
        ("pronator_teres", "radial_pronation", 1),
        ("pronator_quad", "radial_pronation", 1),
        ("supinator", "radial_pronation", -1),
    ],
)
def test_muscles_turn_joints_as_in_anatomy(arm, muscle, joint, sign):
    assert sign * arms(arm)(muscle, joint)[0] > 0.3


def test_moment_arms_have_the_size_of_another_conversion(arm):
    """Typical ones of the same model, converted by others, in mm; times the scale, within a fifth."""
    posture = np.tile(arm.neutral, (1, 1))
    posture[0, arm.joints.index("elbow_flexion")] = np.pi / 2
    of = arms(arm, posture)
    for muscle, joint, typical in (
        ("bicep_lh", "elbow_flexion", 25.6),
        ("tricep_lat", "elbow_flexion", -13.5),
        ("brachialis", "elbow_flexion", 14.4),
        ("flex_carpi_radialis", "wrist_flexion", 3.8),
    ):
        assert of(muscle, joint)[0] == pytest.approx(SCALE * typical, rel=0.2), muscle


@pytest.mark.parametrize("action", ["torque", "muscle"])
def test_simulations_stay_finite_and_the_released_arm_within_its_limits(arm, action):
    rng, n = np.random.default_rng(0), arm.n_actions(action)
    bodies, (low, high) = arm.simulate(action, 2, threads=1), arm.joint_limits.T
    start = np.tile(arm.neutral, (2, 1))
    bodies.start(slice(None), start, np.zeros_like(start))
    for _ in range(50):
        bodies.step(np.full((2, n), 0.0 if action == "torque" else -1.0))
        beyond = np.maximum(low - bodies.joint_angles, bodies.joint_angles - high).max()
        assert beyond < (0.0 if action == "torque" else 0.1), (
            "passive fibres abduct the wrist to its soft limit"
        )
    for _ in range(50):
        bodies.step(rng.uniform(-1, 1, (2, n)))
    assert np.isfinite(bodies.sensors).all() and np.abs(bodies.joint_angles).max() < np.pi
    bodies.close()


def test_reaches_of_ten_centimetres_are_followed(arm):
    """Eight directions in the horizontal plane from the neutral posture: minimum jerk, each a trial."""
    time = np.linspace(0, 1, 41)
    share = 10 * time**3 - 15 * time**4 + 6 * time**5
    centre = arm.keypoint_positions(arm.neutral[None])[0, -3:]
    paths = [
        centre + 0.1 * share[:, None] * np.array([np.cos(a), 0.0, np.sin(a)])
        for a in np.arange(8) * np.pi / 4
    ]
    offsets = np.arange(0, 8 * 41 + 1, 41)
    found = arm.inverse_kinematics(np.concatenate(paths), 0.02, offsets)
    reached = arm.keypoint_positions(found.joint_angles)[:, -3:]
    assert np.linalg.norm(reached - np.concatenate(paths), axis=1).max() < 2e-3
    assert found.residual.max() < 2e-3


def test_hand_elbow_and_wrist_determine_all_joints_but_the_rotation_of_the_forearm(arm):
    rotation = JOINTS.index("radial_pronation")
    error, residual = missed(arm, 0.3, "elbow", "wrist")
    assert np.percentile(np.delete(error, rotation, axis=1), 95, axis=0).max() < 3 and residual.max() < 1e-3
    error, _ = missed(arm, np.where(np.arange(7) == rotation, 0.0, 0.3), "elbow", "wrist")
    assert np.percentile(error, 95, axis=0).max() < 3
    _, residual = missed(arm, 0.3)  # the hand alone
    assert residual.max() < 2e-3


def test_muscles_hold_the_hand_all_around(arm):
    """At the points that the reaches above end at: static optimisation leaves no moment of the passive fibres."""
    centre = arm.keypoint_positions(arm.neutral[None])[0, -3:]
    share = minimum_jerk(np.linspace(0, 1, 41))[:, None]
    paths = [centre + 0.1 * share * [np.cos(a), 0.0, np.sin(a)] for a in np.arange(8) * np.pi / 4]
    found = arm.inverse_kinematics(np.concatenate(paths), 0.02, 41 * np.arange(9)).joint_angles
    held = np.repeat(np.vstack([arm.neutral[None], found[40::41]]), 3, axis=0)
    needed = arm.muscle_moments(held, 1.0, 3 * np.arange(10))[1::3]
    arms, force = (of[1::3] for of in arm.muscle_capacity(held))
    assert np.abs(needed).max() < 2.0
    for moment, one, strength in zip(needed, arms, force, strict=True):
        pulls = (one * strength[:, None]).T
        left = pulls @ lsq_linear(pulls, moment, (0, 1)).x - moment
        assert np.abs(left).max() < 0.02

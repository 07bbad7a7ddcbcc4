"""OpenSim models: both formats are read, lengths are those of the file, and what cannot be read is one sentence."""

import re
from dataclasses import replace

import mujoco
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limbs import SMALL, SMALL_4, edited

from neurobench_grasp.bodies.opensim import convert, read_osim, scaled
from neurobench_grasp.bodies.opensim.convert import Places, original_length, postures
from neurobench_grasp.bodies.opensim.document import MOST_ELEMENTS, Pose
from neurobench_grasp.bodies.opensim.strings import Obstacle, around, tight_length
from neurobench_grasp.errors import CorruptFileError, NgbError, UnsafeFileError, UnsupportedError

MODEL = read_osim(SMALL)
TIGHT = 2e-5
"""Tolerance of a string of 65 points around an object of 1 to 3 cm, m."""


@pytest.fixture(scope="module")
def small():
    return convert(MODEL)


@pytest.fixture(scope="module")
def compiled(small):
    return mujoco.MjModel.from_xml_string(small.xml)


def lengths(model, names, angles):
    """Return the lengths of all tendons of a compiled model at angles of the named joints, (n, n_tendons)."""
    data, out = mujoco.MjData(model), []
    order = [model.joint(name).qposadr[0] for name in names]
    for row in angles:
        data.qpos[order] = row
        mujoco.mj_fwdPosition(model, data)
        out.append(data.ten_length.copy())
    return np.array(out)


def names_of(model):
    return [c.name for c in model.coordinates]


# -- both formats ------------------------------------------------------------------------------------------


def test_versions_3_and_4_are_the_same_model():
    """Bodies are listed in another order; a joint's frames are offsets in 4, and properties of the joint in 3."""
    new = read_osim(SMALL_4)
    bodies = [{segment.name: segment for segment in model.segments} for model in (MODEL, new)]
    assert bodies[0].keys() == bodies[1].keys() == {"upper", "blade", "fore", "hand"}
    for name, old in bodies[0].items():
        one = bodies[1][name]
        assert (one.parent, one.mass) == (old.parent, old.mass)
        for key in ("centre", "inertia"):
            np.testing.assert_array_equal(getattr(one, key), getattr(old, key))
        for key in ("in_parent", "in_body"):
            np.testing.assert_array_equal(getattr(one, key).rotation, getattr(old, key).rotation)
            np.testing.assert_array_equal(getattr(one, key).position, getattr(old, key).position)
        for a, b in zip(one.turns, old.turns, strict=True):
            assert (a.coordinate, a.angle) == (b.coordinate, b.angle)
            np.testing.assert_array_equal(a.axis, b.axis)
    for a, b in zip(new.muscles, MODEL.muscles, strict=True):
        assert replace(a, points=()) == replace(b, points=())
        for p, q in zip(a.points, b.points, strict=True):
            assert (p.body, p.within, p.moves.keys()) == (q.body, q.within, q.moves.keys())
            np.testing.assert_array_equal(p.position, q.position)
    assert new.wraps.keys() == MODEL.wraps.keys() and new.markers.keys() == MODEL.markers.keys()
    assert all(
        (new.wraps[name].kind, new.wraps[name].size) == (w.kind, w.size) for name, w in MODEL.wraps.items()
    )


def test_what_the_file_states_is_read():
    muscle = MODEL.muscles[0]
    assert (muscle.name, muscle.force, muscle.fibre, muscle.slack) == ("over_cylinder", 200, 0.1, 0.05)
    assert muscle.pennation == 0.3 and MODEL.muscles[1].pennation == 0.1, "a default of its class"
    assert names_of(MODEL) == ["flexion", "turn", "tilt", "bend", "wave"]
    np.testing.assert_array_equal(MODEL.wraps["elbow_cylinder"].side, [1, 0, 0])
    assert MODEL.wraps["elbow_sphere"].side is None is MODEL.wraps["shoulder_ellipsoid"].side
    assert MODEL.wraps["wrist_torus"].size == (0.004, 0.012)
    assert MODEL.notes == ()


# -- kinematics --------------------------------------------------------------------------------------------


def turned(axis, angle):
    """Rotation about a coordinate axis, written out."""
    c, s = np.cos(angle), np.sin(angle)
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def frame(x, y, z, *at):
    """Homogeneous matrix of body-fixed angles about x, y, z and a place."""
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = turned("x", x) @ turned("y", y) @ turned("z", z), at
    return out


def about(axis, angle):
    out = np.eye(4)
    out[:3, :3] = turned(axis, angle)
    return out


def by_hand(flexion, turn, tilt, bend, wave):
    """Return where the bodies of small.osim are, from the numbers in it."""
    shoulder = about("z", flexion) @ about("y", 0.2) @ about("x", -turn)  # after a constant translation
    shift = frame(0, 0, 0, 0.005, 0, -0.003)
    upper = (
        frame(0.1, -0.2, 0.3, 0, 0.02, 0.1)
        @ shift
        @ shoulder
        @ np.linalg.inv(frame(0.05, 0, 0.02, 0, 0.01, 0))
    )
    fore = upper @ frame(0.1, 0, 0, 0, -0.25, 0) @ about("z", bend)
    hand = (
        fore
        @ frame(0, 0.3, 0, 0, -0.2, 0)
        @ about("z", wave)
        @ np.linalg.inv(frame(0, 0.3, 0, 0.001, 0.002, -0.001))
    )
    return {
        "upper": upper,
        "blade": frame(0, 0, 0, -0.05, 0, 0.05) @ about("z", tilt),
        "fore": fore,
        "hand": hand,
    }


def test_kinematics_are_products_of_the_rotations_in_the_file():
    angles = postures(MODEL, 50)
    places = Places.at(MODEL, angles).of_bodies
    for row, some in enumerate(angles):
        for name, expected in by_hand(*some).items():
            rotation, position = places[name]
            np.testing.assert_allclose(rotation[row], expected[:3, :3], atol=1e-9)
            np.testing.assert_allclose(position[row], expected[:3, 3], atol=1e-9)


def test_the_written_model_has_the_same_kinematics(small, compiled):
    """MJCF has six digits."""
    data, angles = mujoco.MjData(compiled), postures(MODEL, 10)
    for some in angles:
        for name, angle in zip(names_of(MODEL), some, strict=True):
            data.joint(name).qpos[0] = angle
        mujoco.mj_forward(compiled, data)
        for name, expected in by_hand(*some).items():
            np.testing.assert_allclose(data.body(name).xpos, expected[:3, 3], atol=2e-6)
        np.testing.assert_allclose(
            data.site("hand_tip").xpos, (by_hand(*some)["hand"] @ [0.01, -0.09, 0, 1])[:3], atol=2e-6
        )
    assert small.joints == tuple(compiled.joint(k).name for k in range(compiled.njnt))
    assert small.joints == ("flexion", "turn", "bend", "wave", "tilt"), "along a chain, then the next"
    assert small.keypoints == {"hand_tip": ("site", "hand_tip"), "elbow_outside": ("site", "elbow_outside")}


def test_a_locked_coordinate_is_held_at_its_default(tmp_path):
    path = edited(
        tmp_path,
        (
            "<default_value>1.0</default_value><range>0.1 2</range><locked>false",
            "<default_value>0.7</default_value><range>0.1 2</range><locked>true",
        ),
    )
    model = read_osim(path)
    assert model.notes == ("The coordinate bend is locked, so it is held at 40°.",)
    assert "bend" not in names_of(model)
    angles = postures(model, 5)
    places = Places.at(model, angles).of_bodies["hand"][1]
    for row, (flexion, turn, tilt, wave) in enumerate(angles):
        expected = by_hand(flexion, turn, tilt, 0.7, wave)["hand"]
        np.testing.assert_allclose(places[row], expected[:3, 3], atol=1e-9)


def test_masses_and_inertia_are_those_of_the_file_and_there_is_no_gravity(compiled):
    """Inertia is compared about the axes of the body."""
    for segment in MODEL.segments:
        body = compiled.body(segment.name)
        assert body.mass[0] == pytest.approx(segment.mass)
        np.testing.assert_allclose(body.ipos, segment.centre, atol=1e-9)
        axes = np.empty(9)
        mujoco.mju_quat2Mat(axes, body.iquat)
        axes = axes.reshape(3, 3)
        np.testing.assert_allclose(axes @ np.diag(body.inertia) @ axes.T, segment.inertia, atol=2e-8)
    np.testing.assert_array_equal(compiled.opt.gravity, 0)


def test_a_body_without_mass_is_welded_or_refused(tmp_path):
    assert convert(read_osim(edited(tmp_path, ("<mass>0.3</mass>", "<mass>0.300001</mass>")))).joints
    with pytest.raises(UnsupportedError, match=r"^MuJoCo does not accept the model .*mass.*\.$"):
        convert(read_osim(edited(tmp_path, ("<mass>0.3</mass>", "<mass>0</mass>"))))


# -- lengths -----------------------------------------------------------------------------------------------


def point(places, body, *at):
    rotation, position = places.of_bodies[body]
    return rotation @ np.array(at) + position


def test_lengths_without_wraps_are_those_of_the_polyline(small, compiled):
    angles = postures(MODEL, 60)
    places = Places.at(MODEL, angles)
    blade = point(places, "ground", -0.05, 0.06, 0.02) - point(places, "blade", 0.03, 0.03, 0.01)
    back = point(places, "ground", -0.05, 0.03, 0.09) - point(places, "upper", -0.01, -0.06, 0)
    found = lengths(compiled, names_of(MODEL), angles)
    for muscle, expected in (("straight", blade), ("backward", back)):
        np.testing.assert_allclose(
            found[:, small.muscles.index(muscle)], np.linalg.norm(expected, axis=1), atol=2e-6
        )
        assert small.errors[muscle].rms < 2e-6 and small.errors[muscle].replaced == ()


def test_mujoco_wraps_cylinders_and_spheres_as_the_closed_forms(small, compiled):
    angles = postures(MODEL, 200)
    places, found = Places.at(MODEL, angles), lengths(compiled, names_of(MODEL), angles)
    ends = {
        "over_cylinder": (("upper", 0.02, -0.12, 0.005), ("fore", 0.014, -0.05, 0.01)),
        "over_sphere": (("upper", -0.015, -0.1, 0.004), ("fore", -0.02, -0.03, 0.002)),
    }
    for muscle, wrap in (("over_cylinder", "elbow_cylinder"), ("over_sphere", "elbow_sphere")):
        two = np.stack([point(places, *end) for end in ends[muscle]], axis=1)
        obstacle = places.of_wrap(MODEL.wraps[wrap])
        expected = around(obstacle.kind, obstacle.size[0], obstacle.local(two), obstacle.side)
        np.testing.assert_allclose(found[:, small.muscles.index(muscle)], expected, atol=2e-6)
        longer = expected - np.linalg.norm(two[:, 1] - two[:, 0], axis=1)
        assert (longer > 1e-3).any() and (longer < 1e-9).any(), "it wraps in some postures only"


def test_replaced_objects_are_within_the_stated_error(small, compiled):
    """Over other postures than those of the conversion, against the original objects as tight strings."""
    angles = postures(MODEL, 300)
    places, found = Places.at(MODEL, angles), lengths(compiled, names_of(MODEL), angles)
    stated = {
        "over_ellipsoid": ("ellipsoid shoulder_ellipsoid",),
        "through_torus": ("torus wrist_torus",),
        "moving": ("moving point",),
        "conditional": ("conditional point",),
    }
    for muscle in MODEL.muscles:
        error, length = small.errors[muscle.name], found[:, small.muscles.index(muscle.name)]
        difference = length - original_length(muscle, MODEL, places)
        assert difference.std() < 1.5 * error.rms + TIGHT, muscle.name
        assert error.rms <= error.largest and error.rms < 3e-3
        if muscle.name != "through_torus":  # what does not change lengths needs no object
            assert error.replaced == stated.get(muscle.name, ()), muscle.name


@pytest.mark.parametrize(("low", "kept"), [(-0.65, True), (0.65, False)])
def test_a_conditional_point_is_kept_or_left_by_which_is_closer(tmp_path, low, kept):
    made = convert(read_osim(edited(tmp_path, ("<range>-0.1 0.7</range>", f"<range>{low} 0.7</range>"))))
    sites = re.findall(r'site name="conditional-\d"', made.xml)
    assert len(sites) == 2 + kept
    assert made.errors["conditional"].replaced == ("conditional point",)


def test_a_moving_point_is_where_its_curve_says():
    angles = postures(MODEL, 40)
    places = Places.at(MODEL, angles)
    (muscle,) = (m for m in MODEL.muscles if m.name == "moving")
    bend = angles[:, names_of(MODEL).index("bend")]
    local = np.stack(
        [
            np.interp(bend, [0, 1, 2], [0.02, 0.025, 0.02]),
            np.full(40, -0.02),
            np.interp(bend, [0, 1, 2], [0.01, 0.012, 0.015]),
        ],
        axis=1,
    )
    np.testing.assert_allclose(places.in_body(muscle.points[1]), local, atol=1e-12)


def test_a_muscle_that_crosses_no_joint_is_left_out_with_a_note(tmp_path):
    made = convert(read_osim(edited(tmp_path, ("<body>blade</body>", "<body>ground</body>"))))
    assert "straight" not in made.muscles and "straight" not in made.errors
    assert made.notes == ("The muscle straight crosses no joint that moves it, so it is left out.",)


# -- muscles -----------------------------------------------------------------------------------------------


def test_fibres_have_the_length_that_the_tendon_leaves_them(compiled):
    """MuJoCo's normalised length is linear in the tendon's; also where the path is shorter than the tendon."""
    for muscle in MODEL.muscles:
        actuator = compiled.actuator(muscle.name)
        low, high = actuator.gainprm[:2]
        shortest, longest = actuator.lengthrange
        length = np.linspace(shortest, longest, 5)
        fibre = low + (length - shortest) * (high - low) / (longest - shortest)
        expected = (length - muscle.slack) / (muscle.fibre * np.cos(muscle.pennation))
        np.testing.assert_allclose(fibre, expected, atol=2e-4)
        assert actuator.gainprm[2] == pytest.approx(muscle.force * np.cos(muscle.pennation), rel=1e-5)
        np.testing.assert_array_equal(actuator.gainprm[:2], actuator.biasprm[:2])
    assert any(compiled.actuator(m.name).gainprm[0] < 0 for m in MODEL.muscles), "one is slack somewhere"


def thelen(length, strain, stiffness):
    """Passive force by length, in greatest isometric forces and optimal lengths."""
    return np.expm1(stiffness * np.maximum(length - 1, 0) / strain) / np.expm1(stiffness)


@pytest.mark.parametrize(("strain", "stiffness"), [(0.6, 4.0), (0.4, 3.0), (1.0, 5.0)])
def test_passive_fibres_pull_as_those_of_the_file(tmp_path, strain, stiffness):
    """By MuJoCo's curve; no other factor of it is closer, and its default of 1.3 is far."""
    stated = f"<FmaxMuscleStrain>{strain}</FmaxMuscleStrain><KshapePassive>{stiffness}</KshapePassive>"
    path = edited(tmp_path, ("<max_isometric_force>200<", f"{stated}<max_isometric_force>200<"))
    actuator = mujoco.MjModel.from_xml_string(convert(read_osim(path)).xml).actuator("over_cylinder")
    lengths = np.linspace(1, 1 + min(strain, 0.6), 61)
    wanted = thelen(lengths, strain, stiffness)

    def missed(factor):
        prm = np.array([0.5, 1.6, 1.0, *actuator.biasprm[3:7], factor, actuator.biasprm[8]])
        pull = [-mujoco.mju_muscleBias(one, [0.5, 1.6], 1.0, prm) for one in lengths]
        return np.linalg.norm(pull - wanted)

    fitted = actuator.biasprm[7]
    assert missed(fitted) < min(missed(0.9 * fitted), missed(1.1 * fitted))
    assert missed(fitted) < 0.4 * missed(1.3)


@pytest.mark.parametrize("factor", [0.5, 1.2])
def test_a_larger_animal_has_longer_muscles_and_arms_and_more_force(small, compiled, factor):
    """Ellipsoids are replaced by radii in steps of half a millimetre, so that these are close only."""
    larger = convert(scaled(MODEL, factor))
    other = mujoco.MjModel.from_xml_string(larger.xml)
    angles = postures(MODEL, 20)
    one, two = (lengths(m, names_of(MODEL), angles) for m in (compiled, other))
    step = 1e-3 * np.eye(5)[3]
    arms = [
        (lengths(m, names_of(MODEL), angles + step) - lengths(m, names_of(MODEL), angles - step)) / 2e-3
        for m in (compiled, other)
    ]
    for k, muscle in enumerate(small.muscles):
        if muscle == "over_ellipsoid":
            continue
        np.testing.assert_allclose(two[:, k], factor * one[:, k], atol=1e-5)
        np.testing.assert_allclose(arms[1][:, k], factor * arms[0][:, k], atol=1e-3 * factor * 0.05 + 2e-5)
        gains = [m.actuator(muscle).gainprm for m in (compiled, other)]
        assert gains[1][2] == pytest.approx(factor**2 * gains[0][2], rel=1e-5)
        np.testing.assert_allclose(gains[1][:2], gains[0][:2], atol=1e-3)
    np.testing.assert_allclose(other.body_mass, factor**3 * compiled.body_mass, rtol=1e-5)
    np.testing.assert_allclose(other.body_inertia, factor**5 * compiled.body_inertia, rtol=1e-4)


@given(st.floats(0.2, 5.0))
def test_lengths_of_the_original_scale_with_the_animal(factor):
    larger, angles = scaled(MODEL, factor), postures(MODEL, 4)
    for muscle, scaled_muscle in zip(MODEL.muscles, larger.muscles, strict=True):
        if not set(muscle.wraps) & {"shoulder_ellipsoid", "wrist_torus"}:  # strings take a second
            one = original_length(muscle, MODEL, Places.at(MODEL, angles))
            two = original_length(scaled_muscle, larger, Places.at(larger, angles))
            np.testing.assert_allclose(two, factor * one, rtol=1e-9)
    back = scaled(larger, 1 / factor)
    for old, new in zip(MODEL.segments, back.segments, strict=True):
        np.testing.assert_allclose(new.inertia, old.inertia, rtol=1e-9)


# -- strings -----------------------------------------------------------------------------------------------


def ends_around(n=200, seed=0):
    """Return random ends outside a ball of 2 cm, many on opposite sides of it, (n, 2, 3) in m."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((n, 2, 3))
    directions[:, 1] = -directions[:, 0] + 0.7 * directions[:, 1]
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return directions * rng.uniform(0.025, 0.08, (n, 2, 1))


def obstacle(kind, size, n, side=None):
    return Obstacle(kind, size, np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3)), side)


@pytest.mark.parametrize("kind", ["sphere", "cylinder"])
def test_closed_forms_are_the_lengths_of_tight_strings(kind):
    ends = ends_around()
    if kind == "cylinder":  # both ends outside
        ends = ends[np.linalg.norm(ends[..., :2], axis=-1).min(1) > 0.021]
    expected = around(kind, 0.02, ends)
    size = (0.02,) if kind == "sphere" else (0.02, 0.1)
    found = tight_length(ends, [obstacle(kind, size, len(ends))])
    wraps = expected > np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) + 1e-4
    assert wraps.sum() > 30
    difference = found - expected
    # chords are shorter than arcs; a string that starts exactly opposite may settle on the longer way of a cylinder
    settled = np.abs(difference) < 10 * TIGHT
    assert settled.mean() > 0.95 and (difference > -10 * TIGHT).all()
    assert np.abs(difference[settled]).mean() < 2 * TIGHT


def test_an_ellipsoid_with_equal_axes_is_a_sphere():
    ends = ends_around()
    one = obstacle("sphere", (0.02,), len(ends)).length(ends)
    other = obstacle("ellipsoid", (0.02, 0.02, 0.02), len(ends)).length(ends)
    np.testing.assert_allclose(other, one, atol=10 * TIGHT)


@given(st.floats(-np.pi, np.pi), st.floats(0.005, 0.02), st.integers(0, 1000))
def test_lengths_do_not_depend_on_the_frame(angle, radius, seed):
    """Turned about the cylinder's axis, exchanged ends, and all lengths times a factor."""
    ends = ends_around(20, seed)
    matrix = turned("z", angle)
    for kind in ("sphere", "cylinder"):
        one = around(kind, radius, ends)
        np.testing.assert_allclose(around(kind, radius, ends @ matrix.T), one, atol=1e-9)
        np.testing.assert_allclose(around(kind, radius, ends[:, ::-1]), one, atol=1e-9)
        np.testing.assert_allclose(around(kind, 3 * radius, 3 * ends), 3 * one, atol=1e-9)
        assert (one >= np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) - 1e-12).all()


def test_a_stated_side_is_passed_the_longer_way_if_need_be():
    """Ends 3 cm above and below a cylinder of 1 cm, somewhat to the left: the right side is farther."""
    ends = np.array([[[-0.002, 0.03, 0], [-0.002, -0.03, 0.0]]])
    left, right = (around("cylinder", 0.01, ends, np.array([sign, 0.0, 0.0]))[0] for sign in (-1.0, 1.0))
    assert left == pytest.approx(around("cylinder", 0.01, ends)[0])
    assert right > left + 2e-3
    mirrored = ends * [-1, 1, 1]
    assert around("cylinder", 0.01, mirrored, np.array([-1.0, 0, 0]))[0] == pytest.approx(right)


def test_a_line_that_passes_on_its_side_is_straight():
    """Both ends and the line beyond the cylinder on the stated side, as by the rules of OpenSim."""
    ends = np.array([[[0.03, 0.03, 0], [0.03, 0.01, 0.01]]])
    straight = np.linalg.norm(ends[0, 1] - ends[0, 0])
    for kind in ("cylinder", "sphere"):
        assert around(kind, 0.01, ends, np.array([1.0, 0, 0]))[0] == pytest.approx(straight)
        assert around(kind, 0.01, ends, np.array([-1.0, 0, 0]))[0] > straight + 0.02


def test_poses_compose_and_invert():
    rng = np.random.default_rng(0)
    a, b = (Pose(turned("x", rng.random()) @ turned("y", rng.random()), rng.random(3)) for _ in range(2))
    both = a @ b @ b.inverse
    np.testing.assert_allclose(both.rotation, a.rotation, atol=1e-12)
    np.testing.assert_allclose(both.position, a.position, atol=1e-12)


# -- what cannot be read -----------------------------------------------------------------------------------

FLEXION = "<range>-0.6 1.2</range>"
ERRORS = {
    "degrees": (CorruptFileError, [(FLEXION, "<range>-60 120</range>")], r"'flexion'.*look like degrees"),
    "no range": (CorruptFileError, [(FLEXION, "<range>1.2 -0.6</range>")], r"'flexion'.*no range"),
    "too few numbers": (CorruptFileError, [(FLEXION, "<range>1.2</range>")], r"<range>.*'flexion'.*2 finite numbers"),
    "no number": (CorruptFileError, [("<mass>1.2</mass>", "<mass>heavy</mass>")], r"<mass> of the Body 'upper'.*'heavy'"),
    "not finite": (CorruptFileError, [("<mass>1.2</mass>", "<mass>nan</mass>")], r"<mass>.*1 finite number"),
    "infinite": (CorruptFileError, [("<location>0.02 -0.12", "<location>inf -0.12")], r"<location>.*3 finite numbers"),
    "huge": (CorruptFileError, [("<mass>1.2</mass>", "<mass>1e300</mass>")], r"<mass>.*1 finite number"),
    "negative mass": (CorruptFileError, [("<mass>1.2</mass>", "<mass>-1</mass>")], r"'upper'.*mass below 0"),
    "no joint": (CorruptFileError, [('<CustomJoint name="shoulder">', '<CustomJoint name="shoulder"><a/></CustomJoint><CustomJoint name="b">')], r"'upper'.*has no joint"),
    "missing body": (CorruptFileError, [("<parent_body>fore</parent_body>", "<parent_body>ulna</parent_body>")], r"'hand'.*hangs on 'ulna'"),
    "bodies that hang on each other": (CorruptFileError, [("<parent_body>upper</parent_body>", "<parent_body>hand</parent_body>")], r"'fore'.*hangs on it in turn|hangs on"),
    "point on a missing body": (CorruptFileError, [("<body>hand</body>", "<body>paw</body>")], r"is on 'paw'"),
    "unknown joint": (UnsupportedError, [("PinJoint", "BallJoint")], r"the BallJoint 'scapula'.*joints are WeldJoint"),
    "wrong number of coordinates": (UnsupportedError, [('<PinJoint name="elbow">', '<PinJoint name="elbow"><coordinates><Coordinate name="more"><range>0 1</range></Coordinate></coordinates>')], r"'elbow' .*cannot be read"),
    "reversed joint": (UnsupportedError, [('<PinJoint name="elbow">', '<PinJoint name="elbow"><reverse>true</reverse>')], r"'elbow'.*reversed"),
    "spline": (UnsupportedError, [("<LinearFunction><coefficients>1 0</coefficients></LinearFunction>", "<SimmSpline><x>0 1</x><y>0 1</y></SimmSpline>")], r"'shoulder'.*moves along a SimmSpline.*'flexion'"),
    "unknown function": (UnsupportedError, [("<LinearFunction><coefficients>1 0</coefficients></LinearFunction>", "<Sine><amplitude>1</amplitude></Sine>")], r"moves along a Sine"),
    "slope": (UnsupportedError, [("<coefficients>1 0</coefficients>", "<coefficients>0.5 0</coefficients>")], r"'shoulder'.*turns by 0\.5 times"),
    "slides": (UnsupportedError, [('<TransformAxis name="translation1"><coordinates></coordinates><axis>1 0 0</axis><function><Constant><value>0.005</value></Constant>', '<TransformAxis name="translation1"><coordinates>turn</coordinates><axis>1 0 0</axis><function><LinearFunction><coefficients>1 0</coefficients></LinearFunction>')], r"'shoulder'.*slides with the coordinate 'turn'"),
    "several axes": (UnsupportedError, [("<coordinates>turn</coordinates>", "<coordinates>flexion</coordinates>")], r"'shoulder'.*several axes.*'flexion'"),
    "zero axis": (CorruptFileError, [("<axis>0 0 2</axis>", "<axis>0 0 0</axis>")], r"axis of the CustomJoint 'shoulder'.*zero"),
    "unknown coordinate": (CorruptFileError, [("<coordinates>turn</coordinates>", "<coordinates>roll</coordinates>")], r"follows 'roll', which is no coordinate of it"),
    "unknown wrap in use": (UnsupportedError, [("WrapSphere", "WrapSphereObst")], r"over_sphere.*'elbow_sphere', a WrapSphereObst"),
    "missing wrap": (CorruptFileError, [("<wrap_object>elbow_sphere", "<wrap_object>ball")], r"wraps over 'ball', which the model does not"),
    "wrap without size": (CorruptFileError, [("<radius>0.018</radius>", "<radius>0</radius>")], r"'elbow_sphere'.*size of 0 or less"),
    "quadrant": (CorruptFileError, [("<quadrant>x</quadrant>", "<quadrant>left</quadrant>")], r"<quadrant>.*'left'"),
    "empty path": (CorruptFileError, [("PathPointSet", "PathPoints")], r"'over_cylinder'.*has 0 points"),
    "no path": (CorruptFileError, [("GeometryPath", "Geometry")], r"'over_cylinder'.*has no path"),
    "unknown point": (UnsupportedError, [("MovingPathPoint", "SurfacePathPoint")], r"SurfacePathPoint 'moving-P2'.*cannot be read"),
    "point that follows nothing": (CorruptFileError, [("<coordinate>wave", "<coordinate>wink")], r"'conditional-P2'.*follows 'wink'"),
    "curve that turns back": (UnsupportedError, [("<x>0 1 2</x>", "<x>0 2 1</x>")], r"<x_location>.*increasing angles"),
    "no force": (CorruptFileError, [("<max_isometric_force>150</max_isometric_force>", "")], r"<max_isometric_force>.*'over_sphere'"),
    "no fibres": (CorruptFileError, [("<optimal_fiber_length>0.1<", "<optimal_fiber_length>0<")], r"'over_cylinder'.*must be positive"),
    "passive curve": (CorruptFileError, [("<max_isometric_force>200<", "<FmaxMuscleStrain>0</FmaxMuscleStrain><max_isometric_force>200<")], r"'over_cylinder'.*passive strain of 0"),
    "no muscles": (CorruptFileError, [("Thelen2003Muscle", "PointActuator")], r"has no muscles"),
    "nothing turns": (CorruptFileError, [("<locked>false", "<locked>true")], r"has no joint that turns"),
    "no name": (CorruptFileError, [('<Body name="hand">', "<Body>")], r"A <Body> in edited\.osim has no name"),
    "no XML": (CorruptFileError, [("</Model>", "")], r"edited\.osim is no XML"),
    "no model": (CorruptFileError, [("Model", "Scene")], r"is no OpenSim model"),
    "entities": (UnsafeFileError, [("<OpenSimDocument ", '<!DOCTYPE a [<!ENTITY b "c">]><OpenSimDocument ')], r"declares entities"),
    "too many elements": (UnsafeFileError, [("<gravity>", "<a/>" * (2 * MOST_ELEMENTS) + "<gravity>")], r"more than 500000 elements"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_what_cannot_be_read_is_one_sentence(tmp_path, case):
    error, changes, says = ERRORS[case]
    with pytest.raises(error, match=says) as raised:
        read_osim(edited(tmp_path, *changes))
    message = str(raised.value)
    assert message.endswith(".") and "\n" not in message and "edited.osim" in message and len(message) < 400


def test_same_names_are_refused_by_the_conversion(tmp_path):
    for change in (('name="backward"', 'name="straight"'), ('name="tilt"', 'name="bend"')):
        with pytest.raises(UnsupportedError, match=r"^MuJoCo does not accept the model .*\.$"):
            convert(read_osim(edited(tmp_path, change)))


def test_an_unknown_wrap_that_no_muscle_uses_is_harmless(tmp_path):
    path = edited(
        tmp_path,
        ("<wrap_object>elbow_sphere</wrap_object>", "<wrap_object>elbow_cylinder</wrap_object>"),
        ("WrapSphere", "WrapOther"),
    )
    assert "elbow_sphere" not in read_osim(path).wraps


def test_links_folders_large_files_and_other_encodings_are_refused(tmp_path):
    (tmp_path / "link.osim").symlink_to(SMALL)
    (tmp_path / "folder.osim").mkdir()
    with (tmp_path / "large.osim").open("wb") as file:
        file.truncate(30 << 20)
    (tmp_path / "wide.osim").write_bytes(SMALL.read_text().replace("UTF-8", "UTF-16").encode("utf-16"))
    for name, says in (("link", "is a link"), ("folder", "folder"), ("large", "bytes"), ("wide", "UTF-8")):
        with pytest.raises(UnsafeFileError, match=says):
            read_osim(tmp_path / f"{name}.osim")
    with pytest.raises(CorruptFileError, match=r"nowhere\.osim cannot be read"):
        read_osim(tmp_path / "nowhere.osim")


def test_names_of_a_file_have_no_control_characters(tmp_path):
    path = edited(tmp_path, ('"over_sphere"', '"a&#10;&quot;b|&lt;c&gt;\u202e"'))
    assert read_osim(path).muscles[1].name == "a__b__c_"


def mutations():
    """Replacements in the text of the file: numbers, names, tags that are left out or doubled."""
    text = SMALL.read_text()
    spans = [found.span() for found in re.finditer(r">[^<>\s][^<>]*<|\"[^\"]*\"|<[^<>]+>", text)]
    junk = st.sampled_from([
        "", ">0<", ">-1<", ">nan<", ">1e400<", ">1e5 1e5 1e5<", ">hand<", '"hand"', '""', "<a>", "</a>", "<Joint/>",
        ">0 0 0<", ">true<", "\x00", "<![CDATA[x]]>", ">all<", ">1 1<", '"ground"', "<SimmSpline/>", "&#x41;",
    ])  # fmt: skip
    return st.lists(st.tuples(st.sampled_from(spans), junk), min_size=1, max_size=4), text


CHANGES, TEXT = mutations()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
def test_mutated_files_end_in_a_model_or_in_one_sentence(tmp_path, changes):
    text = TEXT
    for (start, stop), new in sorted(changes, reverse=True):
        text = text[:start] + new + text[stop:]
    path = tmp_path / "mutated.osim"
    path.write_text(text)
    try:
        model = read_osim(path)
    except NgbError as error:
        assert "\n" not in str(error)
        return
    for muscle in model.muscles:
        assert muscle.force > 0 and muscle.fibre > 0

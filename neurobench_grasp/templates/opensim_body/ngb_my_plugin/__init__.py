"""A body converted from an OpenSim model. Angles in rad, lengths in m, forces in N; y points up."""

from pathlib import Path

from neurobench_grasp import BodySpec, hookimpl

# Names, in the order of the model, which is body.xml beside this file. To rename a joint or a muscle, change
# it there, too.
JOINTS = "my_joints"
MUSCLES = "my_muscles"

# What is compared with recordings: the name, and the site or body of the model that it is. Rename these, and
# delete those that are not needed.
KEYPOINTS = "my_keypoints"

# The posture at rest, in which joints that were not recorded are held; the default posture of the file.
NEUTRAL = "my_neutral"

# The keypoint whose recorded position determines postures by inverse kinematics; "" if none does.
ENDPOINT = "my_endpoint"


def build():
    """Describe the body by its names in the model."""
    from neurobench_grasp.bodies import MujocoBody, View
    from neurobench_grasp.contract import Part

    return MujocoBody(
        "my_plugin",
        make_spec=make_spec,
        joint_names={joint: joint for joint in JOINTS},
        muscle_names={muscle: (muscle, f"{muscle}_tendon") for muscle in MUSCLES},
        keypoint_sources=KEYPOINTS,
        tips=tuple(KEYPOINTS)[-1:],  # the ends of the limb or of the fingers
        frame="ground",
        frame_body="world",  # the body of the model in whose frame keypoints are expressed
        parts=(Part("limb", JOINTS, tuple(KEYPOINTS)),),  # one reward each in training: fingers, for example
        neutral_angles=NEUTRAL,
        view=View(
            look_at="my_centre",
            towards=(0.0, 0.0, 1.0),
            up=(0.0, 1.0, 0.0),
            distance="my_distance",
            field_of_view=45.0,
        ),
        endpoint=ENDPOINT,
    )


def make_spec():
    """Return the model, without sensors: these are added."""
    import mujoco

    return mujoco.MjSpec.from_file(str(Path(__file__).with_name("body.xml")))


@hookimpl
def ngb_bodies():
    """Offer the body."""
    yield BodySpec(
        "my_plugin",
        build=build,
        summary="converted from an OpenSim model",  # what it is, of which animal, and what was left out
        licence="not stated",  # that of the OpenSim file
        source="my_source",  # and the publication of the model
    )

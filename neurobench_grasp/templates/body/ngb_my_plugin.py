"""A forearm that turns about the elbow, moved by a flexor and an extensor. Lengths in m, forces in N."""

from neurobench_grasp import BodySpec, hookimpl

XML = """
<mujoco model="my_plugin">
  <compiler angle="radian"/>
  <option gravity="0 0 0"/>
  <worldbody>
    <body name="upper_arm">
      <geom type="capsule" fromto="0 0 0  0.3 0 0" size="0.03" mass="2"/>
      <body name="forearm" pos="0.3 0 0">
        <joint name="elbow" axis="0 0 1" range="0 2.4" limited="true" damping="0.2" armature="0.01"/>
        <geom type="capsule" fromto="0 0 0  0.25 0 0" size="0.025" mass="1"/>
        <site name="middle" pos="0.12 0 0"/>
        <site name="hand" pos="0.25 0 0"/>
      </body>
    </body>
  </worldbody>
  <tendon>
    <fixed name="flexor_tendon"><joint joint="elbow" coef="-0.03"/></fixed>
    <fixed name="extensor_tendon"><joint joint="elbow" coef="0.02"/></fixed>
  </tendon>
  <actuator>
    <muscle name="flexor" tendon="flexor_tendon" force="200" lengthrange="-0.072 0"/>
    <muscle name="extensor" tendon="extensor_tendon" force="250" lengthrange="0 0.048"/>
  </actuator>
</mujoco>
"""


def build():
    """Describe the body by its names in the model; an increasing elbow angle is flexion."""
    from neurobench_grasp.bodies import MujocoBody, View
    from neurobench_grasp.contract import Part

    return MujocoBody(
        "my_plugin",
        make_spec=make_spec,
        joint_names={"elbow": "elbow"},
        muscle_names={muscle: (muscle, f"{muscle}_tendon") for muscle in ("flexor", "extensor")},
        keypoint_sources={"middle": ("site", "middle"), "hand": ("site", "hand")},
        tips=("hand",),
        frame="upper arm",
        frame_body="upper_arm",
        parts=(Part("elbow", ("elbow",), ("middle", "hand")),),
        neutral_angles={"elbow": 1.2},
        view=View(look_at=(0.3, 0.1, 0.0), towards=(0, 0, 1), up=(0, 1, 0), distance=1.0, field_of_view=45.0),
    )


def make_spec():
    """Return the model, without sensors: these are added."""
    import mujoco

    return mujoco.MjSpec.from_string(XML)


@hookimpl
def ngb_bodies():
    """Offer the body."""
    yield BodySpec(
        "my_plugin",
        build=build,
        summary="an elbow with a flexor and an extensor",
        licence="MIT",
        source="moment arms and forces are round numbers of an adult's elbow, for illustration",
    )

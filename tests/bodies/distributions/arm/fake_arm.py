"""A forearm that turns about the elbow, with two muscles, and a controller of it."""

from neurobench_grasp import BodySpec, ModelCard, ModelSpec, hookimpl

XML = """
<mujoco model="one_joint_arm">
  <compiler angle="radian"/>
  <option gravity="0 0 0"/>
  <worldbody>
    <body name="upper_arm">
      <geom type="capsule" fromto="0 0 0  0.3 0 0" size="0.03" mass="2"/>
      <body name="forearm" pos="0.3 0 0">
        <joint name="elbow" type="hinge" axis="0 0 1" range="0 2.4" limited="true" damping="0.2" armature="0.01"/>
        <geom type="capsule" fromto="0 0 0  0.25 0 0" size="0.025" mass="1"/>
        <site name="middle" pos="0.12 0 0"/>
        <site name="hand" pos="0.25 0 0"/>
      </body>
    </body>
  </worldbody>
  <tendon>
    <fixed name="biceps_tendon"><joint joint="elbow" coef="-0.03"/></fixed>
    <fixed name="triceps_tendon"><joint joint="elbow" coef="0.02"/></fixed>
  </tendon>
  <actuator>
    <muscle name="biceps" tendon="biceps_tendon" force="200" lengthrange="-0.072 0"/>
    <muscle name="triceps" tendon="triceps_tendon" force="250" lengthrange="0 0.048"/>
  </actuator>
</mujoco>
"""


def build():
    from neurobench_grasp.bodies import MujocoBody, View
    from neurobench_grasp.contract import Part

    return MujocoBody(
        "one_joint_arm",
        make_spec=make_spec,
        joint_names={"elbow": "elbow"},
        muscle_names={muscle: (muscle, f"{muscle}_tendon") for muscle in ("biceps", "triceps")},
        keypoint_sources={"middle": ("site", "middle"), "hand": ("site", "hand")},
        tips=("hand",),
        frame="upper arm",
        frame_body="upper_arm",
        parts=(Part("elbow", ("elbow",), ("middle", "hand")),),
        neutral_angles={"elbow": 1.2},
        view=View(look_at=(0.3, 0.1, 0.0), towards=(0, 0, 1), up=(0, 1, 0), distance=1.0, field_of_view=45.0),
    )


def make_spec():
    import mujoco

    return mujoco.MjSpec.from_string(XML)


def build_model(seed, **settings):
    from neurobench_grasp.controllers.controller import NetworkController

    return NetworkController("arm_ppo", "muscle", **settings)


@hookimpl
def ngb_bodies():
    yield BodySpec("one_joint_arm", build, summary="an elbow", licence="CC0-1.0", source="made for a test")


@hookimpl
def ngb_models():
    yield ModelSpec(
        "arm_ppo",
        build=build_model,
        summary="moves an elbow",
        smoke={"fit_steps": 512},
        controller=True,
        step_s=0.02,
        body="one_joint_arm",
        card=ModelCard(
            licence="CC0-1.0",
            authors=("Author",),
            citation="",
            action_space="muscle excitations",
            training_data=(),
            parameters=0,
            steps=0,
            compute="none",
            seeds=(),
            simulator="MuJoCo 3",
        ),
    )

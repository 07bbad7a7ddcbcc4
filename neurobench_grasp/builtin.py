"""What comes with the package, offered through the same hooks as anyone's plugin."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from neurobench_grasp.contract import Body, BodySpec, DatasetSpec, Decoder, DecoderSpec, ProtocolSpec, Scores
from neurobench_grasp.hookspecs import hookimpl
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.settings import (
    BRAIN_CONTROL,
    CURVES,
    EMG,
    ENCODING,
    LAYERS,
    PARTITION,
    POPULATION,
    TRACKING,
)


def _demo_files() -> Sequence[Path]:
    from neurobench_grasp.demo import demo_files

    return demo_files()


def _mixed_files(name: str) -> Sequence[Path]:
    from neurobench_grasp.demo.mixed import MIXED_SETS

    return MIXED_SETS[name].files()


@hookimpl
def ngb_datasets() -> Iterator[DatasetSpec]:
    """Offer the built-in datasets, and those that can be fetched."""
    from neurobench_grasp.data.catalogue import catalogue, fetched_files

    yield DatasetSpec(
        "demo",
        files=_demo_files,
        layout="ngb-grasp-1",
        synthetic=True,
        licence="CC0-1.0",
        summary="synthetic, a self-test: 2 animals × 2 sessions, 35 objects × 15 trials, M1 and S1",
    )
    for name, units in (("mixed", "150 units of five"), ("mixed_memory", "180 units of six")):
        yield DatasetSpec(
            name,
            files=partial(_mixed_files, name),
            layout="ngb-grasp-1",
            synthetic=True,
            licence="CC0-1.0",
            summary=f"synthetic, a self-test: movements of demo, {units} known kinds, for ngb recovery",
        )
    for entry in catalogue().values():
        yield DatasetSpec(
            entry.name,
            files=partial(fetched_files, entry),
            layout=entry.layout,
            licence=entry.licence,
            summary=entry.summary,
            details=entry.details,
        )


def _myohand() -> Body:
    from neurobench_grasp.bodies.myohand import build_myohand

    return build_myohand()


def _isometric_wrist() -> Body:
    from neurobench_grasp.bodies.isometric_wrist import build_isometric_wrist

    return build_isometric_wrist()


def _planar_arm() -> Body:
    from neurobench_grasp.bodies.planar_arm import build_planar_arm

    return build_planar_arm()


def _myoarm() -> Body:
    from neurobench_grasp.bodies.myoarm import build_myoarm

    return build_myoarm()


def _macaque_arm() -> Body:
    from neurobench_grasp.bodies.macaque_arm import build_macaque_arm

    return build_macaque_arm()


@hookimpl
def ngb_bodies() -> Iterator[BodySpec]:
    """Offer the built-in bodies."""
    yield BodySpec(
        "myohand",
        build=_myohand,
        summary="forearm, wrist and hand of a human with 39 muscles",
        licence="Apache-2.0",
        source="MyoSuite 3.0.0, hand_standard",
    )
    yield BodySpec(
        "myoarm",
        build=_myoarm,
        summary="right arm of a human from shoulder to wrist with 50 muscles, fingers held relaxed",
        licence="Apache-2.0",
        source="MyoSuite 3.0.0 with myo-sim 0.2.3, myoarm_r",
    )
    yield BodySpec(
        "macaque_arm",
        build=_macaque_arm,
        summary="arm of a macaque from shoulder to wrist with 39 muscles",
        licence="MIT",
        source="monkeyArm_current.osim of github.com/limblab/monkeyArmModel, after Chan and Moran (2006)",
        fetch="ngb body fetch macaque_arm",
    )
    yield BodySpec(
        "isometric_wrist",
        build=_isometric_wrist,
        summary="wrist of a human that pulls on a stiff handle in flexion and deviation, with 24 muscles",
        licence="Apache-2.0",
        source="moment arms, forces and fibres of MyoSuite 3.0.0, hand_standard, in its neutral posture",
    )
    yield BodySpec(
        "planar_arm",
        build=_planar_arm,
        summary="arm of a macaque in a horizontal plane, shoulder and elbow with 6 muscles",
        licence="Apache-2.0",
        source="made for the project, with sizes and forces of the macaque arm of Chan and Moran (2006) and "
        "moment arms of Journal of Neuroscience 29:12606 (2009)",
    )


def _encoding(context: Context) -> Scores:
    from neurobench_grasp.protocols.encoding import protocol as encoding

    return encoding.run(context)


def _tracking(context: Context) -> Scores:
    from neurobench_grasp.protocols import tracking

    return tracking.run(context)


def _layers(context: Context) -> Scores:
    from neurobench_grasp.protocols import layers

    return layers.run(context)


def _emg(context: Context) -> Scores:
    from neurobench_grasp.protocols.emg import protocol as emg

    return emg.run(context)


def _partition(context: Context) -> Scores:
    from neurobench_grasp.protocols import partition

    return partition.run(context)


def _population(context: Context) -> Scores:
    from neurobench_grasp.protocols.population import protocol as population

    return population.run(context)


def _brain_control(context: Context) -> Scores:
    from neurobench_grasp.protocols.brain_control import protocol as brain_control

    return brain_control.run(context)


def _brain_curves(context: Context) -> Scores:
    from neurobench_grasp.protocols.brain_control import curves as brain_curves

    return brain_curves.run(context)


def _ridge() -> Decoder:
    from neurobench_grasp.protocols.brain_control.decoders import RidgeDecoder

    return RidgeDecoder()


@hookimpl
def ngb_decoders() -> Iterator[DecoderSpec]:
    """Offer the built-in decoder."""
    yield DecoderSpec("ridge", build=_ridge, summary="ridge regression from the last 10 bins of every unit")


@hookimpl
def ngb_protocols() -> Iterator[ProtocolSpec]:
    """Offer the built-in protocols."""
    yield ProtocolSpec(
        "brain-control",
        version=2,
        run=_brain_control,
        summary="error of a controller's body whose goal is decoded from spikes, per area, in closed loop",
        settings=asdict(BRAIN_CONTROL),
        decodes=True,
    )
    yield ProtocolSpec(
        "brain-control-curves",
        version=2,
        run=_brain_curves,
        summary="brain control with fewer units, and with noise on what is decoded; on request",
        settings={**asdict(BRAIN_CONTROL), **asdict(CURVES)},
        decodes=True,
    )
    yield ProtocolSpec(
        "emg",
        version=1,
        run=_emg,
        summary="muscle activation against recorded EMG, and what both explain of neurons; on request",
        settings=asdict(EMG),
    )
    yield ProtocolSpec(
        "encoding",
        version=2,
        run=_encoding,
        summary="explained variance of single units, per area, on new trials and in new conditions",
        settings=asdict(ENCODING),
    )
    yield ProtocolSpec(
        "layers",
        version=2,
        run=_layers,
        summary="encoding by each layer alone, with 1 to 78 of its components; on request",
        settings={**asdict(ENCODING), **asdict(LAYERS)},
    )
    yield ProtocolSpec(
        "partition",
        version=1,
        run=_partition,
        summary="what muscles, joints, goal, EMG and layers explain that the others do not; on request",
        settings={**asdict(ENCODING), **asdict(PARTITION)},
    )
    yield ProtocolSpec(
        "population",
        version=1,
        run=_population,
        summary="geometry, dynamics and dissimilarities of populations beside those of layers; on request",
        settings=asdict(POPULATION),
    )
    yield ProtocolSpec(
        "tracking",
        version=2,
        run=_tracking,
        summary="error of a controller's body that imitates the recorded movement, in closed loop",
        settings=asdict(TRACKING),
    )

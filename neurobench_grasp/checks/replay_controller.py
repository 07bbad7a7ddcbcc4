"""Fixture for protocols: a controller that replays recorded movements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from neurobench_grasp.alignment.align import AlignedSession
from neurobench_grasp.alignment.splits import make_splits
from neurobench_grasp.contract import (
    Activations,
    DecoderSpec,
    Goal,
    ProtocolSpec,
    Ragged,
    ScoreRecord,
    Scores,
    Tracking,
    Trials,
)
from neurobench_grasp.protocols.context import Context

N_JOINTS = 23


class ReplayController:
    """A controller that sets the joints to given postures; its layer is the joint angles."""

    def activations_of(self, observations: Ragged) -> Activations:
        """Return the observations."""
        return Activations({"posture": observations})

    def embed(self, trials: Trials) -> Ragged:
        """Return the recorded posture."""
        assert trials.joint_angles is not None
        return trials.joint_angles

    def drive(self, trials: Trials, goal: Goal) -> Tracking:
        """Set the joints to the next posture of the goal."""
        from neurobench_grasp.bodies import keypoints

        angles = goal.values.values[:, :N_JOINTS]
        return Tracking(Ragged(angles, trials.offsets), Ragged(keypoints(angles), trials.offsets))

    def track(self, trials: Trials) -> Tracking:
        """Replay the recorded movement."""
        return self.drive(trials, Goal("joint_angles", self.embed(trials)))


def context_of(session: AlignedSession, seed: int) -> Context:
    """Return a protocol's context with a session and a replay controller; stages are not stored."""
    from neurobench_grasp.protocols.brain_control.decoders import RidgeDecoder

    def stage(name: str, parts: Mapping[str, Any] | None, make: Any) -> dict[str, NDArray[Any]]:
        made: dict[str, NDArray[Any]] = make()
        return made

    controller = ReplayController()
    return Context(
        sessions=(session,),
        splits=make_splits({session.id: session.conditions}),
        activations=lambda trials: controller.activations_of(controller.embed(trials)),
        track=controller.track,
        drive=controller.drive,
        embed=controller.embed,
        observe=controller.embed,
        untrained=controller.activations_of,
        model_key=None,
        decoder=DecoderSpec("ridge", build=RidgeDecoder, summary="ridge regression"),
        decoder_key=None,
        core=None,
        stage=stage,
        shared_stage=stage,
        seed=seed,
        progress=lambda text: None,
    )


def record_of(spec: ProtocolSpec, scores: Scores) -> ScoreRecord:
    """Return scores as a record."""
    nothing = "0" * 64
    return ScoreRecord(
        model="replay",
        seed=0,
        dataset={"id": "sample", "sha256": nothing, "splits": nothing, "synthetic": True},
        protocol={"name": spec.name, "version": spec.version, "settings": dict(spec.settings)},
        scores=scores.rows,
        dropped=(),
        provenance={},
    )

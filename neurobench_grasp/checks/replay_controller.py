"""What a protocol is tried with: a hand that plays movements as they were recorded."""

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


class Puppet:
    """A controller that sets the joints of the hand to what it is told; its layer are the joint angles."""

    def activations_of(self, observations: Ragged) -> Activations:
        """Return what it observes."""
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
        """Play the recorded movement."""
        return self.drive(trials, Goal("joint_angles", self.embed(trials)))


def context_of(session: AlignedSession, seed: int) -> Context:
    """Return a protocol a session and a puppet; nothing is kept from stage to stage."""
    from neurobench_grasp.protocols.brain_control.decoders import RidgeDecoder

    def stage(name: str, parts: Mapping[str, Any] | None, make: Any) -> dict[str, NDArray[Any]]:
        made: dict[str, NDArray[Any]] = make()
        return made

    puppet = Puppet()
    return Context(
        sessions=(session,),
        splits=make_splits({session.id: session.conditions}),
        activations=lambda trials: puppet.activations_of(puppet.embed(trials)),
        track=puppet.track,
        drive=puppet.drive,
        embed=puppet.embed,
        observe=puppet.embed,
        untrained=puppet.activations_of,
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
    """Put scores into a record, as they would be kept."""
    nothing = "0" * 64
    return ScoreRecord(
        model="puppet",
        seed=0,
        dataset={"id": "sample", "sha256": nothing, "splits": nothing, "synthetic": True},
        protocol={"name": spec.name, "version": spec.version, "settings": dict(spec.settings)},
        scores=scores.rows,
        dropped=(),
        provenance={},
    )

"""Fixture for protocols: a controller that replays recorded movements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.alignment.splits import make_splits
from neurobench_grasp.bodies import body_of
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
from neurobench_grasp.protocols.context import Context, LazyModel


class ReplayController:
    """A controller that sets the joints of the body to its goal; its layer are the joint angles."""

    def fit(self, train: Trials, *, seed: int) -> None:
        """Nothing is left to learn."""

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Nothing was learned."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Nothing was learned."""

    def activations(self, trials: Trials) -> Activations:
        """Return the recorded posture."""
        return self.activations_of(self.embed(trials))

    def activations_of(self, observations: Ragged) -> Activations:
        """Return the observations."""
        return Activations({"posture": observations})

    def embed(self, trials: Trials) -> Ragged:
        """Return the recorded posture."""
        assert trials.joint_angles is not None
        return trials.joint_angles

    def observe(self, trials: Trials) -> Ragged:
        """Return the recorded posture."""
        return self.embed(trials)

    def track(self, trials: Trials, *, goal: Goal | None = None) -> Tracking:
        """Set the joints to the next posture of the goal, or to the recorded posture."""
        body = body_of(trials)
        values = self.embed(trials) if goal is None else goal.values
        angles = values.values[:, : len(body.joints)]
        return Tracking(
            Ragged(angles, trials.offsets), Ragged(body.keypoint_positions(angles), trials.offsets)
        )

    def untrained(self, *, seed: int) -> ReplayController:
        """Return the same controller: nothing in it was trained."""
        return self


def context_of(session: AlignedSession, seed: int) -> Context:
    """Return a context of a session and a replay controller, in which no stage is kept."""
    from neurobench_grasp.protocols.brain_control.decoders import RidgeDecoder

    return Context(
        sessions=(session,),
        splits=make_splits({session.id: session.conditions})[0],
        model=LazyModel(ReplayController, moves_body=True, seed=seed),
        decoder=DecoderSpec("ridge", build=RidgeDecoder, summary="ridge regression"),
        stages=lambda stage, session, make, **inputs: make(),
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

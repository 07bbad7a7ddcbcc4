"""What a protocol receives: sessions, splits, and a model's activations behind the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from neurobench_grasp.alignment.align import AlignedSession
from neurobench_grasp.alignment.splits import Splits
from neurobench_grasp.contract import Activations, DecoderSpec, Goal, Ragged, Tracking, Trials

Stage = Callable[..., dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Context:
    """One model, one seed, one dataset.

    Parameters
    ----------
    sessions : tuple of AlignedSession
    splits : Splits
    activations : callable
        ``activations(trials)`` runs the fitted model; fitting happens at the first call.
    track : callable, optional
        ``track(trials)`` runs the fitted model's hand in closed loop; ``None`` if it moves none.
    drive : callable, optional
        ``drive(trials, goal)`` runs it with another goal in the reference's place.
    embed : callable, optional
        ``embed(trials)`` gives the fitted model's embedding of the reference trajectories.
    observe : callable, optional
        ``observe(trials)`` gives what the fitted model received in closed loop; ``None`` if it moves no hand.
    untrained : callable, optional
        ``untrained(observations)`` gives the activations of the same network before training, and raises
        ``UnsupportedError`` if the model does not offer it; ``None`` if it moves no hand.
    model_key : mapping, optional
        What identifies the fitted model (code, settings, seed, training behaviour). ``None``: it
        cannot be identified, so nothing that depends on it is kept.
    decoder : DecoderSpec
        From spikes to a command, for protocols that need one.
    decoder_key : mapping, optional
        What identifies the decoder; ``None``: it cannot be identified.
    core : str, optional
        Digest of the package's own code, ``None`` if it cannot be identified.
    stage, shared_stage : callable
        See :class:`neurobench_grasp.run.stages.Stages`; the second for what is the same for every model.
    seed : int
    progress : callable
        ``progress(text)`` tells the user what is going on.
    """

    sessions: tuple[AlignedSession, ...]
    splits: Splits
    activations: Callable[[Trials], Activations]
    track: Callable[[Trials], Tracking] | None
    drive: Callable[[Trials, Goal], Tracking] | None
    embed: Callable[[Trials], Ragged] | None
    observe: Callable[[Trials], Ragged] | None
    untrained: Callable[[Ragged], Activations] | None
    model_key: Mapping[str, Any] | None
    decoder: DecoderSpec
    decoder_key: Mapping[str, Any] | None
    core: str | None
    stage: Stage
    shared_stage: Stage
    seed: int
    progress: Callable[[str], None]

    def key(self, **parts: Any) -> dict[str, Any] | None:
        """Name the inputs of a stage that depends on the model; ``None`` if it is not identified."""
        if self.model_key is None or self.core is None:
            return None
        return {"model": dict(self.model_key), "core": self.core, **parts}

    def decoder_stage_key(self, **parts: Any) -> dict[str, Any] | None:
        """Name the inputs of a stage that depends on model and decoder; ``None`` if one is not identified."""
        return None if self.decoder_key is None else self.key(decoder=dict(self.decoder_key), **parts)

    def core_key(self, **parts: Any) -> dict[str, Any] | None:
        """Name the inputs of a stage that no model takes part in."""
        return None if self.core is None else {"core": self.core, **parts}

    def index(self, session: AlignedSession, split: Mapping[str, Sequence[str]]) -> list[int]:
        """Positions of a split's trials among the session's kept trials."""
        place = {t: i for i, t in enumerate(session.trials.ids)}
        return [place[t] for t in split[session.id] if t in place]

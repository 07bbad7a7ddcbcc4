"""What a protocol receives: sessions, splits, a fitted model behind the contract, and kept stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from numpy.typing import NDArray

from neurobench_grasp.alignment.clock import ModelClock, clock_of
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.alignment.splits import Splits
from neurobench_grasp.contract import (
    Activations,
    Controller,
    DecoderSpec,
    Model,
    Progress,
    Trials,
    Twinned,
)
from neurobench_grasp.errors import UnsupportedError

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class LazyModel:
    """A model that is built and fitted when it is first used.

    Parameters
    ----------
    fit : callable
        ``fit()`` returns the fitted model.
    moves_body : bool
        True if it returns a :class:`~neurobench_grasp.contract.Controller`.
    seed : int
    step_s : float, optional
        Seconds between its steps; ``None``: it runs on the bins of a session.
    seeded : bool
        False if it is the same for every seed.
    """

    fit: Callable[[], Model]
    moves_body: bool
    seed: int
    step_s: float | None = None
    seeded: bool = True

    @cached_property
    def fitted(self) -> Model:
        """The fitted model."""
        return self.fit()

    @property
    def controller(self) -> Controller:
        """The fitted model as a controller.

        Raises
        ------
        UnsupportedError
            If the model moves no body.
        """
        if not self.moves_body or not isinstance(self.fitted, Controller):
            raise UnsupportedError("the model is no controller: it moves no body")
        return self.fitted

    @cached_property
    def untrained(self) -> Controller:
        """The controller's network with the random weights that training began with.

        Raises
        ------
        UnsupportedError
            If the model does not offer it.
        """
        controller = self.controller
        if not isinstance(controller, Twinned):
            raise UnsupportedError("the model does not offer its network before training")
        return controller.untrained(seed=self.seed)

    def activations(self, trials: Trials) -> Activations:
        """Run the fitted model on trials that have its steps."""
        return self.fitted.activations(trials)


@dataclass(frozen=True)
class Stage:
    """A kind of intermediate result that is kept in the run folder.

    Parameters
    ----------
    name : str
    settings : mapping
        Constants that its arrays depend on.
    model, decoder : bool
        What else they depend on. Stages that do not depend on the model are shared by all run folders.
    core : bool
        True if the code of the package alone makes them, so that protocols of plugins share them, too.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: bool = True
    decoder: bool = False
    core: bool = False


class StageStore(Protocol):
    """Keeps stages under keys of everything they were made from; see :mod:`neurobench_grasp.run.stages`."""

    def __call__(
        self, stage: Stage, session: AlignedSession, make: Callable[[], Arrays], **inputs: Any
    ) -> Arrays:
        """Return the arrays of a stage of a session: read if they are kept, otherwise made.

        Core, splits, settings and, where the stage depends on them, model and decoder are part of every key;
        ``inputs`` are what else the arrays depend on.
        """


@dataclass(frozen=True)
class Context:
    """One model, one seed, one dataset.

    Parameters
    ----------
    sessions : tuple of AlignedSession
    splits : Splits
    model : LazyModel
        Fitted at its first use.
    decoder : DecoderSpec
        From spikes to a command, for protocols that need one.
    stages : callable
        Intermediate results that are kept, see :class:`StageStore`.
    seed : int
    progress : callable
        Called with one-line status messages.
    """

    sessions: tuple[AlignedSession, ...]
    splits: Splits
    model: LazyModel
    decoder: DecoderSpec
    stages: StageStore
    seed: int
    progress: Progress

    def clock(self, session: AlignedSession) -> ModelClock:
        """Return a session on the steps of the model."""
        return clock_of(session, self.model.step_s)

    def index(self, session: AlignedSession, split: Mapping[str, Sequence[str]]) -> list[int]:
        """Return the positions of a split's trials among the session's kept trials."""
        place = {t: i for i, t in enumerate(session.trials.ids)}
        return [place[t] for t in split[session.id] if t in place]

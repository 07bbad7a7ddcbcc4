"""Checks of decoders."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.checks.audit import Audit
from neurobench_grasp.checks.fixture import Audited
from neurobench_grasp.checks.rules import Broken, check
from neurobench_grasp.contract import DecodedTrials, Decoder, Ragged
from neurobench_grasp.errors import NgbError


class DecoderCase(Audited):
    """A decoder with the spikes and movements of a small session."""

    spec: Any = None

    def __init__(self, audit: Audit, distribution: str, session: AlignedSession) -> None:
        self.audit, self.distribution = audit, distribution
        trials = session.scored
        assert trials.joint_angles is not None
        self.train = DecodedTrials(
            session.units.counts.astype(np.int32),
            trials.joint_angles.cut(*trials.window.T),
            trials.condition,
            trials.dt,
        )

    @cached_property
    def fitted(self) -> Any:
        """The fitted decoder."""
        decoder = self.call("build", self.spec.build)
        self.call("fit", lambda: decoder.fit(self.train))
        return decoder


@check("decoder")
def is_decoder(case: DecoderCase) -> None:
    """`build` returns an object with a decoder's methods."""
    if not isinstance(case.call("build", case.spec.build), Decoder):
        raise Broken("The result of `build` is not a Decoder; it needs the methods fit, reset and observe.")


@check("decoder", "is_decoder")
def learns(case: DecoderCase) -> None:
    """It can be fitted to spikes and commands of a few trials."""
    assert case.fitted is not None


@check("decoder", "learns")
def decodes(case: DecoderCase) -> None:
    """Commands depend on past spikes of the same trial only."""
    from neurobench_grasp.protocols.brain_control.decoders import check_decoder

    try:
        with case.audit.watch():
            check_decoder(case.fitted, case.train)
    except NgbError as error:
        raise Broken(str(error)) from error
    except Exception as error:
        raise Broken(f"`observe` or `reset` raises {type(error).__name__}: {error}; fix it.") from error


@check("decoder", "learns")
def takes_silence(case: DecoderCase) -> None:
    """It handles silent units, and bins without spikes."""
    counts = case.train.counts.values.copy()
    counts[:, 0] = 0
    silent = replace(case.train, counts=Ragged(counts, case.train.counts.offsets))
    decoder = case.call("build", case.spec.build)
    case.call("fit", lambda: decoder.fit(silent))
    case.call("reset", lambda: decoder.reset(1))
    for n_spikes in (0, 3):
        spikes = np.full((1, counts.shape[1]), n_spikes, counts.dtype)
        if not np.isfinite(case.call("observe", partial(decoder.observe, spikes))).all():
            raise Broken(
                "Its command is not finite if a unit was silent in training; guard divisions by its spread."
            )

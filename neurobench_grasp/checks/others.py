"""Checks of datasets, protocols and decoders."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from neurobench_grasp.alignment.align import AlignedSession
from neurobench_grasp.checks.audit import Fences
from neurobench_grasp.checks.fixture import SEED, Guarded
from neurobench_grasp.checks.rules import Broken, check
from neurobench_grasp.contract import DecodedTrials, Decoder, Ragged, Scores, Session
from neurobench_grasp.errors import NgbError

FEWEST = {"conditions": 5, "trials of each condition": 3}
"""For an interval over conditions, and for scores of units' condition means."""
TIMES = ("ms", "s")
"""Units of what is another in each run."""


class DatasetCase(Guarded):
    """A dataset; its files are listed once and read once."""

    spec: Any = None

    def __init__(self, fences: Fences) -> None:
        self.fences = fences
        self._read: dict[Path, Session] = {}

    @cached_property
    def files(self) -> list[Path]:
        """Paths of its files."""
        return [Path(path) for path in self.call("files", self.spec.files)]

    @cached_property
    def sessions(self) -> list[Session]:
        """Its sessions."""
        return [self.session(path) for path in self.files]

    def session(self, path: Path) -> Session:
        """Read one file."""
        from neurobench_grasp.data import load_session

        if path not in self._read:
            self._read[path] = load_session(path, self.spec.layout)
        return self._read[path]


@check("dataset")
def licence(case: DatasetCase) -> None:
    """It says under which licence it may be used."""
    if case.spec.licence in ("", "unknown"):
        raise Broken(
            "Its licence is unknown; give `licence` in its DatasetSpec, an SPDX name such as CC-BY-4.0."
        )


@check("dataset")
def files_exist(case: DatasetCase) -> None:
    """`files()` gives the paths of files that are there."""
    if not case.files:
        raise Broken("`files` gives no file; it must give the paths of its NWB files.")
    if missing := [path.name for path in case.files if not path.is_file()]:
        raise Broken(
            f"`files` names {', '.join(missing)}, which are not there; make or fetch them in `files`."
        )


@check("dataset", "files_exist")
def readable(case: DatasetCase) -> None:
    """Every file is read by its layout, and has trials."""
    from neurobench_grasp.alignment.align import align

    for path in case.files:
        try:
            align(case.session(path))
        except NgbError as error:
            raise Broken(
                f"{path.name}: {error} `ngb data inspect {path.name}` shows what is in it."
            ) from error


@check("dataset", "readable")
def own_ids(case: DatasetCase) -> None:
    """Each session has an id of its own."""
    ids = [session.id for session in case.sessions]
    if len(set(ids)) < len(ids):
        raise Broken(f"Two sessions have one id ({', '.join(sorted(ids))}); rename one in its file.")


@check("dataset", "readable")
def enough_conditions(case: DatasetCase) -> None:
    """There are conditions and trials enough."""
    from neurobench_grasp.alignment.align import align

    counts: Counter[str] = Counter()
    for session in case.sessions:
        counts.update(align(session).trials.condition)
    fewest = {"conditions": len(counts)}
    if any(len(session.units) for session in case.sessions):
        fewest["trials of each condition"] = min(counts.values(), default=0)
    for what in fewest:
        least = FEWEST[what]
        if fewest[what] < least:
            raise Broken(
                f"It has {fewest[what]} {what}; with fewer than {least} scores lack intervals. Add trials or "
                "sessions, or name conditions more broadly in the layout."
            )


@check("dataset", "readable")
def synthetic_is_told(case: DatasetCase) -> None:
    """It says that it is synthetic if a session says so."""
    made = [session.id for session in case.sessions if session.synthetic]
    if made and not case.spec.synthetic:
        raise Broken(f"{', '.join(made)} is synthetic, but the dataset is not: give `synthetic=True`.")


class ProtocolCase(Guarded):
    """A protocol with a small session and a hand that plays recorded movements."""

    spec: Any = None

    def __init__(self, fences: Fences, session: AlignedSession) -> None:
        self.fences, self.session = fences, session

    def run(self) -> Any:
        """Score the sample."""
        from neurobench_grasp.checks.replay_controller import context_of

        return self.call("run", lambda: self.spec.run(context_of(self.session, SEED)))

    @cached_property
    def scores(self) -> Any:
        """What it gives."""
        return self.run()


@check("protocol")
def version(case: ProtocolCase) -> None:
    """Its version is a whole number from 1 on."""
    if type(case.spec.version) is not int or case.spec.version < 1:
        raise Broken(
            f"Its version is {case.spec.version!r}; give 1, and one more whenever a number changes its "
            "meaning."
        )


@check("protocol")
def plain_settings(case: ProtocolCase) -> None:
    """Its settings can be written into a record."""
    try:
        json.dumps(dict(case.spec.settings), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Broken(
            f"Its settings are not plain JSON values ({error}); use numbers, texts, lists."
        ) from error


@check("protocol")
def gives_scores(case: ProtocolCase) -> None:
    """`run(context)` gives Scores."""
    if not isinstance(case.scores, Scores):
        raise Broken(
            f"`run` gives a {type(case.scores).__name__}; it must give neurobench_grasp.Scores(rows)."
        )


@check("protocol", "gives_scores", "version", "plain_settings")
def follows_schema(case: ProtocolCase) -> None:
    """Its scores follow the published schema of records."""
    from neurobench_grasp.checks.replay_controller import record_of
    from neurobench_grasp.records.record import to_json

    try:
        to_json(record_of(case.spec, case.scores))
    except NgbError as error:
        raise Broken(f"Its scores do not follow the schema: {error}") from error
    if not case.scores.rows:
        raise Broken(
            "It gives no score at all; give a row with `value` None and a `reason` where none can be given."
        )


@check("protocol", "gives_scores")
def same_scores_again(case: ProtocolCase) -> None:
    """Run twice, it gives the same scores."""
    if as_text(case.scores) != as_text(case.run()):
        raise Broken(
            "The second run gives other scores; draw random numbers from np.random.default_rng(context.seed)."
        )


def as_text(scores: Scores) -> str:
    """Return rows as text, but for measured times."""
    rows = [row for row in scores.rows if row.get("unit") not in TIMES]
    return json.dumps(rows, default=repr, sort_keys=True)


class DecoderCase(Guarded):
    """A decoder with the spikes and movements of a small session."""

    spec: Any = None

    def __init__(self, fences: Fences, distribution: str, session: AlignedSession) -> None:
        self.fences, self.distribution = fences, distribution
        trials = session.trials
        assert trials.joint_angles is not None
        self.train = DecodedTrials(
            session.counts, trials.joint_angles.cut(*trials.window.T), trials.condition, trials.dt
        )

    @cached_property
    def fitted(self) -> Any:
        """The fitted decoder."""
        decoder = self.call("build", self.spec.build)
        self.call("fit", lambda: decoder.fit(self.train))
        return decoder


@check("decoder")
def is_decoder(case: DecoderCase) -> None:
    """`build` gives an object with a decoder's methods."""
    if not isinstance(case.call("build", case.spec.build), Decoder):
        raise Broken("What `build` gives is no Decoder; it needs the methods fit, reset and observe.")


@check("decoder", "is_decoder")
def learns(case: DecoderCase) -> None:
    """It learns from spikes and commands of a few trials."""
    assert case.fitted is not None


@check("decoder", "learns")
def decodes(case: DecoderCase) -> None:
    """Commands follow from their own trial up to now."""
    from neurobench_grasp.protocols.brain_control.decoders import check_decoder

    try:
        with case.fences.watch():
            check_decoder(case.fitted, case.train)
    except NgbError as error:
        raise Broken(str(error)) from error
    except Exception as error:
        raise Broken(f"`observe` or `reset` raises {type(error).__name__}: {error}; fix it.") from error


@check("decoder", "learns")
def takes_silence(case: DecoderCase) -> None:
    """It takes silent units, and bins without spikes."""
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
                "Its command is not finite where a unit was silent in training; guard divisions by its "
                "spread."
            )

"""Checks of protocols."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.checks.audit import Audit
from neurobench_grasp.checks.fixture import SEED, Audited
from neurobench_grasp.checks.rules import Broken, check
from neurobench_grasp.contract import Scores
from neurobench_grasp.errors import NgbError

TIMES = ("ms", "s")
"""Units of measured times, which differ between runs."""


class ProtocolCase(Audited):
    """A protocol with a small session and a controller that replays recorded movements."""

    spec: Any = None

    def __init__(self, audit: Audit, session: AlignedSession) -> None:
        self.audit, self.session = audit, session

    def run(self) -> Any:
        """Score the sample."""
        from neurobench_grasp.checks.replay_controller import context_of

        return self.call("run", lambda: self.spec.run(context_of(self.session, SEED)))

    @cached_property
    def scores(self) -> Any:
        """Its result."""
        return self.run()


@check("protocol")
def version(case: ProtocolCase) -> None:
    """Its version is a positive integer."""
    if type(case.spec.version) is not int or case.spec.version < 1:
        raise Broken(
            f"Its version is {case.spec.version!r}; use 1, and increment it whenever a number changes its "
            "meaning."
        )


@check("protocol")
def plain_settings(case: ProtocolCase) -> None:
    """Its settings can be stored in a record."""
    try:
        json.dumps(dict(case.spec.settings), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Broken(
            f"Its settings are not plain JSON values ({error}); use numbers, strings, lists."
        ) from error


@check("protocol")
def gives_scores(case: ProtocolCase) -> None:
    """`run(context)` returns Scores."""
    if not isinstance(case.scores, Scores):
        raise Broken(
            f"`run` returns a {type(case.scores).__name__}; it must return neurobench_grasp.Scores(rows)."
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
            "It returns no score; return a row with `value` None and a `reason` where there is none."
        )


@check("protocol", "gives_scores")
def same_scores_again(case: ProtocolCase) -> None:
    """Two runs return the same scores."""
    if as_text(case.scores) != as_text(case.run()):
        raise Broken("The second run returns other scores; use np.random.default_rng(context.seed).")


def as_text(scores: Scores) -> str:
    """Return rows as text, without measured times."""
    rows = [row for row in scores.rows if row.get("unit") not in TIMES]
    return json.dumps(rows, default=repr, sort_keys=True)

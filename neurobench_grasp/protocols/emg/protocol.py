"""The protocol ``emg``: whether a model activates muscles as the animal did, and what neurons follow.

Reads top to bottom: activations beside recorded EMG (`activation.py`), how alike they are (`similarity.py`),
and what activations explain of the EMG, and EMG and activations of neurons, by a fitted map (`maps.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from neurobench_grasp.contract import ScoreRow, Scores
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.emg.activation import Muscles
from neurobench_grasp.protocols.emg.maps import (
    channel_rows,
    channel_scores,
    channel_tables,
    neuron_rows,
    neuron_scores,
    neuron_tables,
)
from neurobench_grasp.protocols.emg.similarity import Similarity
from neurobench_grasp.records.table import HELD_OUT
from neurobench_grasp.records.units import UnitTable


def run(context: Context) -> Scores:
    """Compare a model's muscle activation with recorded EMG, and both with neurons.

    Returns
    -------
    Scores
        ``emg_correlation`` and ``muscle_rsa`` beside ceilings and references; explained variance of the EMG
        (area ``EMG``) and, with ``group``, of neurons; ``added_ev`` of each group to quadratic kinematics. A
        model that activates no muscle has rows with the reason.

    Raises
    ------
    UnsupportedError
        If no session has EMG of muscles of its body.
    """
    muscles, reasons = [], []
    for session in context.sessions:
        context.progress(f"emg {session.id}: muscle activation")
        try:
            muscles.append(Muscles.of(context, session))
        except UnsupportedError as why:
            reasons.append(str(why).rstrip("."))
    if not muscles:
        raise UnsupportedError(f"There is no EMG to compare with: {'; '.join(reasons)}.")
    alike = [Similarity(context, muscles, split) for split in HELD_OUT]
    context.progress("emg: explained variance of the channels")
    channels = channel_tables(context, muscles)
    neurons = neuron_tables(context, muscles)
    context.progress("emg: scores and intervals")
    rows = chain(
        chain.from_iterable(table.rows() for table in alike),
        chain.from_iterable(map(channel_rows, channels)),
        chain.from_iterable(map(neuron_rows, neurons)),
        _left_out(muscles),
    )
    scores = chain(
        chain.from_iterable(table.unit_scores() for table in alike),
        chain.from_iterable(map(channel_scores, channels)),
        chain.from_iterable(map(neuron_scores, neurons)),
    )
    return Scores(list(rows), UnitTable.of(scores).arrays())


def _left_out(muscles: Sequence[Muscles]) -> Iterator[ScoreRow]:
    """Name the channels of each session that are without signal, and count its trials without EMG."""
    for m in muscles:
        row: ScoreRow = {"metric": "n_channels_silent", "session": m.session.id}
        yield row | {"value": len(m.recorded.silent), "units": list(m.recorded.silent)}
        yield {"metric": "n_trials_without_emg", "session": m.session.id, "value": m.n_without}

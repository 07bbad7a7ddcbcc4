"""Types exchanged with the process of an isolated plugin, in addition to those of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Trials


@dataclass(frozen=True)
class State:
    """Result of :meth:`neurobench_grasp.contract.Model.state`."""

    arrays: Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Monitor:
    """Trials by split, as passed to :class:`neurobench_grasp.contract.Trainable`."""

    splits: Mapping[str, Trials]


@dataclass(frozen=True)
class Network:
    """A :class:`neurobench_grasp.contract.TrainedNetwork`; its other fields are JSON."""

    weights: Mapping[str, NDArray[Any]]
    rest: str

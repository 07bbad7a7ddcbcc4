"""Types exchanged with the process of an isolated plugin, in addition to those of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Trials

State = Mapping[str, NDArray[np.generic]]
"""Result of :meth:`neurobench_grasp.contract.Model.state`."""
Splits = Mapping[str, Trials]
"""Trials by split, as passed to :class:`neurobench_grasp.contract.Trainable`."""


@dataclass(frozen=True)
class Network:
    """A :class:`neurobench_grasp.contract.TrainedNetwork`; its other fields are JSON."""

    weights: Mapping[str, NDArray[Any]]
    rest: str

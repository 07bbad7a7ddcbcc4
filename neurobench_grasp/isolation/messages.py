"""What travels between this process and that of an isolated plugin, beside the types of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Trials


@dataclass(frozen=True)
class State:
    """What :meth:`neurobench_grasp.contract.Model.state` gives."""

    arrays: Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Monitor:
    """Trials by split, as :class:`neurobench_grasp.contract.Trainable` is given them."""

    splits: Mapping[str, Trials]


@dataclass(frozen=True)
class Network:
    """A :class:`neurobench_grasp.contract.TrainedNetwork`; the rest of it is JSON."""

    weights: Mapping[str, NDArray[Any]]
    rest: str

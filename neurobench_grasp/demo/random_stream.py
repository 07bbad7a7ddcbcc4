"""Random numbers that are identical on every machine: named streams of uniform numbers only.

NumPy guarantees a stable ``Generator.random`` of a given bit generator; its other distributions may change.
"""

from __future__ import annotations

import numpy as np

from neurobench_grasp.contract import Floats


class Stream:
    """A stream of random numbers that is determined by its name.

    Parameters
    ----------
    name : str
        Such as ``demo-1/animal_a/1/units``.
    """

    def __init__(self, name: str) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(name.encode()))))

    def uniform(self, low: float, high: float, *shape: int) -> Floats:
        """Draw uniform numbers from [low, high)."""
        return low + (high - low) * self._generator.random(shape)

    def normal(self, *shape: int) -> Floats:
        """Draw approximately standard normal numbers: sums of twelve uniform numbers (within ±6)."""
        total: Floats = self._generator.random((12, *shape)).sum(axis=0) - 6.0
        return total

    def exponential(self, *shape: int) -> Floats:
        """Draw exponential numbers of mean 1."""
        waiting: Floats = -np.log1p(-self._generator.random(shape))
        return waiting

    def order(self, n: int) -> list[int]:
        """Return a random permutation of 0 … n − 1."""
        return [int(i) for i in np.argsort(self._generator.random(n), kind="stable")]

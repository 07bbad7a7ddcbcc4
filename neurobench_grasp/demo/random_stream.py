"""Random numbers that are the same on every machine: named streams and nothing but uniform draws.

NumPy keeps ``Generator.random`` of a given bit generator stable; its other distributions may change.
"""

from __future__ import annotations

import numpy as np

from neurobench_grasp.contract import Floats


class Stream:
    """A stream of random numbers that depends on its name alone.

    Parameters
    ----------
    name : str
        Such as ``demo-1/animal_a/1/units``.
    """

    def __init__(self, name: str) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(name.encode()))))

    def uniform(self, low: float, high: float, *shape: int) -> Floats:
        """Draw evenly from [low, high)."""
        return low + (high - low) * self._generator.random(shape)

    def normal(self, *shape: int) -> Floats:
        """Draw from a standard normal, nearly: the sum of twelve uniform draws (within ±6)."""
        total: Floats = self._generator.random((12, *shape)).sum(axis=0) - 6.0
        return total

    def exponential(self, *shape: int) -> Floats:
        """Draw from the exponential of mean 1."""
        waiting: Floats = -np.log1p(-self._generator.random(shape))
        return waiting

    def order(self, n: int) -> list[int]:
        """Shuffle 0 … n − 1."""
        return [int(i) for i in np.argsort(self._generator.random(n), kind="stable")]

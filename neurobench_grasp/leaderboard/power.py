"""How large an effect a design can show, and how that changes with units, conditions and networks.

An effect counts as shown if its 95 % interval excludes 0. With the standard error and the half width of the
interval, an effect is shown with probability ``Φ((effect − half) / se)``. Each part of the variance falls
with the numbers that it comes from: that of units, of conditions, of both, and of networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from neurobench_grasp.leaderboard.evidence import Evidence, MissingError, Models, evidence
from neurobench_grasp.leaderboard.ranking import difference
from neurobench_grasp.leaderboard.standings import TWIN
from neurobench_grasp.records.record import Scored
from neurobench_grasp.scoring.intervals import MIN_GROUPS, MIN_NETWORKS, Summary, half_width
from neurobench_grasp.scoring.networks import Networks

POWER = 0.8
"""Power at which an effect counts as detectable, as is usual (Cohen 1988, Statistical Power Analysis)."""
Found = tuple[Networks, str]
"""Unit scores of a model's networks, and why they have no interval."""
MOST = 10_000
"""Units, conditions or networks beyond which no number is sought."""


@dataclass(frozen=True)
class Design:
    """How precisely an effect is measured with some numbers of units, conditions and networks.

    Parameters
    ----------
    pilot : Summary
        The effect as it was measured, with its interval.
    n_units, n_conditions, n_networks : int
    """

    pilot: Summary
    n_units: int
    n_conditions: int
    n_networks: int

    @classmethod
    def of(cls, pilot: Summary | None) -> Design | None:
        """Return the design of a measured effect; ``None`` without an interval."""
        if pilot is None or pilot.variances is None or pilot.ci is None:
            return None
        n_networks = max((n for _, n in pilot.draws), default=1)
        return cls(pilot, pilot.n_units, pilot.n_groups, n_networks)

    @property
    def _errors(self) -> tuple[float, list[tuple[float, int]]]:
        """Standard error from units and conditions, and that of each source of randomness with its draws."""
        parts = self.pilot.variances
        assert parts is not None
        units, conditions = self.pilot.n_units / self.n_units, self.pilot.n_groups / self.n_conditions
        of_data = parts.units * units + parts.groups * conditions + parts.both * units * conditions
        draws = [(se * math.sqrt(n / self.n_networks), self.n_networks) for se, n in self.pilot.draws]
        return math.sqrt(of_data), draws

    @property
    def error(self) -> float:
        """Standard error of the effect."""
        of_data, draws = self._errors
        return math.hypot(of_data, *(se for se, _ in draws))

    @property
    def half(self) -> float:
        """Half width of its 95 % interval."""
        of_data, draws = self._errors
        return half_width(of_data, self.n_conditions, draws)

    def power(self, effect: float) -> float:
        """Probability that the interval of an effect of this size, which is positive, lies above 0."""
        from scipy.stats import norm

        if self.error == 0:
            return float(effect > 0)
        return float(norm.cdf((effect - self.half) / self.error))

    @property
    def detectable(self) -> float:
        """Smallest effect that is shown with a probability of :data:`POWER`."""
        from scipy.stats import norm

        return self.half + float(norm.ppf(POWER)) * self.error

    def units_for(self, effect: float) -> int | None:
        """Return how many units show an effect, the rest unchanged; ``None`` if no number does."""
        return _least(lambda n: replace(self, n_units=n).power(effect), 1)

    def conditions_for(self, effect: float) -> int | None:
        """Return how many conditions show an effect, the rest unchanged; ``None`` if no number does."""
        return _least(lambda n: replace(self, n_conditions=n).power(effect), MIN_GROUPS)

    def networks_for(self, effect: float) -> int | None:
        """Return how many networks show an effect, the rest unchanged; ``None`` if no number does."""
        return _least(lambda n: replace(self, n_networks=n).power(effect), MIN_NETWORKS)


def _least(power: Callable[[int], float], low: int) -> int | None:
    """Return the least number from which the power suffices; it grows with the number."""
    if power(MOST) < POWER:
        return None
    high = MOST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle + 1, high)
    return low


# --- effects that pilots measured -----------------------------------------------------------------


def powers(
    scored: Iterable[Scored], dataset: str, effect: float, models: Models | None = None
) -> list[dict[str, Any]]:
    """State what the design of a dataset's records can show, effect by effect and area by area.

    Parameters
    ----------
    scored : iterable of Scored
        Records of a pilot.
    dataset : str
    effect : float
        Difference of explained variance that is to be shown; of the contrast of gains, half of it.
    models : Models, optional

    Returns
    -------
    list of dict
        ``effect`` (in words), ``area, value, ci, se, detectable, wanted, power``, the numbers of the pilot
        ``n_units, n_conditions, n_networks`` and those for a power of 0.8 ``units_needed, conditions_needed,
        networks_needed``, ``None`` where no number of these alone suffices; ``reason`` where the effect was
        not measured.
    """
    models = models or Models()
    here = [one for one in evidence(scored) if one.dataset["dataset"] == dataset]
    return [row for one in here for area in one.areas for row in _rows(one, area, effect, models)]


def _rows(at_hand: Evidence, area: str, effect: float, models: Models) -> Iterator[dict[str, Any]]:
    muscle, torque, own = models.muscle, models.torque, models.before_permuting(at_hand)
    scores, gains = at_hand.scores, at_hand.gains
    effects: list[tuple[str, float, Callable[[], tuple[Found, Found]]]] = [
        (f"{muscle} − {TWIN}", effect, lambda: (scores(muscle, area), scores(muscle, area, TWIN))),
        (f"{muscle} − {torque}", effect, lambda: (scores(muscle, area), scores(torque, area))),
        (f"{own} − {models.permuted}", effect, lambda: (scores(own, area), scores(models.permuted, area))),
        (f"{muscle} − {torque}, gains", effect / 2, lambda: (gains(muscle, area), gains(torque, area))),
    ]
    for name, wanted, networks in effects:
        row: dict[str, Any] = {"effect": name, "area": area, "wanted": wanted}
        try:
            (a, _), (b, _) = networks()
        except MissingError as why:
            yield row | {"reason": str(why)}
            continue
        total = difference(a, b)
        design = Design.of(total)
        if total is None or design is None:
            yield row | {"reason": "its precision is unknown: too few conditions"}
        else:
            yield row | {"value": total.value, "ci": total.ci} | _numbers(design, wanted)


def _numbers(design: Design, wanted: float) -> dict[str, Any]:
    return {
        "se": design.error,
        "detectable": design.detectable,
        "power": design.power(wanted),
        "n_units": design.n_units,
        "n_conditions": design.n_conditions,
        "n_networks": design.n_networks,
        "units_needed": design.units_for(wanted),
        "conditions_needed": design.conditions_for(wanted),
        "networks_needed": design.networks_for(wanted),
    }

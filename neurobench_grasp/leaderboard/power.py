"""How large an effect a design can show, and how that changes with units, conditions and networks.

An effect is shown if its 95 % interval lies above 0: with probability ``Φ((effect − half) / se)``, where
``half`` is the half width of the interval and ``se`` the standard error (docs/claims.md). Each part of the
variance falls with the numbers that it comes from, so that a pilot predicts other designs. The variances are
estimates; what is predicted has an interval from the designs that such a pilot may come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from neurobench_grasp.contract import Floats
from neurobench_grasp.leaderboard.compare import on_dataset
from neurobench_grasp.leaderboard.evidence import (
    ENCODING,
    Evidence,
    Found,
    MissingError,
    Models,
    effect_of,
    evidence,
)
from neurobench_grasp.leaderboard.standings import TWIN
from neurobench_grasp.records.record import Scored
from neurobench_grasp.scoring.intervals import MIN_GROUPS, MIN_NETWORKS, Summary, Variances, half_width
from neurobench_grasp.scoring.references import generator

POWER = 0.8
"""Power at which an effect counts as detectable, as is usual (Cohen 1988, Statistical Power Analysis)."""
N_DRAWS = 400
"""Designs that a pilot may come from, drawn for an interval."""
MOST = 10_000
"""Units, conditions or networks beyond which no number is sought."""


@dataclass(frozen=True)
class Design:
    """How precisely an effect is measured with some numbers of units, conditions and networks.

    Parameters
    ----------
    of_unit, of_condition, of_both, of_network : float
        Variance of the effect with one unit, one condition, one unit in one condition, or one network.
    n_units, n_conditions, n_networks : int
        Networks are those of each model.
    n_folds : int
        Folds of the conditions that the networks share; 0 if every network has all conditions.
    """

    of_unit: float
    of_condition: float
    of_both: float
    of_network: float
    n_units: int
    n_conditions: int
    n_networks: int
    n_folds: int = 0

    @classmethod
    def of(cls, pilot: Summary, n_networks: int) -> Design:
        """Return the design by which an effect was measured that has an interval.

        Networks of separate folds differ in their conditions, too, so that part of their variance is in that
        over conditions.
        """
        parts, n_units, n_conditions = pilot.variances, pilot.n_units, pilot.n_groups
        assert parts is not None
        shared = pilot.n_folds / n_conditions
        networks = pilot.draw_se**2 / (1 - shared) if shared < 1 else 0.0
        return cls(
            parts.units * n_units,
            max(parts.groups - shared * networks, 0.0) * n_conditions,
            parts.both * n_units * n_conditions,
            networks * n_networks,
            n_units,
            n_conditions,
            n_networks,
            pilot.n_folds,
        )

    @property
    def _errors(self) -> tuple[float, float]:
        """Standard errors from units and conditions, and from networks."""
        of_units = (self.of_unit + self.of_both / self.n_conditions) / self.n_units
        of_data = of_units + self.of_condition / self.n_conditions
        return math.sqrt(of_data), math.sqrt(self.of_network / self.n_networks)

    @property
    def se(self) -> float:
        """Standard error of the effect."""
        return math.hypot(*self._errors)

    @property
    def half(self) -> float:
        """Half width of its 95 % interval."""
        of_data, of_networks = self._errors
        return half_width(of_data, self.n_conditions, [(of_networks, self.n_folds or self.n_networks)])

    def power(self, effect: float) -> float:
        """Probability that the interval of an effect of this size lies above 0."""
        return NormalDist().cdf((effect - self.half) / self.se) if self.se else float(effect > 0)

    @property
    def detectable(self) -> float:
        """Smallest effect that is shown with a probability of :data:`POWER`."""
        return self.half + NormalDist().inv_cdf(POWER) * self.se

    def units_for(self, effect: float) -> int | None:
        """Return how many units show an effect, the rest unchanged; ``None`` if no number does."""
        return _least(lambda n: replace(self, n_units=n).power(effect), 1)

    def conditions_for(self, effect: float) -> int | None:
        """Return how many conditions show an effect, the rest unchanged; ``None`` if no number does."""
        return _least(lambda n: replace(self, n_conditions=n).power(effect), max(MIN_GROUPS, self.n_folds))

    def networks_for(self, effect: float) -> int | None:
        """Return how many networks show an effect, equally many of each fold; ``None`` if no number does."""
        each = self.n_folds or 1
        found = _least(lambda n: replace(self, n_networks=n * each).power(effect), -(-MIN_NETWORKS // each))
        return found and found * each


def possible_designs(pilot: Summary, n_networks: int, n_models: int) -> list[Design]:
    """Draw designs that a pilot may come from, since its variances are estimates.

    A mean square is a true one times chi-squared over its degrees of freedom, so that the true one is drawn
    as the mean square divided by that (Weerahandi 1993, J. Am. Stat. Assoc. 88:899): those over conditions,
    over units, over both, and over the folds of the conditions or the networks of each model.

    Parameters
    ----------
    pilot : Summary
        With an interval.
    n_networks, n_models : int
        Networks of each model, and models.
    """
    parts, n_conditions, n_units = pilot.variances, pilot.n_groups, pilot.n_units
    assert parts is not None
    rng = generator("possible designs")

    def drawn(mean_square: float, degrees_of_freedom: int) -> Floats:
        n = max(degrees_of_freedom, 1)
        found: Floats = mean_square * n / rng.chisquare(n, N_DRAWS)
        return found

    of_conditions = drawn(parts.groups + parts.both, n_conditions - 1)
    of_units = drawn(parts.units + parts.both, n_units - 1)
    of_both = drawn(parts.both, (n_conditions - 1) * (n_units - 1))
    if pilot.n_folds:  # what conditions explain is in the variance over folds, too
        of_folds = drawn(parts.groups + parts.both + pilot.draw_se**2, pilot.n_folds - 1)
        of_networks = np.maximum(of_folds - of_conditions, 0.0)
    else:
        of_networks = drawn(pilot.draw_se**2, n_models * (n_networks - 1))
    every = np.stack([of_conditions, of_units, of_both, np.sqrt(of_networks)], axis=1).tolist()
    return [
        Design.of(replace(pilot, variances=Variances.apart(*variances), draw_se=draw_se), n_networks)
        for *variances, draw_se in every
    ]


def middle(values: Iterable[float]) -> tuple[float, float]:
    """Return the middle 95 % of some values."""
    low, high = np.quantile(list(values), [0.025, 0.975]).tolist()
    return low, high


def _least(power: Callable[[int], float], low: int) -> int | None:
    """Return the least number, at least ``low``, with enough power, which more than that number has, too."""
    high = MOST
    if power(high) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle + 1, high)
    return low


# --- effects that pilots measured -----------------------------------------------------------------


def powers(
    scored: Iterable[Scored],
    dataset: str,
    effect: float,
    models: Models | None = None,
    known: Collection[str] = (),
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
    known : collection of str
        As of :func:`~neurobench_grasp.leaderboard.claims.claims`.

    Returns
    -------
    list of dict
        One for each content of the dataset on which these models were scored, with its labels and
        ``effects``: rows with ``effect`` (as text), ``area, wanted`` and ``value, ci, se, detectable,
        detectable_ci, power, power_ci``, the numbers of the pilot ``n_units, n_conditions, n_networks`` and
        those for a power of 0.8 ``units_needed, conditions_needed, networks_needed``, ``None`` where no
        number of these alone suffices; ``reason`` where the effect was not measured with an interval.

    Raises
    ------
    NgbError
        If there are records, but none on the dataset.
    """
    models = models or Models()
    return [
        {**one.dataset, "effects": [row for area in areas for row in _rows(one, area, effect, models)]}
        for one in evidence(on_dataset(list(scored), dataset), known)
        if one.has(models) and (areas := one.areas(ENCODING))
    ]


def _rows(at_hand: Evidence, area: str, effect: float, models: Models) -> Iterator[dict[str, Any]]:
    muscle, torque, own = models.muscle, models.torque, models.before_permuting(at_hand)
    scores, gains = at_hand.scores, at_hand.gains
    effects: dict[str, tuple[float, Callable[[], list[Found]]]] = {
        f"{muscle} − {TWIN}": (effect, lambda: [gains(muscle, area)]),
        f"{muscle} − {torque}": (effect, lambda: [scores(name, area) for name in (muscle, torque)]),
        f"{own} − {models.permuted}": (effect, lambda: [scores(m, area) for m in (own, models.permuted)]),
        f"{muscle} − {torque}, gains": (effect / 2, lambda: [gains(m, area) for m in (muscle, torque)]),
    }
    for name, (wanted, find) in effects.items():
        row: dict[str, Any] = {"effect": name, "area": area, "wanted": wanted}
        try:
            found = find()
            total, reason = effect_of(*found)
        except MissingError as why:
            yield row | {"reason": str(why)}
            continue
        if reason:
            yield row | {"reason": reason}
        else:
            n_networks = min(len(networks) for networks, _ in found)
            possible = possible_designs(total, n_networks, len(found))
            yield (
                row
                | {"value": total.value, "ci": total.ci}
                | {
                    **_numbers(Design.of(total, n_networks), wanted),
                    "detectable_ci": middle(design.detectable for design in possible),
                    "power_ci": middle(design.power(wanted) for design in possible),
                }
            )


def _numbers(design: Design, wanted: float) -> dict[str, Any]:
    return {
        "se": design.se,
        "detectable": design.detectable,
        "power": design.power(wanted),
        "n_units": design.n_units,
        "n_conditions": design.n_conditions,
        "n_networks": design.n_networks,
        "units_needed": design.units_for(wanted),
        "conditions_needed": design.conditions_for(wanted),
        "networks_needed": design.networks_for(wanted),
    }

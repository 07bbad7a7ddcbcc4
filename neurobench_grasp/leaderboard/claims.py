"""The claims of the reference study as verdicts on one dataset, from records at hand.

A claim is supported if the 95 % interval of its statistic lies above 0, contradicted if it lies below, and
otherwise inconclusive with this design: then the power is stated with which an effect of the smallest size of
interest would have been seen. Statistics of explained variance and of errors are paired unit by unit and
condition by condition; those of rows without unit scores take the errors of two rows as independent, which
overstates that of their difference.

The claims are those of Marin Vargas et al., "Closed-loop imitation learning reveals muscle-centric and
latent-goal codes in the sensorimotor system" (bioRxiv 2025), and of its earlier version at a workshop.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import norm

from neurobench_grasp.leaderboard.evidence import Evidence, MissingError, Models, evidence
from neurobench_grasp.leaderboard.ranking import RESOLUTION, difference
from neurobench_grasp.leaderboard.standings import METRIC, SPLIT, TWIN
from neurobench_grasp.records.record import Scored
from neurobench_grasp.records.table import NO_INTERVAL, ScoreTable, with_interval
from neurobench_grasp.records.units import Labels
from neurobench_grasp.scoring.intervals import MIN_NETWORKS, student_t
from neurobench_grasp.scoring.networks import Networks

SUPPORTED, CONTRADICTED, INCONCLUSIVE, MISSING = "supported", "contradicted", "inconclusive", "missing"
TRACKING, EMBEDDED, ANGLES = "tracking_error", "brain_control_error", "brain_control_error_joint_angles"
EFFECT = 0.01
"""Smallest difference of explained variance of interest: units that follow muscles show 0.009 to 0.013 in
model recovery, and half as much in the contrast of gains (docs/recovery.md)."""
ALIKE = 0.1
"""Share of an error by which another may be larger and still count as good."""
TENS = 50
"""Decoded units that count as tens."""
NOISE = 1.0
"""Noise on the decoded signal, in its own standard deviations, at which robustness is compared."""
DECODED_EFFECT = 0.05
"""Smallest difference of decoding EV between areas of interest."""
ALL, INTEGRATION = "all", "integration"
Term = tuple[float, str, Mapping[str, Any]]
"""A weight, and the metric and labels of a row."""


@dataclass(frozen=True)
class Measured:
    """The statistic of a claim: positive where the claim holds.

    Parameters
    ----------
    value : float
    ci : tuple of float, optional
    se : float
        Standard error; NaN without an interval.
    effect : float
        Smallest effect of interest.
    reason : str
        Why there is no interval.
    """

    value: float
    ci: tuple[float, float] | None
    se: float
    effect: float
    reason: str = ""

    @property
    def verdict(self) -> str:
        """Whether the interval lies above or below 0."""
        if self.ci is None:
            return INCONCLUSIVE
        if self.ci[0] > RESOLUTION:
            return SUPPORTED
        return CONTRADICTED if self.ci[1] < -RESOLUTION else INCONCLUSIVE

    @property
    def power(self) -> float | None:
        """Probability with which the smallest effect of interest would be seen; ``None`` if unknown."""
        if self.ci is None or not self.se > 0:
            return None
        return float(norm.cdf((self.effect - (self.ci[1] - self.ci[0]) / 2) / self.se))


# --- statistics -----------------------------------------------------------------------------------


def _over_reference(reference: str) -> Callable[[Evidence, Models, str], Measured]:
    """Gain of the muscle controller over a reference beside it."""

    def measure(at_hand: Evidence, models: Models, area: str) -> Measured:
        own, reason = at_hand.scores(models.muscle, area)
        other, _ = at_hand.scores(models.muscle, area, reference)
        return _paired(own, other, reason, EFFECT)

    return measure


def _over_model(role: str) -> Callable[[Evidence, Models, str], Measured]:
    """Explained variance of a muscle controller minus that of another model."""

    def measure(at_hand: Evidence, models: Models, area: str) -> Measured:
        own = models.before_permuting(at_hand) if role == "permuted" else models.muscle
        a, b = at_hand.scores(own, area), at_hand.scores(getattr(models, role), area)
        return _paired(a[0], b[0], a[1] or b[1], EFFECT)

    return measure


def _contrast(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Measure what training adds to muscles, minus what it adds to torques."""
    a, b = (at_hand.gains(model, area) for model in (models.muscle, models.torque))
    return _paired(a[0], b[0], a[1] or b[1], EFFECT / 2)


def _tracks_better(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Tracking error of the muscle controller minus that of the torque controller, mm."""
    labels = Labels("", SPLIT, TRACKING, "")
    a, b = (at_hand.networks(model, "tracking", labels) for model in (models.muscle, models.torque))
    return _paired(a[0], b[0], a[1] or b[1], ALIKE * statistics.fmean(_values(a[0])))


def _as_good(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Tolerated difference minus how much larger the error by the embedding is than by joint angles, mm."""
    by = [
        at_hand.networks(models.muscle, "brain-control", Labels(area, SPLIT, metric, ""))
        for metric in (ANGLES, EMBEDDED)
    ]
    tolerated = ALIKE * statistics.fmean(_values(by[0][0]))
    return _paired(by[0][0], by[1][0], by[0][1] or by[1][1], tolerated, tolerated)


def _values(networks: Networks) -> list[float]:
    return [float(part.values.mean()) for network in networks for part in network]


def _paired(a: Networks, b: Networks, reason: str, effect: float, shift: float = 0.0) -> Measured:
    """Difference of two models plus a constant, paired unit by unit.

    An interval needs several networks and all folds.
    """
    if min(len(a), len(b)) < MIN_NETWORKS:
        reason = f"{NO_INTERVAL}: {min(len(a), len(b))} of {MIN_NETWORKS} networks"
    total = with_interval(difference(a, b), reason)
    if total is None:
        raise MissingError("no unit has a score by both")
    ci = None if total.ci is None else (total.ci[0] + shift, total.ci[1] + shift)
    se = math.hypot(total.data_se or 0.0, total.draw_se) if ci else math.nan
    return Measured(total.value + shift, ci, se, effect, reason or ("" if ci else NO_INTERVAL))


def _areas_decode(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Explained variance of the embedding decoded from M1, minus that from S1, on new trials."""
    table = at_hand.table(models.muscle, "brain-control")
    labels = {"split": "test", "decoded": "embedding"}
    terms = [(sign, "decoding_ev", {**labels, "area": area}) for sign, area in ((1.0, "M1"), (-1.0, "S1"))]
    return _of_rows(table, terms, DECODED_EFFECT)


def _tens_suffice(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Tolerated difference minus how much larger the error by tens of units is than by all, mm."""
    table = at_hand.table(models.muscle, "brain-control-curves")
    labels = {"split": "test", "area": area, "decoded": "embedding", "noise": 0.0}
    numbers = [int(n) for n in table.along("n_decoded_units", EMBEDDED, **labels) if n != ALL]
    few = [n for n in numbers if n <= TENS]
    if not few:
        raise MissingError(f"no record says how few units of {area} decode")
    terms = [
        (1 + ALIKE, EMBEDDED, {**labels, "n_decoded_units": ALL}),
        (-1.0, EMBEDDED, {**labels, "n_decoded_units": max(few)}),
    ]
    return _of_rows(table, terms, ALIKE * (table.score(*terms[0][1:2], **terms[0][2]).value or math.nan))


def _robust(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Measure how much more noise adds to the error by joint angles than to that by the embedding, mm."""
    table = at_hand.table(models.muscle, "brain-control-curves")
    terms = []
    for sign, metric, decoded in ((1.0, ANGLES, "joint_angles"), (-1.0, EMBEDDED, "embedding")):
        labels = {"split": "test", "area": area, "decoded": decoded, "n_decoded_units": ALL}
        terms += [(sign, metric, {**labels, "noise": NOISE}), (-sign, metric, {**labels, "noise": 0.0})]
    clean = table.score(terms[-1][1], **terms[-1][2]).value
    return _of_rows(table, terms, ALIKE * (clean or math.nan))


def _integration_peaks(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Explained variance by the actor's integration layer, minus that by its best other layer."""
    table = at_hand.table(models.muscle, "encoding")
    labels = {"split": SPLIT, "area": area}
    layers = table.along("layer", METRIC, **labels)
    actor = {name: score.value for name, score in layers.items() if name.startswith("actor/")}
    peak = f"actor/{INTEGRATION}"
    others = {name: value for name, value in actor.items() if name != peak and value is not None}
    if peak not in actor or not others:
        raise MissingError(f"{models.muscle} has no layer {peak} beside others")
    best = max(others, key=lambda name: others[name])
    terms = [(1.0, METRIC, {**labels, "layer": peak}), (-1.0, METRIC, {**labels, "layer": best})]
    return _of_rows(table, terms, EFFECT)


def _of_rows(table: ScoreTable, terms: Sequence[Term], effect: float) -> Measured:
    """Weighted sum of rows, network by network: its error over networks, and that of each row's interval.

    Raises
    ------
    MissingError
        If a row has no value.
    """
    totals, of_data = [], []
    for seed in table.seeds:
        scores = [(weight, table.score(metric, seed, **labels)) for weight, metric, labels in terms]
        for (_, score), (_, metric, labels) in zip(scores, terms, strict=True):
            if score.value is None:
                where = ", ".join(map(str, labels.values()))
                raise MissingError(f"records of {table.first.record.model} have no {metric} of {where}")
        totals.append(sum(weight * (score.value or 0.0) for weight, score in scores))
        widths = [weight * (score.ci[1] - score.ci[0]) / 2 for weight, score in scores if score.ci]
        of_data += [math.hypot(*widths)] if len(widths) == len(terms) else []
    value, n = statistics.fmean(totals), len(totals)
    if n < MIN_NETWORKS:
        return Measured(value, None, math.nan, effect, f"{NO_INTERVAL}: {n} of {MIN_NETWORKS} networks")
    se = statistics.stdev(totals) / math.sqrt(n)
    data = statistics.fmean(of_data) if of_data else 0.0  # else how folds differ has the conditions in it
    half = math.hypot(student_t(n - 1) * se, data)
    return Measured(value, (value - half, value + half), math.hypot(se, data / norm.ppf(0.975)), effect)


# --- claims ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """A claim and how it is measured.

    Parameters
    ----------
    name, sentence : str
    statistic : str
        What is measured, in words.
    measure : callable
        Records, models and area → :class:`Measured`.
    by_area : bool
        Whether it is measured area by area.
    unit : str
    """

    name: str
    sentence: str
    statistic: str
    measure: Callable[[Evidence, Models, str], Measured]
    by_area: bool = True
    unit: str = ""


_EV = "EV on new conditions"
CLAIMS = (
    Claim(
        "trained",
        "Training makes a muscle controller more like neurons",
        f"{_EV}: {{muscle}} − the same network before training",
        _over_reference(TWIN),
    ),
    Claim(
        "linear",
        "A muscle controller explains more than linear kinematics",
        f"{_EV}: {{muscle}} − linear muscle kinematics",
        _over_reference("linear_kinematic"),
    ),
    Claim(
        "quadratic",
        "It explains more than quadratic kinematics",
        f"{_EV}: {{muscle}} − quadratic kinematics",
        _over_reference("quadratic_kinematic"),
    ),
    Claim(
        "muscle",
        "Muscles explain more than joint torques",
        f"{_EV}: {{muscle}} − {{torque}}",
        _over_model("torque"),
    ),
    Claim(
        "contrast",
        "Training adds more to muscles than to torques",
        f"{_EV} above the untrained twin: {{muscle}} − {{torque}}",
        _contrast,
    ),
    Claim(
        "anatomy",
        "Muscles explain more than permuted muscles",
        f"{_EV}: {{fixed}} (or {{muscle}}) − {{permuted}}",
        _over_model("permuted"),
    ),
    Claim(
        "accuracy",
        "Torques track better",
        "tracking error on new conditions: {muscle} − {torque}",
        _tracks_better,
        by_area=False,
        unit="mm",
    ),
    Claim(
        "areas",
        "The embedding is decoded better from M1 than from S1",
        "decoding EV on new trials: M1 − S1",
        _areas_decode,
        by_area=False,
    ),
    Claim(
        "embedding",
        "A decoded embedding drives the body as well as decoded angles",
        "brain-control error on new conditions: 1.1 · angles − embedding",
        _as_good,
        unit="mm",
    ),
    Claim(
        "tens",
        "Tens of units suffice",
        "brain-control error on new trials: 1.1 · all units − 50 units",
        _tens_suffice,
        unit="mm",
    ),
    Claim(
        "noise",
        "The embedding is more robust to noise than angles",
        "what noise of 1 SD adds to the error on new trials: angles − embedding",
        _robust,
        unit="mm",
    ),
    Claim(
        "layer",
        "Explained variance peaks at the integration layer",
        f"{_EV}: integration layer − the best other layer of the actor",
        _integration_peaks,
    ),
)


def claims(
    scored: Iterable[Scored], models: Models | None = None, dataset: str | None = None
) -> list[dict[str, Any]]:
    """Judge every claim on every dataset that has records of these models.

    Parameters
    ----------
    scored : iterable of Scored
    models : Models, optional
    dataset : str, optional
        Only records on this dataset.

    Returns
    -------
    list of dict
        One for each dataset, with its labels and ``claims``: rows with ``name, claim, statistic, area, unit,
        verdict`` and ``value, ci, effect, power, reason``; of a claim that cannot be measured, ``reason``
        says what is missing and names the command that makes it.
    """
    models = models or Models()
    return [
        dict(one.dataset) | {"claims": [row for claim in CLAIMS for row in _judged(claim, one, models)]}
        for one in evidence(scored)
        if dataset in (None, one.dataset["dataset"])
        and any(model in vars(models).values() for model, _ in one.tables)
    ]


def _judged(claim: Claim, at_hand: Evidence, models: Models) -> Iterator[dict[str, Any]]:
    names = vars(models)
    areas = at_hand.areas if claim.by_area else [""]
    for area in areas or [""]:
        row: dict[str, Any] = {"name": claim.name, "claim": claim.sentence, "area": area, "unit": claim.unit}
        row["statistic"] = claim.statistic.format(**names)
        try:
            found = claim.measure(at_hand, models, area)
        except MissingError as why:
            yield row | {"verdict": MISSING, "value": None, "ci": None, "reason": str(why)}
            continue
        row |= {"verdict": found.verdict, "value": found.value, "ci": found.ci and list(found.ci)}
        yield row | {"effect": found.effect, "power": found.power, "reason": found.reason}

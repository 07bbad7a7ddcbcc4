"""The claims of the reference study as verdicts on one dataset, from records at hand.

A claim is supported if the 95 % interval of its statistic lies above 0, contradicted if it lies below, and
otherwise inconclusive with this design: the power says with which probability an effect of the smallest size
of interest would have been supported. Statistics of unit scores are paired unit by unit and condition by
condition; sums of rows without unit scores take the errors of two rows as independent, which overstates that
of their difference. See docs/claims.md.

The claims are those of Marin Vargas et al. (2025), "Closed-loop imitation learning reveals muscle-centric and
latent-goal codes in primate sensorimotor cortex" (bioRxiv), and of its earlier version at a workshop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean, stdev
from typing import Any

from neurobench_grasp.leaderboard.compare import on_dataset
from neurobench_grasp.leaderboard.evidence import (
    BRAIN_CONTROL,
    CURVES,
    ENCODING,
    TRACKING,
    Evidence,
    Found,
    MissingError,
    Models,
    effect_of,
    evidence,
)
from neurobench_grasp.leaderboard.ranking import RESOLUTION, gains, verdict
from neurobench_grasp.leaderboard.standings import METRIC, SPLIT, TWIN
from neurobench_grasp.records.record import Scored
from neurobench_grasp.records.table import DRIVEN, NO_INTERVAL, Score, ScoreTable
from neurobench_grasp.records.units import Labels
from neurobench_grasp.scoring.intervals import MIN_NETWORKS, student_t

SUPPORTED, CONTRADICTED, INCONCLUSIVE, MISSING = "supported", "contradicted", "inconclusive", "missing"
OF_TRACKING = Labels("", SPLIT, "tracking_error", "")
BY_EMBEDDING, BY_ANGLES = "brain_control_error", "brain_control_error_joint_angles"
EFFECT = 0.01
"""Smallest difference of explained variance of interest: units that follow muscles show 0.008 to 0.015 in
model recovery, and half as much in the contrast of gains (docs/recovery.md)."""
ALIKE = 0.1
"""Share of an error by which another may be larger and still count as good."""
TENS = 50
"""Decoded units that count as tens."""
NOISE = 1.0
"""Noise on the decoded signal, in its own standard deviations, at which robustness is compared."""
DECODED_EFFECT = 0.05
"""Smallest difference of decoding EV between areas of interest."""
ALL = "all"
"""Number of decoded units, if it is all."""
ACTOR, PEAK = "actor/", "actor/integration"
STATES = ("actor/hidden", "actor/cell")
"""States of a recurrent integration layer, which are of the same layer."""
LINEAR, QUADRATIC = "linear_kinematic", "quadratic_kinematic"
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
        Standard error.
    effect : float
        Smallest effect of interest.
    reason : str
        Why there is no interval.
    remark : str
        What has to be known to read it.
    """

    value: float
    ci: tuple[float, float] | None
    se: float
    effect: float
    reason: str = ""
    remark: str = ""

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
        """Probability with which the smallest effect of interest is supported; ``None`` if unknown."""
        if self.ci is None or not self.se > 0:
            return None
        return NormalDist().cdf((self.effect - (self.ci[1] - self.ci[0]) / 2) / self.se)


# --- statistics -----------------------------------------------------------------------------------


def _over(*references: str) -> Callable[[Evidence, Models, str], Measured]:
    """Gain of the muscle controller over each of some references beside it; the closest decides."""
    return lambda at_hand, models, area: _closest(
        _of_units(EFFECT, at_hand.gains(models.muscle, area, reference)) for reference in references
    )


def _between(one: str, other: str) -> Callable[[Evidence, Models, str], Measured]:
    """Explained variance of one controller minus that of another, both by their names in ``Models``."""

    def measure(at_hand: Evidence, models: Models, area: str) -> Measured:
        names = getattr(models, one), getattr(models, other)
        return _of_two(EFFECT, Evidence.scores, at_hand, names, area)

    return measure


def _over_permuted(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Explained variance of a muscle controller minus that of the same with permuted muscles."""
    names = models.before_permuting(at_hand), models.permuted
    return _of_two(EFFECT, Evidence.scores, at_hand, names, area)


def _contrast(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Gain of muscles by training, minus that of torques."""
    return _of_two(EFFECT / 2, Evidence.gains, at_hand, (models.muscle, models.torque), area)


def _tracks_better(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Tracking error of the muscle controller minus that of the torque controller, mm."""
    a, b = (at_hand.networks(name, TRACKING, OF_TRACKING) for name in (models.muscle, models.torque))
    return _of_units(ALIKE * effect_of(a)[0].value, a, b)


def _as_good(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Tolerated error by joint angles minus the error by the embedding of the same network, mm."""
    (angles, reason), (embedded, _) = (
        at_hand.networks(models.muscle, BRAIN_CONTROL, Labels(area, SPLIT, metric, ""))
        for metric in (BY_ANGLES, BY_EMBEDDING)
    )
    tolerated = [[part.times(1 + ALIKE) for part in network] for network in angles]
    effect = ALIKE * effect_of((angles, reason))[0].value
    return _of_units(effect, (gains(tolerated, embedded), reason))


def _areas_decode(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Explained variance of the embedding decoded from M1, minus that from S1, on new trials."""
    table = at_hand.table(models.muscle, BRAIN_CONTROL, "test")
    for name in ("M1", "S1"):
        if name not in table.values("area"):
            raise MissingError(f"the recording has no units of {name}")
    labels = {"split": "test", "decoded": "embedding"}
    terms = [(sign, "decoding_ev", {**labels, "area": name}) for sign, name in ((1.0, "M1"), (-1.0, "S1"))]
    return _of_rows(table, terms, DECODED_EFFECT)


def _tens_suffice(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Tolerated error by all units minus that by tens of units, mm."""
    table = at_hand.table(models.muscle, CURVES, "test")
    labels = {"split": "test", "area": area, "decoded": "embedding", "noise": 0.0}
    curve = table.along("n_decoded_units", BY_EMBEDDING, **labels)
    few = [int(n) for n in curve if n != ALL and int(n) <= TENS]
    if ALL not in curve or not few:
        raise MissingError(f"records of {models.muscle} by {CURVES} have no error by few units of {area}")
    terms = [
        (1 + ALIKE, BY_EMBEDDING, {**labels, "n_decoded_units": ALL}),
        (-1.0, BY_EMBEDDING, {**labels, "n_decoded_units": max(few)}),
    ]
    return _of_rows(table, terms, ALIKE * (curve[ALL].value or math.nan))


def _robust(at_hand: Evidence, models: Models, area: str) -> Measured:
    """How much more noise adds to the error by joint angles than to that by the embedding, mm."""
    table = at_hand.table(models.muscle, CURVES, "test")
    terms = []
    for sign, metric in ((1.0, BY_ANGLES), (-1.0, BY_EMBEDDING)):
        labels = {"split": "test", "area": area, "decoded": DRIVEN[metric], "n_decoded_units": ALL}
        terms += [(sign, metric, {**labels, "noise": NOISE}), (-sign, metric, {**labels, "noise": 0.0})]
    return _of_rows(table, terms, ALIKE * (table.score(BY_EMBEDDING, **terms[-1][2]).value or math.nan))


def _integration_peaks(which: str) -> Callable[[Evidence, Models, str], Measured]:
    """Explained variance by a controller's integration layer, minus that by its actor's closest other layer.

    It peaks there if it is above every other layer, so the layer that is closest decides.
    """

    def measure(at_hand: Evidence, models: Models, area: str) -> Measured:
        model = getattr(models, which)
        table = at_hand.table(model, ENCODING)
        labels = {"split": SPLIT, "area": area}
        layers = table.along("layer", METRIC, **labels)
        others = [name for name in layers if name.startswith(ACTOR) and name not in (PEAK, *STATES)]
        if PEAK not in layers or not others:
            raise MissingError(f"{model} has no layer {PEAK} beside others")
        peak = (1.0, METRIC, {**labels, "layer": PEAK})
        by_name = {
            name: _of_rows(table, [peak, (-1.0, METRIC, {**labels, "layer": name})], EFFECT)
            for name in others
        }
        found = _closest(by_name.values())
        closest = next(name for name in others if by_name[name] is found)
        return replace(found, remark=_of_layers(found, layers, closest))

    return measure


def _of_layers(found: Measured, layers: Mapping[str, Score], closest: str) -> str:
    """Name the layer that explains most, and the one that decides; and why little may be known."""
    actor = {name: score.value or 0.0 for name, score in layers.items() if name.startswith(ACTOR)}
    highest = max(actor, key=lambda name: actor[name])
    remark = f"EV is highest in {highest} ({actor[highest]:.3f})"
    beside = [name for name in dict.fromkeys((PEAK, closest)) if name != highest]
    remark += "".join(f", {actor[name]:.3f} in {name}" for name in beside)
    remark += f"; closest to {PEAK} is {closest}"
    if found.ci is None or found.verdict != INCONCLUSIVE:
        return remark
    wide = "the interval is wider than it should be, since no unit scores of layers are kept to pair them"
    return f"{remark}; {wide}"


def _closest(found: Iterable[Measured]) -> Measured:
    """Return which of several effects is least sure: if it is above 0, all are."""
    return min(found, key=lambda one: one.ci[0] if one.ci else one.value)


def _of_two(
    effect: float,
    read: Callable[[Evidence, str, str], Found],
    at_hand: Evidence,
    names: tuple[str, str],
    area: str,
) -> Measured:
    """Difference of two controllers, with a remark where one tracks better, which may explain it."""
    found = _of_units(effect, *(read(at_hand, name, area) for name in names))
    return replace(found, remark=_tracking_apart(at_hand, *names))


def _tracking_apart(at_hand: Evidence, one: str, other: str) -> str:
    """Return by how much one of two controllers tracks worse; empty if they do not differ.

    A network that moves the body worse describes the recorded movement worse, and so the neurons.
    """
    try:
        total, reason = effect_of(*(at_hand.networks(name, TRACKING, OF_TRACKING) for name in (one, other)))
    except MissingError as why:
        reason = str(why)
    if reason:
        return f"whether {one} and {other} track equally well is not known: {reason}"
    sign = verdict(total)
    if sign == 0 or total.ci is None:
        return ""
    worse, better = (one, other) if sign > 0 else (other, one)
    low, high = sorted(map(abs, total.ci))
    apart = f"{abs(total.value):.2f} [{low:.2f}, {high:.2f}] mm"
    confounded = "and the claim is confounded with that: see docs/claims.md"
    return f"{worse} tracks {apart} worse than {better}, {confounded}"


def _of_units(effect: float, a: Found, b: Found | None = None) -> Measured:
    """Mean of unit scores or the difference of two models, paired unit by unit."""
    total, reason = effect_of(a, b)
    return Measured(total.value, total.ci, math.hypot(total.data_se or 0.0, total.draw_se), effect, reason)


def _of_rows(table: ScoreTable, terms: Sequence[Term], effect: float) -> Measured:
    """Weighted sum of rows: its error over networks, and that which the intervals of the rows have in common.

    The networks share units and conditions, so that the error of the data is that of one network.

    Raises
    ------
    MissingError
        If a row has no value.
    """
    totals, halves, bare = [], [], []
    for seed in table.seeds:
        scores = [table.score(metric, seed, **labels) for _, metric, labels in terms]
        for score, (_, metric, labels) in zip(scores, terms, strict=True):
            if score.value is None:
                where = ", ".join(map(str, labels.values()))
                raise MissingError(
                    f"{table.first.record.model}, seed {seed}, has no {metric} of {where} ({score.reason})"
                )
        weighted = [(weight, score) for (weight, *_), score in zip(terms, scores, strict=True)]
        totals.append(sum(weight * (score.value or 0.0) for weight, score in weighted))
        widths = [weight * (score.ci[1] - score.ci[0]) / 2 for weight, score in weighted if score.ci]
        halves += [math.hypot(*widths)] if len(widths) == len(terms) else []
        bare += [score.reason for score in scores if not score.ci]
    value, n = fmean(totals), len(totals)
    if len(halves) < n:
        why = "; ".join(dict.fromkeys(filter(None, (text.removeprefix(f"{NO_INTERVAL}: ") for text in bare))))
        rows = f"in {n - len(halves)} of {n} networks the rows have none"
        reason = f"{NO_INTERVAL}: {rows}{f' ({why})' if why else ''}; no command gives one"
        return Measured(value, None, math.nan, effect, reason)
    if n < MIN_NETWORKS:
        return Measured(value, None, math.nan, effect, f"{NO_INTERVAL}: {n} of {MIN_NETWORKS} networks")
    se, data = stdev(totals) / math.sqrt(n), fmean(halves)
    half = math.hypot(student_t(n - 1) * se, data)
    return Measured(
        value, (value - half, value + half), math.hypot(se, data / NormalDist().inv_cdf(0.975)), effect
    )


# --- claims ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """A claim and how it is measured.

    Parameters
    ----------
    name, sentence : str
    statistic : str
        What is measured, as text.
    measure : callable
        Records, models and area → :class:`Measured`.
    areas_of : str
        Protocol for whose areas it is measured one by one; empty if it is not of one area.
    unit : str
    """

    name: str
    sentence: str
    statistic: str
    measure: Callable[[Evidence, Models, str], Measured]
    areas_of: str = ENCODING
    unit: str = ""


_EV = "EV on new conditions"
CLAIMS = (
    Claim(
        "trained",
        "Training makes a muscle controller more like neurons",
        f"{_EV}: {{muscle}} − the same network before training",
        _over(TWIN),
    ),
    Claim(
        "linear",
        "A muscle controller explains more than linear kinematics",
        f"{_EV}: {{muscle}} − linear muscle kinematics",
        _over(LINEAR),
    ),
    Claim(
        "quadratic",
        "It explains more than quadratic kinematics, which contain the linear ones",
        f"{_EV}: {{muscle}} − the closer of linear and quadratic kinematics",
        _over(LINEAR, QUADRATIC),
    ),
    Claim(
        "muscle",
        "Muscles explain more than joint torques",
        f"{_EV}: {{muscle}} − {{torque}}",
        _between("muscle", "torque"),
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
        f"{_EV}: {{own}} − {{permuted}}",
        _over_permuted,
    ),
    Claim(
        "accuracy",
        "Torques track better",
        "tracking error on new conditions: {muscle} − {torque}",
        _tracks_better,
        areas_of="",
        unit="mm",
    ),
    Claim(
        "areas",
        "The embedding is decoded better from M1 than from S1",
        "decoding EV on new trials: M1 − S1",
        _areas_decode,
        areas_of="",
    ),
    Claim(
        "embedding",
        "A decoded embedding drives the body as well as decoded angles",
        "brain-control error on new conditions: 1.1 · angles − embedding",
        _as_good,
        areas_of=BRAIN_CONTROL,
        unit="mm",
    ),
    Claim(
        "tens",
        "Tens of units suffice",
        "brain-control error on new trials: 1.1 · all units − at most 50 units",
        _tens_suffice,
        areas_of=CURVES,
        unit="mm",
    ),
    Claim(
        "noise",
        "The embedding is more robust to noise than angles",
        "what noise of 1 SD adds to the error on new trials: angles − embedding",
        _robust,
        areas_of=CURVES,
        unit="mm",
    ),
    Claim(
        "layer",
        "Explained variance peaks at the integration layer",
        f"{_EV}: integration layer of {{muscle}} − the closest other layer of the actor",
        _integration_peaks("muscle"),
    ),
    Claim(
        "recurrent_layer",
        "It does in a recurrent network",
        f"{_EV}: integration layer of {{recurrent}} − the closest other layer of the actor",
        _integration_peaks("recurrent"),
    ),
    Claim(
        "recurrence",
        "A recurrent memory explains more than a window of the same inputs",
        f"{_EV}: {{recurrent}} − {{stack}}",
        _between("recurrent", "stack"),
    ),
    Claim(
        "memory",
        "A window of past inputs explains more than the present ones alone",
        f"{_EV}: {{stack}} − {{delayed}}",
        _between("stack", "delayed"),
    ),
    Claim(
        "reward",
        "Learning from reward explains more than learning from an expert's actions",
        f"{_EV}: {{muscle}} − {{supervised}}",
        _between("muscle", "supervised"),
    ),
)


def claims(
    scored: Iterable[Scored],
    models: Models | None = None,
    dataset: str | None = None,
    known: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Judge every claim on every dataset that has records of these models.

    Parameters
    ----------
    scored : iterable of Scored
    models : Models, optional
    dataset : str, optional
        Only records on this dataset.
    known : collection of str
        Datasets that ``ngb score`` finds by their names; in commands, others are files.

    Returns
    -------
    list of dict
        One for each content of a dataset, with its labels and ``claims``: rows with ``name, claim, statistic,
        area, unit, verdict`` and ``value, ci, effect, power, reason, remark``; of a claim that cannot be
        measured, ``reason`` says what is missing and, if a command makes it, names that. ``remark`` is what
        has to be known to read a verdict: which of two controllers tracks better, or which layer is highest.

    Raises
    ------
    NgbError
        If there are records, but none on the dataset.
    """
    models = models or Models()
    return [
        dict(one.dataset) | {"claims": judged(one, models)}
        for one in evidence(on_dataset(list(scored), dataset), known)
        if one.has(models)
    ]


def judged(at_hand: Evidence, models: Models) -> list[dict[str, Any]]:
    """Return the rows of every claim on one dataset, as :func:`claims`."""
    return [row for claim in CLAIMS for row in _judged(claim, at_hand, models)]


def _judged(claim: Claim, at_hand: Evidence, models: Models) -> Iterator[dict[str, Any]]:
    names = vars(models) | {"own": models.before_permuting(at_hand)}
    row: dict[str, Any] = {"name": claim.name, "claim": claim.sentence, "unit": claim.unit}
    row["statistic"] = claim.statistic.format(**names)
    for area in at_hand.areas(claim.areas_of) or [""]:
        try:
            found = claim.measure(at_hand, models, area)
        except MissingError as why:
            unknown = dict.fromkeys(("value", "ci", "effect", "power"))
            yield row | {"area": area, "verdict": MISSING, **unknown, "reason": str(why), "remark": ""}
            continue
        numbers = {"value": found.value, "ci": found.ci, "effect": found.effect, "power": found.power}
        texts = {"reason": found.reason, "remark": found.remark}
        yield row | {"area": area, "verdict": found.verdict, **numbers, **texts}

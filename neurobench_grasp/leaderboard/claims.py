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
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import norm

from neurobench_grasp.leaderboard.ranking import RESOLUTION, difference, gains
from neurobench_grasp.leaderboard.standings import IDENTITY, TWIN, identity
from neurobench_grasp.records.record import Scored
from neurobench_grasp.records.table import NO_INTERVAL, ScoreTable, open_folds, with_interval
from neurobench_grasp.records.units import Labels
from neurobench_grasp.scoring.intervals import MIN_NETWORKS, student_t
from neurobench_grasp.scoring.networks import Networks

SUPPORTED, CONTRADICTED, INCONCLUSIVE, MISSING = "supported", "contradicted", "inconclusive", "missing"
EV, SPLIT = "single_trial_ev", "ood"
TRACKING, EMBEDDED, ANGLES = "tracking_error", "brain_control_error", "brain_control_error_joint_angles"
EFFECT = 0.01
"""Smallest difference of explained variance of interest: units that follow muscles show 0.009 to 0.013 in model
recovery, and half as much in the contrast of gains (docs/recovery.md)."""
ALIKE = 0.1
"""Share of an error by which another may be larger and still count as good."""
TENS = 50
"""Decoded units that count as tens."""
NOISE = "1.0"
"""Noise on the decoded signal, in its own standard deviations, at which robustness is compared."""
INTEGRATION = "integration"


class MissingError(Exception):
    """Something that a claim needs is not at hand: the sentence says what, and how to make it."""


@dataclass(frozen=True)
class Models:
    """Names of the models that the claims are about.

    Parameters
    ----------
    muscle, torque, permuted : str
    fixed : str
        That of ``permuted`` before its muscles are permuted; where it has no records, ``muscle``.
    """

    muscle: str = "muscle_ppo"
    torque: str = "torque_ppo"
    permuted: str = "permuted_muscles"
    fixed: str = "fixed_muscles"


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


# --- records --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """Records on one dataset.

    Parameters
    ----------
    dataset : mapping
        Its labels, see :data:`neurobench_grasp.leaderboard.standings.IDENTITY`.
    tables : mapping of (str, str) to ScoreTable
        Model and protocol → its networks; the newest record of each seed.
    """

    dataset: Mapping[str, Any]
    tables: Mapping[tuple[str, str], ScoreTable]

    def table(self, model: str, protocol: str) -> ScoreTable:
        """Return the networks of a model by a protocol.

        Raises
        ------
        MissingError
            It names the command that makes their records.
        """
        found = self.tables.get((model, protocol))
        if found is None:
            how = "--curves" if protocol == "brain-control-curves" else f"--protocol {protocol}"
            raise MissingError(
                f"no record of {model} by {protocol}; `ngb score --model {model} --dataset "
                f"{self.dataset['dataset']} {how} --seeds 5` makes it"
            )
        return found

    def networks(self, model: str, protocol: str, labels: Labels) -> tuple[Networks, str]:
        """Return the unit scores of a model's networks, and why they have no interval.

        Raises
        ------
        MissingError
            If there is no record, or it has no such scores.
        """
        table = self.table(model, protocol)
        found = [scored.units.scores.get(labels) for scored in table.networks]
        parts = [part for part in found if part is not None]
        if len(parts) < len(found):
            raise MissingError(
                f"records of {model} by {protocol} have no {labels.metric} of "
                f"{labels.reference or model}{f' of {labels.area}' if labels.area else ''}"
            )
        return parts, open_folds([scored.record for scored in table.networks], labels.split)

    @property
    def areas(self) -> list[str]:
        """Areas whose units some model was scored on."""
        of_units = (table for (_, protocol), table in self.tables.items() if protocol == "encoding")
        return sorted({area for table in of_units for area in table.values("area")})


def evidence(scored: Iterable[Scored]) -> list[Evidence]:
    """Group records by what was scored; of several of one model, protocol and seed the newest counts."""
    found: dict[tuple[Any, ...], dict[tuple[str, str], dict[int, Scored]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    newest = sorted(
        scored, key=lambda s: (s.record.protocol["version"], str(s.record.provenance.get("date", "")))
    )
    for one in newest:
        record = one.record
        networks = found[identity(record)][record.model, record.protocol["name"]]
        if any(other.record.protocol != record.protocol for other in networks.values()):
            networks.clear()  # of an older version, or with other settings
        networks[record.seed] = one
    return [
        Evidence(
            dict(zip(IDENTITY, labels, strict=True)),
            {key: ScoreTable(tuple(nets[k] for k in sorted(nets))) for key, nets in tables.items()},
        )
        for labels, tables in sorted(found.items(), key=lambda item: item[0][:2])
    ]


# --- statistics -----------------------------------------------------------------------------------


def _over_reference(reference: str) -> Callable[[Evidence, Models, str], Measured]:
    """Gain of the muscle controller over a reference beside it."""

    def measure(at_hand: Evidence, models: Models, area: str) -> Measured:
        own, reason = at_hand.networks(models.muscle, "encoding", Labels(area, SPLIT, EV, ""))
        other, _ = at_hand.networks(models.muscle, "encoding", Labels(area, SPLIT, EV, reference))
        return _paired(own, other, reason, EFFECT)

    return measure


def _over_model(role: str) -> Callable[[Evidence, Models, str], Measured]:
    """Explained variance of a muscle controller minus that of another model."""

    def measure(at_hand: Evidence, models: Models, area: str) -> Measured:
        other, labels = getattr(models, role), Labels(area, SPLIT, EV, "")
        own = models.muscle
        if role == "permuted" and (models.fixed, "encoding") in at_hand.tables:
            own = models.fixed
        a, b = (at_hand.networks(model, "encoding", labels) for model in (own, other))
        return _paired(a[0], b[0], a[1] or b[1], EFFECT)

    return measure


def _contrast(at_hand: Evidence, models: Models, area: str) -> Measured:
    """What training adds to muscles, minus what it adds to torques."""
    gained, reasons = [], []
    for model in (models.muscle, models.torque):
        own, reason = at_hand.networks(model, "encoding", Labels(area, SPLIT, EV, ""))
        twin, _ = at_hand.networks(model, "encoding", Labels(area, SPLIT, EV, TWIN))
        gained.append(gains(own, twin))
        reasons.append(reason)
    return _paired(gained[0], gained[1], next(filter(None, reasons), ""), EFFECT / 2)


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
    terms = [(1.0, {**labels, "area": "M1"}), (-1.0, {**labels, "area": "S1"})]
    return _of_rows(table, "decoding_ev", terms, 5 * EFFECT)


def _tens_suffice(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Tolerated difference minus how much larger the error by tens of units is than by all, mm."""
    table = at_hand.table(models.muscle, "brain-control-curves")
    labels = {"split": "test", "area": area, "decoded": "embedding"}
    numbers = table.along("n_decoded_units", EMBEDDED, **labels)
    few = [n for n in numbers if int(n) <= TENS]
    if len(few) == len(numbers) or not few:
        raise MissingError(
            f"{area} has no more than {TENS} units, or no record says with how many they decode"
        )
    every, tens = max(numbers, key=int), max(few, key=int)
    terms = [(1.0 + ALIKE, {**labels, "n_decoded_units": every}), (-1.0, {**labels, "n_decoded_units": tens})]
    return _of_rows(table, EMBEDDED, terms, ALIKE * (numbers[every].value or math.nan))


def _robust(at_hand: Evidence, models: Models, area: str) -> Measured:
    """How much more noise adds to the error by joint angles than to that by the embedding, mm."""
    table = at_hand.table(models.muscle, "brain-control-curves")
    terms = []
    for sign, decoded in ((1, "joint_angles"), (-1, "embedding")):
        labels = {"split": "test", "area": area, "decoded": decoded}
        every = max(table.values("n_decoded_units"), key=int)
        noisy = {**labels, "n_decoded_units": every, "noise": NOISE}
        terms += [(sign, noisy), (-sign, {**labels, "n_decoded_units": every})]
    return _of_rows(table, EMBEDDED, terms, ALIKE * (table.score(EMBEDDED, **terms[-1][1]).value or math.nan))


def _integration_peaks(at_hand: Evidence, models: Models, area: str) -> Measured:
    """Explained variance by the actor's integration layer, minus that by the best other layer of the actor."""
    table = at_hand.table(models.muscle, "encoding")
    labels = {"split": SPLIT, "area": area}
    layers = table.along("layer", EV, **labels)
    actor = {name: score.value for name, score in layers.items() if name.startswith("actor/")}
    peak = f"actor/{INTEGRATION}"
    others = {name: value for name, value in actor.items() if name != peak and value is not None}
    if peak not in actor or not others:
        raise MissingError(f"{models.muscle} has no layer {peak} beside others")
    best = max(others, key=lambda name: others[name])
    terms = [(1.0, {**labels, "layer": peak}), (-1.0, {**labels, "layer": best})]
    return _of_rows(table, EV, terms, EFFECT)


def _of_rows(
    table: ScoreTable, metric: str, terms: Sequence[tuple[float, Mapping[str, Any]]], effect: float
) -> Measured:
    """Weighted sum of rows, network by network: its error over networks, and that of each row's own interval.

    Raises
    ------
    MissingError
        If a row has no value.
    """
    totals, of_data = [], []
    for seed in table.seeds:
        scores = [table.score(metric, seed, **labels) for _, labels in terms]
        lacking = [labels for (_, labels), s in zip(terms, scores, strict=True) if s.value is None]
        if lacking:
            where = ", ".join(str(value) for value in lacking[0].values())
            raise MissingError(f"records of {table.first.record.model} have no {metric} of {where}")
        totals.append(
            sum(w * s.value for (w, _), s in zip(terms, scores, strict=True) if s.value is not None)
        )
        widths = [w * (s.ci[1] - s.ci[0]) / 2 for (w, _), s in zip(terms, scores, strict=True) if s.ci]
        of_data.append(math.hypot(*widths) if len(widths) == len(terms) else math.nan)
    value, n = statistics.fmean(totals), len(totals)
    if n < MIN_NETWORKS:
        return Measured(value, None, math.nan, effect, f"{NO_INTERVAL}: {n} of {MIN_NETWORKS} networks")
    se = statistics.stdev(totals) / math.sqrt(n)
    known = [half for half in of_data if not math.isnan(half)]
    data = statistics.fmean(known) if known else 0.0  # folds apart: how they differ has the conditions in it
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
    scored: Iterable[Scored], models: Models = Models(), dataset: str | None = None
) -> list[dict[str, Any]]:
    """Judge every claim on every dataset that has records.

    Parameters
    ----------
    scored : iterable of Scored
    models : Models
    dataset : str, optional
        Only records on this dataset.

    Returns
    -------
    list of dict
        One for each dataset, with its labels and ``claims``: rows with ``name, claim, statistic, area, unit,
        verdict`` and ``value, ci, effect, power, reason``; of a claim that cannot be measured, ``reason``
        says what is missing and names the command that makes it.
    """
    at_hand = [e for e in evidence(scored) if dataset in (None, e.dataset["dataset"])]
    return [
        dict(one.dataset) | {"claims": [row for claim in CLAIMS for row in _judged(claim, one, models)]}
        for one in at_hand
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

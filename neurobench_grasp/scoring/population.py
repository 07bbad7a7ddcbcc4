"""How alike two populations are in the averages of conditions: geometry, dynamics, dissimilarities.

Canonical correlations and Procrustes similarity are one computation, with and without whitening: the
angular shape metrics of Williams, Kunz, Kornblith and Linderman (2021), NeurIPS 34, for which the maps are
fitted on some conditions and evaluated on others. Dynamics are compared as by Ostrow, Eisen, Kozachkov and
Fiete (2023), NeurIPS 36: a linear operator of delayed coordinates (HAVOK; Brunton et al. 2017, Nature
Communications 8:19), and Procrustes analysis of two operators. Dissimilarities of conditions are unbiased by
noise: Walther et al. (2016), NeuroImage 137:188.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.contract import Bools, Floats, Ints
from neurobench_grasp.scoring.ev import sum_without

SMALLEST = 1e-9
"""Singular values below this share of the largest are rounding noise."""
MAX_ITERATIONS, FLAT = 200, 1e-9


@dataclass(frozen=True)
class Space:
    """Leading principal components of the averages of conditions.

    Parameters
    ----------
    mean : ndarray, shape (n_features,)
    axes : ndarray, shape (n_features, n_components)
    """

    mean: Floats
    axes: Floats

    @classmethod
    def of(cls, average: Floats, halves: tuple[Floats, Floats], *, share: float, at_least: int = 0) -> Space:
        """Keep as many components as explain a share of the variance that repeats; none if nothing does.

        Parameters
        ----------
        average : ndarray, shape (n_conditions, n_phases, n_features)
        halves : tuple of ndarray
            The same of halves of the trials; their covariance is the variance that repeats.
        share : float
        at_least : int
            Components to keep even if fewer explain the share.
        """
        first, second = (half.reshape(-1, half.shape[2]) - half.mean((0, 1)) for half in halves)
        values = average.reshape(-1, average.shape[2])
        _, size, axes = np.linalg.svd(values - values.mean(0), full_matrices=False)
        axes = axes[size > SMALLEST * size.max(initial=0.0)].T
        repeats = ((first @ axes) * (second @ axes)).sum(0).cumsum()
        total = repeats[-1] if len(repeats) else 0.0
        n = int((repeats >= share * total).argmax()) + 1 if total > 0 else 0
        return cls(values.mean(0), axes[:, : max(n, at_least)])

    def __call__(self, average: Floats) -> Floats:
        """Component scores, (n_conditions, n_phases, n_components)."""
        scores: Floats = (average - self.mean) @ self.axes
        return scores


@dataclass(frozen=True)
class Alignment:
    """Linear maps of a population and of a model to common dimensions, in the order of how alike they are.

    Parameters
    ----------
    means : tuple of ndarray
    maps : tuple of ndarray, shape (n_components, n_dimensions)
        The numbers of dimensions may differ: those that the other lacks have no counterpart.
    """

    means: tuple[Floats, Floats]
    maps: tuple[Floats, Floats]

    @classmethod
    def of(cls, population: Floats, model: Floats, *, whitened: bool) -> Alignment:
        """Fit the maps.

        Parameters
        ----------
        population, model : ndarray, shape (n_conditions, n_phases, n_components)
        whitened : bool
            True: canonical correlation analysis. A model's dimensions beyond those of the population do not
            count. False: orthogonal Procrustes analysis, in which they do.
        """
        flat = [x.reshape(-1, x.shape[2]) for x in (population, model)]
        means = flat[0].mean(0), flat[1].mean(0)
        flat = [x - mean for x, mean in zip(flat, means, strict=True)]
        scale = [_whitening(x) if whitened else np.eye(x.shape[1]) for x in flat]
        turn, _, turn_of_model = np.linalg.svd((flat[0] @ scale[0]).T @ (flat[1] @ scale[1]))
        n = turn.shape[1] if whitened else None
        return cls(means, (scale[0] @ turn, (scale[1] @ turn_of_model.T)[:, :n]))

    def sums(self, population: Floats, model: Floats) -> Floats:
        """Return sums whose correlation is the similarity, for :class:`~neurobench_grasp.scoring.sums.Sums`.

        The cosine of the two, about their means in the data that the maps were fitted on. With whitening that
        is, on those data, the mean of the canonical correlations.

        Returns
        -------
        ndarray, shape (6, n_conditions, 1)
        """
        u, v = (
            (x - mean) @ to for x, mean, to in zip((population, model), self.means, self.maps, strict=True)
        )
        n = min(u.shape[2], v.shape[2])
        squares = (u**2).sum((1, 2)), (v**2).sum((1, 2))
        number, zero = np.full(len(u), float(u.shape[1])), np.zeros(len(u))
        product = (u[..., :n] * v[..., :n]).sum((1, 2))
        return np.stack([number, zero, squares[0], zero, squares[1], product])[..., None]


def _whitening(x: Floats) -> Floats:
    """Map of (n_samples, n_columns) to orthonormal columns."""
    _, size, axes = np.linalg.svd(x, full_matrices=False)
    whitening: Floats = axes.T * _inverse(size)
    return whitening


def _inverse(size: Floats) -> Floats:
    """Inverse of singular values; 0 of those that are rounding noise."""
    real = size > SMALLEST * size.max(initial=0.0)
    return np.divide(1.0, size, out=np.zeros_like(size), where=real)


# --- dynamics -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dynamics:
    """Whitened delayed coordinates of two systems, and the orthogonal map between their operators.

    Parameters
    ----------
    bases : tuple of ndarray, shape (n_components · n_delays, rank)
    turn : ndarray, shape (rank, rank)
    n_delays : int
    """

    bases: tuple[Floats, Floats]
    turn: Floats
    n_delays: int

    @classmethod
    def of(cls, population: Floats, model: Floats, *, rank: int, n_delays: int) -> Dynamics:
        """Fit coordinates, operators and the map.

        Parameters
        ----------
        population, model : ndarray, shape (n_conditions, n_phases, n_components)
        rank : int
            Of both operators; coordinates that a system lacks are zero.
        n_delays : int
        """
        steps = [delayed(x, n_delays) for x in (population, model)]
        bases = [_basis(x, rank) for x in steps]
        pair = (operators(x @ basis)[0] for x, basis in zip(steps, bases, strict=True))
        return cls((bases[0], bases[1]), closest_turn(*pair), n_delays)

    def similarity(self, population: Floats, model: Floats) -> Floats:
        """One minus the angle between the operators of other data, in right angles.

        For all conditions, and without each.

        Returns
        -------
        ndarray, shape (n_conditions + 1,)
        """
        a, b = (
            operators(delayed(x, self.n_delays) @ basis)
            for x, basis in zip((population, model), self.bases, strict=True)
        )
        return 1 - angle(a, self.turn @ b @ self.turn.T) / (np.pi / 2)


def delayed(x: Floats, n_delays: int) -> Floats:
    """Put the last steps beside each, newest first, (n_conditions, n_phases − n_delays + 1, n_delays · n)."""
    n = x.shape[1] - n_delays + 1
    return np.concatenate([x[:, k : k + n] for k in range(n_delays)[::-1]], axis=2)


def _basis(x: Floats, rank: int) -> Floats:
    """Map of delayed steps to their eigen-time-delay coordinates, which are orthonormal on these data."""
    _, size, axes = np.linalg.svd(x.reshape(-1, x.shape[2]), full_matrices=False)
    basis = np.zeros((x.shape[2], rank))
    basis[:, : len(size)] = (axes.T * _inverse(size))[:, :rank]
    return basis


def operators(states: Floats) -> Floats:
    """Least-squares operators from each state to the next, for all conditions and without each.

    Parameters
    ----------
    states : ndarray, shape (n_conditions, n_steps, rank)

    Returns
    -------
    ndarray, shape (n_conditions + 1, rank, rank)
    """
    before, after = states[:, :-1], states[:, 1:]
    now, onward = (sum_without(before.swapaxes(1, 2) @ x) for x in (before, after))
    return (np.linalg.pinv(now, hermitian=True) @ onward).swapaxes(1, 2)


def angle(a: Floats, b: Floats) -> Floats:
    """Angle between matrices, (..., n, n), in radians; NaN where one is zero."""
    size = np.sqrt((a**2).sum((-2, -1)) * (b**2).sum((-2, -1)))
    product = (a * b).sum((-2, -1))
    cosine = np.divide(product, size, out=np.full(size.shape, np.nan), where=size > 0)
    found: Floats = np.arccos(np.clip(cosine, -1, 1))
    return found


def closest_turn(a: Floats, b: Floats, n_starts: int = 16) -> Floats:
    """Find the orthogonal map, rotation or reflection, that brings one operator closest to another.

    ``tr(Aᵀ C B Cᵀ)`` has several maxima: it is climbed by damped Newton steps on the orthogonal group, from
    many starts, half of them with each determinant. These match the eigenvectors of the symmetric parts, with
    random signs, or are random.

    Parameters
    ----------
    a, b : ndarray, shape (n, n)
    n_starts : int

    Returns
    -------
    ndarray, shape (n, n)
    """
    n = len(a)
    a, b = (x - np.trace(x) / n * np.eye(n) for x in (a, b))  # which no turn changes
    a, b = (x / max(float(np.linalg.norm(x)), 1e-300) for x in (a, b))
    row, column = np.triu_indices(n, 1)
    skew = np.zeros((len(row), n, n))  # C turns to C · exp(S), and S is a sum of these
    skew[np.arange(len(row)), row, column], skew[np.arange(len(row)), column, row] = 1, -1
    first = skew @ b - b @ skew
    second = skew[:, None] @ first - first @ skew[:, None]
    second = (second + second.swapaxes(0, 1)) / 2
    turn, damping = _starts(a, b, n_starts), np.full(n_starts, 0.01)
    for _ in range(MAX_ITERATIONS):
        turned = turn.swapaxes(1, 2) @ a @ turn
        slope = np.tensordot(turned, first, ([1, 2], [1, 2]))
        bend, axes = np.linalg.eigh(np.tensordot(turned, second, ([1, 2], [2, 3])))
        along = (axes.swapaxes(1, 2) @ slope[..., None])[..., 0] / (np.abs(bend) + damping[:, None])
        half = np.tensordot((axes @ along[..., None])[..., 0], skew, 1) / 2
        moved = turn @ np.linalg.solve(np.eye(n) - half, np.eye(n) + half)
        climbs = ((moved.swapaxes(1, 2) @ a @ moved - turned) * b).sum((1, 2)) >= 0
        turn = np.where(climbs[:, None, None], moved, turn)
        damping = np.where(climbs, damping / 4, damping * 4)
        if (np.abs(slope).max(initial=0.0, axis=1) < FLAT).all():
            break
    best: Floats = turn[((turn.swapaxes(1, 2) @ a @ turn) * b).sum((1, 2)).argmax()]
    return best


def _starts(a: Floats, b: Floats, n: int) -> Floats:
    """Orthogonal matrices to start from, (n, …), every second with the other determinant."""
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], (n // 2, 1, len(a)))
    frames = [np.linalg.eigh(x + x.T)[1] for x in (a, b)]
    matched = (frames[0] * signs) @ frames[1].T
    starts = np.concatenate([matched, np.linalg.qr(rng.standard_normal((n - n // 2, *a.shape)))[0]])
    starts[::2, :, 0] *= np.sign(np.linalg.det(starts[::2]))[:, None]
    starts[1::2, :, 0] *= -np.sign(np.linalg.det(starts[1::2]))[:, None]
    return starts


# --- dissimilarities ------------------------------------------------------------------------------


def dissimilarities(trials: Floats, conditions: Sequence[Ints]) -> Floats:
    """Squared distances between the averages of conditions, less what noise contributes on average.

    The mean of the crossnobis distances over all pairs of trials. (Averages of few noisy trials are far from
    each other, and those of conditions with more noise further: correlations of biased distances would in
    part be of noise.)

    Parameters
    ----------
    trials : ndarray, shape (n_trials, n_phases, n_features)
    conditions : sequence of ndarray of int64
        Trials of each, at least two.

    Returns
    -------
    ndarray, shape (n_conditions, n_conditions)
    """
    flat = trials.reshape(len(trials), -1)
    mean = np.array([flat[mine].mean(0) for mine in conditions]).reshape(-1, flat.shape[1])
    noise = np.array([flat[mine].var(0, ddof=1).sum() / len(mine) for mine in conditions])
    product = mean @ mean.T
    square = np.diag(product) - noise
    distances: Floats = square[:, None] + square - 2 * product
    return distances


def rank_similarity(a: Floats, b: Floats, pairs: Bools) -> Floats:
    """Correlate the ranks of two matrices of dissimilarities, of all conditions and without each.

    Parameters
    ----------
    a, b : ndarray, shape (n_conditions, n_conditions)
    pairs : ndarray of bool, shape (n_conditions, n_conditions)
        Those that count.

    Returns
    -------
    ndarray, shape (n_conditions + 1,)
        Spearman's correlations; NaN of fewer than three pairs, and of constant ones.
    """
    from scipy.stats import rankdata  # here, because it takes longer to import than a command may to answer

    found = []
    for out in (None, *range(len(a))):
        mine = np.triu(pairs, 1)
        if out is not None:
            mine[out] = mine[:, out] = False
        x, y = rankdata(a[mine]), rankdata(b[mine])
        varies = len(x) > 2 and np.ptp(x) > 0 and np.ptp(y) > 0
        found.append(float(np.corrcoef(x, y)[0, 1]) if varies else np.nan)
    return np.array(found)


# --- null -----------------------------------------------------------------------------------------


def matched_covariance(average: Floats, rng: np.random.Generator) -> Floats:
    """Draw random responses with the covariance of given ones over features and over phases.

    Gaussian, with the product of both covariances (cf. Elsayed and Cunningham 2017, Nature Neuroscience
    20:1310, whose surrogates match the same marginal covariances): once for the course that all conditions
    share, and once for how each deviates from it. Conditions are exchangeable: a null that kept which are
    alike would have the dissimilarities of what it is the null of.

    Parameters
    ----------
    average : ndarray, shape (n_conditions, n_phases, n_features)
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n_conditions, n_phases, n_features)
    """
    average = average - average.mean((0, 1))
    shared = average.mean(0, keepdims=True)
    deviations = _alike(average - shared, rng)
    deviations -= deviations.mean(0)
    grown = (len(average) / max(len(average) - 1, 1)) ** 0.5  # what taking the mean away has cost
    drawn: Floats = _alike(shared, rng) + grown * deviations
    return drawn


def _alike(x: Floats, rng: np.random.Generator) -> Floats:
    """Gaussian numbers with the covariances of x over phases and over features, independent by condition."""
    over_phases, over_features = np.einsum("ctn,csn->ts", x, x), np.einsum("ctn,ctm->nm", x, x)
    total = max(float(np.trace(over_phases)), 1e-300)
    noise = rng.standard_normal(x.shape)
    drawn: Floats = _root(over_phases / total) @ noise @ _root(over_features / len(x))
    return drawn


def _root(covariance: Floats) -> Floats:
    """Symmetric square root."""
    values, axes = np.linalg.eigh(covariance)
    root: Floats = (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
    return root

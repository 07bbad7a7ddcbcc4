"""Distances of dynamical similarity analysis by the published package and by this one, as JSON.

Needs a copy of dsa-metric 2.0.2 (MIT), torch and pot: ``python benchmarks/dsa_reference.py FOLDER``, where
the folder contains ``dmd.py`` and ``simdist.py`` of the package. Its numbers are in double precision here; it
trains a small network for every distance, so that they depend on the seed and on the number of iterations.
"""

import json
import sys
import time

import numpy as np

from neurobench_grasp.scoring.population import Dynamics

SYSTEMS = ((1, 2, 3, 4), (3, 4, 4, 6), (5, 6, 3, 3))
"""Seeds of two systems, their dimensions, and the rank of their operators."""
N_DELAYS, N_SEEDS = 2, 8


def system(seed, n, n_conditions=12, n_steps=25):
    """Noisy trajectories of a linear system, (n_conditions, n_steps, n)."""
    rng = np.random.default_rng(seed)
    a = np.linalg.qr(rng.standard_normal((n, n)))[0] * 0.9 + 0.1 * rng.standard_normal((n, n))
    x = [rng.standard_normal((n_conditions, n))]
    for _ in range(n_steps - 1):
        x.append(x[-1] @ a.T + 0.1 * rng.standard_normal((n_conditions, n)))
    return np.stack(x, 1)


def published(x, y, rank, iterations):
    """Distances by the package, radians, one for each seed."""
    import dmd
    import simdist
    import torch

    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # the package calls it on everything
    operators = []
    for z in (x, y):
        fitted = dmd.DMD(z, n_delays=N_DELAYS, rank=rank, lamb=0.0)
        fitted.fit()
        operators.append(fitted.A_v)
    found = []
    for seed in range(N_SEEDS):
        torch.manual_seed(seed)
        compare = simdist.SimilarityTransformDist(iters=iterations, score_method="angular")
        found.append(float(compare.fit_score(*(a.clone() for a in operators))))
    return found


def main():
    """Print the distances and the seconds that they took."""
    sys.path.insert(0, sys.argv[1])
    rows = []
    for first, second, n, rank in SYSTEMS:
        x, y = system(first, n), system(second, n)
        row = {"seeds": [first, second], "n": n, "rank": rank}
        for name, iterations in (("default", 200), ("converged", 3000)):
            start = time.perf_counter()
            row[name] = published(x, y, rank, iterations)
            row[f"{name}_s"] = (time.perf_counter() - start) / N_SEEDS
        start = time.perf_counter()
        similarity = Dynamics.of(x, y, rank=rank, n_delays=N_DELAYS).similarity(x, y)[0]
        row |= {"ours": (1 - similarity) * np.pi / 2, "ours_s": time.perf_counter() - start}
        rows.append(row)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

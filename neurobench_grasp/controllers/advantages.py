"""Generalised advantage estimates for each part of a body, from arrays of numpy or tensors of torch."""

from __future__ import annotations

from typing import Any


def part_advantages(
    rewards: Any,
    values: Any,
    starts: Any,
    last_values: Any,
    last_starts: Any,
    gamma: float,
    gae_lambda: float,
) -> list[Any]:
    """Return the advantages of each step, of shape (n, n_parts) (Schulman et al. 2016, arXiv:1506.02438).

    Parameters
    ----------
    rewards, values : array, shape (n_steps, n, n_parts)
    starts : array, shape (n_steps, n)
        1 where a step is the first of its episode, else 0.
    last_values, last_starts : array, shapes (n, n_parts) and (n,)
        Of the step that follows the last one.
    gamma, gae_lambda : float
    """
    advantages: list[Any] = []
    running: Any = 0.0
    following, going = last_values, 1 - last_starts
    for reward, value, start in zip(reversed(rewards), reversed(values), reversed(starts), strict=True):
        surprise = reward + gamma * going[:, None] * following - value
        running = surprise + gamma * gae_lambda * going[:, None] * running
        advantages.append(running)
        following, going = value, 1 - start
    return advantages[::-1]

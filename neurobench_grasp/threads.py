"""What this machine offers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_all_cores(task: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do a task for each item on as many threads as there are cores.

    Worth it for what releases the interpreter's lock: linear algebra, large arrays, networks, simulation.

    Parameters
    ----------
    task : callable
    items : iterable

    Returns
    -------
    list
        What the task returned for each item, in order.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(task, items))

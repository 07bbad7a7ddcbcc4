"""The four sessions of the built-in dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from neurobench_grasp.bodies.myohand import JOINTS
from neurobench_grasp.contract import Floats, Session, Signal, TrialTable, Units, Window
from neurobench_grasp.data import session_digest
from neurobench_grasp.demo.movements import TICK_RATE, Movements, make_movements
from neurobench_grasp.demo.neurons import Population, make_population

ANIMALS = ("a", "b")
SESSIONS = tuple(f"demo_{animal}_{day}" for animal in ANIMALS for day in (1, 2))
EVENTS = ("go_cue", "move_onset", "max_aperture", "contact", "reward")
LAYOUT = "ngb-grasp-1"


def make_session(name: str) -> Session:
    """Make one session in memory.

    Parameters
    ----------
    name : str
        One of :data:`SESSIONS`; determines all random numbers.
    """
    animal = name.rsplit("_", 1)[0]
    movements = make_movements(animal, name)
    population = make_population(name, movements)
    session = Session(
        id=name,
        subject=animal,
        layout=LAYOUT,
        sha256="",
        synthetic=True,
        units=as_units(population),
        trials=_trials(movements),
        signals=_signals(movements),
        window=Window("move_onset", "contact"),
        true_rates=as_rates(population, movements.times),
    )
    return replace(session, sha256=session_digest(session))


def _unit_names(population: Population) -> tuple[str, ...]:
    return tuple(f"{area}_{i:03d}" for i, area in enumerate(population.areas))


def as_units(population: Population) -> Units:
    """Return the spikes as :class:`Units`."""
    counts = [len(ticks) for ticks in population.spikes]
    return Units(
        ids=_unit_names(population),
        areas=population.areas,
        spike_times=np.concatenate(population.spikes) / TICK_RATE,
        spike_offsets=np.cumsum([0, *counts], dtype=np.int64),
    )


def _trials(movements: Movements) -> TrialTable:
    seconds = {name: ticks / TICK_RATE for name, ticks in movements.ticks.items()}
    return TrialTable(
        ids=tuple(f"{i:03d}" for i in range(len(movements.objects))),
        start=seconds["start"],
        stop=seconds["stop"],
        condition=movements.objects,
        events={event: seconds[event] for event in EVENTS},
    )


def _signals(movements: Movements) -> Mapping[str, Signal]:
    angles = Signal("joint_angles", "joint_angle", JOINTS, "rad", movements.times, movements.joint_angles)
    return {angles.name: angles}


def as_rates(population: Population, times: Floats) -> Signal:
    """Return the rates that generated the spikes as a :class:`Signal`."""
    names = _unit_names(population)
    return Signal("true_rates", "other", names, "spikes/s", times, population.rates)

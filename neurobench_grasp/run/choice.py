"""What a command or a grid file chooses: models, datasets, protocols and networks, all combined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from neurobench_grasp.errors import NgbError
from neurobench_grasp.formats import MB, parse_yaml, read_plain
from neurobench_grasp.run.job import DEFAULTS, MOST, Options, checked
from neurobench_grasp.text import among

LISTS = ("models", "datasets", "protocols")
MOST_NETWORKS = 100_000


@dataclass(frozen=True)
class Choice:
    """Models, each scored on each dataset with the same seeds, protocols and options.

    Parameters
    ----------
    models, datasets, protocols : sequence of str
    seeds : sequence of int, optional
    curves : bool
    options : Options
    """

    models: Sequence[str]
    datasets: Sequence[str]
    protocols: Sequence[str] = ()
    seeds: Sequence[int] | None = None
    curves: bool = False
    options: Options = DEFAULTS


def read_choices(path: Path) -> list[Choice]:
    """Read a grid file: a mapping of fields, or a list of such mappings.

    Raises
    ------
    NgbError
        If it cannot be read, or a field is unknown or of another type; the message names it.
    """
    try:
        given = parse_yaml(read_plain(path, MB, advice="give the path of a YAML file"))
    except ValueError as error:
        raise NgbError(f"{path} is not a YAML file ({error}); docs/clusters.md has an example.") from error
    blocks = given if isinstance(given, list) else [given]
    if not blocks:
        raise NgbError(f"{path} chooses nothing; docs/clusters.md has an example.")
    return [
        _choice(block, f"{path}, block {i}" if len(blocks) > 1 else str(path))
        for i, block in enumerate(blocks, 1)
    ]


def same_isolation(choices: Sequence[Choice]) -> Options:
    """Return options that state the isolated plugins of all choices.

    Raises
    ------
    NgbError
        If choices differ in them.
    """
    if len({(c.options.isolated, c.options.time_limit, c.options.memory_limit) for c in choices}) > 1:
        raise NgbError(
            "Parts of the grid need different isolated plugins or limits; put each into a separate file."
        )
    return choices[0].options


def _choice(block: Any, where: str) -> Choice:
    own = [*LISTS, "seeds", "curves"]
    if not isinstance(block, dict):
        raise NgbError(
            f"{where} is not a mapping of fields; known are {', '.join(own)} and options of a job."
        )
    given = dict(block)
    lists = {name: given.pop(name, []) for name in LISTS}
    seeds, curves = given.pop("seeds", None), given.pop("curves", False)
    known = {f.name for f in fields(Options)}
    if unknown := [name for name in given if name not in known]:
        raise NgbError(f"{where} has an unknown field {among(unknown[0], [*own, *sorted(known)])}")
    for name, values in lists.items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise NgbError(f"{where} has {values!r} in the field {name!r}; it must be a list of text.")
    if not isinstance(curves, bool):
        raise NgbError(f"{where} has {curves!r} in the field 'curves'; it must be true or false.")
    options = checked({"train": True} | given, Options, where)
    options["isolated"] = tuple(options.get("isolated", ()))
    if not lists["models"] and not options["isolated"]:
        raise NgbError(f"{where} names no models.")
    return Choice(
        lists["models"],
        lists["datasets"] or ["demo"],
        lists["protocols"],
        _seeds(seeds, where),
        curves,
        Options(**options),
    )


def _seeds(given: Any, where: str) -> Sequence[int] | None:
    if given is None:
        return None
    values = given if isinstance(given, list) else [given]
    if not values or not all(
        isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= MOST["seed"] for v in values
    ):
        raise NgbError(
            f"{where} has {given!r} in the field 'seeds'; it must be a number of networks or a list of seeds."
        )
    if isinstance(given, list):
        return list(dict.fromkeys(values))
    if not 1 <= given <= MOST_NETWORKS:
        raise NgbError(f"{where} has {given!r} in the field 'seeds'; it must be from 1 to {MOST_NETWORKS}.")
    return range(given)

"""Checks of a plugin as a whole: import, listing and unique names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurobench_grasp.checks.rules import Broken, check
from neurobench_grasp.plugins import HOOKS


@dataclass(frozen=True)
class Loaded:
    """Facts about a plugin after it was loaded in a subprocess.

    Parameters
    ----------
    facts : mapping
        Reported by the process; empty if it was stopped or crashed.
    ending : str
        How it ended prematurely; empty if it did not.
    clashes : mapping of str to list of str
        Name that another plugin offers, too → its providers.
    most_seconds, most_megabytes : float
        Limits of the import.
    """

    facts: Mapping[str, Any]
    ending: str
    clashes: Mapping[str, list[str]]
    most_seconds: float
    most_megabytes: float


@check("plugin")
def import_time(loaded: Loaded) -> None:
    """Importing it takes at most a few seconds."""
    if "stopped" in loaded.ending:
        raise Broken(
            f"Importing it and calling its hooks takes more than {loaded.most_seconds:g} s, and was stopped; "
            "do the work, and import heavy libraries, inside `build`."
        )


@check("plugin", "import_time")
def loads(loaded: Loaded) -> None:
    """It can be imported, and its hooks are valid."""
    if loaded.ending:
        raise Broken(f"Importing it {loaded.ending}; an import must only define functions and classes.")
    reason, missing = loaded.facts["reason"], loaded.facts["missing"]
    if missing:
        package = missing.partition(".")[0]
        raise Broken(
            f"It needs the module {missing}, which is not installed ({reason}): `pip install {package}`, and "
            "add the package to `dependencies` in its pyproject.toml."
        )
    if reason and not loaded.facts["card"]:
        raise Broken(f"It cannot be loaded: {reason}. {_advice(reason)}")


@check("plugin", "loads")
def card_fits(loaded: Loaded) -> None:
    """Its model cards have the right fields."""
    if loaded.facts["card"]:
        raise Broken(f"{loaded.facts['reason']} See neurobench_grasp.ModelCard for the fields.")


@check("plugin", "card_fits")
def import_memory(loaded: Loaded) -> None:
    """Importing it needs little memory."""
    taken = loaded.facts["megabytes"]
    if taken > loaded.most_megabytes:
        raise Broken(
            f"Importing it needs {taken:.0f} MB of memory, more than {loaded.most_megabytes:g} MB; load "
            "data, weights and heavy libraries inside `build`."
        )


@check("plugin", "card_fits")
def cheap_listing(loaded: Loaded) -> None:
    """Its hooks import no heavy library."""
    if heavy := loaded.facts["heavy"]:
        raise Broken(f"Its hooks import {', '.join(heavy)}; move these imports into `build`.")


@check("plugin", "card_fits")
def unique_names(loaded: Loaded) -> None:
    """No other plugin offers the same names."""
    for name, providers in loaded.clashes.items():
        raise Broken(
            f"{name.capitalize()} is offered by {' and by '.join(providers)}; rename yours, uninstall one, "
            "or disable its plugin with NGB_DISABLE_PLUGINS."
        )


def _advice(reason: str) -> str:
    """Return what to change where the reason itself does not state it."""
    if unknown := re.search(r"unknown hook '(\w+)'", reason):
        near = difflib.get_close_matches(unknown[1], HOOKS, n=1, cutoff=0.0)
        return f"The hooks are {', '.join(HOOKS)}: rename {unknown[1]} to {near[0]}."
    if "Argument(s)" in reason:
        return "Hooks take no arguments; remove them."
    if "SystemExit" in reason:
        return "A plugin must not end the program; raise an error instead."
    return "Fix this line, and run `ngb plugins` again."

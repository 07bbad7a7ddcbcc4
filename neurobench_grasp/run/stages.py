"""A run as a folder of immutable stages, each keyed by the content of all that went into it.

A stage is written to a temporary name and renamed when complete, so that a killed run leaves either a
whole stage or nothing, and the next run continues after the last whole one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.cache import content_key
from neurobench_grasp.errors import NgbError

Arrays = dict[str, NDArray[Any]]


def find_stage(folder: Path, name: str, wanted: Mapping[str, Any]) -> Arrays | None:
    """Read a finished stage whose inputs hold what is wanted; ``None`` if there is none.

    Parameters
    ----------
    folder : path
        That stages are kept in.
    name : str
    wanted : mapping
        Some of the inputs that the stage was made from.
    """
    for place in sorted(folder.glob(f"{name}-*")):
        try:
            inputs = json.loads((place / "done.json").read_text())["inputs"]
            fits = all(inputs.get(key) == value for key, value in wanted.items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if fits and (found := Stages._read(place)) is not None:
            return found
    return None


class Stages:
    """The finished stages of a run folder.

    Parameters
    ----------
    folder : path
        Within the run folder; created if absent.

    Raises
    ------
    NgbError
        If the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".write-{uuid.uuid4().hex}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise NgbError(
                f"Cannot write to the output folder {folder.parent} ({error.strerror}); choose another with "
                "--out."
            ) from error

    def __call__(self, name: str, parts: Mapping[str, Any] | None, make: Callable[[], Arrays]) -> Arrays:
        """Arrays of a stage: read back if it is whole and its inputs are the same, made otherwise.

        Parameters
        ----------
        name : str
        parts : mapping, optional
            Everything the result depends on. ``None``: something could not be identified, so the stage
            is made anew and not kept.
        make : callable
            Computes the arrays. What is kept is the same to the bit, so that a continued run and an
            unbroken one see the very same numbers.
        """
        if parts is None:
            return make()
        place = self.folder / f"{name}-{content_key(parts)[:20]}"
        found = self._read(place)
        if found is None:
            found = make()
            for key, array in found.items():
                if np.asarray(array).dtype.hasobject:  # would be pickled, and pickles are never read
                    raise NgbError(
                        f"{key!r} of the stage {name} is not an array of numbers or text and cannot be kept; "
                        "a model's state() must give named arrays of plain numbers."
                    )
            self._write(place, parts, found)
        return found

    @staticmethod
    def _read(place: Path) -> Arrays | None:
        try:
            done = json.loads((place / "done.json").read_text())
            raw = (place / "arrays.npz").read_bytes()
            if hashlib.sha256(raw).hexdigest() != done["sha256"]:
                return None
            with np.load(place / "arrays.npz", allow_pickle=False) as arrays:
                return {k: arrays[k] for k in arrays.files}
        except (OSError, ValueError, KeyError):
            return None

    def _write(self, place: Path, parts: Mapping[str, Any], arrays: Arrays) -> None:
        temporary = self.folder / f".{place.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        try:
            temporary.mkdir()
            np.savez(temporary / "arrays.npz", **arrays)  # type: ignore[arg-type]
            digest = hashlib.sha256((temporary / "arrays.npz").read_bytes()).hexdigest()
            (temporary / "done.json").write_text(json.dumps({"sha256": digest, "inputs": parts}, indent=1))
            shutil.rmtree(place, ignore_errors=True)  # only ever a damaged stage
            try:
                temporary.rename(place)
            except OSError:
                if self._read(place) is None:  # not merely another process that was faster
                    raise
        except OSError as error:
            raise NgbError(
                f"Cannot write the stage {place} ({error.strerror}); free some space or choose another "
                "folder with --out, then run the same command again: it continues."
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

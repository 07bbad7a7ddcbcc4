"""A run as a folder of immutable stages, each keyed by the content of all that went into it.

A stage is written to a temporary name and renamed when complete, so that a killed run leaves either a
complete stage or nothing, and the next run continues after the last complete one.
"""

from __future__ import annotations

import hashlib
import json
import stat
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.atomic import move_folder, new_folder
from neurobench_grasp.cache import cache_folder, content_key
from neurobench_grasp.claims import claimed
from neurobench_grasp.contract import Progress
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.protocols.context import Arrays, Stage

Inputs = Mapping[str, Any]
"""JSON values that name everything an array depends on."""
DONE, ARRAYS = "done.json", "arrays.npz"


class StageFolder:
    """The finished stages of a folder.

    Parameters
    ----------
    folder : path
        Created if absent.
    progress : callable
        Called with a message when a stage is being made by another process.

    Raises
    ------
    NgbError
        If the folder cannot be written to.
    """

    def __init__(self, folder: Path, progress: Progress = lambda text: None) -> None:
        self.folder = folder
        self.progress = progress
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

    def keep(self, name: str, inputs: Inputs | None, make: Callable[[], Arrays]) -> Arrays:
        """Return the arrays of a stage: read if it is complete and made from these inputs, otherwise made.

        No two processes make a stage at the same time: the second one waits and reads it.

        Parameters
        ----------
        name : str
        inputs : mapping, optional
            Everything the result depends on. ``None``: something could not be identified, so the stage is
            always made and never kept.
        make : callable
            Computes the arrays. What is kept is the same to the bit, so that a continued run and an
            unbroken one give the same numbers.
        """
        if inputs is None:
            return make()
        place = self.folder / _place(name, inputs)
        if (found := _read(place, inputs)) is not None:
            return found
        with claimed(place, lambda: self.progress(f"waiting for another process, which makes {place}")):
            if (found := _read(place, inputs)) is None:
                found = make()
                self._write(place, inputs, found)
            return found

    def _write(self, place: Path, inputs: Inputs, arrays: Arrays) -> None:
        for key, array in arrays.items():
            if np.asarray(array).dtype.hasobject:  # would be pickled, and pickles are never read
                raise NgbError(
                    f"{key!r} of the stage {place.name.rsplit('-', 1)[0]} is not an array of numbers or text "
                    "and cannot be kept; a model's state() must give named arrays of plain numbers."
                )
        buffer = BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        done = {"sha256": hashlib.sha256(buffer.getbuffer()).hexdigest(), "inputs": inputs}
        try:
            with new_folder(place) as new:
                (new / ARRAYS).write_bytes(buffer.getbuffer())
                (new / DONE).write_text(json.dumps(done, indent=1))
                move_folder(new, place, unless=lambda: _read(place, inputs) is not None)
        except OSError as error:
            raise NgbError(
                f"Cannot write the stage {place} ({error.strerror}); free some space or choose another "
                "folder with --out, then run the same command again: it continues."
            ) from error


def find_stage(folder: Path, name: str, wanted: Inputs) -> Arrays | None:
    """Read a finished stage, some of whose inputs are the wanted ones; ``None`` if there is none."""
    for place in sorted(folder.glob(f"{name}-*")):
        inputs = _inputs(place) or {}
        fits = all(inputs.get(key) == value for key, value in wanted.items())
        if fits and (found := _read(place, inputs)) is not None:
            return found
    return None


class Unkept:
    """Stages that are made whenever they are needed."""

    def keep(self, name: str, inputs: Inputs | None, make: Callable[[], Arrays]) -> Arrays:
        """Return what ``make`` computes."""
        return make()


@dataclass(frozen=True)
class Kept:
    """Finished stages of some folders, which are read and never made.

    Parameters
    ----------
    folders : tuple of path
    """

    folders: tuple[Path, ...]

    def keep(self, name: str, inputs: Inputs | None, make: Callable[[], Arrays]) -> Arrays:
        """Return the arrays of a stage.

        Raises
        ------
        UnsupportedError
            If none of the folders has it.
        """
        for folder in self.folders:
            if inputs and (found := _read(folder / _place(name, inputs), inputs)) is not None:
                return found
        where = ", ".join(map(str, self.folders))
        raise UnsupportedError(f"no stage {name} of this network and code in {where or 'a run folder'}")


Keeper = StageFolder | Unkept | Kept


def _place(name: str, inputs: Inputs) -> str:
    """Name of the folder of a stage."""
    return f"{name}-{content_key(inputs)[:20]}"


def _inputs(place: Path) -> dict[str, Any] | None:
    """Return the inputs that a stage says it was made from; ``None`` if it does not say."""
    try:
        inputs = json.loads(_bytes(place / DONE))["inputs"]
    except Exception:  # whatever is wrong with a stage, it is made again
        return None
    return inputs if isinstance(inputs, dict) else None


def _read(place: Path, inputs: Inputs) -> Arrays | None:
    """Read a stage; ``None`` if it is absent, damaged, or was made from other inputs than its name says."""
    try:
        done, raw = json.loads(_bytes(place / DONE)), _bytes(place / ARRAYS)
        if done["inputs"] != json.loads(json.dumps(inputs)):
            return None
        if hashlib.sha256(raw).hexdigest() != done["sha256"]:
            return None
        with np.load(BytesIO(raw), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except Exception:  # whatever is wrong with a stage, it is made again
        return None


def _bytes(path: Path) -> bytes:
    """Read a regular file; a link or a pipe is none."""
    if path.parent.is_symlink() or not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(f"{path} is not a regular file")
    return path.read_bytes()


@dataclass(frozen=True)
class Stages:
    """Stages of one network on one dataset, for protocols.

    Parameters
    ----------
    own, shared : StageFolder or Unkept
        The run folder's, and the one for stages that depend on no model.
    splits : str
        Digest of the splits.
    core, model, decoder : JSON value
        What identifies the package's code, the fitted model and the decoder; ``None`` if it cannot be
        identified, and then nothing that depends on it is kept.
    protocol : str, optional
        Digest of the code of a protocol that does not come with the package; empty for one that does.
    """

    own: Keeper
    shared: Keeper
    splits: str
    core: str | None
    model: Inputs | None
    decoder: Inputs | None
    protocol: str | None = ""

    def __call__(
        self, stage: Stage, session: AlignedSession, make: Callable[[], Arrays], **inputs: Any
    ) -> Arrays:
        """Return the arrays of a stage of a session: read if they are kept, otherwise made."""
        known = self.identity(model=stage.model, decoder=stage.decoder, core=stage.core)
        if known is not None:
            known |= {"session": session.sha256, "settings": dict(stage.settings), **inputs}
            known |= {} if session.turn is None else {"turn": session.turn}
        return (self.own if stage.model else self.shared).keep(stage.name, known, make)

    def identity(
        self, *, model: bool = True, decoder: bool = False, core: bool = False
    ) -> dict[str, Any] | None:
        """Return what identifies code, splits, model and decoder; ``None`` if one cannot be identified.

        The code of a protocol of a plugin is part of it, unless ``core`` states that it makes nothing here.
        """
        known: dict[str, Any] = {"core": self.core, "splits": self.splits}
        known |= {"model": self.model} if model else {}
        known |= {"decoder": self.decoder} if decoder else {}
        known |= {} if core or self.protocol == "" else {"protocol": self.protocol}
        return None if None in known.values() else known


def shared_folder(own: StageFolder) -> StageFolder:
    """Return the cache folder for stages that depend on no model; ``own`` if it cannot be written to."""
    try:
        return StageFolder(cache_folder() / "references", own.progress)
    except NgbError:
        return own

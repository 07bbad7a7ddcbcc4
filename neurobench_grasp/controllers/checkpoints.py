"""Trained networks on disk: weights as safetensors, each with a card that describes them.

A card is bound to the digest of the training trials' behaviour and to the bytes of the weights. Nothing is
unpickled, and a network whose card does not match is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.cache import cache_folder
from neurobench_grasp.contract import DEFAULT_BODY, Trials
from neurobench_grasp.controllers.files import read_arrays, write_arrays
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.errors import CorruptFileError, MissingNetworkError, UnsupportedError
from neurobench_grasp.formats import parse_json
from neurobench_grasp.resources import resource

CHECKPOINTS = "registry/checkpoints"
KINDS: Mapping[str, type] = {
    "model": str, "action": str, "seed": int, "settings": dict, "dataset": dict, "train_sha256": str,
    "weights_sha256": str, "curve": list, "errors_mm": dict, "body": str, "device": str,
}  # fmt: skip
"""Types of the card's fields that are used."""
LATER_SETTINGS = (
    "lstm_units", "stack_steps", "trajectory_delay", "proprioception_delay", "efference_delay",
    "sensor_noise", "motor_noise", "warm_start_steps",
)  # fmt: skip
"""Settings that older cards lack; their networks have none of these, which is the default."""
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class NetworkCard:
    """Description and provenance of a trained network.

    Parameters
    ----------
    model : str
        Name of the model, such as ``muscle_ppo``.
    action : str
        ``muscle`` or ``torque``.
    seed : int
    settings : mapping
        :class:`ControllerSettings`.
    dataset : mapping
        ``id``, ``sha256``, ``splits`` (digest), ``fold``, ``held_out_conditions`` and ``licence`` of the
        training data; the network is trained without that fold's conditions, and tested on them alone.
    train_sha256 : str
        Digest of the training trials (:attr:`neurobench_grasp.Trials.sha256`).
    weights_sha256 : str
        Digest of the weight file.
    licence : str
        Licence of the weights.
    steps : int
        Control steps of experience.
    errors_mm : mapping of str to float
        Mean keypoint error of each split after training.
    curve : sequence of mapping
        Steps and mean keypoint error (mm) during training.
    wall_time_s : float
    threads : int
    versions : mapping of str to str
        Versions of the packages that trained it.
    schema : int
    body : str
        Name of the body that it moves; cards that are older than this field describe networks of the default.
    expert : str, optional
        Digest of the weights of the network that it imitates; ``None`` if it learned from reward.
    device : str
        Where it was trained: ``cpu`` (by MuJoCo C, as are all cards that are older than this field), ``cuda``
        or ``cpu-warp`` (by MuJoCo Warp).
    """

    model: str
    action: str
    seed: int
    settings: Mapping[str, Any]
    dataset: Mapping[str, Any]
    train_sha256: str
    weights_sha256: str
    licence: str
    steps: int
    errors_mm: Mapping[str, float]
    curve: Sequence[Mapping[str, float]]
    wall_time_s: float
    threads: int
    versions: Mapping[str, str]
    schema: int = 1
    body: str = DEFAULT_BODY
    expert: str | None = None
    device: str = "cpu"

    @classmethod
    def read(cls, path: Path) -> NetworkCard:
        """Read a card.

        Raises
        ------
        CorruptFileError
            If the file cannot be read, or is not a card of this version.
        """
        try:
            content = parse_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise CorruptFileError(
                f"The card {path} cannot be read ({error}); fetch or train it again."
            ) from error
        if isinstance(content, dict):
            content = {"body": DEFAULT_BODY, "expert": None, "device": "cpu", **content}
        known = {f.name for f in fields(cls)}
        wrong = set(content) ^ known if isinstance(content, dict) else known
        if not wrong:
            wrong = {name for name, kind in KINDS.items() if not isinstance(content[name], kind)}
        if not wrong:
            asked = {f.name for f in fields(ControllerSettings)}
            wrong = set(content["settings"]) - asked | asked - set(content["settings"]) - set(LATER_SETTINGS)
        if wrong or content["schema"] != 1:
            raise CorruptFileError(
                f"{path} is not a network card of this version: missing, unknown or invalid are "
                f"{', '.join(sorted(wrong)) or 'schema'}; train it again or remove it."
            )
        card = cls(**content)
        try:
            card.controller_settings()
        except (TypeError, ValueError) as error:
            raise CorruptFileError(f"The settings in {path} are invalid: {error}; train it again.") from error
        return card

    def controller_settings(self) -> ControllerSettings:
        """Return the settings as :class:`ControllerSettings`."""
        return ControllerSettings(**self.settings)

    @property
    def sha256(self) -> str:
        """Digest of everything that a score depends on: weights, settings and kind of action."""
        parts = json.dumps([self.weights_sha256, self.action, dict(self.settings)], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()


def save_network(folder: Path, weights: Mapping[str, NDArray[Any]], card: dict[str, Any]) -> Path:
    """Write weights and card; the card is written last, so that no card exists without its weights.

    Parameters
    ----------
    folder : path
    weights : mapping of str to ndarray
    card : dict
        Fields of :class:`NetworkCard` except ``weights_sha256``.

    Returns
    -------
    path
        Path of the card.
    """
    path = folder / f"{card['model']}-{card['seed']}.json"
    weights_path = path.with_suffix(".safetensors")
    write_arrays(weights_path, weights, {})
    digest = hashlib.sha256(weights_path.read_bytes()).hexdigest()
    whole = NetworkCard(**card, weights_sha256=digest)
    write_atomically(path, (json.dumps(asdict(whole), indent=1) + "\n").encode())
    return path


def load_weights(path: Path, card: NetworkCard, expected: Mapping[str, NDArray[Any]]) -> Arrays:
    """Read the weights of a card.

    Parameters
    ----------
    path : path
        Path of the card.
    card : NetworkCard
    expected : mapping of str to ndarray
        Arrays with the expected names, shapes and types.

    Raises
    ------
    CorruptFileError
        If the weights are not those that the card describes, or do not match the network.
    """
    weights_path = path.with_suffix(".safetensors")
    try:
        digest = hashlib.sha256(weights_path.read_bytes()).hexdigest()
    except OSError as error:
        raise CorruptFileError(
            f"The weights {weights_path} cannot be read ({error.strerror}); fetch or train them again."
        ) from error
    if digest != card.weights_sha256:
        raise CorruptFileError(
            f"{weights_path} is not the file described by its card (sha256 {digest[:12]}… instead of "
            f"{card.weights_sha256[:12]}…), so it was not used; fetch or train it again."
        )
    arrays, _ = read_arrays(weights_path)
    for name in sorted(set(arrays) | set(expected)):
        have, want = arrays.get(name), expected.get(name)
        if have is None or want is None or have.shape != want.shape or have.dtype != want.dtype:
            raise CorruptFileError(
                f"{weights_path} does not match its network: {name} is {_shape(have)} instead "
                f"of {_shape(want)}."
            )
        if not np.isfinite(have).all():
            raise CorruptFileError(f"{weights_path} has weights that are not finite numbers ({name}).")
    return arrays


def own_networks() -> Path:
    """Return the folder of the networks that the user has trained."""
    return cache_folder() / "checkpoints"


def network_folder(root: Path, dataset: str, model: str, seed: int, train_sha256: str) -> Path:
    """Return the folder for a network: named after its dataset, and after its trials if that one is taken.

    Two datasets may have the same name, and a network of other trials must not be overwritten.
    """
    folder = root / dataset
    try:
        taken = NetworkCard.read(folder / f"{model}-{seed}.json").train_sha256 != train_sha256
    except CorruptFileError:  # there is none, or one that cannot be used
        taken = False
    return root / f"{dataset}-{train_sha256[:8]}" if taken else folder


def own_cards(digests: Collection[str]) -> list[tuple[Path, NetworkCard]]:
    """Return the cards of those of the user's networks that have one of these :attr:`NetworkCard.sha256`."""
    found = []
    for path in sorted(own_networks().glob("*/*.json")):
        with suppress(CorruptFileError):
            card = NetworkCard.read(path)
            if card.sha256 in digests:
                found.append((path, card))
    return found


def trained_networks(model: str) -> Iterator[tuple[Path, NetworkCard]]:
    """Yield the cards of a model: those of the user, then the shipped ones.

    An unreadable card does not hide the others.

    Raises
    ------
    CorruptFileError
        After the last card, if one is unreadable.
    """
    broken = []
    for root in (own_networks(), resource(CHECKPOINTS)):
        for path in sorted(root.glob(f"*/{model}-*.json")):
            try:
                card = NetworkCard.read(path)
            except CorruptFileError as error:
                broken.append(error)
                continue
            if card.model == model:
                yield path, card
    if broken:
        raise broken[0]


def find_network(model: str, seed: int, train_sha256: str) -> tuple[Path, NetworkCard]:
    """Return the network of a model and seed that was trained on exactly these trials.

    Raises
    ------
    MissingNetworkError
        If there is none; the message states the command that trains it.
    """
    others = []
    for path, card in trained_networks(model):
        if (card.seed, card.train_sha256) == (seed, train_sha256):
            return path, card
        fold = card.dataset.get("fold", 0)  # cards that are older than this field are of the first
        others.append(f"{card.dataset.get('id')} seed {card.seed} fold {fold}")
    there = f"there are networks for {', '.join(dict.fromkeys(others))}" if others else "there are none yet"
    raise MissingNetworkError(
        f"No network of {model} (seed {seed}) was trained on the training trials of its fold of the dataset; "
        f"{there}. Train one with `ngb train --model {model} --seed {seed}` and the same --dataset, or score "
        "without `--no-train`; it takes minutes.",
        model,
    )


def trained_digest(model: str, seed: int, train: Trials, *, expert: str | None = None) -> str:
    """Return the digest of the network that :func:`find_network` returns: a scored controller depends on it.

    A network that is trained by an ``expert`` needs that model's network only as long as it is not trained:
    the expert is what is missing first.

    Raises
    ------
    UnsupportedError
        If the trials have no joint angles.
    MissingNetworkError
        If there is no such network.
    """
    if train.joint_angles is None:
        raise UnsupportedError(
            f"{model} cannot be scored on {train.sessions[0]}: it imitates movements, and this "
            "session has no joint angles of a body."
        )
    try:
        return find_network(model, seed, train.sha256)[1].sha256
    except MissingNetworkError:
        if expert is not None:
            find_network(expert, seed, train.sha256)
        raise


def _shape(array: NDArray[Any] | None) -> str:
    return "absent" if array is None else f"{array.dtype} {array.shape}"

"""The modular network: three encoders, an integration layer, a decoder; the same for actor and critic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurobench_grasp.contract import Body, Floats, Simulator, Trials
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.settings import ControllerSettings

CLIP = 5.0  # standard deviations at which a normalised observation is clipped
LEAST_SCALE = {"angle": 0.05, "length": 1e-3, "velocity": 0.02}  # rad, m, m/s: for joints that hardly move
WIDE = 1.0  # rad; of a body whose widest joint turns less, all these are smaller in proportion
EFFERENCE_SCALE = 0.5


def stream_sizes(body: Body, action: str, settings: ControllerSettings) -> dict[str, int]:
    """Return the number of features of each input stream, in the order of an observation.

    Returns
    -------
    dict of str to int
        ``trajectory`` (future postures), ``proprioception`` (muscle lengths and velocities),
        ``efference`` (last action and muscle activation).
    """
    activations = len(body.muscles) if action == "muscle" else 0
    return {
        "trajectory": settings.look_ahead * len(body.joints),
        "proprioception": 2 * len(body.muscles),
        "efference": body.n_actions(action) + activations,
    }


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Restrict torch to the calling thread, for use in several threads."""
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n)


def observation(bodies: Simulator, goals: Floats, action: Floats) -> Floats:
    """Return a controller's observation: trajectory, proprioception and efference copy, concatenated.

    Parameters
    ----------
    bodies : Simulator
    goals : ndarray, shape (n, look_ahead · n_joints)
        Future postures, rad.
    action : ndarray, shape (n, n_actions)
        The last action.

    Returns
    -------
    ndarray, shape (n, n_features)
        Goals (rad), muscle lengths (m) and velocities (m/s), last action and muscle activation, in the
        order of :func:`stream_sizes`.
    """
    n = len(goals)
    return np.concatenate([goals, bodies.muscles[:n], action, bodies.activation[:n]], axis=1)


class Tower(nn.Module):
    """Three encoders → integration → decoder; one for the actor, one for the critic.

    Parameters
    ----------
    sizes : mapping of str to int
        See :func:`stream_sizes`.
    settings : ControllerSettings
    """

    def __init__(self, sizes: Mapping[str, int], settings: ControllerSettings) -> None:
        super().__init__()
        s = settings
        self.sizes = dict(sizes)
        self.encoders = nn.ModuleDict({k: nn.Linear(n, s.encoder_units) for k, n in sizes.items()})
        self.integration = nn.Linear(len(sizes) * s.encoder_units, s.integration_units)
        self.decoder = nn.Linear(s.integration_units, s.decoder_units)

    def forward(self, observed: Tensor) -> Tensor:
        """Return the decoder's activity, (n, decoder_units), for normalised observations."""
        return self.layers(observed)["decoder"]

    def layers(self, observed: Tensor, embedding: Tensor | None = None) -> dict[str, Tensor]:
        """Return the activity of every layer; ``embedding`` replaces the trajectory encoder's."""
        streams = torch.split(observed, list(self.sizes.values()), dim=1)
        out = {
            name: nn.functional.elu(self.encoders[name](stream))
            for name, stream in zip(self.sizes, streams, strict=True)
        }
        if embedding is not None:
            out["trajectory"] = embedding
        out["integration"] = nn.functional.elu(
            self.integration(torch.cat([out[name] for name in self.sizes], dim=1))
        )
        out["decoder"] = nn.functional.elu(self.decoder(out["integration"]))
        return out


class Towers(nn.Module):
    """Actor and critic up to their decoders, behind a fixed normalisation of the observation.

    Parameters
    ----------
    body : Body
    action : str
        ``muscle`` or ``torque``.
    settings : ControllerSettings
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, body: Body, action: str, settings: ControllerSettings) -> None:
        super().__init__()
        sizes = stream_sizes(body, action, settings)
        self.actor, self.critic = Tower(sizes, settings), Tower(sizes, settings)
        self.register_buffer("centre", torch.zeros(sum(sizes.values())))
        self.register_buffer("scale", torch.ones(sum(sizes.values())))

    def normalise(self, observed: Tensor) -> Tensor:
        """Centre, scale and clip observations, (n, n_features)."""
        return torch.clamp((observed - self.centre) / self.scale, -CLIP, CLIP)

    def forward(self, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decoder's activity of actor and critic."""
        normalised = self.normalise(observed)
        return self.actor(normalised), self.critic(normalised)


class Network(nn.Module):
    """A complete controller: towers, the actor's action and the critic's value.

    Parameters
    ----------
    body : Body
    action : str
        ``muscle`` or ``torque``.
    settings : ControllerSettings
    """

    def __init__(self, body: Body, action: str, settings: ControllerSettings) -> None:
        super().__init__()
        self.towers = Towers(body, action, settings)
        self.action = nn.Linear(settings.decoder_units, body.n_actions(action))
        self.value = nn.Linear(settings.decoder_units, len(body.parts))

    def forward(self, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean action, unclipped, and the value of each part of the body; for training."""
        actor, critic = self.towers(observed)
        return self.action(actor), self.value(critic)

    def values(self, observed: Tensor) -> Tensor:
        """Return the value of each part of the body, (n, n_parts)."""
        out: Tensor = self.value(self.towers.critic(self.towers.normalise(observed)))
        return out

    def act(self, observed: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Return the mean action, clipped to [−1, 1], (n, n_actions)."""
        decoder = self.towers.actor.layers(self.towers.normalise(observed), embedding)["decoder"]
        out: Tensor = torch.clamp(self.action(decoder), -1.0, 1.0)
        return out

    def embed(self, observed: Tensor) -> Tensor:
        """Return the actor's embedding of the trajectory, (n, encoder_units)."""
        return self.towers.actor.layers(self.towers.normalise(observed))["trajectory"]

    def layers(self, observed: Tensor) -> dict[str, Tensor]:
        """Return every layer of both networks by name: ``actor/trajectory`` … ``critic/value``."""
        normalised = self.towers.normalise(observed)
        actor, critic = self.towers.actor.layers(normalised), self.towers.critic.layers(normalised)
        return {
            **{f"actor/{name}": layer for name, layer in actor.items()},
            "actor/action": torch.clamp(self.action(actor["decoder"]), -1.0, 1.0),
            **{f"critic/{name}": layer for name, layer in critic.items()},
            "critic/value": self.value(critic["decoder"]),
        }


def initial_network(
    action: str, settings: ControllerSettings, seed: int, train: Trials, body: Body | None = None
) -> Network:
    """Return the network before training, with normalisation constants from the recorded movements.

    ``body`` moves; default: that of the trials.
    """
    reference = Reference.of(train, body=body)
    return random_network(
        reference.body, action, settings, seed, *_normalisation(action, settings, reference, train.dt)
    )


def random_network(
    body: Body, action: str, settings: ControllerSettings, seed: int, centre: Floats, scale: Floats
) -> Network:
    """Return a network with orthogonal weights and an action near zero, as is usual for PPO.

    ``centre`` and ``scale`` are of the observations, shape (n_features,).
    """
    network = Network(body, action, settings)
    generator = torch.Generator().manual_seed(seed)
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            gain = {"action": 0.01, "value": 1.0}.get(name, 2**0.5)
            nn.init.orthogonal_(module.weight, gain, generator)
            nn.init.zeros_(module.bias)
    network.towers.centre.copy_(torch.as_tensor(centre))
    network.towers.scale.copy_(torch.as_tensor(scale))
    return network


def _normalisation(
    action: str, settings: ControllerSettings, reference: Reference, dt: float
) -> tuple[Floats, Floats]:
    angles = reference.joint_angles
    kinematics = reference.body.muscle_kinematics(angles, dt, reference.offsets)
    muscles = np.stack([kinematics.length, kinematics.velocity], axis=2)  # alternating, like the sensors
    narrow = min(1.0, float(np.ptp(reference.body.joint_limits, axis=1).max()) / WIDE)
    least = {name: narrow * scale for name, scale in LEAST_SCALE.items()}
    n_efference = stream_sizes(reference.body, action, settings)["efference"]
    centre = (np.tile(angles.mean(0), settings.look_ahead), muscles.mean(0).ravel(), np.zeros(n_efference))
    scale = (
        np.tile(np.maximum(angles.std(0), least["angle"]), settings.look_ahead),
        np.maximum(muscles.std(0), [least["length"], least["velocity"]]).ravel(),
        np.full(n_efference, EFFERENCE_SCALE),
    )
    return np.concatenate(centre), np.concatenate(scale)


def network_state(network: Network) -> dict[str, NDArray[Any]]:
    """Return weights and normalisation as named arrays in float32, as trained."""
    return {name: tensor.float().numpy() for name, tensor in network.state_dict().items()}


def as_network(
    body: Body, action: str, settings: ControllerSettings, state: Mapping[str, NDArray[Any]]
) -> Network:
    """Return the network with given weights in float64, for scoring."""
    network = Network(body, action, settings)
    network.load_state_dict({name: torch.as_tensor(np.array(array)) for name, array in state.items()})
    return network.double().eval()

"""The modular network: three encoders, an integration layer, a decoder; the same for actor and critic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

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

    The integration layer receives the present encodings and, where there is a memory, what is remembered: the
    hidden state of an LSTM on the encodings, or the encodings of the steps before over their number. The
    memory has the shape (n, memory_size) and is zero before a trial's first step.

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
        encoded = len(sizes) * s.encoder_units
        self.lstm = nn.LSTMCell(encoded, s.lstm_units) if s.lstm_units else None
        remembered = s.lstm_units or (s.stack_steps - 1) * encoded
        self.memory_size = 2 * s.lstm_units or remembered
        self.integration = nn.Linear(encoded + remembered, s.integration_units)
        self.decoder = nn.Linear(s.integration_units, s.decoder_units)

    def forward(self, observed: Tensor, memory: Tensor, first: Tensor) -> dict[str, Tensor]:
        """Return the activity of every layer along sequences, and the ``memory`` after the last step.

        Parameters
        ----------
        observed : Tensor, shape (n_steps, n, n_features)
            Normalised.
        memory : Tensor, shape (n, memory_size)
            Before the first step.
        first : Tensor, shape (n_steps, n, 1)
            1 where a step is the first of its trial and nothing is remembered, else 0.

        Returns
        -------
        dict of str to Tensor, shape (n_steps, n, …)
        """
        encoded = self.encode(observed)
        integrated, memory = self.integrate(torch.cat(list(encoded.values()), dim=-1), memory, first)
        return {
            **encoded,
            **integrated,
            "decoder": self.decode(integrated["integration"]),
            "memory": memory,
        }

    def encode(self, observed: Tensor) -> dict[str, Tensor]:
        """Return the activity of the encoder of each stream of normalised observations, (…, n_features)."""
        streams = torch.split(observed, list(self.sizes.values()), dim=-1)
        return {
            name: nn.functional.elu(self.encoders[name](stream))
            for name, stream in zip(self.sizes, streams, strict=True)
        }

    def integrate(self, encoded: Tensor, memory: Tensor, first: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the layers ``integration`` and, of an LSTM, ``hidden`` and ``cell``; and the memory after.

        Shapes are those of :meth:`forward`; ``encoded`` is (n_steps, n, n_streams · encoder_units).
        """
        steps, states = [], {}
        for now, begins in zip(encoded, first, strict=True):
            memory = memory * (1 - begins)
            if self.lstm is None:
                steps.append(memory)
                memory = torch.cat([now, memory], dim=1)[:, : self.memory_size]  # the newest first
            else:
                memory = torch.cat(self.lstm(now, memory.tensor_split(2, dim=1)), dim=1)
                steps.append(memory)
        remembered = torch.stack(steps)
        if self.lstm is not None:
            hidden, cell = remembered.tensor_split(2, dim=2)
            states, remembered = {"hidden": hidden, "cell": cell}, hidden
        elif self.memory_size:  # steps are alike, so their sum would change as many times faster in training
            remembered = remembered * (encoded.shape[2] / self.memory_size)
        integrated = self.integration(torch.cat([encoded, remembered], dim=2))
        return {**states, "integration": nn.functional.elu(integrated)}, memory

    def decode(self, integrated: Tensor) -> Tensor:
        """Return the decoder's activity."""
        return nn.functional.elu(self.decoder(integrated))


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
        """Centre, scale and clip observations, (…, n_features)."""
        return torch.clamp((observed - self.centre) / self.scale, -CLIP, CLIP)


class Sequences(NamedTuple):
    """Observations of several trials, step by step, with what a network remembers of earlier ones.

    Parameters
    ----------
    observed : Tensor, shape (n_steps, n, n_features)
    memory : Tensor, shape (n, memory_size of the network)
        Before the first step.
    first : Tensor, shape (n_steps, n, 1)
        1 where a step is the first of its trial, else 0.
    """

    observed: Tensor
    memory: Tensor
    first: Tensor


class Network(nn.Module):
    """A complete controller: towers, the actor's action and the critic's value.

    Parameters
    ----------
    body : Body
    action : str
        ``muscle`` or ``torque``.
    settings : ControllerSettings

    Attributes
    ----------
    memory_size : int
        Numbers that it remembers of a trial's past, the actor's before the critic's; 0 without memory.
    """

    def __init__(self, body: Body, action: str, settings: ControllerSettings) -> None:
        super().__init__()
        self.towers = Towers(body, action, settings)
        self.action = nn.Linear(settings.decoder_units, body.n_actions(action))
        self.value = nn.Linear(settings.decoder_units, len(body.parts))
        self.memory_size = 2 * self.towers.actor.memory_size

    def initial_memory(self, n: int) -> Tensor:
        """Return the memory before a trial's first step, (n, memory_size)."""
        return self.action.weight.new_zeros(n, self.memory_size)

    def one_step(self, observed: Tensor, memory: Tensor | None = None) -> Sequences:
        """Return observations, (n, n_features), as one step of ``n`` trials, by default their first."""
        if memory is None:
            memory = self.initial_memory(len(observed))
        return Sequences(observed[None], memory, observed.new_zeros(1, len(observed), 1))

    def forward(self, seen: Sequences) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean action, unclipped, the value of each part of the body, and the memory.

        Shapes are (n_steps, n, n_actions), (n_steps, n, n_parts) and (n, memory_size) after the last step.
        """
        actor, critic = self._towers(seen)
        memory = torch.cat([actor["memory"], critic["memory"]], dim=1)
        return self.action(actor["decoder"]), self.value(critic["decoder"]), memory

    def values(self, seen: Sequences) -> Tensor:
        """Return the value of each part of the body, (n_steps, n, n_parts)."""
        _, of_critic = self._memories(seen)
        critic = self.towers.critic(self.towers.normalise(seen.observed), of_critic, seen.first)
        out: Tensor = self.value(critic["decoder"])
        return out

    def act(self, observed: Tensor, memory: Tensor, embedding: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mean action, clipped to [−1, 1], (n, n_actions), and the memory after this step.

        Parameters
        ----------
        observed : Tensor, shape (n, n_features)
        memory : Tensor, shape (n, memory_size)
            The part of the critic, which takes no part in acting, is passed on as it is.
        embedding : Tensor, optional, shape (n, encoder_units)
            Replaces the activity of the trajectory's encoder.
        """
        actor, n = self.towers.actor, self.towers.actor.memory_size
        encoded = actor.encode(self.towers.normalise(observed))
        if embedding is not None:
            encoded["trajectory"] = embedding
        joined = torch.cat(list(encoded.values()), dim=1)[None]
        layers, after = actor.integrate(joined, memory[:, :n], joined.new_zeros(1, len(observed), 1))
        action = torch.clamp(self.action(actor.decode(layers["integration"][0])), -1.0, 1.0)
        return action, torch.cat([after, memory[:, n:]], dim=1)

    def embed(self, observed: Tensor) -> Tensor:
        """Return the actor's embedding of the trajectory, (n, encoder_units)."""
        return self.towers.actor.encode(self.towers.normalise(observed))["trajectory"]

    def layers(self, seen: Sequences) -> tuple[dict[str, Tensor], Tensor]:
        """Return every layer of both networks, ``actor/trajectory`` … ``critic/value``, and the memory.

        Shapes are (n_steps, n, n_units) and (n, memory_size) after the last step.
        """
        actor, critic = self._towers(seen)
        memory = torch.cat([actor.pop("memory"), critic.pop("memory")], dim=1)
        layers = {
            **{f"actor/{name}": layer for name, layer in actor.items()},
            "actor/action": torch.clamp(self.action(actor["decoder"]), -1.0, 1.0),
            **{f"critic/{name}": layer for name, layer in critic.items()},
            "critic/value": self.value(critic["decoder"]),
        }
        return layers, memory

    def _towers(self, seen: Sequences) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        normalised, (of_actor, of_critic) = self.towers.normalise(seen.observed), self._memories(seen)
        return (
            self.towers.actor(normalised, of_actor, seen.first),
            self.towers.critic(normalised, of_critic, seen.first),
        )

    def _memories(self, seen: Sequences) -> tuple[Tensor, Tensor]:
        n = self.towers.actor.memory_size
        return seen.memory[:, :n], seen.memory[:, n:]


def initial_network(
    action: str, settings: ControllerSettings, seed: int, train: Trials, body: Body | None = None
) -> Network:
    """Return the network before training, with normalisation constants from the recorded movements.

    ``body`` moves; default: that of the trials.
    """
    reference = Reference.of(train, body=body)
    return random_network(reference.body, action, settings, seed, *normalisation(action, settings, reference))


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
        elif isinstance(module, nn.LSTMCell):
            for weight in (module.weight_ih, module.weight_hh):
                for gate in weight.data.chunk(4):
                    nn.init.orthogonal_(gate, 1.0, generator)
            module.bias_hh.data.zero_()
            for gate, open_at_first in zip(module.bias_ih.data.chunk(4), (0.0, 1.0, 0.0, 0.0), strict=True):
                gate.fill_(open_at_first)  # the second is the forget gate (Jozefowicz et al. 2015)
    network.towers.centre.copy_(torch.as_tensor(centre))
    network.towers.scale.copy_(torch.as_tensor(scale))
    return network


def normalisation(action: str, settings: ControllerSettings, reference: Reference) -> tuple[Floats, Floats]:
    """Return centre and scale of the observations over recorded movements, each of shape (n_features,)."""
    angles, body = reference.joint_angles, reference.body
    kinematics = body.muscle_kinematics(angles, body.control_step, reference.offsets)
    muscles = np.stack([kinematics.length, kinematics.velocity], axis=2)  # alternating, like the sensors
    narrow = min(1.0, float(np.ptp(body.joint_limits, axis=1).max()) / WIDE)
    least = {name: narrow * scale for name, scale in LEAST_SCALE.items()}
    n_efference = stream_sizes(body, action, settings)["efference"]
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

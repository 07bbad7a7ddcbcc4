"""The controller and its network."""

import numpy as np
import torch
from torch import nn

from neurobench_grasp import Activations, NgbError, Ragged, Tracking
from neurobench_grasp.bodies import body_of

AHEAD = 3  # steps of 20 ms
N_BODIES = 128


class Inverse(nn.Module):
    """Maps goal posture and muscle state to torques; returns every layer by name."""

    def __init__(self, n_joints, n_state):
        super().__init__()
        self.sizes = [n_joints, n_state]  # goal posture; lengths and velocities of the muscles
        self.goal, self.state = (nn.Linear(n, 48) for n in self.sizes)
        self.hidden, self.torque = nn.Linear(96, 128), nn.Linear(128, n_joints)
        self.register_buffer("centre", torch.zeros(sum(self.sizes)))
        self.register_buffer("scale", torch.ones(sum(self.sizes)))

    def layers(self, observed, embedding=None):
        """Return the activity of each layer; ``embedding`` replaces that of the goal."""
        goal, state = torch.split((observed - self.centre) / self.scale, self.sizes, dim=1)
        out = {"goal": torch.tanh(self.goal(goal)) if embedding is None else embedding}
        out["state"] = torch.tanh(self.state(state))
        out["hidden"] = torch.tanh(self.hidden(torch.cat([out["goal"], out["state"]], dim=1)))
        return out | {"torque": torch.clamp(self.torque(out["hidden"]), -1, 1)}


class ExampleController:
    """Learns by motor babbling when fitted, imitates when scored."""

    def __init__(self, n_steps=150, n_updates=1500):
        self.n_steps, self.n_updates, self.network = n_steps, n_updates, None

    def fit(self, train, *, seed):
        """Learn the inverse of the body from random movements around the training postures."""
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        body = body_of(train)
        observed, action = babble(body, train.joint_angles.values, self.n_steps, rng)
        network = Inverse(len(body.joints), 2 * len(body.muscles))
        network.centre[:], network.scale[:] = observed.mean(0), observed.std(0) + 1e-3
        optimiser = torch.optim.Adam(network.parameters(), 2e-3)
        for _ in range(self.n_updates):
            rows = torch.as_tensor(rng.integers(len(observed), size=512))
            loss = nn.functional.mse_loss(network.layers(observed[rows])["torque"], action[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        self.network = network.double().eval()

    def activations(self, trials):
        """Return every layer in closed loop."""
        return self.activations_of(self.observe(trials))

    def track(self, trials, *, goal=None):
        """Imitate; ``goal`` replaces the reference: the next five postures at each step, or the embedding."""
        return self._loop(trials, goal)[0]

    def observe(self, trials):
        """Return the observations of the network in closed loop."""
        return self._loop(trials, None)[1]

    def embed(self, trials):
        """Return the embedding of the goal."""
        return self.activations(trials).layers["goal"]

    def activations_of(self, observations):
        """Run an open pass of the network."""
        with torch.inference_mode():
            layers = self.network.layers(torch.tensor(observations.values))
        return Activations({name: Ragged(x.numpy(), observations.offsets) for name, x in layers.items()})

    def state(self):
        """Return the weights by name."""
        return {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}

    def restore(self, state):
        """Load the weights."""
        self.network = Inverse(*(state[f"{stream}.weight"].shape[1] for stream in ("goal", "state"))).double()
        self.network.load_state_dict({name: torch.tensor(array) for name, array in state.items()})

    def _loop(self, trials, goal):
        """Simulate all trials in parallel, one body each, until the longest has ended."""
        if goal is not None and goal.kind not in ("joint_angles", "embedding"):
            raise NgbError(f"example_controller does not support goals of kind {goal.kind!r}.")
        lengths, angles, body = trials.joint_angles.lengths, list(trials.joint_angles), body_of(trials)
        first, bodies = np.stack([a[0] for a in angles]), body.simulate("torque", len(trials))
        bodies.start(slice(None), first, np.zeros_like(first))
        seen, n_joints = [], len(body.joints)
        for step in range(lengths.max()):
            wanted = np.stack([a[min(step + AHEAD, len(a) - 1)] for a in angles])
            embedding = None
            if goal is not None:
                given = np.stack([g[min(step, len(g) - 1)] for g in goal.values])
                posture = given[:, n_joints * (AHEAD - 1) : n_joints * AHEAD]  # of the next five postures
                wanted, embedding = (
                    (posture, None) if goal.kind == "joint_angles" else (wanted, torch.tensor(given))
                )
            observed = np.hstack([wanted, bodies.muscles])
            seen.append((observed, bodies.joint_angles.copy(), bodies.keypoints.copy()))
            with torch.inference_mode():
                bodies.step(self.network.layers(torch.tensor(observed), embedding)["torque"].numpy())
        bodies.close()
        whole = (np.stack(part, axis=1) for part in zip(*seen, strict=True))
        cut = [Ragged.of([w[i, :n] for i, n in enumerate(lengths)]) for w in whole]
        return Tracking(cut[1], cut[2]), cut[0]


def babble(body, postures, n_steps, rng):
    """Apply random smooth torques from random postures; return the observations and the torques."""
    bodies, first = body.simulate("torque", N_BODIES), postures[rng.integers(len(postures), size=N_BODIES)]
    bodies.start(slice(None), first, np.zeros_like(first))
    action, muscles, angles, actions = np.zeros_like(first), [], [], []
    for _ in range(n_steps):
        action = np.clip(0.9 * action + 0.15 * rng.standard_normal(action.shape), -1, 1)
        muscles.append(bodies.muscles.copy())
        angles.append(bodies.joint_angles.copy())
        actions.append(action)
        bodies.step(action)
    bodies.close()
    observed = np.concatenate([np.stack(angles[AHEAD:]), np.stack(muscles[:-AHEAD])], axis=2)
    return tuple(
        torch.tensor(a.reshape(-1, a.shape[-1]), dtype=torch.float32)
        for a in (observed, np.stack(actions[:-AHEAD]))
    )

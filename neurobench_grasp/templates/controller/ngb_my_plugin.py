"""A controller of a body that learns by motor babbling, as is thought of infants.

The body moves at random, and the network learns which torques moved it from one posture to that
60 ms later. To imitate a movement, it predicts the torques that lead to the posture 60 ms ahead.
"""

import numpy as np
from neurobench_grasp import Activations, ModelCard, ModelSpec, NgbError, Ragged, Tracking, hookimpl

AHEAD = 3  # steps of 20 ms
N_GOAL, N_STATE, N_HIDDEN = 50, 100, 200
GAIN = 0.2  # of the random weights: units stay nearly linear, so that small errors are visible
N_BODIES, N_STEPS = 128, 60  # of babbling
RIDGE = 1e-7


class Babbler:
    """Fixed random weights up to the hidden layer, fitted weights from there to the torques."""

    def __init__(self, n_steps):
        self.n_steps = n_steps
        self.weights = {}

    def fit(self, train, *, seed):
        """Babble around the postures of the training trials, and fit the torques by ridge regression."""
        rng = np.random.default_rng(seed)
        body, angles = posed(train)
        observed, torque = babble(body, angles.values, self.n_steps, rng)
        n_joints, n_muscle_signals = len(body.joints), 2 * len(body.muscles)  # lengths and velocities
        self.weights = {
            "mean": observed.mean(0),
            "scale": observed.std(0) + 1e-3,
            "goal": random_weights(n_joints, N_GOAL, rng),
            "state": random_weights(n_muscle_signals, N_STATE, rng),
            "hidden": random_weights(N_GOAL + N_STATE, N_HIDDEN, rng),
            "torque": np.zeros((N_HIDDEN, n_joints)),
        }
        hidden = self._layers(observed)["hidden"]
        penalty = RIDGE * len(hidden) * np.eye(N_HIDDEN)
        self.weights["torque"] = np.linalg.solve(hidden.T @ hidden + penalty, hidden.T @ torque)

    def activations(self, trials):
        """Return every layer by name, in closed loop."""
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
        layers = self._layers(observations.values)
        return Activations({name: Ragged(x, observations.offsets) for name, x in layers.items()})

    def state(self):
        """Return all weights as named arrays."""
        return self.weights

    def restore(self, state):
        """Load what ``state`` returned."""
        self.weights = dict(state)

    def _layers(self, observed, embedding=None):
        """Activity of each layer, (n_rows, n_features); ``embedding`` replaces that of the goal."""
        w = self.weights
        goal, state = np.split((observed - w["mean"]) / w["scale"], [len(w["goal"])], axis=1)
        goal = np.tanh(goal @ w["goal"]) if embedding is None else embedding
        state = np.tanh(state @ w["state"])
        hidden = np.tanh(np.hstack([goal, state]) @ w["hidden"])
        return {
            "goal": goal,
            "state": state,
            "hidden": hidden,
            "torque": np.clip(hidden @ w["torque"], -1, 1),
        }

    def _loop(self, trials, goal):
        """Simulate all trials in parallel, one body each, until the longest has ended."""
        if goal is not None and goal.kind not in ("joint_angles", "embedding"):
            raise NgbError(f"my_plugin takes no goal of kind {goal.kind!r}.")
        body, angles = posed(trials)
        angles = list(angles)
        first = np.stack([a[0] for a in angles])
        ahead = slice((AHEAD - 1) * len(body.joints), AHEAD * len(body.joints))  # columns of the goal
        bodies = body.simulate("torque", len(trials))
        bodies.start(slice(None), first, np.zeros_like(first))
        seen = []
        for step in range(max(map(len, angles))):
            wanted, embedding = at_step(angles, step + AHEAD), None
            if goal is not None and goal.kind == "embedding":
                embedding = at_step(goal.values, step)
            elif goal is not None:
                wanted = at_step(goal.values, step)[:, ahead]
            observed = np.hstack([wanted, bodies.muscles])
            seen.append((observed, bodies.joint_angles.copy(), bodies.keypoints.copy()))
            bodies.step(self._layers(observed, embedding)["torque"])
        bodies.close()
        whole = [np.stack(part, axis=1) for part in zip(*seen, strict=True)]
        observed, reached, keypoints = (
            Ragged.of([trial[: len(a)] for trial, a in zip(part, angles, strict=True)]) for part in whole
        )
        return Tracking(reached, keypoints), observed


def posed(trials):
    """Return the body of the trials and its joint angles, if they were recorded in the body's steps."""
    from neurobench_grasp.bodies import body_of  # MuJoCo; listing models must stay quick

    body = body_of(trials)
    step_ms = 1000 * body.control_step
    if abs(1000 * trials.dt - step_ms) > 1e-6:
        raise NgbError(f"my_plugin needs joint angles every {step_ms:g} ms.")
    return body, trials.joint_angles


def random_weights(n_inputs, n_outputs, rng):
    """Return random weights that map unit-size inputs to outputs of the size of the gain."""
    return GAIN * rng.standard_normal((n_inputs, n_outputs)) / n_inputs**0.5


def at_step(trials, step):
    """Return one row per trial: that of the step, or its last one if it has ended."""
    return np.stack([trial[min(step, len(trial) - 1)] for trial in trials])


def babble(body, start, n_steps, rng):
    """Move at random from given postures; return the observations and the torques."""
    bodies, torque = body.simulate("torque", N_BODIES), np.zeros((N_BODIES, len(body.joints)))
    bodies.start(slice(None), start[rng.integers(len(start), size=N_BODIES)], np.zeros_like(torque))
    muscles, angles, torques = [], [], []
    for _ in range(n_steps):
        torque = np.clip(0.9 * torque + 0.15 * rng.standard_normal(torque.shape), -1, 1)
        muscles.append(bodies.muscles.copy())
        angles.append(bodies.joint_angles.copy())
        torques.append(torque)
        bodies.step(torque)
    bodies.close()
    observed = np.concatenate([np.stack(angles[AHEAD:]), np.stack(muscles[:-AHEAD])], axis=2)
    return np.concatenate(observed), np.concatenate(torques[:-AHEAD])


@hookimpl
def ngb_models():
    """Offer the model."""
    yield ModelSpec(
        "my_plugin",
        build=lambda seed, n_steps=N_STEPS: Babbler(n_steps),
        summary="torques at the joints, learned by motor babbling",
        smoke={"n_steps": 20},  # what `ngb check` builds it with, to be quick
        controller=True,
        step_s=0.02,  # the simulated hand moves in steps of 20 ms
        card=ModelCard(
            licence="MIT",
            authors=("Your Name",),
            citation="",
            action_space="joint torques",
            training_data=(),
            parameters=N_HIDDEN * 23,  # of the hand
            steps=N_BODIES * N_STEPS,
            compute="10 s on one core",
            seeds=(),
            simulator="MuJoCo 3",
        ),
    )

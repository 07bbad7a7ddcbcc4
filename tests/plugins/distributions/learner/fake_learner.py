import numpy as np

from neurobench_grasp import Activations, ModelCard, ModelSpec, Ragged, hookimpl


class Learner:
    """Random features around what it learned: the mean of the behaviour."""

    weights = np.zeros((2, 4))
    mean = np.zeros(2)

    def fit(self, train, *, seed):
        self.weights = np.random.default_rng(seed).standard_normal((2, 4))
        self.mean = train.signals["position"].values.mean(0)

    def activations(self, trials):
        position = trials.signals["position"]
        return Activations(
            {"tanh": Ragged(np.tanh((position.values - self.mean) @ self.weights), position.offsets)}
        )

    def state(self):
        return {"weights": self.weights, "mean": self.mean}

    def restore(self, state):
        self.weights, self.mean = state["weights"], state["mean"]


@hookimpl
def ngb_models():
    card = ModelCard(
        licence="CC0-1.0",
        authors=("A. Author",),
        citation="",
        action_space="none",
        training_data=(),
        parameters=10,
        steps=0,
        compute="none",
        seeds=(),
        simulator="none",
    )
    yield ModelSpec("fake_learner", build=lambda seed: Learner(), summary="learns", card=card)
    yield ModelSpec("fake_secret", build=lambda seed: Learner(), summary="has no card")

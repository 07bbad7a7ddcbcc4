"""Controllers whose afferents are late and noisy, as in the body: with an LSTM, with a window, with neither.

Proprioception arrives 40 ms late, and sensors and commands are noisy in training. Networks, inputs and
training are otherwise those of ``muscle_ppo``. The models differ in the memory of their integration layer, so
that ``muscle_lstm`` minus ``muscle_stack`` is what recurrence adds, and ``muscle_stack`` minus
``muscle_delayed`` what a memory adds.
"""

from dataclasses import dataclass
from functools import partial

from neurobench_grasp import ModelCard, ModelSpec, hookimpl
from neurobench_grasp.controllers import trained_digest

AFFERENTS = {"proprioception_delay": 2, "sensor_noise": 0.05, "motor_noise": 0.1}
"""Control steps of 20 ms, share of each feature's standard deviation, share of each excitation or torque."""
STEPS = 2_000_000
"""Of experience, more than ``muscle_ppo`` needs; with as many updates for each of them."""
SEQUENCES = {"n_steps": 8}
"""Gradients flow through 160 ms."""


@dataclass(frozen=True)
class Kind:
    """One of the models: its action, its settings, and what ``ngb models`` says of it."""

    action: str
    settings: dict
    summary: str
    parameters: int
    seeds: tuple = ()


KINDS = {
    "muscle_lstm": Kind(
        "muscle",
        {"lstm_units": 128, **SEQUENCES},
        "muscle_ppo with an LSTM, and late and noisy afferents",
        600_749,
        seeds=(0, 1, 2, 3),
    ),
    "torque_lstm": Kind(
        "torque",
        {"lstm_units": 128, **SEQUENCES},
        "torque_ppo with an LSTM, and late and noisy afferents",
        591_645,
    ),
    "muscle_stack": Kind(
        "muscle",
        {"stack_steps": 10, **SEQUENCES},
        "muscle_lstm with a window of 200 ms instead of an LSTM",
        1_090_221,
        seeds=(0, 1, 2, 3),
    ),
    "muscle_delayed": Kind(
        "muscle", {}, "muscle_ppo with late and noisy afferents, and without memory", 205_485
    ),
}


def build(seed, *, name, fit_steps=None):
    """Return an unfitted controller; the seed is used by fitting and training.

    Fitting loads the network trained on the same trials, or trains one for a few steps.
    """
    from neurobench_grasp.controllers.controller import NetworkController, RecurrentController
    from neurobench_grasp.controllers.settings import ControllerSettings

    kind = KINDS[name]
    settings = ControllerSettings(**AFFERENTS, default_steps=STEPS, **kind.settings)
    controller = RecurrentController if settings.has_memory else NetworkController
    return controller(name, kind.action, settings, fit_steps=fit_steps)


@hookimpl
def ngb_models():
    """Offer the models."""
    for name, kind in KINDS.items():
        yield ModelSpec(
            name,
            build=partial(build, name=name),
            summary=kind.summary,
            controller=True,
            step_s=0.02,
            smoke={"fit_steps": 2048},
            depends_on=partial(trained_digest, name),
            card=ModelCard(
                licence="Apache-2.0",
                authors=("The neurobench_grasp developers",),
                citation="",
                action_space="39 muscles" if kind.action == "muscle" else "torques at 23 joints",
                training_data=(),
                parameters=kind.parameters,
                steps=2_000_896,
                compute="22 min on one core, on demo (muscle_lstm)",
                seeds=kind.seeds,
                simulator="MuJoCo 4.0.0, MyoSuite 3.0.0; noise in training alone, none in scored runs",
            ),
        )

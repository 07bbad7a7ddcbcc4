"""The imitation task for Gymnasium and all tools that know it.

::

    gymnasium.make("neurobench_grasp.run.environments:neurobench_grasp/HandImitation-v0", dataset="demo")

Importing this module registers the environment: that is how Gymnasium finds one by ``module:name``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from neurobench_grasp.controllers.environment import ImitationEnv

ENVIRONMENT = "neurobench_grasp/HandImitation-v0"


def make_imitation(
    dataset: str | Path = "demo", action: str = "muscle", split: str = "train", **settings: Any
) -> ImitationEnv:
    """Make an environment in which one body imitates random stretches of recorded movements.

    On ``train`` it is the task of ``ngb train``, mixtures of few movements included.

    Parameters
    ----------
    dataset : str or path
        Name of a registered dataset, or an NWB file.
    action : str
        ``muscle`` (excitations) or ``torque`` (joint torques), each in [−1, 1].
    split : str
        ``train``, ``test`` or ``ood``.
    **settings
        Fields of :class:`neurobench_grasp.controllers.ControllerSettings` that differ from the default.

    Raises
    ------
    NgbError
        If there is no such dataset, or it has no joint angles.
    """
    from neurobench_grasp.bodies import body_of
    from neurobench_grasp.controllers.environment import ImitationEnv
    from neurobench_grasp.controllers.reference import Reference
    from neurobench_grasp.controllers.settings import ControllerSettings
    from neurobench_grasp.plugins import load_registry
    from neurobench_grasp.run.dataset import load_dataset

    data = load_dataset(load_registry(), dataset)
    trials = data.behaviour(split, body_of(data.sessions[0].trials).control_step)
    chosen = ControllerSettings(**settings)
    least = chosen.least_movements if split == "train" else 0
    reference = Reference.of(trials, chosen.margin_steps, at_least=least)
    return ImitationEnv(reference, action, chosen)


gymnasium.register(ENVIRONMENT, entry_point=make_imitation)

"""Controllers and their training; the only code that knows torch and stable-baselines3.

Importing this package imports neither; ``controller``, ``training`` and ``environment`` do.
"""

from neurobench_grasp.controllers.checkpoints import NetworkCard, find_network, trained_digest
from neurobench_grasp.controllers.settings import ControllerSettings

__all__ = ["ControllerSettings", "NetworkCard", "find_network", "trained_digest"]

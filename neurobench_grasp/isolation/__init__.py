"""Plugins in separate environments: installed, trained and scored without changing the user's environment."""

from neurobench_grasp.isolation.models import isolated_models
from neurobench_grasp.isolation.process import GIB, Limits

__all__ = ["GIB", "Limits", "isolated_models"]

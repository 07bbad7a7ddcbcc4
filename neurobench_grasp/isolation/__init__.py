"""Plugins in separate environments: installed, trained and scored without changing the user's environment."""

from neurobench_grasp.isolation.models import isolated_models

__all__ = ["isolated_models"]

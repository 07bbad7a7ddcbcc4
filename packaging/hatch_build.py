"""Put the project's data folders into the wheel; a checkout installed in place reads them where they are."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Resources(BuildHookInterface):
    """Adds ``nwb_schemas`` and ``registry`` to standard wheels."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hatchling's hook."""
        if version == "standard":
            for folder in ("nwb_schemas", "registry"):
                build_data["force_include"][folder] = f"neurobench_grasp/_resources/{folder}"

"""Put the project's data folders into the wheel; an editable install reads them in place."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHIPPED = (
    "CITATION.cff",
    "nwb_schemas",
    "registry/README.md",
    "registry/datasets",
    "registry/checkpoints/README.md",
    "registry/checkpoints/demo/*-0.*",  # one network of each model: enough to score offline at once
    "registry/checkpoints/demo/*-100.*",  # those that drive the units of `mixed` and `mixed_memory`
    "registry/results",
)
"""Networks of other seeds, and those trained on data that not everyone may use, stay in the repository."""


class Resources(BuildHookInterface):
    """Adds :data:`SHIPPED` to standard wheels."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hatchling's hook."""
        if version != "standard":
            return
        root = Path(self.root)
        for pattern in SHIPPED:
            for path in sorted(root.glob(pattern)):
                place = path.relative_to(root).as_posix()
                build_data["force_include"][place] = f"neurobench_grasp/_resources/{place}"

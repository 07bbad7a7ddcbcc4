"""NWB and DANDI sessions in, one Session out. The only code that knows pynwb and h5py.

Names are imported when they are first used, so that listing datasets does not load HDF5.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurobench_grasp.data.digest import session_digest
    from neurobench_grasp.data.from_arrays import session_from_arrays, session_from_csv
    from neurobench_grasp.data.nwb.findings import Finding
    from neurobench_grasp.data.nwb.inspect import Inspection, inspect_file
    from neurobench_grasp.data.nwb.layout import Layout, layouts, load_layout
    from neurobench_grasp.data.nwb.read import load_session, validate_file
    from neurobench_grasp.data.nwb.write import write_session

_MODULES = {
    "digest": ("session_digest",),
    "from_arrays": ("session_from_arrays", "session_from_csv"),
    "nwb.findings": ("Finding",),
    "nwb.inspect": ("Inspection", "inspect_file"),
    "nwb.layout": ("Layout", "layouts", "load_layout"),
    "nwb.read": ("load_session", "validate_file"),
    "nwb.write": ("write_session",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Finding",
    "Inspection",
    "Layout",
    "inspect_file",
    "layouts",
    "load_layout",
    "load_session",
    "session_digest",
    "session_from_arrays",
    "session_from_csv",
    "validate_file",
    "write_session",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)

"""NWB and DANDI sessions in, one Session out. The only code that knows pynwb and h5py.

Names are imported when they are first used, so that listing datasets does not load HDF5.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurobench_grasp.data.digest import session_digest
    from neurobench_grasp.data.from_arrays import session_from_arrays, session_from_csv
    from neurobench_grasp.data.nwb.findings import Finding
    from neurobench_grasp.data.nwb.inspect import Inspection
    from neurobench_grasp.data.nwb.layout import Layout, layouts, load_layout
    from neurobench_grasp.data.nwb.units import unit_labels
    from neurobench_grasp.data.nwb.write import write_session
    from neurobench_grasp.data.quarantine import inspect_file, load_session, validate_file

_MODULES = {
    "digest": ("session_digest",),
    "from_arrays": ("session_from_arrays", "session_from_csv"),
    "nwb.findings": ("Finding",),
    "nwb.inspect": ("Inspection",),
    "nwb.units": ("unit_labels",),
    "nwb.layout": ("Layout", "layouts", "load_layout"),
    "nwb.write": ("write_session",),
    "quarantine": ("inspect_file", "load_session", "validate_file"),
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
    "unit_labels",
    "validate_file",
    "write_session",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)

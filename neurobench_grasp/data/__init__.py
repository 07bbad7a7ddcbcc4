"""NWB and DANDI sessions in, one Session out. The only code that knows pynwb and h5py."""

from neurobench_grasp.data.converters.matlab import MatFile, open_mat
from neurobench_grasp.data.converters.matvalues import Cells, MatValue, Struct, matrices, numbers, texts
from neurobench_grasp.data.digest import session_digest
from neurobench_grasp.data.from_arrays import session_from_arrays, session_from_csv
from neurobench_grasp.data.nwb.findings import Finding
from neurobench_grasp.data.nwb.inspect import Inspection, inspect_file
from neurobench_grasp.data.nwb.layout import Layout, layouts, load_layout
from neurobench_grasp.data.nwb.read import load_session, validate_file
from neurobench_grasp.data.nwb.write import write_session

__all__ = [
    "Cells",
    "Finding",
    "Inspection",
    "Layout",
    "MatFile",
    "MatValue",
    "Struct",
    "inspect_file",
    "layouts",
    "load_layout",
    "load_session",
    "matrices",
    "numbers",
    "open_mat",
    "session_digest",
    "session_from_arrays",
    "session_from_csv",
    "texts",
    "validate_file",
    "write_session",
]

"""Locate the project's data files: layouts, catalogue, checkpoints, results."""

from pathlib import Path

from neurobench_grasp.errors import NgbError

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """Return the path of a project data file or folder.

    Parameters
    ----------
    name : str
        Path relative to the project, such as ``"nwb_schemas"`` or ``"registry/results"``.

    Returns
    -------
    pathlib.Path
        In the installed wheel, or in the checkout when the package is installed in place.

    Raises
    ------
    NgbError
        If it is in neither.
    """
    for root in (_PACKAGE / "_resources", _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise NgbError(f"The installation lacks its own file {name!r}; reinstall neurobench-grasp.")

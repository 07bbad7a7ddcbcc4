"""The one way to the data files that belong to the project: layouts, catalogue, checkpoints, results."""

from pathlib import Path

from neurobench_grasp.errors import NgbError

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """Path of a project data file or folder.

    Parameters
    ----------
    name : str
        Path relative to the project, such as ``"nwb_schemas"`` or ``"registry/results"``.

    Returns
    -------
    pathlib.Path
        Inside an installed wheel, or the checkout when the package is installed in place.

    Raises
    ------
    NgbError
        If neither holds it.
    """
    for root in (_PACKAGE / "_resources", _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise NgbError(f"The installation lacks its own file {name!r}; reinstall neurobench-grasp.")

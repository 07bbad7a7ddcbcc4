"""Convert a MATLAB file of unknown origin in a resource-limited subprocess, where scipy may crash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neurobench_grasp.data.converters import dryad_grasp, trialdata
from neurobench_grasp.data.converters.binned import Converted
from neurobench_grasp.data.nwb import scan
from neurobench_grasp.data.nwb.file import check_regular
from neurobench_grasp.data.quarantine import LIMITS, allow, ask
from neurobench_grasp.sandbox.limits import Limits

_SCAN = scan.Limits()


def convert(
    path: Path,
    options: trialdata.Options | None = None,
    *,
    limits: Limits = LIMITS,
    progress: Callable[[str], None] = lambda text: None,
) -> Converted:
    """Convert one file: by the TrialData convention with ``options``, else as one of Dryad's grasp set.

    Raises
    ------
    UnsafeFileError
        If the subprocess crashes, reaches a limit or responds invalidly.
    NgbError
        As of the converters.
    """
    check_regular(path, "MATLAB")
    given = None if options is None else asdict(options)
    converted: Converted = ask(SERVE, Converted, path, limits, progress, path=str(path), options=given)
    return converted


class Converter:
    """Converts a file in the subprocess."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        pass

    def do_read(self, path: str, options: dict[str, Any] | None) -> Converted:
        """Convert one file, in memory and time that its size explains."""
        content = max(_SCAN.ratio_from, _SCAN.ratio * Path(path).stat().st_size)
        allow(content)
        if options is None:
            return dryad_grasp.convert(Path(path))
        return trialdata.convert(Path(path), trialdata.Options(**options))


SERVE = f"{__name__}:{Converter.__name__}"

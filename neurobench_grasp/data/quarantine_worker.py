"""The subprocess in which an untrusted file is read; :mod:`neurobench_grasp.data.quarantine` starts it.

It sets its limits before the file is opened, reads, writes its answer into the current folder, and ends.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neurobench_grasp.data.nwb.inspect import inspect_file
from neurobench_grasp.data.nwb.read import load_session, validate_file
from neurobench_grasp.data.quarantine import REFUSED, UNSUPPORTED
from neurobench_grasp.errors import NgbError
from neurobench_grasp.sandbox.limits import apply_limits
from neurobench_grasp.sandbox.wire import write_packed

TASKS: Mapping[str, Callable[..., Any]] = {
    "session": load_session,
    "inspection": inspect_file,
    "findings": validate_file,
}


def main() -> None:
    """Run the task given as JSON in the first argument."""
    order = json.loads(sys.argv[1])
    unsupported_limits = apply_limits(**order["limits"])
    Path(UNSUPPORTED).write_text(json.dumps(unsupported_limits))
    try:
        value = TASKS[order["task"]](order["path"], order["layout"])
        write_packed(Path(), value)
    except NgbError as error:
        refused = {"kind": type(error).__name__, "message": str(error)}
    except MemoryError:
        refused = {"limit": "memory"}
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        refused = {"limit": "disk"}
    else:
        return
    Path(REFUSED).write_text(json.dumps(refused))


if __name__ == "__main__":
    main()

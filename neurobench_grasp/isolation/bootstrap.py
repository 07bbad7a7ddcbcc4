"""Start of an isolated plugin's process: it sets its limits before anything else is imported.

Run as a file, not imported, since importing the package would import numpy, whose threads prevent a new
network namespace.
"""

import json
import runpy
import sys


def main() -> None:
    """Run the task given as JSON in the first argument."""
    order = json.loads(sys.argv[1])
    unsupported_limits = runpy.run_path(order["limits_module"])["apply_limits"](**order["limits"])
    from neurobench_grasp.isolation.worker import serve

    serve(order, unsupported_limits)


if __name__ == "__main__":
    main()

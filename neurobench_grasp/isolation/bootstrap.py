"""The first lines of an isolated plugin's process: it confines itself before anything else is imported.

Run as a file, not imported, since importing the package would import numpy, whose threads forbid a network
of its own.
"""

import json
import runpy
import sys


def main() -> None:
    """Do what the first argument orders, as JSON."""
    order = json.loads(sys.argv[1])
    unsupported_limits = runpy.run_path(order["confine"])["confine"](**order["limits"])
    from neurobench_grasp.isolation.worker import serve

    serve(order, unsupported_limits)


if __name__ == "__main__":
    main()

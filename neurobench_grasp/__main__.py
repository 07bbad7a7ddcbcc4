"""Start the command line, so that Ctrl-C while its libraries are loading is no traceback either."""

import sys


def main() -> None:
    """Run ``ngb``."""
    try:
        from neurobench_grasp.cli import app

        app()
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()

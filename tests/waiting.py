"""Waiting for what other processes do."""

import time


def wait(until, seconds=120):
    """Return the first true value of a function."""
    deadline = time.monotonic() + seconds
    while not (found := until()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.1)
    return found

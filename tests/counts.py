"""How many examples a property is tried on: all in `make test-slow`, fewer in `make test`."""

from hypothesis import settings

FULL = "full"
"""Name of the profile of hypothesis that the slow tests are run with."""


def examples(n: int) -> int:
    """Return a number of examples: ``n`` in the slow tests, a tenth of it (at least 5) otherwise."""
    return n if settings.get_current_profile_name() == FULL else max(n // 10, 5)

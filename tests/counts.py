"""How many examples a property is tried on: all in `make test-slow`, fewer in `make test`."""

from hypothesis import settings

FULL = "full"
"""Name of the profile of hypothesis that the slow tests are run with."""


def examples(n: int) -> int:
    """Return a number of examples: three tenths of ``n`` in the slow tests, one otherwise, at least 5."""
    return max(3 * n // 10 if settings.get_current_profile_name() == FULL else n // 10, 5)

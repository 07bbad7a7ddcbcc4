"""One test for each check of `ngb check my_plugin`."""

import pytest

pytestmark = pytest.mark.ngb_plugin("my_plugin")


def test_contract(ngb_check):
    """Run one check; a failure states what to change."""
    ngb_check()

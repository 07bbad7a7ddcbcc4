"""Contract checks of a plugin as pytest items, one per check of ``ngb check``.

pytest loads this with neurobench_grasp. A complete test file of a plugin::

    import pytest

    pytestmark = pytest.mark.ngb_plugin("my_model")


    def test_contract(ngb_check):
        ngb_check()

The argument names an entry point, a distribution, or a model, dataset, protocol or decoder, as for
``ngb check``. All checks run once, in subprocesses, when the first item needs its result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from neurobench_grasp.checks import Report

MARK = "ngb_plugin"
_reports: dict[str, Report] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line("markers", f"{MARK}(name): the plugin, or what it offers, that ngb_check checks")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Create one item per check that applies to the plugin."""
    if "ngb_check" not in metafunc.fixturenames:
        return
    from neurobench_grasp.checks import planned
    from neurobench_grasp.errors import NgbError

    name = _marked(metafunc.definition)
    try:
        items = planned(name)
    except NgbError as error:
        raise pytest.UsageError(str(error)) from error
    ids = [f"{subject}-{check}" for subject, check in items]
    metafunc.parametrize("ngb_check", [(name, *item) for item in items], ids=ids, indirect=True)


@pytest.fixture
def ngb_check(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Return a function that passes, fails or skips like the check of this item."""
    name, subject, check = request.param

    def report() -> None:
        row = _report(name).row(subject, check)
        if row.status in ("skip", "not run"):  # the failure that prevented it is reported by its own item
            pytest.skip(row.message)
        if row.status != "pass":
            pytest.fail(f"{check}: {row.message}", pytrace=False)

    return report


def _report(name: str) -> Report:
    from neurobench_grasp.checks import run_checks

    if name not in _reports:
        _reports[name] = run_checks(name)
    return _reports[name]


def _marked(definition: Any) -> str:
    mark = definition.get_closest_marker(MARK)
    if mark is None or len(mark.args) != 1:
        raise pytest.UsageError(
            f"{definition.nodeid} uses ngb_check, but names no plugin: add "
            f'`pytestmark = pytest.mark.{MARK}("my_model")` to its file.'
        )
    return str(mark.args[0])

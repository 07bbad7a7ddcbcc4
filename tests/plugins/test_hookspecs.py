"""The example of every hook runs as it is written."""

import doctest

from neurobench_grasp import hookspecs
from neurobench_grasp.plugins import HOOKS


def test_every_hook_has_an_example_that_runs():
    examples = {t.name.split(".")[-1]: t for t in doctest.DocTestFinder().find(hookspecs) if t.examples}
    assert set(examples) == set(HOOKS)
    for example in examples.values():
        assert doctest.DocTestRunner().run(example).failed == 0

"""The demo, made once for all tests of this folder."""

import pytest

from neurobench_grasp.data import load_session
from neurobench_grasp.demo import make_demo


@pytest.fixture(scope="session")
def demo_paths(tmp_path_factory):
    return make_demo(tmp_path_factory.mktemp("demo") / "files")


@pytest.fixture(scope="session")
def demo_session(demo_paths):
    return load_session(demo_paths[0])

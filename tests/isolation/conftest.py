"""Environments that several tests use; each is made once."""

import os
import shutil

import numpy as np
import planted
import pytest
from plugin_folders import ODD, PINNED, write_plugin

from neurobench_grasp.errors import NgbError
from neurobench_grasp.isolation.environment import environment_of

PINS = {"pinned_old": "2.0.2", "pinned_new": "2.2.6"}


@pytest.fixture(scope="session")
def environments(tmp_path_factory):
    """Cache folder of the environments that several tests use."""
    folder = tmp_path_factory.mktemp("cache")
    yield folder
    shutil.rmtree(folder)  # numpy twice is large


@pytest.fixture(scope="module", autouse=True)
def cache(environments):
    """Use that cache folder, in the tests of this folder alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NGB_CACHE", str(environments))
        yield environments


@pytest.fixture(scope="session")
def odd(environments, tmp_path_factory):
    """Folder of a plugin that runs arbitrary code, with its environment."""
    folder = write_plugin(tmp_path_factory.mktemp("plugins") / "odd", "test-odd", ODD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NGB_CACHE", str(environments))
        environment_of(str(folder))
    return folder


@pytest.fixture(scope="session")
def pinned(environments, tmp_path_factory):
    """Folders of two plugins that contradict each other, with their environments made; needs PyPI."""
    root = tmp_path_factory.mktemp("pinned")
    folders = []
    with pytest.MonkeyPatch.context() as patch:  # settings of the user that must not count
        patch.setenv("NGB_CACHE", str(environments))
        (root / "constraints.txt").write_text("numpy==1.0\n")
        patch.setenv("PIP_CONSTRAINT", str(root / "constraints.txt"))
        patch.setenv("PIP_TARGET", str(root / "elsewhere"))
        for model, numpy in PINS.items():
            code = PINNED.format(numpy=numpy, model=model)
            name = model.replace("_", "-")
            folders.append(write_plugin(root / model, name, code, dependencies=[f"numpy=={numpy}"]))
            try:
                environment_of(str(folders[-1]))
            except NgbError as error:
                if "index could not be reached" in str(error) and not os.environ.get("CI"):
                    pytest.skip("PyPI cannot be reached")
                raise
    assert not (root / "elsewhere").exists()
    return folders


@pytest.fixture
def trials():
    """Behaviour of a few trials."""
    session, _ = planted.population(np.random.default_rng(0), n_objects=2, n_repeats=3, n_steps=8)
    return session.trials

"""A session in which a hand grasps, written once."""

import pytest
from movements import write_grasp_session


@pytest.fixture(scope="session")
def demo_like(tmp_path_factory):
    """NWB file with joint angles and two units."""
    return str(write_grasp_session(tmp_path_factory.mktemp("grasping") / "grasping.nwb"))

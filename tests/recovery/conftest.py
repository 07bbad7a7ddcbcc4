"""Movements for sessions of known teachers, made once for all tests of this folder."""

from dataclasses import replace

import numpy as np
import pytest
from movements import HAND, REST, write_grasp_session

from neurobench_grasp.data import load_session, write_session
from neurobench_grasp.demo.movements import ANGLE_QUANTUM


@pytest.fixture(scope="session")
def movements(tmp_path_factory):
    """File with 60 trials in which a hand wanders along five synergies, stored as the demo's are."""
    folder = tmp_path_factory.mktemp("movements")
    base = load_session(write_grasp_session(folder / "raw.nwb", n_objects=12, units=False))
    (angles,) = base.signals.values()
    rng, low_high = np.random.default_rng(1), HAND.joint_limits.T
    course = np.stack(
        [np.convolve(z, np.hanning(25), "same") for z in rng.standard_normal((5, len(angles.times)))]
    )
    wandering = np.clip(REST + 0.08 * course.T @ rng.standard_normal((5, 23)), *low_high)
    whole = np.rint(wandering / ANGLE_QUANTUM) * ANGLE_QUANTUM + 0.0
    base = replace(base, signals={angles.name: replace(angles, values=whole)}, notes=())
    write_session(
        folder / "grasping.nwb",
        base,
        species="Macaca mulatta",
        sex="U",
        age="P8Y",
        session_start_time="2020-01-01T00:00:00+00:00",
        description="movements of a test",
        resolution={angles.name: ANGLE_QUANTUM},
    )
    return folder / "grasping.nwb"

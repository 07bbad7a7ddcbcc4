"""Small sessions for the tests of data/."""

import h5py
import numpy as np

from neurobench_grasp.data import session_from_arrays, write_session

ABOUT = {
    "species": "Macaca mulatta",
    "sex": "F",
    "age": "P8Y",
    "session_start_time": "2024-01-01T00:00:00+00:00",
    "description": "made for a test",
}


JOINTS = ("mcp2_flexion", "mcp3_flexion", "mcp4_flexion")


def small_session(*, n_units=6, n_trials=12, seconds=60.0, seed=0):
    """Spikes on 30 kHz ticks, three joint angles on a 1e-4 rad grid, object labels, one missing event."""
    rng = np.random.default_rng(seed)
    spikes = {
        f"u{i}": np.unique(rng.integers(0, int(seconds * 30_000), 100 + 10 * i)) / 30_000
        for i in range(n_units)
    }
    start = np.arange(n_trials) * seconds / n_trials
    aperture = start + 1.4
    aperture[3] = np.nan
    times = np.arange(int(seconds * 50)) / 50
    return session_from_arrays(
        id="small",
        subject="Ada",
        spike_times=spikes,
        areas={name: "M1" if i % 2 else "S1" for i, name in enumerate(spikes)},
        joint_angles={j: np.rint(9000 * np.sin(times * (k + 1))) * 1e-4 for k, j in enumerate(JOINTS)},
        angle_times=times,
        trials={
            "start": start,
            "stop": start + 4.5,
            "condition": [f"object {i % 4}" for i in range(n_trials)],
            "move_onset": start + 1.0,
            "max_aperture": aperture,
            "contact": start + 2.0,
        },
    )


def write_small(path, session=None, **more):
    """Write a session (by default the small one) and give it back."""
    session = session or small_session()
    write_session(path, session, **{**ABOUT, **more})
    return session


def write_foreign(path, session=None):
    """Write the canonical layout as another tool would: without header, so that no digest is compared."""
    session = write_small(path, session)
    with h5py.File(path, "r+") as file:
        del file["scratch"], file["identifier"]
        file["identifier"] = "made elsewhere"
    return session


def put(file, path, values, **attributes):
    """Replace a dataset, keeping its attributes."""
    old = dict(file[path].attrs) if path in file else {}
    if path in file:
        del file[path]
    file.create_dataset(path, data=values)
    file[path].attrs.update(old | attributes)

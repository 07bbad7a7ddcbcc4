"""A dataset of one session: fingers close around five objects, and units follow them.

The session is synthetic and a placeholder: put code that loads your recording in place of `make_session`.
If you have NWB files already, let `files` return their paths, and delete the rest.
"""

from dataclasses import replace

import numpy as np
from neurobench_grasp import DatasetSpec, hookimpl

VERSION = 1  # raise it when the content changes, so that the files are written again
OBJECTS = {"ball": 0.5, "cup": 0.8, "ring": 1.3, "rod": 1.0, "plate": 0.3}  # how far the fingers close, rad
N_REPEATS, N_UNITS = 12, 8
PACE = 2.5  # s between the starts of trials


def files():
    """Return the paths of the NWB files, written once into the cache folder."""
    from neurobench_grasp.cache import cache_folder
    from neurobench_grasp.data import write_session

    path = cache_folder() / f"my_plugin-{VERSION}" / "monday.nwb"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_session(
            path,
            make_session(np.random.default_rng(VERSION)),
            species="Macaca mulatta",
            sex="F",
            age="P8Y",
            session_start_time="2025-01-06T09:30:00+01:00",
            description="reach to grasp of five objects",
            licence="CC0-1.0",
        )
    return [path]


def make_session(rng):
    """Return spike times (s), joint angles (rad) and trials as one session; all times are on one clock."""
    from neurobench_grasp.data import session_from_arrays

    objects = rng.permutation(list(OBJECTS) * N_REPEATS)
    onset = 1 + PACE * np.arange(len(objects))
    contact = onset + rng.uniform(0.5, 0.7, len(objects))
    time = np.arange(0, onset[-1] + PACE, 0.01)
    middle = (onset + contact) / 2
    closed = np.tanh(6 * (time[:, None] - middle)) - np.tanh(6 * (time[:, None] - middle - 1.2))
    grip = np.array([OBJECTS[name] for name in objects]) / 2
    fingers = {
        f"mcp{finger}_flexion": closed @ (grip + 0.05 * rng.standard_normal(len(grip)))
        for finger in (2, 3, 4, 5)
    }
    trains = {}
    for unit in range(N_UNITS):
        rate = 20 + 40 * fingers[f"mcp{2 + unit % 4}_flexion"]  # spikes/s
        fired = rng.random(len(time)) < 0.01 * rate
        trains[f"unit{unit}"] = time[fired] + 0.01 * rng.random(fired.sum())
    session = session_from_arrays(
        id="monday",
        subject="Ada",
        spike_times=trains,
        areas={name: "M1" if i % 2 else "S1" for i, name in enumerate(trains)},
        joint_angles=fingers,
        angle_times=time,
        trials={
            "start": onset - 0.5,
            "stop": onset + 1.5,
            "condition": objects,
            "move_onset": onset,
            "contact": contact,
        },
    )
    return replace(session, synthetic=True)  # leave this out for recordings


@hookimpl
def ngb_datasets():
    """Offer the dataset."""
    yield DatasetSpec(
        "my_plugin",
        files=files,
        layout="ngb-grasp-1",
        summary="reach to grasp of five objects, 8 units of M1 and S1",
        licence="CC0-1.0",
        synthetic=True,
    )

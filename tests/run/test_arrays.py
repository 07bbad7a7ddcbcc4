"""Activations from a file score as a plugin's do; files that do not fit are refused in a sentence."""

import dataclasses

import numpy as np
import planted
import pytest

from neurobench_grasp.errors import NgbError
from neurobench_grasp.protocols.encoding import protocol as encoding
from neurobench_grasp.run.stored_activations import StoredActivations, write_steps


@pytest.fixture
def session():
    return planted.population(np.random.default_rng(0), n_objects=8, n_repeats=5, n_units=4)[0]


@pytest.fixture
def arrays(session, tmp_path):
    """What `ngb data export` writes, completed by the layer that the units follow."""
    write_steps(tmp_path / "steps.npz", [session])
    steps = dict(np.load(tmp_path / "steps.npz"))
    return steps | {"layer_latents": steps["signal latents"]}


def saved(tmp_path, arrays):
    np.savez(tmp_path / "mine.npz", **arrays)
    return tmp_path / "mine.npz"


def read(tmp_path, session, arrays):
    return StoredActivations.read(saved(tmp_path, arrays), [session])


def ev(session, activations):
    rows = encoding.run(planted.context_of(session, activations=activations)).rows
    return next(r["value"] for r in rows if r["metric"] == "single_trial_ev" and r["split"] == "ood")


def test_arrays_score_as_the_model_that_made_them(session, arrays, tmp_path):
    stored = read(tmp_path, session, arrays)
    layer = stored.activations(session.trials).layers["latents"]
    np.testing.assert_allclose(layer.values, session.trials.signals["latents"].values, atol=1e-12)
    np.testing.assert_array_equal(layer.offsets, session.trials.offsets)
    assert stored.notes == {}
    assert ev(session, stored.activations) == pytest.approx(ev(session, None), abs=1e-9)


def test_the_order_of_trials_in_the_file_does_not_matter(session, arrays, tmp_path):
    n = len(session.trials)
    order = np.random.default_rng(1).permutation(n)
    rows = np.concatenate([np.arange(*session.trials.offsets[i : i + 2]) for i in order])
    by_trial = {"session", "trial", "n_steps", "condition", "window"}
    shuffled = {k: v[order] if k in by_trial else v[rows] for k, v in arrays.items()}
    a, b = (
        read(tmp_path, session, x).activations(session.trials).layers["latents"] for x in (arrays, shuffled)
    )
    np.testing.assert_array_equal(a.values, b.values)


def test_rows_at_other_times_are_interpolated_and_short_trials_held_and_noted(session, arrays, tmp_path):
    """A straight line in time, in rows of 50 ms that end just beyond the window."""
    t = session.trials
    times, n_steps = [], []
    for i, (first, stop) in enumerate(t.window):
        clock = session.start[i] + np.arange(-0.02, (stop - first) * t.dt + 0.05, 0.05)
        times.append(clock)
        n_steps.append(len(clock))
    time = np.concatenate(times)
    mine = {
        "trial": arrays["trial"],
        "n_steps": np.array(n_steps),
        "time": time,
        "layer_clock": time[:, None],
    }
    stored = read(tmp_path, session, mine)
    assert "held" in stored.notes["planted"] and f"of {len(t)} trials" in stored.notes["planted"]
    layer = stored.activations(t).layers["clock"]
    first, stop = t.window[3]
    expected = session.start[3] + (np.arange(stop - first) + 0.5) * t.dt
    np.testing.assert_allclose(layer[3][first:stop, 0], expected, atol=1e-9)
    np.testing.assert_allclose(layer[3][0, 0], times[3][0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: {k: v for k, v in a.items() if k != "time"}, "lacks the array 'time'"),
        (lambda a: {k: v for k, v in a.items() if k != "layer_latents"}, "name begins with 'layer_'"),
        (lambda a: a | {"trial": np.append(a["trial"][:-1], "t0000")}, "must name each trial once"),
        (
            lambda a: a | {"trial": np.append(a["trial"][:-1], "other")},
            "no activations for 1 of the 40 trials",
        ),
        (lambda a: a | {"n_steps": a["n_steps"] + 1}, "'time' has"),
        (lambda a: a | {"layer_latents": a["layer_latents"][1:]}, "a row for each of 'time'"),
        (lambda a: a | {"layer_latents": a["layer_latents"] * np.nan}, "not finite"),
        (lambda a: a | {"layer_latents": np.full(a["layer_latents"].shape, "x")}, "must hold numbers"),
        (lambda a: a | {"layer_latents": a["layer_latents"][:, :0]}, "must hold numbers"),
        (lambda a: a | {"layer_latents": a["layer_latents"] > 0}, "is an array of bool"),
        (lambda a: a | {"n_steps": a["n_steps"][:, None]}, "'n_steps' .* must be a list of whole numbers"),
        (lambda a: a | {"n_steps": a["n_steps"] * 1.0}, "'n_steps' .* must be a list of whole numbers"),
        (lambda a: a | {"time": a["time"][:, None]}, "'time' .* must be a list of numbers"),
        (lambda a: a | {"time": a["time"].astype(str)}, "'time' .* must be a list of numbers"),
        (lambda a: a | {"trial": a["trial"][:, None]}, "'trial' .* must be a list of names"),
        (lambda a: a | {"time": a["time"][::-1]}, "do not increase"),
        (lambda a: a | {"time": a["time"] + 0.4}, "but its window is from 1.000 to 1.600 s"),
        (lambda a: a | {"time": a["time"] * 10}, "have a gap of 0.200 s"),
        (lambda a: a | {"layer_latents": np.array([{}], dtype=object)}, "without Python objects"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(session, arrays, tmp_path, change, said):
    with pytest.raises(NgbError, match=said):
        read(tmp_path, session, change(arrays))


@pytest.mark.parametrize("raw", [b"", b"not a zip", b"\x80\x04K\x01."])
def test_what_is_no_npz_is_refused(session, tmp_path, raw):
    path = tmp_path / "mine.npz"
    path.write_bytes(raw)
    with pytest.raises(NgbError, match="cannot be read as an npz file"):
        StoredActivations.read(path, [session])
    with pytest.raises(NgbError, match="No such file"):
        StoredActivations.read(tmp_path / "absent.npz", [session])


def test_a_cut_file_is_refused(session, arrays, tmp_path):
    path = saved(tmp_path, arrays)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NgbError, match="cannot be read as an npz file"):
        StoredActivations.read(path, [session])


def test_two_sessions_need_the_sessions_named(session, arrays, tmp_path):
    other = dataclasses.replace(
        session, id="other", trials=dataclasses.replace(session.trials, sessions=("other",) * 40)
    )
    with pytest.raises(NgbError, match="lacks the array 'session'"):
        StoredActivations.read(
            saved(tmp_path, {k: v for k, v in arrays.items() if k != "session"}), [session, other]
        )


def test_a_name_that_cannot_be_a_files_is_refused(session, arrays, tmp_path):
    with pytest.raises(NgbError, match="--model"):
        read(tmp_path, session, arrays).as_model("../mine")

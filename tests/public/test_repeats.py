"""The same trials in two files are refused, whichever way the files come together."""

import h5py
import numpy as np
import public_files
import pytest

from neurobench_grasp.alignment.align import align
from neurobench_grasp.contract import DatasetSpec
from neurobench_grasp.data import load_session
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import CORE, Provided, Registry, load_registry
from neurobench_grasp.run import evaluate as run
from neurobench_grasp.run.dataset import load_dataset
from neurobench_grasp.run.job import Options


@pytest.fixture
def day(tmp_path):
    """Files of one recording day, as FALCON publishes them: minival is a part of calib."""
    recorded = public_files.reach_to_grasp(9)
    return {
        split: public_files.falcon_m1(
            tmp_path / f"{split}.nwb", recorded, split=split, first=first, stop=stop
        )
        for split, first, stop in (
            ("held-in-calib", 0, 64),
            ("held-in-minival", 0, 2),
            ("held-in-eval", 64, 96),
        )
    }


@pytest.fixture
def load(monkeypatch):
    """Load some files as one dataset."""
    known = Registry.datasets

    def load(*files):
        mine = Provided(DatasetSpec("mine", lambda: files, ""), CORE, "0")
        monkeypatch.setattr(Registry, "datasets", lambda self: (*known(self), mine))
        monkeypatch.setattr(Registry, "dataset", lambda self, name: mine)
        return load_dataset(load_registry(), "mine")

    return load


def test_minival_beside_calib_is_refused_and_both_files_are_named(day, load):
    with pytest.raises(NgbError) as caught:
        load(day["held-in-calib"], day["held-in-minival"])
    message = str(caught.value)
    assert str(day["held-in-calib"]) in message and str(day["held-in-minival"]) in message
    assert "hold the same recording: 2 trials" in message and "leave one of the files out" in message
    assert "\n" not in message


def test_the_order_of_files_does_not_hide_it(day, load):
    with pytest.raises(
        NgbError, match=r"held-in-minival.nwb and .*held-in-calib.nwb hold the same recording"
    ):
        load(day["held-in-minival"], day["held-in-calib"])


def test_another_clock_and_another_session_id_do_not_hide_it(day, load):
    """The copy's clock is shifted by what is no multiple of a bin, or of the recorder's own grid."""
    with h5py.File(day["held-in-minival"], "r+") as file:
        del file["general/session_id"]
        file["general/session_id"] = "another"
        shifted = ["units/spike_times", "units/obs_intervals", "acquisition/eval_mask/timestamps"]
        shifted += [f"acquisition/preprocessed_emg/{m}/timestamps" for m in public_files.MUSCLES]
        shifted += [f"intervals/trials/{c}" for c in file["intervals/trials"] if c.endswith("_time")]
        for place in shifted:
            file[place][...] += 17.1234567
    with pytest.raises(NgbError, match="hold the same recording: 2 trials"):
        load(day["held-in-calib"], day["held-in-minival"])


def test_a_model_that_learned_from_the_trials_is_not_scored_on_them(day, tmp_path):
    """A part of calib has its own splits, so that some of what it holds out trained on the whole of it."""
    recorded = public_files.reach_to_grasp(9)
    part = public_files.falcon_m1(tmp_path / "part.nwb", recorded, split="part", first=30, stop=64)
    with pytest.raises(NgbError) as caught:
        run.evaluate(
            "linear_kinematic",
            part,
            options=Options(trained_on=str(day["held-in-calib"])),
            out=tmp_path / "run",
        )
    message = str(caught.value)
    assert "the training trials of held-in-calib and the held-out trials of part hold the same" in message
    assert "--trained-on" in message


def test_other_trials_of_the_same_day_are_no_repeats(day, load):
    """Calib and eval are of one session, so the file's session id, which is the same, is what is in the way."""
    with h5py.File(day["held-in-eval"], "r+") as file:
        del file["general/session_id"]
        file["general/session_id"] = "20120924-eval"
    data = load(day["held-in-calib"], day["held-in-eval"])
    assert [len(s.trials) for s in data.sessions] == [64, 32]


def test_counts_and_behaviour_tell_trials_too(public, tmp_path):
    link, copy = load_session(public("link")), load_session(public("link, earlier draft"))
    marks = [align(s).fingerprints for s in (link, copy)]
    assert marks[0] == marks[1] and len(set(marks[0].values())) == 60 and "" not in marks[0].values()
    with h5py.File(public_files.link(tmp_path / "behaviour.nwb"), "r+") as file:
        file["analysis/ThresholdCrossings/data"][...] = 0
    silent = align(load_session(tmp_path / "behaviour.nwb"))
    assert set(silent.fingerprints.values()) == {""}  # nothing distinguishes them, so nothing is claimed


def test_fingerprints_are_of_single_trials(public):
    for name in ("falcon-m1", "nlb-mc-rtt", "perich-miller-co"):
        aligned = align(load_session(public(name)))
        reported = [mark for mark in aligned.fingerprints.values() if mark]
        assert len(reported) == len(set(reported)) > 0.9 * len(aligned.trials)
        assert np.array_equal(list(aligned.fingerprints), aligned.trials.ids)

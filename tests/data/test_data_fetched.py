"""Datasets that are fetched: only pinned content, atomically, converted as a plain loop would."""

import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from movements import HAND
from typer.testing import CliRunner

from neurobench_grasp import NgbError, cache
from neurobench_grasp.alignment.align import align
from neurobench_grasp.bodies.myohand import JOINTS
from neurobench_grasp.cli import app
from neurobench_grasp.data import load_session
from neurobench_grasp.data.catalogue import catalogue, fetch, fetched_files
from neurobench_grasp.data.catalogue.originals import originals
from neurobench_grasp.data.converters import myodm
from neurobench_grasp.errors import CorruptFileError, UnknownNameError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.run.dataset import load_dataset

PLACE = "myosuite/envs/myo/myodm/data"
KILLED = """
import sys, time
from pathlib import Path
from neurobench_grasp.cache import CachedDataset

def fill(folder):
    (folder / "half.nwb").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)

CachedDataset("slow", "0" * 64, Path(sys.argv[1])).make(fill)
"""


def clip(n_frames=12, seed=0, **arrays):
    """Bytes of a small clip."""
    rng = np.random.default_rng(seed)
    content = {
        "time": np.arange(n_frames) / 50,
        "robot": rng.standard_normal((n_frames, 29)),
        "object": np.zeros((n_frames, 7)),
    } | arrays
    file = io.BytesIO()
    np.savez(file, **content)
    return file.getvalue()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def clips():
    return {
        f"MyoHand_{name}.npz": clip(seed=i) for i, name in enumerate(("cup_lift", "cup_pass1", "mug_lift"))
    }


@pytest.fixture
def folder(tmp_path, clips):
    """The clips as files."""
    place = tmp_path / "clips"
    place.mkdir()
    for name, content in clips.items():
        (place / name).write_bytes(content)
    return place


def wheel_of(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def small(monkeypatch, tmp_path, clips):
    """A catalogue in which MyoDM has three small clips, and an empty cache."""
    content = cache.combined_digest({"myodm": myodm.make_session(clips).sha256})
    entry = replace(
        catalogue()["myodm"], sha256=content, files={name: sha256(c) for name, c in clips.items()}
    )
    known = MappingProxyType({"myodm": entry})
    monkeypatch.setattr("neurobench_grasp.data.catalogue.fetching.catalogue", lambda: known)
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    return entry


@pytest.fixture
def no_index(monkeypatch, tmp_path):
    """Pip that only searches a folder of the test."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return links


def in_cache(tmp_path):
    place = tmp_path / "cache"
    return [p.name for p in place.iterdir()] if place.exists() else []


# -- conversion ------------------------------------------------------------------------------------------


def test_joints_are_taken_by_position():
    """Column 6 + i of a clip goes to joint i, whatever the joint is called in the version that made it."""
    ramp = np.tile(np.arange(29) / 100, (10, 1))
    session = myodm.make_session({"MyoHand_cup_lift.npz": clip(10, robot=ramp)})
    signal = session.signals["joint_angles"]
    assert signal.columns == JOINTS
    np.testing.assert_array_equal(signal.values, np.tile(np.arange(6, 29) / 100, (10, 1)))
    low, high = HAND.joint_limits.T
    angles = align(session).trials.joint_angles
    np.testing.assert_allclose(angles[0], np.tile(np.clip(np.arange(6, 29) / 100, low, high), (60, 1)))


def test_the_object_has_moved_when_it_leaves_the_place_of_the_second_frame():
    pose = np.zeros((20, 7))
    pose[0, :3] = 1.0  # where the simulator puts it first
    pose[:, 3] = np.arange(20)  # turning is not moving
    assert np.isnan(myodm._moves(pose))
    pose[8:, 1] += 0.0049
    pose[11:, 1] += 0.0002
    assert myodm._moves(pose) == 11


def test_pickled_content_is_never_loaded():
    with pytest.raises(ValueError, match="allow_pickle"):
        myodm.make_session({"MyoHand_cup_lift.npz": clip(robot=np.array([{}], dtype=object))})


def test_one_clip_per_object_splits_by_object_alone(tmp_path):
    clips = {f"MyoHand_object{i}_lift.npz": clip(seed=i) for i in range(6)}
    myodm.write(tmp_path, clips)
    data = load_dataset(load_registry(), tmp_path / "myodm.nwb")
    (train,), (test,), (ood,) = (s.values() for s in (data.splits.train, data.splits.test, data.splits.ood))
    assert (len(train), len(test), len(ood)) == (5, 0, 1)


# -- where the files come from ---------------------------------------------------------------------------


def test_folder_and_wheel_give_the_same(tmp_path, small, clips, folder):
    hostile = {
        "../../MyoHand_evil.npz": b"evil",
        "/etc/passwd": b"evil",
        "pkg/__init__.py": b"raise SystemExit",
    }
    wheel = wheel_of(tmp_path / "a.whl", hostile | {f"{PLACE}/{name}": c for name, c in clips.items()})
    before = set(tmp_path.rglob("*"))
    assert originals(small, folder) == originals(small, wheel) == clips
    assert set(tmp_path.rglob("*")) == before


def test_a_wrong_clip_is_named(tmp_path, small, folder):
    (folder / "MyoHand_cup_pass1.npz").write_bytes(clip(seed=9))
    with pytest.raises(
        CorruptFileError, match=r"^MyoHand_cup_pass1\.npz in .*/clips is not the original file"
    ):
        fetch("myodm", folder)
    (folder / "MyoHand_cup_pass1.npz").unlink()
    with pytest.raises(NgbError, match=r"lacks MyoHand_cup_pass1\.npz, one of the 3 files of myodm"):
        fetch("myodm", folder)
    assert in_cache(tmp_path) == []


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "pickle"])
def test_a_damaged_wheel_is_one_sentence(tmp_path, small, clips, damage):
    wheel = wheel_of(tmp_path / "a.whl", {f"{PLACE}/{name}": c for name, c in clips.items()})
    content = bytearray(wheel.read_bytes())
    content[2000] ^= 255
    wheel.write_bytes(
        {
            "cut": bytes(content[:3000]),
            "flipped": bytes(content),
            "text": b"not a wheel",
            "pickle": pickle.dumps([]),
        }[damage]
    )
    with pytest.raises(CorruptFileError) as caught:
        fetch("myodm", wheel)
    assert "\n" not in str(caught.value) and str(caught.value).endswith("download it again.")
    assert in_cache(tmp_path) == []


def test_a_file_that_was_damaged_in_the_cache_is_found_and_made_anew(small, folder, tmp_path):
    """Its size is as it was: only the digest tells."""
    (file,) = fetch("myodm", folder)
    content = file.read_bytes()

    def verified():
        result = CliRunner().invoke(app, ["data", "verify"])
        return result.exit_code, result.stdout

    assert verified() == (0, "myodm: sound\n")
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    said = []
    assert fetch("myodm", folder, said.append) == [file]
    assert "damaged" in said[0] and verified() == (0, "myodm: sound\n")
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert verified() == (1, "myodm: damaged, so it was removed; make or fetch it again\n")
    assert in_cache(tmp_path) == []


def test_sources_that_do_not_exist(tmp_path, small):
    with pytest.raises(NgbError, match="There is no file or folder"):
        fetch("myodm", tmp_path / "nowhere")
    with pytest.raises(UnknownNameError, match=r"no dataset 'myodn' to fetch \(did you mean 'myodm'\?\)"):
        fetch("myodn")


def test_offline(tmp_path, small, no_index):
    with pytest.raises(NgbError, match=r"could not download myosuite==2\.12\.2 .* --from\.$"):
        fetch("myodm")
    assert in_cache(tmp_path) == []


def test_another_wheel_than_the_pinned_one_is_thrown_away(tmp_path, small, no_index):
    about = "Metadata-Version: 2.1\nName: myosuite\nVersion: 2.12.2\n"
    wheel = {
        "myosuite-2.12.2.dist-info/METADATA": about,
        "myosuite-2.12.2.dist-info/WHEEL": "Wheel-Version: 1.0",
    }
    wheel_of(no_index / "myosuite-2.12.2-py3-none-any.whl", wheel)
    with pytest.raises(NgbError, match=r"returned another file for myosuite==2\.12\.2 than the pinned one"):
        fetch("myodm")
    assert in_cache(tmp_path) == []


def test_the_pinned_wheel_is_downloaded_and_thrown_away(monkeypatch, tmp_path, small, clips, no_index):
    about = "Metadata-Version: 2.1\nName: myosuite\nVersion: 2.12.2\nRequires-Python: <3.0\n"
    members = {
        "myosuite-2.12.2.dist-info/METADATA": about,
        "myosuite-2.12.2.dist-info/WHEEL": "Wheel-Version: 1.0",
    }
    members |= {f"{PLACE}/{name}": c for name, c in clips.items()}
    wheel = wheel_of(no_index / "myosuite-2.12.2-py3-none-any.whl", members)
    pinned = MappingProxyType({"myodm": replace(small, wheel_sha256=sha256(wheel.read_bytes()))})
    monkeypatch.setattr("neurobench_grasp.data.catalogue.fetching.catalogue", lambda: pinned)
    (file,) = fetch("myodm")
    assert load_session(file).trials.ids == ("cup_lift", "cup_pass1", "mug_lift")
    assert sorted(p.name for p in file.parent.iterdir()) == ["manifest.json", "myodm.nwb"]
    assert in_cache(tmp_path) == [file.parent.name]


def test_without_pip(monkeypatch, small):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NgbError, match="pip is not installed here"):
        fetch("myodm")


# -- the cache -------------------------------------------------------------------------------------------


def test_what_is_fetched_stays(tmp_path, small, folder):
    with pytest.raises(NgbError, match=r"run `ngb data fetch myodm` first \(its licence: GRAB licence: non-"):
        fetched_files(small)
    (file,) = fetch("myodm", folder)
    written = file.stat().st_mtime_ns
    assert fetched_files(small) == fetch("myodm") == [file] and file.stat().st_mtime_ns == written
    assert in_cache(tmp_path) == [file.parent.name]
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(NgbError, match="has not been fetched yet"):
        fetched_files(small)
    assert load_session(fetch("myodm", folder)[0]).id == "myodm"


def test_a_killed_process_leaves_nothing_that_looks_complete(tmp_path):
    target = tmp_path / "slow"
    command = [sys.executable, "-c", KILLED, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert cache.CachedDataset("slow", "0" * 64, target).files() is None and not target.exists()
    (left,) = tmp_path.iterdir()
    os.utime(left, (0, 0))
    cache.sweep(tmp_path, "slow")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(monkeypatch, tmp_path, small, folder):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(NgbError, match=r"cannot be written \(No space left on device\)"):
        fetch("myodm", folder)
    assert in_cache(tmp_path) == []


def test_the_command_shows_the_licence_first(small, folder):
    result = CliRunner().invoke(app, ["data", "fetch", "myodm", "--from", str(folder)])
    assert result.exit_code == 0
    assert result.stdout == f"{fetched_files(small)[0]}\n"
    assert "Licence: GRAB licence: non-commercial scientific research only" in result.stderr.splitlines()[0]


# -- the real ones ---------------------------------------------------------------------------------------


@pytest.fixture
def fresh_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))


def in_windows(data, split):
    """Joint angles of a split's windows, end to end."""
    wanted = {(session, trial) for session, trials in getattr(data.splits, split).items() for trial in trials}
    rows = [
        s.trials.joint_angles[i][slice(*s.trials.window[i])]
        for s in data.sessions
        for i, trial in enumerate(s.trials.ids)
        if (s.id, trial) in wanted
    ]
    return np.concatenate(rows)


def average_posture_error(data, split):
    """Millimetres between keypoints and those of the average training posture, over all and over tips."""
    average = HAND.keypoint_positions(in_windows(data, "train").mean(axis=0, keepdims=True))
    points = HAND.keypoint_positions(in_windows(data, split))
    assert np.isfinite(points).all()
    errors = 1000 * np.linalg.norm((points - average).reshape(len(points), -1, 3), axis=2)
    return errors.mean(), errors[:, 3::4].mean()


def assert_disjoint(data):
    for s in data.sessions:
        parts = [set(getattr(data.splits, split)[s.id]) for split in ("train", "test", "ood")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(s.conditions)
        unseen = {s.conditions[t] for t in parts[2]}
        assert unseen.isdisjoint(s.conditions[t] for t in parts[0] | parts[1])


def test_myodm_is_what_a_plain_loop_reads(real_file, fresh_cache):
    folder = real_file("myodm")
    session = load_session(fetch("myodm", folder)[0])
    signal, trials = session.signals["joint_angles"], session.trials
    assert len(trials) == 95 and len(set(trials.condition)) == 50
    paths = sorted(folder.glob("*.npz"))
    assert [p.stem for p in paths] == [f"MyoHand_{t}" for t in trials.ids]
    row = 0
    for i, path in enumerate(paths):
        content = np.load(path, allow_pickle=False)
        n_frames = len(content["robot"])
        part = slice(row, row + n_frames)
        np.testing.assert_array_equal(signal.values[part], content["robot"][:, 6:])
        np.testing.assert_allclose(signal.times[part], trials.start[i] + 0.01 + content["time"], atol=1e-9)
        place = content["object"][:, :3]
        frame = next(k for k in range(1, n_frames) if np.linalg.norm(place[k] - place[1]) > 0.005)
        assert trials.events["object_moves"][i] == pytest.approx(signal.times[row + frame])
        row += n_frames
    assert row == len(signal.values)
    assert (trials.start[1:] - trials.stop[:-1] > session.window.pad_before + session.window.pad_after).all()


def test_myodm_loads_whole(real_file, fresh_cache):
    fetch("myodm", real_file("myodm"))
    data = load_dataset(load_registry(), "myodm")
    (session,) = data.sessions
    assert data.licence.startswith("GRAB") and not data.synthetic and session.dropped == ()
    assert data.sha256 == catalogue()["myodm"].sha256
    assert data.splits.sha256.startswith("176f6658f92c028a")
    assert_disjoint(data)
    assert (np.diff(session.trials.window, axis=1) >= 8).all()
    for split in ("test", "ood"):
        overall, tips = average_posture_error(data, split)
        assert 16 < overall < 19 and 27 < tips < 31


def test_the_glove_loads_whole(real_file, fresh_cache):
    fetch("hand_reach_to_grasp", real_file("real"))
    data = load_dataset(load_registry(), "hand_reach_to_grasp")
    assert data.sha256.startswith("f8706f3a13d8126f") and data.splits.sha256.startswith("480c4b10ddb24255")
    assert [len(s.trials) for s in data.sessions] == [20] * 5 and all(s.dropped == () for s in data.sessions)
    assert_disjoint(data)
    for split in ("test", "ood"):
        overall, _ = average_posture_error(data, split)
        assert 14 < overall < 21


def test_the_glove_opens_a_flat_hand_and_closes_it(real_file):
    """Signs and offsets: the fingers are straight at first, then flex, and the thumb comes opposite to them."""
    for subject in range(1, 6):
        trials = align(load_session(real_file(f"real/hand_reach_to_grasp_sub{subject}.nwb"))).trials
        first = np.array([trials.joint_angles[i][w[0]] for i, w in enumerate(trials.window)])
        last = np.array([trials.joint_angles[i][w[1] - 1] for i, w in enumerate(trials.window)])
        flexion = [JOINTS.index(f"{joint}{i}_flexion") for joint in ("mcp", "pm", "md") for i in (2, 3, 4, 5)]
        assert np.abs(first[:, flexion]).mean() < 0.2 < 0.6 < last[:, flexion].mean()
        opened, closed = (HAND.keypoint_positions(a).reshape(len(a), -1, 3) for a in (first, last))
        apertures = [
            np.linalg.norm(p[:, 3] - p[:, [7, 11, 15, 19]].swapaxes(0, 1), axis=2).min(axis=0)
            for p in (opened, closed)
        ]
        assert apertures[1].mean() < 0.05 < 0.06 < apertures[0].mean()


@pytest.mark.parametrize("name", ["myodm", "hand_reach_to_grasp"])
def test_unfetched_datasets_say_what_to_run(fresh_cache, name):
    with pytest.raises(NgbError, match=rf"has not been fetched yet; run `ngb data fetch {name}"):
        load_dataset(load_registry(), name)


def test_the_glove_has_no_address(fresh_cache, tmp_path):
    with pytest.raises(
        NgbError, match=r"no download address.* doi:10\.5281/zenodo\.14532969.* with --from\.$"
    ):
        fetch("hand_reach_to_grasp")
    assert in_cache(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    ["[" * 9999, "[]", "{}", "7", '{"sha256": 7, "sizes": {}}', '{"sizes": {"../x": 1}, "files": {"a/b": "c"}}',
     '{"sizes": {"absent.nwb": {}}, "files": {"absent.nwb": 1}}', "\ud800", ""],
)  # fmt: skip
def test_a_damaged_manifest_is_an_incomplete_dataset_and_hides_no_other(tmp_path, monkeypatch, content):
    monkeypatch.setenv("NGB_CACHE", str(tmp_path))
    (tmp_path / "broken-000000000000").mkdir()
    (tmp_path / "broken-000000000000" / cache.MANIFEST).write_bytes(content.encode("utf-8", "surrogatepass"))
    listed = CliRunner().invoke(app, ["data", "list"])
    assert listed.exit_code == 0 and "broken" in listed.output
    verified = CliRunner().invoke(app, ["data", "verify"])
    assert verified.exit_code == 1 and "broken: incomplete, make or fetch it again" in verified.output

"""An untrusted file is read in a subprocess: the same result, or one sentence, and no harm."""

import json
import os
import re
import socket
import sys
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
from data_sessions import small_session, write_foreign, write_small

from neurobench_grasp.contract import Ragged, Session
from neurobench_grasp.data import inspect_file, load_session, quarantine, validate_file
from neurobench_grasp.data.quarantine import Quarantine
from neurobench_grasp.data.validate import is_consistent
from neurobench_grasp.errors import CorruptFileError, LayoutError, NgbError, UnsafeFileError
from neurobench_grasp.sandbox import limits as sandbox_limits
from neurobench_grasp.sandbox.wire import PackedError, _pack, read_packed, write_packed


@pytest.fixture
def path(tmp_path):
    write_small(tmp_path / "session.nwb")
    return tmp_path / "session.nwb"


@pytest.fixture
def child(monkeypatch):
    """Let the child run other code, after it has confined itself."""

    def use(code):
        begin = (
            "import ctypes, json, os, socket, sys, time\n"
            "from pathlib import Path\n"
            "from neurobench_grasp.sandbox.limits import apply_limits\n"
            "order = json.loads(sys.argv[1])\n"
            "Path('unsupported_limits.json').write_text(json.dumps(apply_limits(**order['limits'])))\n"
        )
        monkeypatch.setattr(
            quarantine,
            "_command",
            lambda order: [sys.executable, "-P", "-c", begin + code, json.dumps(order)],
        )

    return use


def equal(one, other):
    """Compare packed values, arrays by their bytes and types."""
    arrays, others = {}, {}
    return _pack(one, arrays) == _pack(other, others) and all(
        arrays[k].dtype == others[k].dtype and arrays[k].tobytes() == others[k].tobytes()
        for k in arrays | others
    )


def test_the_result_is_that_of_a_direct_read(path, tmp_path):
    write_foreign(tmp_path / "other.nwb")
    with h5py.File(tmp_path / "other.nwb", "r+") as file:  # something to be repaired, so that there are notes
        file["units/spike_times"][:2] = file["units/spike_times"][:2][::-1]
    for each in (path, tmp_path / "other.nwb"):
        apart, direct = Quarantine().load_session(each), load_session(each)
        assert apart.sha256 == direct.sha256
        assert equal(apart, direct)
        assert equal(Quarantine().inspect_file(each), inspect_file(each))
        assert Quarantine().validate_file(each) == validate_file(each)
    assert len(direct.notes) == 1


def test_a_session_of_counts_keeps_its_types(tmp_path, real_file):
    file = real_file("real/m1_center_out.nwb")
    assert equal(Quarantine().load_session(file), load_session(file))


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda p: p.unlink(), NgbError),
        (lambda p: p.write_bytes(b"<html>"), CorruptFileError),
        (lambda p: os.truncate(p, 20_000), CorruptFileError),
    ],
)
def test_errors_are_those_of_a_direct_read(path, spoil, kind):
    spoil(path)
    with pytest.raises(kind) as direct:
        load_session(path)
    with pytest.raises(kind) as apart:
        Quarantine().load_session(path)
    assert (type(apart.value), str(apart.value)) == (type(direct.value), str(direct.value))


def test_a_layout_of_ones_own_is_found_from_the_current_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("nothing: here")
    with pytest.raises(LayoutError, match=r"mine\.yaml"):
        Quarantine().validate_file("session.nwb", "mine.yaml")


@pytest.mark.parametrize(
    ("code", "limits", "says"),
    [
        ("ctypes.string_at(0)", {}, r"crashed \(SIGSEGV\)"),
        ("os.abort()", {}, r"crashed \(SIGABRT\)"),
        ("sys.exit(3)", {}, r"stopped \(exit code 3\)"),
        ("raise MemoryError", {}, "stopped"),
        ("while True: pass", {"cpu": 1}, "takes more than 1 s of processor time"),
        ("time.sleep(60)", {"wall": 1.0}, "takes more than 1 s, the limit"),
        ("", {}, "returned an invalid response"),
        ("Path('refused.json').write_text('{}')", {}, "returned an invalid response"),
        (
            "Path('refused.json').write_text(json.dumps({'kind': 'OSError', 'message': 'x'}))",
            {},
            "returned an invalid response",
        ),
    ],
)
def test_a_child_that_fails_ends_in_one_sentence(path, child, code, limits, says):
    child(code)
    with pytest.raises(UnsafeFileError, match=says) as caught:
        Quarantine(**limits).load_session(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(
        "session.nwb was not read, because "
    )


def test_more_memory_than_allowed(tmp_path):
    """A real file whose spikes do not fit."""
    path = tmp_path / "large.nwb"
    write_foreign(path)
    with h5py.File(path, "r+") as file:
        n_units = len(file["units/id"])
        del file["units/spike_times"], file["units/spike_times_index"]
        file.create_dataset("units/spike_times", (30_000_000,), "f8", chunks=(100_000,), fillvalue=1.0)
        file["units/spike_times"][::3_000_000] = 1.0
        file["units/spike_times_index"] = np.full(n_units, 30_000_000)
    with pytest.raises(
        UnsafeFileError, match=r"needs more than 0\.244 GiB of memory, the limit of quarantine"
    ):
        Quarantine(memory=250 << 20).load_session(path)


def test_more_output_than_allowed(path):
    with pytest.raises(UnsafeFileError, match=r"yields more than .* GiB of data, the limit of quarantine"):
        Quarantine(disk=5000).load_session(path)


def test_what_the_child_may_not_do(path, child, tmp_path, monkeypatch):
    """No core dumps, no tokens, no plugins, files only in its scratch folder, which is removed."""
    monkeypatch.setenv("NGB_DANDI_TOKEN", "5ecret")
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path))
    child(
        "import resource\n"
        "reported = {'core': resource.getrlimit(resource.RLIMIT_CORE), 'environment': dict(os.environ), 'at': os.getcwd()}\n"
        f"Path({str(tmp_path / 'reported.json')!r}).write_text(json.dumps(reported))\n"
    )
    with pytest.raises(UnsafeFileError):
        Quarantine().load_session(path)
    reported = json.loads((tmp_path / "reported.json").read_text())
    assert reported["core"] == [0, 0]
    assert "5ecret" not in str(reported) and "HDF5_PLUGIN_PATH" not in reported["environment"]
    assert "ngb-quarantine-" in reported["at"] and not os.path.exists(reported["at"])


def test_there_is_no_network_or_it_is_said(path, child):
    reported = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        child(f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)")
        with pytest.raises(UnsafeFileError):
            Quarantine(progress=reported.append).load_session(path)
        try:
            server.accept()[0].close()
            reached = True
        except TimeoutError:
            reached = False
    assert reached == any("network isolation" in line for line in reported)


def test_limits_that_a_system_does_not_have_are_named(path, monkeypatch):
    """As on macOS, where address space cannot be limited and networks cannot be left."""
    import resource

    def refuse(which, limits):
        if which == resource.RLIMIT_AS:
            raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert sandbox_limits.apply_limits(1, 1, 1) == ["memory limit", "network isolation"]
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(NgbError, match="only Linux and macOS have"):
        Quarantine().load_session(str(path))


# -- what is handed over is not trusted -------------------------------------------------------------------


@pytest.fixture
def handed(tmp_path):
    """Packed session, and a way to change its JSON."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    write_packed(folder, small_session())

    def change(edit):
        data = json.loads((folder / "values.json").read_text())
        edit(data)
        (folder / "values.json").write_text(json.dumps(data))

    return folder, change


def test_packing_changes_nothing(handed):
    assert equal(read_packed(handed[0], Session), small_session())


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.pop("subject"),
        lambda d: d.update(more=1),
        lambda d: d.update(id=7),
        lambda d: d.update(synthetic=0),
        lambda d: d.update(notes="text"),
        lambda d: d["units"].update(ids=["u0", None]),
        lambda d: d["units"].update(spike_times=[1.0, 2.0]),
        lambda d: d["units"].update(spike_times="nowhere"),
        lambda d: d["units"].update(spike_times=d["units"]["spike_offsets"]),
        lambda d: d["window"].update(signal_lags=[0.1]),
        lambda d: d["joint_map"].update(a=["a", "1", 0.0]),
    ],
)
def test_values_of_other_types_are_refused(handed, edit):
    folder, change = handed
    change(edit)
    with pytest.raises(PackedError):
        read_packed(folder, Session)


def _objects(folder):
    np.savez(folder / "arrays.npz", a0=np.array([{}], dtype=object))


def _compressed(folder):
    with np.load(folder / "arrays.npz") as arrays:
        np.savez_compressed(folder / "arrays.npz", **arrays)


def _promises(folder):
    """An array whose header says a thousand times more than is there."""
    raw = bytearray((folder / "arrays.npz").read_bytes())
    at = re.search(rb"'shape': \((\d+),\), }   ", raw)
    new = b"'shape': (%s000,), }" % at[1]
    raw[at.start() : at.start() + len(new)] = new
    (folder / "arrays.npz").write_bytes(raw)


def _link(folder):
    (folder / "values.json").rename(folder / "elsewhere")
    (folder / "values.json").symlink_to(folder / "elsewhere")


def _pipe(folder):
    (folder / "values.json").unlink()
    os.mkfifo(folder / "values.json")


def _deep(folder):
    (folder / "values.json").write_text("[" * 100_000)


def _text(folder):
    with zipfile.ZipFile(folder / "arrays.npz", "w") as out:
        out.writestr("a0.npy", "text")


@pytest.mark.parametrize("attack", [_objects, _compressed, _promises, _link, _pipe, _deep, _text])
def test_hostile_answers_are_refused(handed, attack):
    attack(handed[0])
    with pytest.raises(PackedError):
        read_packed(handed[0], Session)


def _change_units(session, **changes):
    return replace(session, units=replace(session.units, **changes))


def _change_trials(session, **changes):
    return replace(session, trials=replace(session.trials, **changes))


@pytest.mark.parametrize(
    "change",
    [
        lambda s: _change_units(s, areas=s.units.areas[1:]),
        lambda s: _change_units(s, spike_offsets=s.units.spike_offsets[::-1].copy()),
        lambda s: _change_units(s, spike_offsets=s.units.spike_offsets[:-1].copy()),
        lambda s: _change_units(s, spike_times=s.units.spike_times * np.nan),
        lambda s: _change_units(s, spike_times=None),
        lambda s: _change_units(s, counts=np.ones((2, 6)), count_times=np.arange(2.0), bin_width=1.0),
        lambda s: _change_units(s, observed=Ragged(np.zeros((6, 3)), np.arange(7))),
        lambda s: _change_trials(s, stop=s.trials.start),
        lambda s: _change_trials(s, condition=()),
        lambda s: _change_trials(s, group=("a",)),
        lambda s: _change_trials(s, events={"contact": np.zeros(1)}),
        lambda s: replace(s, signals={"x": s.signals["joint_angles"]}),
        lambda s: replace(s, true_rates=replace(s.signals["joint_angles"], columns=("a",))),
    ],
)
def test_sessions_that_do_not_hold_together_are_reported(change):
    assert is_consistent(small_session())
    assert not is_consistent(change(small_session()))


FALSE = "replace(s, sha256='0' * 64)"
BROKEN = "(lambda b: replace(b, sha256=session_digest(b)))(replace(s, trials=replace(s.trials, stop=s.trials.start)))"


@pytest.mark.parametrize("changed", [FALSE, BROKEN], ids=["false digest", "broken trials"])
def test_sessions_that_do_not_hold_together_are_refused(path, child, changed):
    child(
        "from dataclasses import replace\n"
        "from neurobench_grasp.data import load_session, session_digest\n"
        "from neurobench_grasp.sandbox.wire import write_packed\n"
        "s = load_session(order['path'])\n"
        f"write_packed(Path(), {changed})\n"
    )
    with pytest.raises(UnsafeFileError, match="returned an invalid response"):
        Quarantine().load_session(path)

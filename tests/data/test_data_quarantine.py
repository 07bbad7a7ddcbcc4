"""A file of unknown origin is read in a subprocess: the same result, or one sentence, and no harm."""

import json
import os
import re
import resource
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
from data_sessions import small_session, write_foreign, write_small
from flood_files import FLOODS, heap_inside_a_dataset
from hypothesis import given
from hypothesis import strategies as st

from neurobench_grasp.contract import Ragged, Session
from neurobench_grasp.data import inspect_file, load_session, quarantine, validate_file
from neurobench_grasp.data.nwb.scan import size_in_memory
from neurobench_grasp.data.quarantine import LIMITS
from neurobench_grasp.data.validate import is_consistent
from neurobench_grasp.errors import CorruptFileError, LayoutError, NgbError, UnsafeFileError
from neurobench_grasp.sandbox import limits as sandbox_limits
from neurobench_grasp.sandbox.limits import Limits
from neurobench_grasp.sandbox.wire import PackedError, pack, read_packed, write_packed

pytestmark = pytest.mark.sandboxed


@pytest.fixture
def path(tmp_path):
    write_small(tmp_path / "session.nwb")
    return tmp_path / "session.nwb"


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Let the process run other code instead of reading."""

    def use(code):
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "hostile.py").write_text(
            "import ctypes, json, os, resource, socket, sys, time\n"
            "from pathlib import Path\n"
            "class Reader:\n"
            "    def __init__(self, progress): pass\n"
            "    def do_read(self, task, path, layout):\n" + textwrap.indent(code or "pass", 8 * " ")
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
        monkeypatch.setattr(quarantine, "SERVE", "hostile:Reader")

    return use


def equal(one, other):
    """Compare packed values, arrays by their bytes and types."""
    (values, arrays), (others, other_arrays) = pack(one), pack(other)
    return values == others and all(
        arrays[k].dtype == other_arrays[k].dtype and arrays[k].tobytes() == other_arrays[k].tobytes()
        for k in arrays | other_arrays
    )


def test_the_result_is_that_of_a_direct_read(path, tmp_path):
    write_foreign(tmp_path / "other.nwb")
    with h5py.File(tmp_path / "other.nwb", "r+") as file:  # something to be repaired, so that there are notes
        file["units/spike_times"][:2] = file["units/spike_times"][:2][::-1]
    for each in (path, tmp_path / "other.nwb"):
        apart, direct = load_session(each), load_session(each, quarantine=False)
        assert apart.sha256 == direct.sha256
        assert equal(apart, direct)
        assert equal(inspect_file(each), inspect_file(each, quarantine=False))
        assert validate_file(each) == validate_file(each, quarantine=False)
    assert len(direct.notes) == 1


def test_a_session_of_counts_keeps_its_types(tmp_path, real_file):
    file = real_file("real/m1_center_out.nwb")
    assert equal(load_session(file), load_session(file, quarantine=False))


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
        load_session(path, quarantine=False)
    with pytest.raises(kind) as apart:
        load_session(path)
    assert (type(apart.value), str(apart.value)) == (type(direct.value), str(direct.value))


def test_a_layout_of_ones_own_is_found_from_the_current_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("nothing: here")
    with pytest.raises(LayoutError, match=r"mine\.yaml"):
        validate_file("session.nwb", "mine.yaml")


@pytest.mark.parametrize(
    ("code", "limits", "says"),
    [
        ("ctypes.string_at(0)", {}, r"crashed \(SIGSEGV\)"),
        ("os.abort()", {}, r"crashed \(SIGABRT\)"),
        ("os._exit(3)", {}, r"ended itself \(exit code 3\)"),
        ("{}['x']", {}, r"failed: KeyError: 'x' \(.*hostile.py:\d+\)"),
        ("raise MemoryError", {}, r"needs more memory than its content explains \(or 6 GiB\), the limit"),
        ("while True: pass", {"cpu": 1}, r"takes more processor time than its content explains \(or 1 s\)"),
        ("time.sleep(60)", {"seconds": 1.0}, "takes more than 1 s, the limit"),
        ("while True: print('flood' * 1000)", {"seconds": 1.0}, "takes more than 1 s, the limit"),
        ("return 1", {}, "returned an invalid response"),
        ("return {'id': 'x' * (40 << 20)}", {}, "returned an invalid response"),
        (
            "raise type('OSError', (__import__('neurobench_grasp').NgbError,), {})('x')",
            {},
            "an invalid response",
        ),
    ],
)
def test_a_child_that_fails_ends_in_one_sentence(path, child, code, limits, says):
    child(code)
    with pytest.raises(UnsafeFileError, match=says) as caught:
        load_session(path, limits=replace(LIMITS, **limits))
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
        UnsafeFileError, match=r"needs more memory than its content explains \(or 0\.244 GiB\), the limit"
    ):
        load_session(path, limits=replace(LIMITS, memory=250 << 20))


def test_more_output_than_allowed(path):
    with pytest.raises(UnsafeFileError, match=r"yields more than .* GiB of data, the limit of quarantine"):
        load_session(path, limits=replace(LIMITS, disk=5000))


def test_what_the_child_may_not_do(path, child, tmp_path, monkeypatch):
    """No core dumps, no tokens, no plugins, files only in its scratch folder, which is removed."""
    monkeypatch.setenv("NGB_DANDI_TOKEN", "5ecret")
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path))
    child(
        "core = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "reported = {'core': core, 'environment': dict(os.environ), 'at': __import__('tempfile').gettempdir()}\n"
        f"Path({str(tmp_path / 'reported.json')!r}).write_text(json.dumps(reported))\n"
    )
    with pytest.raises(UnsafeFileError):
        load_session(path)
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
            load_session(path, progress=reported.append)
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
    assert sandbox_limits.apply_limits(Limits(1, 1, 1, 1, mapped=True)) == [
        "memory limit",
        "network isolation",
    ]
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(NgbError, match="only Linux and macOS have"):
        load_session(str(path))


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
    """What NumPy would unpickle."""
    np.save(folder / "a.npy", np.array([{}], dtype=object))
    (folder / "a.npy").rename(folder / "arrays.safetensors")


def _promises(folder):
    """An array whose header says a thousand times more than is there."""
    raw = (folder / "arrays.safetensors").read_bytes()
    at = re.search(rb'"shape":\[(\d+)\]', raw)
    long = raw[: at.start(1)] + at[1] + b"000" + raw[at.end(1) :]
    size = int.from_bytes(raw[:8], "little") + 3
    (folder / "arrays.safetensors").write_bytes(size.to_bytes(8, "little") + long[8:])


def _other_type(folder):
    raw = (folder / "arrays.safetensors").read_bytes()
    (folder / "arrays.safetensors").write_bytes(raw.replace(b'"F64"', b'"F8_E4M3"'[:5]))


def _too_large(folder):
    with (folder / "arrays.safetensors").open("r+b") as file:
        file.truncate(1 << 40)


def _link(folder):
    (folder / "values.json").rename(folder / "elsewhere")
    (folder / "values.json").symlink_to(folder / "elsewhere")


def _pipe(folder):
    (folder / "values.json").unlink()
    os.mkfifo(folder / "values.json")


def _deep(folder):
    (folder / "values.json").write_text("[" * 100_000)


def _text(folder):
    (folder / "arrays.safetensors").write_text("text")


@pytest.mark.parametrize("attack", [_objects, _promises, _other_type, _too_large, _link, _pipe, _deep, _text])
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
        lambda s: _change_trials(s, stop=np.append(s.trials.start[:1] - 1, s.trials.stop[1:])),
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
        "from neurobench_grasp.data import session_digest\n"
        "from neurobench_grasp.data.nwb.file import open_nwb\n"
        "from neurobench_grasp.data.nwb.read import session_of\n"
        "with open_nwb(path) as nwb:\n"
        "    s = session_of(nwb, None)\n"
        f"return {changed}\n"
    )
    with pytest.raises(UnsafeFileError, match="returned an invalid response"):
        load_session(path)


# -- files that would take for ever, or all memory ----------------------------------------------------------


@pytest.mark.parametrize("flood", FLOODS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("function", ["load_session", "inspect_file", "validate_file"])
def test_floods_are_refused_in_10_s_and_1_gb(flood, function, tmp_path):
    """The time is that of processors, so that other work on the machine does not count."""
    path = tmp_path / "session.nwb"
    write_foreign(path)
    flood(path)
    code = (
        "import sys\nfrom neurobench_grasp import NgbError, data\n"
        "try: getattr(data, sys.argv[1])(sys.argv[2])\n"
        "except NgbError as error: print(error)\n"
        "import re, resource\n"
        "own, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))\n"
        "peak = int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])\n"  # without its parent's
        "print(own.ru_utime + own.ru_stime + theirs.ru_utime + theirs.ru_stime, max(peak, theirs.ru_maxrss))\n"
    )
    command = [sys.executable, "-c", code, function, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    says, used = done.stdout.splitlines()
    seconds, kilobytes = map(float, used.split())
    assert re.search(FLOODS[flood], says) and seconds < 10 and kilobytes < 1e6


def test_what_no_scan_foresees_ends_at_the_time_that_the_content_explains(path, monkeypatch):
    """As a library that never returns: heaps are not checked beforehand."""
    heap_inside_a_dataset(path)
    sitecustomize = path.parent / "hooks"
    sitecustomize.mkdir()
    (sitecustomize / "blind.py").write_text(
        "from neurobench_grasp.data import quarantine\n"
        "quarantine.check_heaps = lambda path: None\n"
        "Reader = quarantine.Reader\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(sitecustomize))
    monkeypatch.setattr(quarantine, "SERVE", "blind:Reader")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pytest.raises(UnsafeFileError, match="takes more processor time than its content explains"):
        validate_file(path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


@given(
    dtype=st.sampled_from(["i1", "u2", "i4", "i8", "f2", "f4", "f8", ">i2", ">f8", "?"]),
    shape=st.lists(st.integers(0, 6), max_size=3),
)
def test_an_array_takes_no_more_than_was_counted(tmp_path_factory, dtype, shape):
    with h5py.File(tmp_path_factory.mktemp("any") / "x.h5", "w") as file:
        dataset = file.create_dataset("x", tuple(shape), dtype)
        assert dataset[()].astype(np.float64).nbytes <= size_in_memory(dataset.id)


def test_nothing_is_left_when_this_process_is_killed(path, tmp_path):
    """The supervisor ends what reads, though that never returns to Python."""
    (tmp_path / "endless.py").write_text(
        "import os, re\n"
        "class Reader:\n"
        "    def __init__(self, progress): pass\n"
        "    def do_read(self, **given):\n"
        "        open(os.environ['HOME'] + '/begun', 'w').write(f'{os.getpid()} {os.environ[\"TMPDIR\"]}')\n"
        "        re.match('(a*)*b', 'a' * 99)\n"
    )
    code = (
        "import sys; from neurobench_grasp.data import load_session, quarantine\n"
        "quarantine.SERVE = 'endless:Reader'\n"
        "load_session(sys.argv[1])\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], env=environment)
    begun = tmp_path / "begun"
    assert soon(lambda: begun.exists() and begun.read_text())
    pid, folder = begun.read_text().split()
    process.kill()
    process.wait()
    assert soon(lambda: not os.path.exists(f"/proc/{pid}") and not os.path.exists(folder))


def soon(condition, seconds=60):
    """Whether something becomes true."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()

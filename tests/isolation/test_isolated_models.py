"""A plugin in a separate environment and process: like an installed one, and unable to do harm."""

import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurobench_grasp.contract import Controller, Goal, Model, Ragged, Trainable, Twinned
from neurobench_grasp.errors import NgbError, PluginError
from neurobench_grasp.isolation import isolated_models
from neurobench_grasp.isolation.environment import environment_of
from neurobench_grasp.isolation.process import PluginProcess
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.sandbox.limits import GIB, Limits

LIMITS = Limits(seconds=60, memory=GIB)


def children(of=None):
    """Processes of isolated plugins that run for a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if any(part.endswith(b"sandbox/worker.py") for part in command) and parent == (of or os.getpid()):
            found.append(int(folder.name))
    return found


def running(command):
    """Whether there is a process of exactly that command."""
    wanted = b"\0".join(map(os.fsencode, command)) + b"\0"
    paths = Path("/proc").glob("[0-9]*/cmdline")
    return any(path.read_bytes() == wanted for path in paths if path.exists())


def soon(condition, seconds=15):
    """Whether something becomes true."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.fixture(scope="module")
def reported():
    return []


@pytest.fixture(scope="module")
def models(odd, reported):
    """The models of the odd plugin, by name; one process for all tests that do not end it."""
    with isolated_models([str(odd)], limits=LIMITS, progress=reported.append) as found:
        yield {p.spec.name: p for p in found}


@pytest.fixture
def odd_model(odd):
    """Build a model that runs some code, in a subprocess, of which nothing is left afterwards."""
    before = children()
    with isolated_models([str(odd)], limits=replace(LIMITS, seconds=30)) as found:
        (spec,) = [p.spec for p in found if p.spec.name == "odd"]
        yield lambda **settings: spec.build(0, **settings)
    assert children() == before


# -- like an installed one ----------------------------------------------------------------------------------


def test_only_models_of_that_plugin_count_and_it_is_said_what_is_not_used(models, reported):
    assert sorted(models) == ["echo", "mover", "odd", "slow"]
    assert models["echo"].provider == "test-odd 1.0" and models["echo"].isolated.packages == {}
    assert models["echo"].spec.smoke == {"code": "pass"} and models["mover"].spec.controller
    assert (models["echo"].spec.step_s, models["mover"].spec.step_s) == (None, 0.05)
    assert (models["echo"].spec.body, models["mover"].spec.body) == (None, "crane")
    assert any("install it to use its_decoder" in line for line in reported)


def test_a_model_is_fitted_kept_and_restored_in_its_own_process(models, trials):
    spec = models["echo"].spec
    assert spec.depends_on(3, trials) == f"file 3 {len(trials)}"
    model = spec.build(7)
    assert isinstance(model, Model) and not isinstance(model, Controller) and isinstance(model, Trainable)
    model.fit(trials, seed=7)
    state = model.state()
    assert state["learned"].tolist() == [7, len(trials)] and str(state["text"]) == "words"
    assert {k: (v.shape, v.dtype.kind) for k, v in state.items()} == {
        "learned": ((2,), "i"),
        "text": ((), "U"),
        "none": ((), "f"),
        "small": ((2, 0), "f"),
    }
    again = spec.build(0)
    again.restore(state)
    layers = again.activations(trials).layers
    assert np.array_equal(layers["latents"].values, trials.signals["latents"].values)
    assert layers["latents"].values.dtype == trials.signals["latents"].values.dtype
    assert (layers["learned"].values == 7).all()


def test_a_controller_has_all_its_methods_there(models, trials):
    model = models["mover"].spec.build(1)
    assert isinstance(model, Twinned)
    model.fit(trials, seed=1)
    latents = trials.signals["latents"]
    goal = Goal("joint_angles", Ragged(latents.values * 2, latents.offsets))
    assert np.array_equal(model.track(trials).joint_angles.values, latents.values)
    assert np.array_equal(model.track(trials, goal=goal).joint_angles.values, 2 * latents.values)
    assert model.track(trials).muscle_activation is None
    assert np.array_equal(model.embed(trials).values, latents.values)
    twin = model.untrained(seed=5)
    assert isinstance(twin, Controller)
    assert twin.state()["learned"].tolist() == [-5, 0]
    assert np.array_equal(twin.activations_of(latents).layers["observed"].values, latents.values)


def test_the_same_trials_are_the_same_object_there(models, trials):
    """Controllers keep their closed loop for trials that they know."""
    model = models["mover"].spec.build(1)
    assert (model.observe(trials).values == 0).all()
    assert (model.observe(trials).values == 1).all()
    assert (model.observe(trials.select(range(len(trials)))).values == 0).all()


def test_training_is_done_there_and_its_progress_is_reported_here(models, trials, reported, tmp_path):
    trained = models["echo"].spec.build(0).train(
        trials, seed=0, steps=5, folder=tmp_path / "work", monitor={"train": trials, "ood": trials}, threads=2,
        progress=print,
    )  # fmt: skip
    assert (tmp_path / "work" / "log").read_text() == "2"
    assert trained.weights["w"].tolist() == [0, 1, 2] and trained.settings == {"units": [1, 2]}
    assert trained.facts["curve"] == [{"steps": 1, "error": 2.5}]
    (line,) = [line for line in reported if line.startswith("5 steps")]
    assert "ood" in line and "\x1b" not in line


def test_an_isolated_model_takes_the_place_of_the_installed_one_and_clashes_with_others(models):
    registry = load_registry()
    linear = registry.model("linear_kinematic")
    its_own = replace(linear, version="9.9")
    assert registry.with_isolated([its_own]).model("linear_kinematic") is its_own
    foreign = replace(models["echo"], spec=replace(linear.spec))
    with pytest.raises(
        PluginError, match=r"offered by neurobench-grasp-linear-kinematic .* and test-odd 1.0"
    ):
        registry.with_isolated([foreign]).model("linear_kinematic")
    assert registry.with_isolated([models["echo"]]).model("echo") is models["echo"]


# -- can do no harm -----------------------------------------------------------------------------------------

INTO_PIPES = """
for name in os.listdir("/proc/self/fd"):
    try:
        if "pipe" in os.readlink(f"/proc/self/fd/{name}"):
            os.write(int(name), b"{garbage\\n")
    except OSError:
        pass
"""


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("os._exit(7)", r"odd: fit returned nothing, because .*test-odd 1.0 ended itself \(exit code 7\)"),
        ("sys.exit('enough')", r"odd: fit failed in the plugin .*: SystemExit: enough \(.*test_odd.py:\d+\)"),
        ("print('about to', file=sys.stderr); ctypes.string_at(0)", r"crashed \(SIGSEGV\); its last output was 'about to'"),
        ("os.abort()", r"crashed \(SIGABRT\)"),
        ("1 / 0", r"odd: fit failed in the plugin \(test-odd 1.0, isolated\): ZeroDivisionError: division by zero"),
        ("raise NgbError('No weights here; make them.')", "^No weights here; make them[.]"),
        ("np.ones(1 << 28)", "odd: fit .* needed more than 1 GiB of memory, .* --memory-limit"),
        ("print('std::bad_alloc', flush=True); os.abort()", "odd: fit .* needed more than 1 GiB of memory"),
        ("os.kill(os.getpid(), 9)", "was killed, probably by the system for lack of memory"),
        (INTO_PIPES, r"odd: fit returned an invalid response \(a response is not JSON\)"),
    ],
)  # fmt: skip
def test_a_plugin_that_fails_ends_in_one_sentence(odd_model, trials, code, says):
    model = odd_model(code=code)
    with pytest.raises(NgbError, match=says) as failed:
        model.fit(trials, seed=0)
    assert re.fullmatch("[^\n]+[.]", str(failed.value))


def test_after_a_crash_a_new_model_gets_a_new_process_and_the_old_one_says_what_happened(odd_model, trials):
    model = odd_model(code="os.abort()")
    with pytest.raises(NgbError, match="SIGABRT"):
        model.fit(trials, seed=0)
    fresh = odd_model(gives="Activations(dict(trials.signals))")
    fresh.fit(trials, seed=0)
    assert fresh.activations(trials).layers["latents"].offsets.tolist() == trials.offsets.tolist()
    with pytest.raises(NgbError, match=r"odd: activations: the process of test-odd 1.0 has ended"):
        model.activations(trials)


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        ("{'a': 1}", r"activations\(\) returned a dict; it must return Activations"),
        (
            "Activations({'a': Ragged(np.array([[{}]] * trials.offsets[-1]), trials.offsets)})",
            "contains objects",
        ),
        ("Activations({'a': np.ones((3, 2))})", r"invalid response \(Expected `object`, got `str`"),
        (
            "Activations({'a': Ragged(np.full((trials.offsets[-1], 1), 'x'), trials.offsets)})",
            "invalid response",
        ),
        ("Activations({'a': Ragged(np.ones((3, 1)), np.array([0, 2]))})", "offsets must rise from 0 to"),
        ("Activations({'a': lambda: 1})", "not JSON serializable"),
    ],
)
def test_what_a_plugin_gives_must_be_what_the_contract_says(models, trials, gives, says):
    with pytest.raises(NgbError, match=says):
        models["odd"].spec.build(0, gives=gives).activations(trials)


def test_a_pickle_is_never_loaded(odd_model, trials, tmp_path):
    """Not even if the plugin replaces what writes the answer."""
    trap = tmp_path / "trap"
    code = (
        "from neurobench_grasp.sandbox import wire\n"
        "def write(folder, value):\n"
        f"    np.save(folder / 'a.npy', np.array([Trap({str(trap)!r})], object))\n"
        "    (folder / 'a.npy').rename(folder / 'arrays.safetensors')\n"
        '    (folder / \'values.json\').write_text(\'{"layers": {"a": {"values": "a0", "offsets": "a1"}}}\')\n'
        "wire.write_packed = write"
    )
    model = odd_model(code=code, gives="Activations({})")
    model.fit(trials, seed=0)
    with pytest.raises(NgbError, match="invalid response"):
        model.activations(trials)
    assert not trap.exists()


def test_what_it_prints_does_not_disturb_the_exchange(odd_model, trials, capfd):
    code = "print('{\"words\": 1}', flush=True); os.write(1, b'garbage' * 9999); os.system('echo more')"
    model = odd_model(code=code, gives="Activations(dict(trials.signals))")
    model.fit(trials, seed=0)
    assert list(model.activations(trials).layers) == ["latents"]
    assert capfd.readouterr().out == ""


def test_it_reaches_no_network_or_that_is_said(odd, trials):
    reported = []
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        isolated_models([str(odd)], limits=LIMITS, progress=reported.append) as found,
    ):
        server.settimeout(0.2)
        (spec,) = [p.spec for p in found if p.spec.name == "odd"]
        model = spec.build(
            0, code="socket.create_connection(('127.0.0.1', self.port), 5)", port=server.getsockname()[1]
        )
        try:
            model.fit(trials, seed=0)
        except NgbError as error:
            assert "failed in the plugin" in str(error)
        try:
            server.accept()[0].close()
            reached = True
        except TimeoutError:
            reached = False
    assert reached == any("network isolation" in line for line in reported)


def test_it_has_neither_tokens_nor_a_place_to_stay(odd_model, trials, monkeypatch):
    monkeypatch.setenv("DANDI_API_KEY", "5ecret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    code = "raise NgbError(repr([dict(os.environ), sys.path, os.getcwd()]))"
    with pytest.raises(NgbError) as seen:
        odd_model(code=code).fit(trials, seed=0)
    environment, path, at = eval(str(seen.value))
    assert "5ecret" not in str(environment) and "/nowhere" not in path
    assert "ngb-isolated-" in at and not (set(path) & {"", ".", at})


def test_beyond_its_time_it_is_stopped_with_all_that_it_started(odd, trials):
    nap = ["sleep", "98.7654321"]
    with isolated_models([str(odd)], limits=replace(LIMITS, seconds=0.8)) as found:
        (spec,) = [p.spec for p in found if p.spec.name == "odd"]
        model = spec.build(0, code=f"subprocess.Popen({nap}); time.sleep(98)")
        with pytest.raises(NgbError, match=r"odd: fit .* took more than 0.0133 min, .* --time-limit"):
            model.fit(trials, seed=0)
        assert soon(lambda: not running(nap), 5)


def test_nothing_is_left_when_this_process_is_killed(odd, tmp_path):
    """The process of the plugin watches who asked for it."""
    code = (
        "import sys; from neurobench_grasp.isolation import isolated_models\n"
        "with isolated_models([sys.argv[1]]) as found:\n"
        "    print('ready', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(odd)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    (child,) = children(process.pid)
    scratch = Path(os.readlink(f"/proc/{child}/cwd")).parent
    assert scratch.name.startswith("ngb-isolated-")
    process.kill()
    process.communicate()
    assert soon(lambda: not Path(f"/proc/{child}").exists())
    assert not scratch.exists()


def test_nothing_is_left_when_this_process_is_killed_while_it_waits(odd):
    code = (
        "import sys; from neurobench_grasp.isolation import isolated_models\n"
        "import numpy as np; from neurobench_grasp.contract import Trials\n"
        "none = np.zeros(0)\n"
        "empty = Trials((), (), (), 0.02, none.reshape(0, 2).astype(int), np.zeros(1, int), {}, None, {})\n"
        "with isolated_models([sys.argv[1]]) as found:\n"
        "    model = next(p.spec for p in found if p.spec.name == 'slow').build(0)\n"
        "    print('ready', flush=True)\n"
        "    model.fit(empty, seed=0)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(odd)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    (child,) = children(process.pid)
    scratch = Path(os.readlink(f"/proc/{child}/cwd")).parent
    assert soon((scratch / "tmp" / "begun").exists, 60)
    process.kill()
    process.communicate()
    assert soon(lambda: not Path(f"/proc/{child}").exists())
    assert not scratch.exists()


def test_a_core_of_another_version_is_refused(odd, monkeypatch):
    process, before = PluginProcess(environment_of(str(odd)), LIMITS, lambda text: None), children()
    monkeypatch.setattr("neurobench_grasp.__version__", "9.9")
    with pytest.raises(
        PluginError, match=r"installs neurobench-grasp 0.1.0 in its environment, but this is 9.9"
    ):
        process.ask("offers")
    assert children() == before

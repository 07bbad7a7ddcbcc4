"""The command line as a subprocess: imports, standard output below Python, signals."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

DISTRIBUTIONS = Path(__file__).parents[1] / "plugins" / "distributions"
HEAVY = ("torch", "mujoco", "myosuite", "pynwb", "h5py", "pandas", "sklearn", "scipy", "jsonschema")


def python(code, *arguments, path=(), **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(DISTRIBUTIONS / name) for name in path)}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, **options)


RUN = "from neurobench_grasp.cli import app; app()"


@pytest.mark.parametrize("arguments", [["models", "--json"], ["score", "--help"]])
def test_quick_commands_import_nothing_heavy(arguments):
    code = f"""
    import atexit, sys
    atexit.register(lambda: print(sorted(m for m in {HEAVY} if m in sys.modules), file=sys.stderr))
    {RUN}
    """
    result = python(code, *arguments)
    assert result.returncode == 0
    assert result.stderr.splitlines()[-1] == "[]"
    assert "linear_kinematic" in result.stdout or "--help" in arguments


def test_a_checkout_runs_without_the_installed_script():
    script = Path(__file__).parents[2] / "cli.py"
    result = subprocess.run([sys.executable, script, "--version"], capture_output=True, text=True, timeout=60)
    assert result.stdout.startswith("ngb ")


def test_what_libraries_print_at_any_level_and_time_stays_out_of_standard_output():
    """Even what the C library has buffered, which comes out only when the process ends."""
    code = f"""
    import atexit, ctypes, os
    from neurobench_grasp.run import plan as planning

    def plan(*arguments, **options):
        os.write(1, b"noise: descriptor\\n")
        ctypes.CDLL(None).printf(b"noise: buffered by C\\n")
        os.system("echo noise: child process")
        print("noise: Python")
        atexit.register(print, "noise: at exit")
        return []

    planning.plan = plan
    {RUN}
    """
    result = python(code, "score", "--model", "x", "--json", path=["noisy"])
    assert result.returncode == 0
    assert result.stdout == "[]\n"
    assert result.stderr.count("noise: ") == 5


def test_noise_of_plugins_stays_out_of_standard_output():
    result = python(RUN, "models", "--json", path=["noisy", "importerror"])
    assert "noisy" in {m["name"] for m in json.loads(result.stdout)}
    assert "noise from C" in result.stderr


def test_warnings_of_libraries_are_shown_with_debug_alone():
    code = f"""
    import warnings
    from neurobench_grasp.run import plan as planning

    def plan(*arguments, **options):
        warnings.warn("a library is unhappy", UserWarning)
        return []

    planning.plan = plan
    {RUN}
    """
    assert python(code, "score", "--model", "x").stderr == ""
    assert "a library is unhappy" in python(code, "--debug", "score", "--model", "x").stderr


def test_ctrl_c_is_one_sentence_and_exits_with_130(tmp_path):
    code = textwrap.dedent(f"""
    import time
    from neurobench_grasp.run import plan as planning

    def plan(workspace, *arguments, **options):
        workspace.progress("working")
        time.sleep(60)

    planning.plan = plan
    {RUN}
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", code, "score", "--model", "x"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that runs the tests in the background has them ignore Ctrl-C, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr.readline() == "working\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert err == "Stopped; no file is incomplete, and the same command resumes where it stopped.\n"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_libraries_load_is_no_traceback():
    code = """
    import sys
    import typing

    class Interrupted:
        def find_spec(self, name, *rest):
            if name == "typer":
                raise KeyboardInterrupt

    sys.meta_path.insert(0, Interrupted())
    from neurobench_grasp.__main__ import main
    main()
    """
    result = python(code, "models")
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "Stopped.\n")


def test_a_reader_that_goes_away_brings_no_traceback():
    code = f"""
    from neurobench_grasp import cli, plugins
    from neurobench_grasp.contract import ModelSpec

    many = tuple(plugins.Provided(ModelSpec(f"m{{i}}", None, "x" * 200), "d", "1") for i in range(5000))
    plugins.Registry.models = lambda self: many
    {RUN}
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), "models", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=20)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_a_protocol_of_a_plugin_scores_a_recording(real_file, tmp_path):
    """The whole flow: file, model, protocol of an installed plugin, record, JSON."""
    file = real_file("real/m1_center_out.nwb")
    arguments = [
        "--model",
        "linear_kinematic",
        "--dataset",
        file,
        "--protocol",
        "fake_protocol",
        "--seed",
        "0",
        "--json",
    ]
    result = python(RUN, "score", *arguments, "--out", tmp_path, path=["good"])
    assert result.returncode == 0, result.stderr
    (record,) = json.loads(result.stdout)
    assert record["scores"] == [{"metric": "n_trials", "split": "test", "value": 286}]
    assert record["dataset"]["synthetic"] is False
    (path,) = (tmp_path / "records").iterdir()
    assert json.loads(path.read_text()) == record

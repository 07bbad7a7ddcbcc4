"""Environments of plugins: made atomically, found again, and nothing is installed elsewhere."""

import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from plugin_folders import ODD, write_plugin

from neurobench_grasp.errors import NgbError
from neurobench_grasp.isolation import environment as venvs
from neurobench_grasp.isolation.environment import environment_of


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "environments"


@pytest.fixture
def plugin(tmp_path):
    return write_plugin(tmp_path / "odd", "test-odd", ODD)


@pytest.fixture
def no_pip(monkeypatch):
    """Count environments that are made, without pip: an empty one will do."""
    made = []

    def install(environment, target):
        made.append(target)
        return {"distribution": "test-odd", "version": "1.0"}

    monkeypatch.setattr(venvs, "_install", install)
    return made


def test_an_environment_holds_the_plugin_and_sees_this_one_behind(odd):
    environment = environment_of(str(odd))
    code = "import test_odd, numpy, scipy, neurobench_grasp as n; print(test_odd.__file__, numpy.__file__, n.__file__)"
    found = subprocess.run([environment.python, "-I", "-c", code], capture_output=True, text=True, check=True)
    import numpy

    import neurobench_grasp

    own, *behind = found.stdout.split()
    assert Path(own).is_relative_to(environment.folder)
    assert behind == [numpy.__file__, neurobench_grasp.__file__]
    assert environment.packages == {} and len(environment.code) == 64
    assert sorted(p.name for p in environment.folder.iterdir() if p.name != "lib64") == [
        "bin",
        "environment.json",
        "include",
        "lib",
        "pyvenv.cfg",
    ]


def test_it_is_found_again_until_the_source_or_what_is_installed_here_changes(
    own_cache, plugin, no_pip, monkeypatch
):
    first = environment_of(str(plugin))
    (plugin / "__pycache__").mkdir()
    (plugin / "__pycache__" / "x.pyc").write_text("")
    assert environment_of(str(plugin)).folder == first.folder and len(no_pip) == 1
    (plugin / "weights.bin").write_text("new")
    assert environment_of(str(plugin)).folder != first.folder and len(no_pip) == 2
    real = list(importlib.metadata.distributions())
    monkeypatch.setattr(importlib.metadata, "distributions", lambda **options: iter(real[1:]))
    environment_of(str(plugin))
    assert len(no_pip) == 3


def test_what_stops_the_making_leaves_nothing(own_cache, plugin, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(venvs, "_install", stop)
    with pytest.raises(KeyboardInterrupt):
        environment_of(str(plugin))
    assert list(own_cache.iterdir()) == []


def test_a_killed_making_leaves_no_environment_and_is_swept_a_day_later(own_cache, plugin, no_pip):
    code = (
        "import sys; from neurobench_grasp.isolation.environment import environment_of as e; e(sys.argv[1])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(plugin)])
    end = time.monotonic() + 60
    while not list(own_cache.glob(".environment-*/new/pyvenv.cfg")) and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = own_cache.iterdir()
    assert left.name.startswith(".environment-")
    os.utime(left, (1, 1))
    made = environment_of(str(plugin)).folder
    assert list(own_cache.iterdir()) == [made]


def test_of_two_that_are_made_at_once_one_stays(own_cache, plugin, monkeypatch):
    about = {"distribution": "test-odd", "version": "1.0"}
    times = []

    def install(environment, target):
        times.append(target)
        if len(times) == 1:  # another process does the same meanwhile, and is faster
            environment_of(str(plugin))
        return about

    monkeypatch.setattr(venvs, "_install", install)
    made = environment_of(str(plugin)).folder
    assert len(times) == 2 and list(own_cache.iterdir()) == [made]


def test_an_environment_unused_for_a_month_is_removed(own_cache, plugin, no_pip):
    old, used = environment_of(str(plugin)).folder, environment_of(str(plugin)).folder
    assert old == used
    os.utime(old / "environment.json", (1, 1))
    (plugin / "more").write_text("new")
    new = environment_of(str(plugin)).folder
    assert list(own_cache.iterdir()) == [new]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("./nowhere", "There is no folder ./nowhere"),
        ("plugins/nowhere", "There is no folder plugins/nowhere"),
        ("--index-url=http://x", "is neither a folder nor a requirement"),
        ("", "is neither a folder nor a requirement"),
    ],
)
def test_a_source_that_is_none_is_refused_before_anything_is_made(own_cache, source, says):
    with pytest.raises(NgbError, match=says):
        environment_of(source)
    assert not own_cache.exists()


def test_a_folder_without_a_project_is_refused(own_cache, tmp_path):
    with pytest.raises(NgbError, match=r"has no pyproject\.toml"):
        environment_of(str(tmp_path))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda p: write_plugin(p, "test-odd", ODD, dependencies=["no-such-package-at-all"]),
         r"No matching distribution found for no-such-package-at-all"),
        (lambda p: (p / "builder.py").write_text("raise OSError('the builder is broken')"),
         r"could not be installed into a separate environment: "),
        (lambda p: (p / "pyproject.toml").write_text("[project"), r"could not be installed"),
    ],
    ids=["missing", "builder", "toml"],
)  # fmt: skip
def test_what_pip_cannot_install_is_one_sentence_with_its_words(own_cache, plugin, monkeypatch, spoil, says):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    spoil(plugin)
    with pytest.raises(NgbError, match=says) as failed:
        environment_of(str(plugin))
    assert "\n" not in str(failed.value) and not list(own_cache.iterdir())


def test_without_pip_here_the_environment_gets_its_own(own_cache, plugin, no_pip, monkeypatch):
    asked = []
    monkeypatch.setattr(venvs.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(venvs.venv, "EnvBuilder", lambda **options: asked.append(options) or _Plain())
    environment_of(str(plugin))
    assert asked == [{"symlinks": True, "with_pip": True}]


class _Plain:
    def create(self, folder):
        venvs._packages_folder(folder).mkdir(parents=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written_to_is_one_sentence(own_cache, plugin):
    own_cache.parent.mkdir(mode=0o500)
    with pytest.raises(NgbError, match=r"Cannot make an environment for .* set NGB_CACHE"):
        environment_of(str(plugin))


def test_a_cache_that_is_a_file_is_one_sentence(own_cache, plugin):
    own_cache.parent.write_text("")
    with pytest.raises(NgbError, match=r"Cannot make an environment for .* set NGB_CACHE"):
        environment_of(str(plugin))


def test_a_build_backend_sees_no_secret(own_cache, tmp_path, monkeypatch):
    for name in ("DANDI_API_KEY", "NGB_DANDI_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, "5ecret")
    plugin = write_plugin(tmp_path / "spy", "test-spy", ODD)
    spy = f"import os\nopen({str(tmp_path / 'seen')!r}, 'w').write(repr(dict(os.environ)))\n"
    (plugin / "builder.py").write_text(spy + (plugin / "builder.py").read_text())
    environment_of(str(plugin))
    seen = (tmp_path / "seen").read_text()
    assert "PATH" in seen and "5ecret" not in seen


def test_pip_and_what_it_runs_end_with_this_process(own_cache, tmp_path):
    plugin = write_plugin(tmp_path / "slow", "test-slow", ODD)
    wait = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(99)\n"
    (plugin / "builder.py").write_text(wait)
    code = (
        "import sys; from neurobench_grasp.isolation.environment import environment_of as e; e(sys.argv[1])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(plugin)])
    end = time.monotonic() + 60
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < end:
        time.sleep(0.02)
    builder = Path(f"/proc/{(tmp_path / 'pid').read_text()}")
    assert builder.exists()
    process.kill()
    process.wait()
    while builder.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not builder.exists()

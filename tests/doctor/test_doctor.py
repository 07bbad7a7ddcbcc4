"""``ngb doctor``: reports faults and what to do; a failing probe is only a finding."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest
import threadpoolctl
from typer.testing import CliRunner

from neurobench_grasp import doctor
from neurobench_grasp.cli import app
from neurobench_grasp.doctor import MISSING, OK, PROBLEM, Finding, examine
from neurobench_grasp.plugins import load_registry

DISTRIBUTIONS = Path(__file__).parents[1] / "plugins" / "distributions"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def absent(monkeypatch):
    """Let some packages be absent, or of another version."""
    real = importlib.metadata.version

    def be(**versions):
        def version(name):
            found = versions.get(name.replace("-", "_").lower(), ...)
            if found is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return real(name) if found is ... else found

        monkeypatch.setattr(importlib.metadata, "version", version)

    return be


@pytest.fixture
def finished(monkeypatch):
    """Make the subprocess of a probe end in a given way."""

    def by(code, output):
        monkeypatch.setattr(doctor, "_run_separately", lambda script: (code, output))

    return by


def of(probe):
    """Findings of one probe, by item."""
    return {f.item: f for f in doctor._run_probe(probe, doctor.PROBES[probe])}


def test_all_is_examined_and_what_the_main_job_needs_is_there(finished):
    finished(0, "egl")
    found = {f.item: f for f in examine()}
    assert {f.item for f in found.values() if f.needed} == {"ngb", "Python", "packages", "models", "cache"}
    assert all(f.status == OK for f in found.values() if f.needed)
    assert found["dataset demo"] == Finding(
        "dataset demo", "not made yet", MISSING, "`ngb data make`, or the first score makes it"
    )
    assert "linear_kinematic" in found["models"].found
    assert {"rendering", "video", "threads", "memory", "GPU", "trained networks"} <= set(found)


def test_the_command_prints_a_table_that_fits_or_json(finished):
    finished(0, "egl")
    result = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert "`ngb score` has everything it needs" in result.stdout and "what to do" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    reported = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert set(reported[0]) == {"item", "found", "status", "advice", "needed"}


def test_a_missing_package_fails_and_one_that_does_not_fit_too(absent, finished):
    finished(0, "egl")
    absent(pandas=None, scipy="0.1")
    found = of("packages")
    assert (found["pandas"].status, found["pandas"].advice) == (MISSING, "pip install 'pandas>=2.2'")
    assert found["scipy"].found == "0.1 instead of >=1.13" and found["scipy"].status == PROBLEM
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1 and "will not work before this is fixed: pandas, scipy" in result.stdout


def test_a_missing_extra_is_named_with_how_to_get_it(absent):
    absent(torch=None, tensorboard=None)
    found = of("extras")
    assert found["[control]"].found == "without tensorboard, torch" and not found["[control]"].needed
    assert found["[control]"].advice.startswith("pip install 'neurobench-grasp[control]' to train")
    assert "[control]" not in found["extras"].found
    assert of("GPU")["GPU"].status == OK


def test_another_python_than_is_required(monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.9.1")
    found = of("Python")["Python"]
    assert found.status == PROBLEM and found.needed and "Python >=3.11" in found.advice


def test_broken_plugins_are_reported_with_their_reason(monkeypatch):
    for name in ("importerror", "twin_a", "twin_b"):
        monkeypatch.syspath_prepend(str(DISTRIBUTIONS / name))
    load_registry.cache_clear()
    try:
        found = of("plugins")
    finally:
        load_registry.cache_clear()
    broken = found["plugin importerror"]
    assert broken.status == PROBLEM and "a_module_that_nobody_has" in broken.found
    assert "NGB_DISABLE_PLUGINS=importerror" in broken.advice
    assert {"plugin twin_a", "plugin twin_b"} <= set(found)
    assert found["models"].status == OK


def test_without_any_model_scoring_does_not_work(monkeypatch):
    entry_points = importlib.metadata.entry_points(group="neurobench_grasp")
    monkeypatch.setenv("NGB_DISABLE_PLUGINS", ",".join(e.name for e in entry_points))
    load_registry.cache_clear()
    try:
        found = of("plugins")["models"]
    finally:
        load_registry.cache_clear()
    assert (found.status, found.needed) == (MISSING, True) and "[models]" in found.advice


def test_a_cache_that_cannot_be_written_to(own_cache):
    own_cache.write_text("")
    found = of("cache")["cache"]
    assert found.status == PROBLEM and found.needed and "NGB_CACHE" in found.advice


def test_a_full_disk(monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1 << 20}))
    found = of("cache")["cache"]
    assert found.status == PROBLEM and "0.0 GiB free" in found.found and "free some space" in found.advice


def test_a_network_that_cannot_be_read_is_named(own_cache):
    path = own_cache / "checkpoints" / "demo" / "muscle_ppo-0.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    found = of("trained networks")
    assert found["network"].status == PROBLEM and str(path) in found["network"].found
    assert "demo" in found["trained networks"].found


@pytest.mark.parametrize(
    ("code", "output", "status", "expected"),
    [
        (0, "osmesa", OK, "OpenGL through osmesa"),
        (1, "neurobench_grasp.errors.NgbError: No OpenGL is available to draw", MISSING, "no libEGL and no libOSMesa"),
        (-11, "it crashed (signal 11)", PROBLEM, "signal 11"),
        (0, "a white picture", PROBLEM, "a white picture"),
        (None, "no answer in 7 s", PROBLEM, "no answer"),
    ],
)  # fmt: skip
def test_drawing_that_fails_in_any_way(finished, monkeypatch, code, output, status, expected):
    finished(code, output)
    monkeypatch.setattr(doctor, "find_library", lambda name: None)
    found = of("rendering")["rendering"]
    assert found.status == status and expected in found.found and not found.needed
    assert ("apt-get install libegl1" in found.advice) == (status != OK and code is not None)


def test_code_run_separately_may_fail_in_any_way(monkeypatch):
    assert doctor._run_separately("print('one'); print('two')") == (0, "two")
    assert doctor._run_separately("import ctypes; ctypes.string_at(0)") == (-11, "it crashed (signal 11)")
    assert doctor._run_separately("raise ValueError('bad')") == (1, "ValueError: bad")
    monkeypatch.setattr(doctor, "TIMEOUT", 0.2)
    assert doctor._run_separately("import time; time.sleep(60)")[0] is None


def test_a_torch_that_cannot_be_loaded_is_a_problem_only_of_its_own(finished):
    finished(1, "OSError: libcudart.so: cannot open shared object file")
    found = of("GPU")["GPU"]
    assert found.status == PROBLEM and "libcudart" in found.found and not found.needed


def test_more_threads_than_cores(monkeypatch):
    with threadpoolctl.threadpool_limits(limits=1):
        monkeypatch.setattr(doctor, "usable_cores", lambda: 1)
        assert of("threads")["threads"].status == OK
    pool = [{"internal_api": "openblas", "num_threads": 64}]
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: pool)
    found = of("threads")["threads"]
    assert found.status == PROBLEM and "OMP_NUM_THREADS=1" in found.advice


@pytest.mark.parametrize("item", list(doctor.PROBES))
def test_no_probe_that_fails_stops_the_others(monkeypatch, finished, item):
    def fail():
        yield Finding("before", "this much was seen")
        raise SystemExit("no more")

    finished(0, "egl")
    monkeypatch.setitem(doctor.PROBES, item, fail)
    found = {f.item: f for f in examine()}
    assert found["before"].status == OK and found[item].status == PROBLEM
    assert "SystemExit: no more" in found[item].found
    assert found[item].needed == (item in doctor.NEEDED)
    assert len(found) > 10


def test_tokens_are_never_shown(monkeypatch, finished):
    finished(0, "egl")
    for name in ("DANDI_API_KEY", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, "5ecret")
    assert "5ecret" not in CliRunner().invoke(app, ["doctor", "--json"]).stdout


@pytest.mark.slow
def test_a_real_examination_draws_a_picture_and_asks_torch():
    run = subprocess.run(
        [sys.executable, "-m", "neurobench_grasp", "doctor", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = {f["item"]: f for f in json.loads(run.stdout)}
    late = doctor.LATER
    assert run.returncode == 0
    drawing = found["rendering"]
    assert (
        drawing["found"].startswith("OpenGL through")
        or drawing["status"] == MISSING
        or drawing["advice"] == late
    )
    assert "none is needed" in found["GPU"]["found"] or found["GPU"]["advice"] == late

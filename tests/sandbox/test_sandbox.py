"""Subprocesses for what is not trusted: they answer, or fail in one way, and nothing of them is left."""

import os
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobench_grasp.checks.processes import process_of
from neurobench_grasp.sandbox.environment import INSTALLER, KEPT, NETWORK, child_environment
from neurobench_grasp.sandbox.limits import Limits
from neurobench_grasp.sandbox.process import KEPT_OUTPUT, Process, ProcessError

SERVER = """
import ctypes, os, re, signal, subprocess, sys, time

class Server:
    def __init__(self, progress):
        self.progress = progress

    def do_run(self, code):
        found = {}
        exec(code, globals() | {"self": self}, found)
        return found.get("answer")
"""
SECRETS = ("DANDI_API_KEY", "NGB_DANDI_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK")


@pytest.fixture
def run(tmp_path):
    """Run code in a subprocess."""
    (tmp_path / "served.py").write_text(SERVER)
    environment = child_environment(PYTHONPATH=str(tmp_path))

    def run(code, seconds=30.0, **limits):
        with Process("served:Server", Limits(seconds, **limits), environment=environment) as process:
            return process.ask("run", code=code)

    return run


def failure(run, code, **limits):
    with pytest.raises(ProcessError) as failed:
        run(code, **limits)
    return failed.value


def gone(pid):
    """Whether a process ends soon."""
    end = time.monotonic() + 15
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
        time.sleep(0.02)
    return not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize(
    ("code", "limits", "reason", "text"),
    [
        ("time.sleep(60)", {"seconds": 0.5}, "seconds", "took more than 0.5 s"),
        ("while True: pass", {"cpu": 1}, "cpu", r"crashed \(SIGXCPU\)"),
        ("re.match('(a*)*b', 'a' * 99)", {"cpu": 1}, "cpu", r"crashed \(SIGXCPU\)"),
        ("answer = bytearray(1 << 30)", {"memory": 1 << 29}, "memory", ""),
        ("open('large', 'wb').write(bytes(2 << 20))", {"disk": 1 << 20}, "disk", ""),
        ("os.abort()", {}, "ended", r"crashed \(SIGABRT\)"),
        ("os._exit(7)", {}, "ended", r"ended itself \(exit code 7\)"),
        ("os.kill(os.getpid(), signal.SIGSTOP)", {}, "ended", "was killed"),
        ("os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)", {}, "ended", "was killed"),
        ("answer = {}[1]", {}, "failed", r"KeyError: 1 \(.*served.py:10\)"),
        ("answer = object()", {}, "failed", "TypeError: .*not JSON serializable"),
        ("answer = 'x' * (2 << 20)", {}, "invalid", "a response is too long"),
    ],
)
def test_what_goes_wrong_has_one_reason(run, code, limits, reason, text):
    failed = failure(run, code, **limits)
    assert failed.reason == reason
    assert re.match(text, failed.text)


def test_output_is_read_and_forgotten_but_for_its_end(run):
    failed = failure(run, "print('flood' * (1 << 20)); print('the last'); sys.stdout.flush(); os.abort()")
    assert failed.last == "the last" and KEPT_OUTPUT < 1 << 17


def test_nothing_that_it_started_is_left(run):
    code = "answer = subprocess.Popen(['sleep', '99'], stdin=0).pid"
    assert gone(run(code))


def test_code_of_installed_packages_runs_within_the_limits(tmp_path, run):
    """A ``.pth`` file is run by the interpreter itself, before any module of it is imported."""
    assert run("answer = 'site' in sys.modules and sys.flags.no_site") == 1
    seen = "import resource; answer = resource.getrlimit(resource.RLIMIT_FSIZE)[0]"
    assert run(seen, disk=12345) == 12345


def test_a_process_that_lost_its_answer_is_started_again(tmp_path):
    (tmp_path / "served.py").write_text(SERVER)
    environment = child_environment(PYTHONPATH=str(tmp_path))
    with Process("served:Server", Limits(), environment=environment) as process:
        with pytest.raises(ProcessError):
            process.ask("run", code="os._exit(1)")
        assert not process.running
        assert process.ask("run", code="answer = 1") == 1


# -- secrets ------------------------------------------------------------------------------------------------


@given(st.sets(st.sampled_from([*SECRETS, *KEPT, *INSTALLER, "ANY", "PIP_TARGET", "PIP_CLIENT_CERT"])))
def test_only_listed_variables_are_passed_on(names):
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            patch.delenv(name)
        for name in names:
            patch.setenv(name, "value")
        assert set(child_environment()) == names & set(KEPT)
        assert set(child_environment(*INSTALLER)) == names & {*KEPT, *INSTALLER}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("https://example.org/simple", True),
        ("https://me:5ecret@example.org/simple", False),
        ("https://example.org/simple https://5ecret@example.org/simple", False),
        ("me:5ecret@proxy:3128", False),
        ("/home/a/wheels@home", True),
    ],
)
def test_an_address_with_a_password_is_left_out(monkeypatch, value, kept):
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", value)
    assert ("PIP_EXTRA_INDEX_URL" in child_environment(*INSTALLER)) == kept
    assert "PIP_EXTRA_INDEX_URL" not in child_environment(*NETWORK)


@pytest.mark.parametrize("shares", [True, False])
def test_checks_see_no_secret(monkeypatch, tmp_path, shares):
    for name in SECRETS:
        monkeypatch.setenv(name, "5ecret")
    (tmp_path / "served.py").write_text(SERVER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with process_of(tmp_path, 30, shares=shares) as process:
        process._order["serve"] = "served:Server"
        assert "5ecret" not in str(process.ask("run", code="answer = dict(os.environ)"))

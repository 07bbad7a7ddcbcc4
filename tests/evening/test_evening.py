"""The evening of CONTRIBUTING.md, typed as it is written: an empty folder, a fresh environment, a ranked model."""

import json
import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = "Your model on the board by the evening"
MARK = "@@ "


def typed_commands():
    """Every command of the section, in order: the lines of its blocks of shell."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.split(f"## {SECTION}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


def evening(folder, commands):
    """Type the commands into one shell, which stops at the first that fails; give what it printed, by command."""
    script = "set -euo pipefail\n"
    for command in commands:
        script += f"printf '\\n{MARK}%s %s\\n' \"$EPOCHREALTIME\" {shlex.quote(command)}\n{command}\n"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "VIRTUAL", "NGB_"))},
        "PATH": f"{Path(sys.executable).resolve().parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "NGB_CACHE": str(folder / "cache"),
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache/pip")),
        "PIP_NO_COMPILE": "0",  # pip reads this as "compile: no", which halves the time of an installation
        "PIP_QUIET": "1",
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return [part.partition("\n") for part in done.stdout.split(f"\n{MARK}")[1:]]


@pytest.mark.slow
def test_the_evening_of_contributing_ends_with_the_model_on_the_board(tmp_path, capsys):
    commands = typed_commands()
    assert "ngb new model my_model" in commands and "ngb check my_model" in commands
    (tmp_path / "neurobench_grasp").symlink_to(ROOT)
    (tmp_path / "home").mkdir()

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    steps = evening(tmp_path, [*commands, "true"])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    starts = [float(head.split()[0]) for head, _, _ in steps]
    with capsys.disabled():
        for (head, _, _), begin, end in zip(steps, starts, starts[1:], strict=False):
            print(f"\n{end - begin:6.1f} s  {head.partition(' ')[2]}", end="")
        print(f"\n{starts[-1] - starts[0]:6.1f} s  in all, {seconds:.1f} s of processor time", flush=True)

    printed = {head.partition(" ")[2]: text for head, _, text in steps}
    assert "fail" not in printed["ngb check my_model"] and " pass" in printed["ngb check my_model"]
    assert re.search(r"model my_model", printed["ngb plugins"])

    paths = sorted((tmp_path / "ngb-runs/records").glob("my_model-seed*.json"))
    records = [json.loads(path.read_text()) for path in paths]
    assert [record["seed"] for record in records] == [0, 1, 2, 3, 4]
    assert all(record["card"]["licence"] == "MIT" for record in records)
    board = tmp_path / "board"
    assert 'href="self-tests.html"' in (board / "index.html").read_text()
    tests = (board / "self-tests.html").read_text()
    row = next(row for row in tests.split("<tr") if "models/my_model.html" in row)
    explained = re.findall(r'data-v="([-.\d]+)" class="drawn"', row)
    assert float(explained[0]) > 0.05, "the model of the template should explain something"
    assert '<td data-v="5">5</td>' in row, "its five networks"
    assert "my_model" in (board / "models/my_model.html").read_text()

    (submission,) = (tmp_path / "ngb-submissions").iterdir()
    assert all((submission / "records" / path.name).exists() for path in paths)

"""What the documentation states: its code runs, its commands exist, what it quotes is what is printed."""

import io
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from recorded import write_planted
from rich.console import Console

import neurobench_grasp.data.nwb.units
from neurobench_grasp import ModelSpec
from neurobench_grasp.cli import app
from neurobench_grasp.cli.score_tables import full_tables
from neurobench_grasp.cli.summary import summaries
from neurobench_grasp.leaderboard.site.glossary import METRICS
from neurobench_grasp.records.record import read_records
from neurobench_grasp.records.table import tables_of
from neurobench_grasp.run.job import RUNS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
NGB = typer.main.get_command(app)
BLOCK = re.compile(r"```python\n(.*?)```", re.S)
ELSEWHERE = {"your_own_data.md", "first_session.md"}
"""Pages whose code is run by tests/data/test_data_own.py, and when the site is built."""


def commands(text):
    """Every command of ``ngb`` in blocks and in inline code that is complete."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            if found := re.match(r"\s*(?:[$>] )?(?:\w+=\S+ )*ngb (.*)", line):
                yield found[1]
    yield from re.findall(r"`ngb ([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))


def refusal(line):
    """Why the command line would refuse a command, or none."""
    typed = shlex.split(re.split(r" #| \||[;>&]", line)[0])
    command, name = NGB, "ngb"
    try:
        while hasattr(command, "commands") and typed and not typed[0].startswith("-"):
            if typed[0] not in command.commands:
                return f"there is no {name} {typed[0]}"
            name, command = f"{name} {typed[0]}", command.commands[typed[0]]
            typed = typed[1:]
        known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)} | {"--help"}
        unknown = [w for w in typed if re.match(r"--?[a-zA-Z]", w) and w.split("=")[0] not in known]
        return f"{name} has no {', '.join(unknown)}" if unknown else None
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page):
    refused = {line: why for line in commands(page.read_text()) if "…" not in line and (why := refusal(line))}
    assert not refused


def test_a_command_that_does_not_exist_is_found():
    assert list(commands("x `ngb score --new`\n```\n$ ngb figres -m a\n```\n")) == [
        "figres -m a",
        "score --new",
    ]
    assert refusal("figres -m a") == "there is no ngb figres"
    assert refusal("score --new") == "ngb score has no --new"
    assert refusal("score --model muscle_ppo -d demo  # what this does") is None


def arrays(folder, patch):
    """What `ngb data export` writes, of two steps."""
    np.savez(folder / "steps.npz", joint_angles=np.zeros((2, 23)), n_steps=[2])


def dandi(folder, patch):
    fetched = SimpleNamespace(files=[write_planted(folder / "planted.nwb")], source=[])
    patch.setattr("neurobench_grasp.data.dandi.fetch_files", lambda address: fetched)


def mixed(folder, patch):
    patch.setattr(
        "neurobench_grasp.data.nwb.units.unit_labels", lambda path, column: {"M1_000": "kinematics"}
    )
    patch.setattr(
        neurobench_grasp.data, "unit_labels", neurobench_grasp.data.nwb.units.unit_labels, raising=False
    )


def tasks(folder, patch):
    records, _ = read_records(sorted((ROOT / "registry/results").glob("linear_kinematic-*")))
    patch.setattr("neurobench_grasp.api.evaluate", lambda model, dataset: records)


def contributing(folder, patch):
    return {"ModelSpec": ModelSpec, "build": lambda seed: None, "SHA256": "0" * 64, "card": None}


SCENES = {
    "arrays.md": arrays,
    "checks.md": lambda folder, patch: None,
    "controllers.md": lambda folder, patch: {"NAME": "my_model"},
    "dandi.md": dandi,
    "mixed.md": mixed,
    "tasks.md": tasks,
    "CONTRIBUTING.md": contributing,
}
"""Page → what its code needs, without a network, large files and long computations."""


@pytest.mark.parametrize("name", SCENES)
def test_code_runs(name, tmp_path, monkeypatch):
    (page,) = (page for page in PAGES if page.name == name)
    monkeypatch.chdir(tmp_path)
    scope = SCENES[name](tmp_path, monkeypatch) or {}
    for code in BLOCK.findall(page.read_text()):
        exec(code, scope)


def test_no_code_is_left_out():
    assert {page.name for page in PAGES if BLOCK.search(page.read_text())} <= {*SCENES, *ELSEWHERE}


# -- what is quoted ---------------------------------------------------------------------------------------


def printed(parts):
    console = Console(file=io.StringIO(), width=80)
    for part in parts:
        console.print(part, markup=False, highlight=False, soft_wrap=isinstance(part, str))
    return "\n".join(line.rstrip() for line in console.file.getvalue().strip().splitlines())


@pytest.fixture(scope="module")
def tables():
    """The reviewed records of the network that the pages show."""
    (records,) = (
        p for p in (ROOT / "registry/results").glob("muscle_ppo-*/records") if [*p.glob("*-demo-*")]
    )
    found, problems = read_records([records])
    assert not problems
    return tables_of([record for record in found if record.seed == 0], RUNS / "records")


def test_the_readme_shows_the_first_screen_of_a_score(tables):
    assert f"```\n{printed(summaries(tables, RUNS))}\n```" in (ROOT / "README.md").read_text()


def test_every_row_is_shown_as_it_is_printed(tables):
    page = (ROOT / "docs/reading_a_score.md").read_text()
    for each in tables:
        assert printed(full_tables(each)) in page


def test_every_metric_that_was_ever_recorded_is_explained():
    found, problems = read_records(sorted((ROOT / "registry/results").iterdir()))
    assert not problems
    recorded = {row["metric"] for record in found for row in record.scores}
    assert len(recorded) > 20 and not recorded - set(METRICS)

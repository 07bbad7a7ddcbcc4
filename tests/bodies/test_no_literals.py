"""No code outside ``bodies/`` knows the size of a body: a search for such numbers in its source."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SIZES = {23, 39, 60, 78, 115, 184}
"""Of myohand: joints, muscles, coordinates of keypoints, muscle signals, goal and sensors."""
SHAPE = re.compile(r"\((?:[^()\n]*[ ,])?(23|39|60|78|115|184),?\)")
"""A shape in a docstring, such as ``(n_steps, 23)``."""

ALLOWED = {
    # seconds per minute, minutes per hour
    ("neurobench_grasp/cli/plan.py", 60),
    ("neurobench_grasp/cli/score.py", 60),
    ("neurobench_grasp/cli/train.py", 60),
    ("neurobench_grasp/controllers/training.py", 60),
    ("neurobench_grasp/isolation/process.py", 60),
    ("neurobench_grasp/run/how_far.py", 60),
    ("neurobench_grasp/run/isolated.py", 60),
    # seconds before a time limit, and of waiting for an answer
    ("neurobench_grasp/run/executors/slurm.py", 60),
    # seconds of processor time
    ("neurobench_grasp/data/remote_inspection.py", 60),
    # characters that are shown
    ("neurobench_grasp/data/dandi/http.py", 60),
    ("neurobench_grasp/leaderboard/site/format.py", 60),
    ("neurobench_grasp/records/record.py", 60),
    ("neurobench_grasp/records/table.py", 60),
    # pixels
    ("neurobench_grasp/plots/video.py", 23),
    # units of the demo, and sizes of its objects in mm
    ("neurobench_grasp/demo/neurons.py", 60),
    ("neurobench_grasp/demo/objects.py", 60),
    # constants of version 1 of the protocols, which do not follow the body
    ("neurobench_grasp/protocols/settings.py", 78),
    ("neurobench_grasp/scoring/estimators.py", 78),
    ("neurobench_grasp/scoring/references.py", 60),
    # steps of babbling
    ("neurobench_grasp/templates/controller/ngb_my_plugin.py", 60),
    ("plugins/example_controller/ngb_example_controller/__init__.py", 60),
    # weights that a card counts, of a model fitted to myohand
    ("neurobench_grasp/templates/controller/ngb_my_plugin.py", 23),
    ("neurobench_grasp/templates/model/ngb_my_plugin.py", 23),
}
"""File and number, each with the reason why it is not the size of a body."""


def searched_files():
    for folder in ("neurobench_grasp", "plugins"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "bodies" not in path.relative_to(ROOT).parts:
                yield path


def sizes_in(source):
    """Yield line and number of each literal, and of each shape in a text, that is the size of a body."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Constant):
            continue
        if type(node.value) is int and node.value in SIZES:
            yield node.lineno, node.value
        if isinstance(node.value, str):
            yield from ((node.lineno, int(found[1])) for found in SHAPE.finditer(node.value))


def test_no_size_of_a_body_is_written_outside_bodies():
    seen = {}
    for path in searched_files():
        for line, size in sizes_in(path.read_text(encoding="utf-8")):
            seen.setdefault((path.relative_to(ROOT).as_posix(), size), []).append(line)
    written = [f"{file}:{seen[file, size]}: {size}" for file, size in seen if (file, size) not in ALLOWED]
    assert not written, f"take the size from the body, such as len(body.joints): {written}"
    assert not ALLOWED - set(seen), "remove what is no longer needed"


@pytest.mark.parametrize(
    "planted",
    [
        "angles = commands[:, :23]",
        "widths = {'joint_angles': 23}",
        "points = np.empty((n_rows, 60))",
        'def f():\n    """Return angles, shape (n_steps, 23)."""',
        'def f():\n    """Return goals, shape (n, look_ahead · 23)."""',
    ],
)
def test_a_literal_planted_in_a_protocol_is_found(planted):
    protocol = (ROOT / "neurobench_grasp/protocols/tracking.py").read_text(encoding="utf-8")
    assert not list(sizes_in(protocol))
    assert list(sizes_in(f"{protocol}\n{planted}\n"))

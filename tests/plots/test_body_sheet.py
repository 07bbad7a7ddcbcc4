"""The page about bodies: generated from the bodies themselves, and up to date."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from neurobench_grasp.bodies import find_body
from neurobench_grasp.cli import app
from neurobench_grasp.plots.body_sheet import body_page, body_tables, joint_pictures
from neurobench_grasp.plugins import load_registry

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def hand():
    return find_body("myohand")


def test_the_page_in_the_documentation_is_that_of_the_built_in_bodies():
    """`ngb bodies --to docs` makes it again."""
    specs = [p.spec for p in load_registry().bodies() if p.distribution == "neurobench-grasp"]
    assert (DOCS / "bodies.md").read_text() == body_page(specs)
    for name in re.findall(r"\(images/(\w+\.png)\)", body_page(specs)):
        assert (DOCS / "images" / name).is_file()


def test_every_name_of_a_body_is_on_its_page(hand):
    tables = body_tables(hand)
    for kind, names in (("joints", hand.joints), ("muscles", hand.muscles), ("keypoints", hand.keypoints)):
        assert [row[0] for row in tables[kind][1:]] == list(names)


def test_signs_are_those_of_the_moment_arms(hand):
    """Flexors of the index shorten when its joint flexes, extensors lengthen; a wrist joint moves no keypoint."""
    rows = {row[0]: row for row in body_tables(hand)["joints"][1:]}
    _, low, high, neutral, shortens, lengthens, moves = rows["mcp2_flexion"]
    assert (low, high) == ("0", "90") and 0 < int(neutral) < 90
    assert {"FDS2", "FDP2"} <= set(shortens.split(", ")) and "EDC2" in lengthens
    assert moves.startswith("index_tip (")
    assert rows["flexion"][-1] == "–" and "FCR" in rows["flexion"][4]
    arms, _ = hand.muscle_capacity(hand.neutral[None])
    for joint, row in rows.items():
        j = hand.joints.index(joint)
        signs = [np.sign(arms[0, hand.muscles.index(m), j]) for m in row[4].split(", ") if m != "–"]
        others = [np.sign(arms[0, hand.muscles.index(m), j]) for m in row[5].split(", ") if m != "–"]
        assert len(set(signs)) == len(set(others)) == 1 and signs[0] != others[0], joint


@pytest.mark.slow
def test_pictures_differ_where_joints_differ(hand):
    drawn = np.asarray(Image.open(BytesIO(joint_pictures(hand))).convert("L"))
    assert drawn.shape[1] == round(7.2 * 110) and (drawn < 250).mean() > 0.05


def test_the_command_lists_one_body_and_refuses_unknown_ones():
    ngb = CliRunner().invoke
    shown = ngb(app, ["bodies", "myohand", "--json"])
    assert shown.exit_code == 0 and '"joint": "pro_sup"' in shown.stdout
    assert ngb(app, ["bodies", "myohnad"]).exit_code == 1
    assert ngb(app, ["bodies", "myohand", "--to", "x"]).exit_code == 2

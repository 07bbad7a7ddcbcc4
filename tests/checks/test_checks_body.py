"""Checks of bodies: the template passes, and each bad body is caught by the check of that name and by no other."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from neurobench_grasp.checks import body as checks
from neurobench_grasp.checks.body import BodyCase
from neurobench_grasp.checks.rules import Broken, checks_in
from neurobench_grasp.contract import BodySpec
from neurobench_grasp.scaffold import TEMPLATES

TEMPLATE = (TEMPLATES / "body" / "ngb_my_plugin.py").read_text()
WRIST = '<body name="palm" pos="0.25 0 0"><joint name="wrist" axis="0 0 1" range="-1 1" limited="true" damping="0.2" armature="0.01"/>'
PALM = '<geom size="0.03" mass="0.3"/></body><site name="middle"'


def failed(*edits, **changes):
    """Checks that a changed copy of the template fails."""
    text = TEMPLATE
    for before, after in edits:
        assert before in text
        text = text.replace(before, after)
    module = {}
    exec(text, module)
    (spec,) = module["ngb_bodies"]()
    case = BodyCase(SimpleNamespace(watch=nullcontext))
    case.spec = BodySpec(**{**vars(spec), **changes})
    found, passed = {}, set()
    for check in checks_in(checks):
        if set(check.needs) <= passed:
            try:
                check.run(case)
                passed.add(check.name)
            except Broken as reason:
                found[check.name] = str(reason)
    return found


def test_the_template_passes():
    assert failed() == {}


@pytest.mark.parametrize(
    ("edits", "changes", "check", "named"),
    [
        ([], {"name": "another"}, "is_body", "'another'"),
        ([('"elbow", ("elbow",), ("middle", "hand")', '"elbow", ("elbow",), ("hand",)')], {}, "names_parts", "'middle'"),
        ([('neutral_angles={"elbow": 1.2}', 'neutral_angles={"elbow": 68.0}')], {}, "rests_within_limits", "elbow"),
        ([], {"licence": " "}, "states_its_origin", "licence"),
        ([], {"source": ""}, "states_its_origin", "source"),
        ([('<site name="middle"', WRIST + PALM),
          ('joint_names={"elbow": "elbow"}', 'joint_names={"elbow": "elbow", "wrist": "wrist"}'),
          ('Part("elbow", ("elbow",)', 'Part("elbow", ("elbow", "wrist")')], {}, "reaches_every_joint", "wrist"),
        ([('gravity="0 0 0"', 'gravity="0 -900 0"'), ('limited="true"', 'limited="true" solreflimit="2 1"')], {},
         "stays_within_limits", "elbow"),
    ],
)  # fmt: skip
def test_a_bad_body_is_caught_by_the_check_of_that_name(edits, changes, check, named):
    found = failed(*edits, **changes)
    assert list(found) == [check] and named in found[check]

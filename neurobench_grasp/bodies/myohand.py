"""MyoHand: its joints, muscles, keypoints and parts by name, and the model built from MyoSuite's recipe.

Names are those of MyoSuite 3 without the side's suffix. MyoSuite 2 swapped the names of the
thumb's ``cmc_flexion`` and ``cmc_abduction``, in the same order of joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from neurobench_grasp.bodies.mujoco_body import MujocoBody
from neurobench_grasp.bodies.spec import PAINTED, SEEN, UNSEEN, Keypoint, View
from neurobench_grasp.contract.body import Part

SIDE = "_r"

JOINTS = (
    "pro_sup",
    "deviation",
    "flexion",
    "cmc_flexion",
    "cmc_abduction",
    "mp_flexion",
    "ip_flexion",
    *(f"{joint}" for i in (2, 3, 4, 5) for joint in (
        f"mcp{i}_flexion", f"mcp{i}_abduction", f"pm{i}_flexion", f"md{i}_flexion",
    )),
)  # fmt: skip
"""The 23 joints in the order of ``qpos``: forearm and wrist, thumb, then index to little finger."""

MUSCLES = (
    *("ECRL", "ECRB", "ECU", "FCR", "FCU", "PL", "PT", "PQ"),
    *(f"{muscle}{i}" for muscle in ("FDS", "FDP", "EDC") for i in (5, 4, 3, 2)),
    *("EDM", "EIP", "EPL", "EPB", "FPL", "APL", "OP"),
    *(f"{muscle}{i}" for i in (2, 3, 4, 5) for muscle in ("RI", "LU_RB", "UI_UB")),
)
"""The 39 muscles in the order of the actuators."""

WRIST = "lunate" + SIDE
"""Bone whose frame keypoints are expressed in; they do not depend on forearm and wrist joints."""

_KEYPOINT_SOURCES: Mapping[str, Keypoint] = {
    "thumb_cmc": ("body", "firstmc"),
    "thumb_mcp": ("body", "proximal_thumb"),
    "thumb_ip": ("body", "distal_thumb"),
    "thumb_tip": ("site", "THtip"),
    **{
        f"{finger}_{point}": source
        for i, finger, tip in zip((2, 3, 4, 5), ("index", "middle", "ring", "little"), "IMRL", strict=True)
        for point, source in (
            ("mcp", ("body", f"{i}proxph")),
            ("pip", ("body", f"midph{i}")),
            ("dip", ("body", f"distph{i}")),
            ("tip", ("site", f"{tip}Ftip")),
        )
    },
}

KEYPOINTS = tuple(_KEYPOINT_SOURCES)
"""The 20 keypoints: each digit's joints and its tip."""


DIGITS = ("thumb", "index", "middle", "ring", "little")

PARTS = (
    Part("wrist", JOINTS[:3]),
    *(
        Part(digit, JOINTS[3 + 4 * i : 7 + 4 * i], KEYPOINTS[4 * i : 4 * i + 4])
        for i, digit in enumerate(DIGITS)
    ),
)
"""Forearm and wrist, and the five digits."""

NEUTRAL: Mapping[str, float] = {
    **dict.fromkeys(JOINTS, 0.0),
    "cmc_abduction": 0.2,
    "mp_flexion": -0.1,
    "ip_flexion": -0.2,
    **{f"mcp{i}_flexion": 0.35 for i in (2, 3, 4, 5)},
    **{f"pm{i}_flexion": 0.5 for i in (2, 3, 4, 5)},
    **{f"md{i}_flexion": 0.3 for i in (2, 3, 4, 5)},
}
"""The relaxed hand (rad) with a straight wrist."""


_SHOWN_JOINTS = {
    "flexion": "wrist, flexion",
    "cmc_abduction": "thumb CMC, abduction",
    "ip_flexion": "thumb IP, flexion",
    "mcp2_flexion": "index MCP, flexion",
    "pm2_flexion": "index PIP, flexion",
    "mcp5_flexion": "little MCP, flexion",
}

_FOREARM = ("ulna", "radius")
_ARM = ("clavicle", "scapula", "humerus", *_FOREARM)
_BONE_COLOUR = [0.93, 0.90, 0.84, 1.0]
_SKIN_OPACITY = 0.4


def _dress(spec: Any) -> None:
    """Draw bones, in translucent skin; MyoSuite has them in the groups of the same numbers."""
    for geom in spec.geoms:
        in_arm = geom.parent.name.startswith(_ARM)
        if geom.group == SEEN and (not in_arm or geom.parent.name.startswith(_FOREARM)):
            geom.rgba = _BONE_COLOUR
        elif geom.group == PAINTED and not in_arm:  # the skin of the arm would hide the wrist's bones
            geom.material, geom.rgba = "", [1, 1, 1, _SKIN_OPACITY]
        else:
            geom.group = UNSEEN


_RADIAL_AND_PALMAR = View(
    look_at=(0.015, -0.075, -0.015),  # middle of the hand
    towards=(0.80, -0.15, -0.58),
    up=(0.0, -1.0, 0.0),  # the fingers point up
    distance=0.6,
    field_of_view=23.0,
    dress=_dress,
)
"""Fingers appear where keypoint errors are measured, and wrist movements appear in the forearm."""


@cache
def build_myohand() -> MujocoBody:
    """Return the hand of MyoSuite's recipe ``hand_standard``; it is compiled when first used."""
    return MujocoBody(
        "myohand",
        make_spec=_recipe,
        joint_names={joint: joint + SIDE for joint in JOINTS},
        muscle_names={muscle: (muscle + SIDE, f"{muscle}_tendon{SIDE}") for muscle in MUSCLES},
        keypoint_sources={name: (kind, target + SIDE) for name, (kind, target) in _KEYPOINT_SOURCES.items()},
        tips=tuple(f"{digit}_tip" for digit in DIGITS),
        frame="wrist",
        frame_body=WRIST,
        parts=PARTS,
        neutral_angles=NEUTRAL,
        labels=_SHOWN_JOINTS,
        view=_RADIAL_AND_PALMAR,
    )


def _recipe() -> Any:
    import_module("myosuite.core.model_recipes")  # registers the recipes
    from myosuite.core.model_builder import build_from_recipe

    return build_from_recipe("hand_standard")[1]

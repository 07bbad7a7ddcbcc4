"""A macaque's arm with seven joints and 39 muscles, converted from a published OpenSim model.

The model is that of Chan and Moran (2006), Journal of Neural Engineering 3:324, as the Miller laboratory
publishes it (MIT licence). It is no part of this package: :func:`fetch_macaque_arm` downloads it, or takes a
copy, checks its digest and keeps the conversion in the user's cache. Sizes are those of a larger animal, as
for the ``planar_arm``. The file has no armature and no damping; :mod:`neurobench_grasp.bodies.opensim` sets
them.
"""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from neurobench_grasp.atomic import move_folder, new_folder
from neurobench_grasp.bodies.mujoco_body import MujocoBody
from neurobench_grasp.bodies.opensim import convert, read_osim, scaled
from neurobench_grasp.bodies.opensim.document import LARGEST
from neurobench_grasp.bodies.planar_arm import SCALE
from neurobench_grasp.bodies.spec import PAINTED, UNSEEN, View
from neurobench_grasp.cache import cache_folder
from neurobench_grasp.contract import Progress
from neurobench_grasp.contract.body import Part
from neurobench_grasp.errors import NgbError
from neurobench_grasp.formats import read_plain

NAME = "macaque_arm"
FILE = "monkeyArm_current.osim"
URL = f"https://github.com/limblab/monkeyArmModel/raw/4fb7ddd/{FILE}"
SHA256 = "4148aee2c8dda1dcb0918496ad7c5e1adcf4ebabde0a68a3e0dc67faec67b895"
LICENCE = "MIT, © Miller Limb Lab; https://github.com/limblab/monkeyArmModel/blob/4fb7ddd/LICENSE"
TIMEOUT = 30.0
"""Seconds to wait for a part of a download, at most."""
CONVERSION = 2
"""Raised when the same file is converted to another body."""

JOINTS = (
    "shoulder_adduction",
    "shoulder_rotation",
    "shoulder_flexion",
    "elbow_flexion",
    "radial_pronation",
    "wrist_flexion",
    "wrist_abduction",
)
"""The file's coordinates, from the trunk to the hand."""
NEUTRAL: Mapping[str, float] = {
    "shoulder_adduction": -0.2,
    "shoulder_rotation": 0.35,
    "shoulder_flexion": 0.6,
    "elbow_flexion": 1.8,
}
"""The hand in front of the trunk at the height of the shoulder, rad.

The muscles can hold the hand still at all points 10 cm around it in the horizontal plane (static optimisation
leaves no moment), and no joint needs more than 1.9 N·m there against passive fibres. With a shoulder flexion
of 0.1 rad they could not where the hand is near the trunk.
"""


def _dress(spec: Any) -> None:
    """Draw the bones, and not what muscles wrap over."""
    for geom in spec.geoms:
        geom.group = PAINTED if geom.name.startswith("bone-") else UNSEEN


_FROM_THE_RIGHT = View(
    look_at=(0.08, -0.08, 0.03),
    towards=(0.5, 0.35, 1.0),
    up=(0.0, 1.0, 0.0),
    distance=1.0,
    field_of_view=34.0,
    dress=_dress,
)


def fetch_macaque_arm(
    source: str | Path | None = None, *, url: str = URL, progress: Progress = lambda text: None
) -> Path:
    """Download or copy the OpenSim model, convert it, and keep the result in the user's cache.

    Parameters
    ----------
    source : path, optional
        The file itself. Default: it is downloaded.
    url : str
    progress : callable
        Called with status messages.

    Returns
    -------
    pathlib.Path
        Its folder, which appears atomically.

    Raises
    ------
    NgbError
        If it cannot be downloaded, or is another file than the pinned one.
    """
    place = _place()
    if place.exists():
        progress(f"{NAME} is already in the cache")
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(place) as new:
        file = new / FILE
        progress(f"reading {source or url}")
        raw = read_plain(Path(source), LARGEST, advice="check the path") if source else _downloaded(url)
        if hashlib.sha256(raw).hexdigest() != SHA256:
            raise NgbError(
                f"{source or url} is another file than the pinned one (sha256 {SHA256[:12]}…), so it was "
                "not used; get that of commit 4fb7ddd."
            )
        file.write_bytes(raw)
        progress("converting: wrap objects are replaced, which takes half a minute")
        made = convert(scaled(read_osim(file), SCALE))
        (new / "body.xml").write_text(made.xml)
        (new / "conversion.json").write_text(json.dumps(asdict(made) | {"xml": "body.xml"}, indent=1))
        move_folder(new, place, unless=place.exists)
    return place


@cache
def build_macaque_arm() -> MujocoBody:
    """Return the arm; it is compiled when first used.

    A right arm: x points ahead, y up and z to the right, from a point beside the shoulder.

    Raises
    ------
    NgbError
        If the model has not been fetched.
    """
    made = _converted()
    points = {"elbow": ("body", "ulna1"), "wrist": ("body", "hand"), "hand": ("site", "Marker_1")}
    return MujocoBody(
        NAME,
        make_spec=_spec,
        joint_names={joint: joint for joint in JOINTS},
        muscle_names={muscle: (muscle, f"{muscle}_tendon") for muscle in made["muscles"]},
        keypoint_sources=points,
        tips=("hand",),
        frame="trunk",
        frame_body="sternum",
        parts=(Part("arm", JOINTS, tuple(points)),),
        neutral_angles=NEUTRAL,
        labels={joint: joint.replace("_", " ") for joint in JOINTS},
        view=_FROM_THE_RIGHT,
        endpoint="hand",
    )


def _downloaded(url: str) -> bytes:
    by_hand = "download it elsewhere and pass it with --from"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # its digest is checked
            raw: bytes = answer.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NgbError(
            f"{url} cannot be downloaded ({reason}); check your network connection, or {by_hand}."
        ) from None
    if len(raw) > LARGEST:
        raise NgbError(f"{url} has more than {LARGEST} bytes, so it was not used; {by_hand}.")
    return raw


def _place() -> Path:
    return cache_folder() / "bodies" / f"{NAME}-{SHA256[:12]}-{CONVERSION}"


def _converted() -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads((_place() / "conversion.json").read_text())
    except (OSError, ValueError):
        raise NgbError(
            f"The body {NAME} has not been fetched yet; run `ngb body fetch {NAME}` first (its licence: "
            f"{LICENCE})."
        ) from None
    return found


def _spec() -> Any:
    import mujoco

    spec = mujoco.MjSpec.from_file(str(_place() / "body.xml"))
    hand, grip = spec.body("hand"), spec.site("Marker_1")
    ends = [0.0, 0.0, 0.0, *grip.pos]
    hand.add_geom(
        name="bone-fingers", type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=ends, size=[0.006, 0, 0], mass=0
    )
    return spec

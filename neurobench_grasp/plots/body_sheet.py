"""A page about a body: names, ranges, signs and pictures of its joints, its muscles and keypoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np

from neurobench_grasp.contract import Body, BodySpec, Floats, Image

LEAST_MOTION = 1e-4
"""Of a keypoint, m."""
STEP = np.radians(10)
"""Change of an angle by which its sign is described, rad."""
N_MUSCLES = 3
"""Muscles named for each direction of a joint."""
PANEL = (220, 254)
"""Width and height of a picture of one posture, pixels."""
COLOUR = (0.34, 0.71, 0.91)
N_COLOURS = 48
"""Of the picture, which keeps it small."""
N_COLUMNS = 2
"""Joints beside each other."""

INTRODUCTION = """\
# Bodies

A controller moves a body: named joints, muscles and keypoints, simulated by MuJoCo. A layout names the body
that its joint angles belong to (`body`, default `myohand`; [layouts](layouts.md)) and maps each recorded
column to a joint, with a sign and an offset. This page lists what that needs. `ngb bodies NAME` prints it for
any installed body, `ngb bodies --to FOLDER` writes this page, `ngb new body NAME` creates a plugin with a
body to edit, `ngb new body NAME --from FILE.osim` one with an OpenSim model ([opensim](opensim.md)), and
`ngb check NAME` checks it. A controller that moves one body only names it in its
`ModelSpec` (`body`): it is checked on movements of this body, and movements of another are not scored.

**Sign.** For each joint: the muscles that shorten and lengthen most when its angle increases, and the
keypoint that moves most, with its displacement (x, y, z) in the body's frame for 10 degrees. Joints that were
not recorded are held at their neutral angle.

**Sizes.** A body's name with `@0.6` is the same body of a smaller animal: lengths are multiplied by 0.6,
forces of muscles by its square, masses and moments of force by its cube, moments of inertia by its fifth
power. A layout names it, and other tendons may follow: `myoarm@0.6/fixed`.

**Other tendons.** A body's name with `/fixed` or `/permuted-0`, `/permuted-1` … is the same body whose
muscles have constant moment arms: those of the neutral posture, or these permuted among the muscles that
cross a joint. They are for controllers; recordings name the body itself. What stays, and how permutations are
chosen, is in [random-muscle control](controllers.md#random-muscle-control). A body needs muscles of MuJoCo,
each on a separate tendon without limits, spring, damping or friction. With one muscle on either side of a
single joint, a permutation exchanges the two, which is no control.
"""


FETCHED = """
**Fetched bodies.** The models of these are no part of the package, and are not described on this page;
`ngb bodies NAME` prints the same tables of them once they are fetched.
"""


def body_page(specs: Sequence[BodySpec]) -> str:
    """Return the page of some bodies as Markdown; fetched ones are only named."""
    fetched = [f"- {spec.name}: {spec.summary}; `{spec.fetch}`" for spec in specs if spec.fetch]
    listed = [FETCHED, *fetched, ""] if fetched else []
    sections = (line for spec in specs if not spec.fetch for line in _section(spec))
    return "\n".join([INTRODUCTION, *listed, *sections])


def body_tables(body: Body) -> dict[str, list[tuple[str, ...]]]:
    """Return the joints, muscles and keypoints of a body as rows of text, the first with the heads.

    Returns
    -------
    dict of str to list of tuple of str
        ``joints``, ``muscles`` and ``keypoints``.
    """
    heads = ("joint", "lowest (°)", "highest (°)", "neutral (°)", "shortens", "lengthens", "moves (mm)")
    joints = [heads, *(_joint(body, j) for j in range(len(body.joints)))]
    moved = {joint: part.name for part in body.parts for joint in part.joints}
    arms, force = body.muscle_capacity(body.neutral[None])
    muscles: list[tuple[str, ...]] = [("muscle", "force (N)", "part it moves most")]
    for k, muscle in enumerate(body.muscles):
        most = body.joints[int(np.abs(arms[0, k]).argmax())]
        muscles.append((muscle, f"{abs(force[0, k]):.0f}", moved[most]))
    parts = {point: part.name for part in body.parts for point in part.keypoints}
    keypoints: list[tuple[str, ...]] = [("keypoint", "part", "tip")]
    keypoints += [(point, parts[point], "yes" if point in body.tips else "") for point in body.keypoints]
    return {"joints": joints, "muscles": muscles, "keypoints": keypoints}


def joint_pictures(body: Body) -> bytes:
    """Draw every joint at its lowest, neutral and highest angle, the others at neutral, as a PNG.

    Raises
    ------
    NgbError
        If the body cannot be drawn, or not here.
    """
    import PIL.Image
    from matplotlib.figure import Figure

    zero = np.clip(np.zeros(len(body.joints)), *body.joint_limits.T)
    shown: list[tuple[str, Floats]] = [
        ("all joints at 0°", zero),
        ("neutral", body.neutral),
        ("", body.neutral),
    ]
    for j, joint in enumerate(body.joints):
        for name, angle in zip(("", joint, ""), _shown_angles(body, j), strict=True):
            shown.append((f"{name}\n{np.degrees(angle):.0f}°".strip(), _with(body, j, angle)))
    painter = body.painter(*PANEL)
    images = _cropped([painter.paint(posture, COLOUR) for _, posture in shown])
    painter.close()
    n_rows = -(-len(images) // (3 * N_COLUMNS))
    height, width = images[0].shape[:2]
    tall = n_rows * (7.2 / (3 * N_COLUMNS) * height / width + 0.3)
    figure = Figure(figsize=(7.2, tall), dpi=110)
    for k, ((title, _), image) in enumerate(zip(shown, images, strict=True)):
        group, column = divmod(k, 3)
        row, block = group % n_rows, group // n_rows
        axes = figure.add_subplot(n_rows, 3 * N_COLUMNS, 3 * (N_COLUMNS * row + block) + column + 1)
        axes.imshow(image)
        axes.set_title(title, size=7)
        axes.axis("off")
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.005, top=1 - 0.3 / tall, wspace=0.02, hspace=0.25)
    drawn, small = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png")
    PIL.Image.open(drawn).convert("RGB").quantize(N_COLOURS).save(small, "png", optimize=True)
    return small.getvalue()


def _shown_angles(body: Body, j: int) -> tuple[float, float, float]:
    low, high = body.joint_limits[j]
    return low, body.neutral[j], high


def _cropped(images: Sequence[Image]) -> list[Image]:
    """Cut images to what is drawn in any of them."""
    drawn = (np.stack(images) != images[0][0, 0]).any(-1).any(0)
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    return [image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] for image in images]


def _section(spec: BodySpec) -> Iterator[str]:
    body = spec.build()
    tables = body_tables(body)
    yield f"\n## {spec.name}\n"
    yield f"{spec.summary[0].upper()}{spec.summary[1:]}."
    yield f"{len(body.joints)} joints, {len(body.muscles)} muscles, {len(body.keypoints)} keypoints,"
    yield f"in the frame of the {body.frame}. Model and parameters: {spec.source}; licence: {spec.licence}.\n"
    yield f"![Each joint at its lowest, neutral and highest angle](images/{spec.name}.png)\n"
    yield "Each joint at its lowest, neutral and highest angle, the others at neutral."
    for name, (head, *rows) in tables.items():
        yield f"\n### {name.capitalize()} of {spec.name}\n"
        yield f"| {' | '.join(head)} |"
        yield f"|{'---|' * len(head)}"
        yield from (f"| {' | '.join(row)} |" for row in rows)


def _joint(body: Body, j: int) -> tuple[str, ...]:
    low, high = np.degrees(body.joint_limits[j])
    before, after = (_with(body, j, body.neutral[j] + sign * STEP / 2) for sign in (-1, 1))
    change = np.diff(body.muscle_kinematics(np.stack([before, after]), 1.0).length, axis=0)[0]
    points = np.diff(body.keypoint_positions(np.stack([before, after])), axis=0).reshape(-1, 3)
    furthest = int(np.linalg.norm(points, axis=1).argmax())
    x, y, z = (f"{round(1000 * value) + 0}" for value in points[furthest])
    moves = f"{body.keypoints[furthest]} ({x}, {y}, {z})"
    still = np.abs(points).max() < LEAST_MOTION  # a joint below the frame moves no keypoint in it
    return (
        body.joints[j], f"{low:.0f}", f"{high:.0f}", f"{np.degrees(body.neutral[j]):.0f}",
        _most(body, -change), _most(body, change),
        "–" if still else moves,
    )  # fmt: skip


def _most(body: Body, change: Floats) -> str:
    """Name the muscles with the largest positive changes, the largest first."""
    order = [k for k in np.argsort(-change)[:N_MUSCLES] if change[k] > 1e-5]
    return ", ".join(body.muscles[k] for k in order) or "–"


def _with(body: Body, j: int, angle: float) -> Floats:
    """Return the neutral posture with one joint at another angle."""
    posture = body.neutral.copy()
    posture[j] = angle
    return posture

"""The model of a larger or smaller animal of the same build."""

from __future__ import annotations

from dataclasses import replace

from neurobench_grasp.bodies.opensim.document import OpenSimModel, PathPoint, Pose


def scaled(model: OpenSimModel, factor: float) -> OpenSimModel:
    """Return a model with all lengths times a factor.

    Forces grow with its square, masses with its cube, moments of inertia with its fifth power; angles stay.
    """

    def pose(one: Pose) -> Pose:
        return Pose(one.rotation, factor * one.position)

    def point(one: PathPoint) -> PathPoint:
        moves = {axis: (name, angles, factor * at) for axis, (name, angles, at) in one.moves.items()}
        return replace(one, position=factor * one.position, moves=moves)

    return replace(
        model,
        segments=tuple(
            replace(
                one,
                mass=factor**3 * one.mass,
                centre=factor * one.centre,
                inertia=factor**5 * one.inertia,
                in_parent=pose(one.in_parent),
                in_body=pose(one.in_body),
            )
            for one in model.segments
        ),
        wraps={
            name: replace(one, pose=pose(one.pose), size=tuple(factor * s for s in one.size))
            for name, one in model.wraps.items()
        },
        muscles=tuple(
            replace(
                one,
                force=factor**2 * one.force,
                fibre=factor * one.fibre,
                slack=factor * one.slack,
                points=tuple(point(p) for p in one.points),
            )
            for one in model.muscles
        ),
        markers={name: point(one) for name, one in model.markers.items()},
    )

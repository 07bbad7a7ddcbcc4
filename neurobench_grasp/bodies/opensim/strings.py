"""Shortest paths around wrap objects: in closed form around one sphere or cylinder, else as a tight string.

A string of many points is shortened by moving each point to the middle of its neighbours, and out of the
objects that it would pass through; from coarse to fine. Paths over ellipsoids, through tori and around
several objects need no special case. It is the reference by which wrap objects that MuJoCo does not have are
replaced, and it states how much lengths change by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurobench_grasp.bodies.opensim.document import Pose
from neurobench_grasp.contract import Bools, Floats

LEVELS, ROUNDS = 5, 60
"""Times that the number of intervals doubles, from 4, and rounds of shortening at each."""
_NEWTON = 3  # steps to the surface along its normal, from a point that is slightly inside


@dataclass(frozen=True, eq=False)
class Obstacle:
    """A wrap object in its own frame, whose places in a base frame follow the posture.

    Parameters
    ----------
    kind : str
        ``sphere``, ``cylinder`` (without ends, along z), ``ellipsoid`` or ``torus`` (its ring is about z).
    size : tuple of float
        Radius; radius and length; semi-axes; or radius of the tube and of the ring, m.
    rotation : ndarray, shape (n, 3, 3)
    position : ndarray, shape (n, 3)
    side : ndarray, shape (3,), optional
        Direction in its frame on whose side the path has to pass.
    """

    kind: str
    size: tuple[float, ...]
    rotation: Floats
    position: Floats
    side: Floats | None = None

    @property
    def axes(self) -> Floats:
        """Semi-axes of a sphere, cylinder or ellipsoid, (3,)."""
        first = self.size[0]
        known = {"sphere": (first, first, first), "cylinder": (first, first, np.inf)}
        return np.array(known.get(self.kind, self.size))

    @property
    def via(self) -> Floats | None:
        """Point past which a string is laid before it is pulled tight: the hole, or the stated side."""
        if self.kind == "torus":
            return np.zeros(3)
        return None if self.side is None else 1.5 * self.side * max(a for a in self.axes if np.isfinite(a))

    def local(self, points: Floats) -> Floats:
        """Return points of the base frame, (n, k, 3), in the object's."""
        local: Floats = np.einsum("nji,nkj->nki", self.rotation, points - self.position[:, None])
        return local

    def base(self, points: Floats) -> Floats:
        """Return points of the object's frame, (n, k, 3), in the base frame."""
        base: Floats = np.einsum("nij,nkj->nki", self.rotation, points) + self.position[:, None]
        return base

    def inside(self, points: Floats) -> Bools:
        """Return which points are inside, (n, k)."""
        where = self.local(points)
        if self.kind == "torus":
            away = where - _on_ring(where, self.size[1])
            within: Bools = np.linalg.norm(away, axis=-1) < self.size[0]
        else:
            within = ((where / self.axes) ** 2).sum(-1) < 1
        return within

    def outside(self, points: Floats) -> Floats:
        """Return the points with those that are inside moved to the surface."""
        where = self.local(points)
        if self.kind != "torus":
            return self.base(_out_of_ellipsoid(where, self.axes))
        nearest = _on_ring(where, self.size[1])
        away = where - nearest
        distance = np.linalg.norm(away, axis=-1, keepdims=True)
        moved = nearest + away * (self.size[0] / (distance + 1e-12))
        return self.base(np.where(distance < self.size[0], moved, where))

    def length(self, ends: Floats) -> Floats:
        """Return the lengths of shortest paths around it alone between ends, (n, 2, 3) → (n,)."""
        if self.kind in ("sphere", "cylinder"):
            return around(self.kind, self.size[0], self.local(ends), self.side)
        length = straight(ends)
        in_the_way = np.ones(len(ends), bool)
        if self.via is None:  # an ellipsoid, scaled to a unit sphere
            in_the_way = _nearest(*np.moveaxis(self.local(ends) / self.axes, 1, 0)) < 1
        if in_the_way.any():
            length[in_the_way] = tight_length(ends[in_the_way], [self.some(in_the_way)])
        return length

    def some(self, which: Bools) -> Obstacle:
        """Return it in some of its places."""
        return replace(self, rotation=self.rotation[which], position=self.position[which])


def path_length(ends: Floats, obstacles: Sequence[Obstacle]) -> Floats:
    """Return the lengths of shortest paths around obstacles; one that contains an end is none.

    Parameters
    ----------
    ends : ndarray, shape (n, 2, 3)
        m.
    obstacles : sequence of Obstacle
        With n places.

    Returns
    -------
    ndarray, shape (n,)
        m.
    """
    direct = straight(ends)
    longer = np.array([one.length(ends) - direct for one in obstacles]).reshape(-1, len(ends))
    length: Floats = direct + longer.sum(0)
    several: Bools = (longer > 1e-9).sum(axis=0) > 1
    if several.any():
        length[several] = tight_length(ends[several], [one.some(several) for one in obstacles])
    return length


def around(kind: str, radius: float, ends: Floats, side: Floats | None = None) -> Floats:
    """Return the lengths of shortest paths around a sphere, or a cylinder along z, at the origin.

    Parameters
    ----------
    kind : str
        ``sphere`` or ``cylinder``.
    radius : float
        m.
    ends : ndarray, shape (n, 2, 3)
        m. An object that contains an end is no obstacle.
    side : ndarray, shape (3,), optional
        Direction on whose side a path has to pass, by the rules of OpenSim's ``WrapCylinder``. Default: the
        shorter way.

    Returns
    -------
    ndarray, shape (n,)
        m.
    """
    along = np.zeros(len(ends))
    if kind == "cylinder":  # unrolled, a path around it is straight
        along, ends = ends[:, 1, 2] - ends[:, 0, 2], ends * np.array([1.0, 1.0, 0.0])
    start, stop = ends[:, 0], ends[:, 1]
    first, last = (np.linalg.norm(end, axis=1) for end in (start, stop))
    cosine = (start * stop).sum(1) / np.maximum(first * last, 1e-12)
    turn = np.arccos(np.clip(cosine, -1, 1))
    beside = np.zeros(len(ends), bool)  # passes on the stated side anyway
    if side is not None:
        beside, other_way = _on_side(start, stop, radius, side)
        turn = np.where(other_way, 2 * np.pi - turn, turn)
    ratios = (np.minimum(radius / np.maximum(end, 1e-12), 1.0) for end in (first, last))
    arc = turn - sum(np.arccos(ratio) for ratio in ratios)
    free = (arc <= 0) | beside | (np.minimum(first, last) < radius)
    tangents = [np.sqrt(np.maximum(end**2 - radius**2, 0)) for end in (first, last)]
    length: Floats = np.hypot(np.where(free, straight(ends), sum(tangents) + radius * arc), along)
    return length


def straight(ends: Floats) -> Floats:
    """Return the distances of ends, (n, 2, 3) → (n,)."""
    distance: Floats = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=-1)
    return distance


def in_base(pose: Pose, rotations: Floats, positions: Floats) -> tuple[Floats, Floats]:
    """Return a frame of a body in the base frame, (n, 3, 3) and (n, 3), by the places of the body."""
    return rotations @ pose.rotation, rotations @ pose.position + positions


def tight_length(ends: Floats, obstacles: Sequence[Obstacle]) -> Floats:
    """Return the lengths of strings that are pulled tight around obstacles, (n,)."""
    free = [np.array(~one.inside(ends).any(axis=1)).reshape(-1, 1, 1) for one in obstacles]
    start, stop = np.moveaxis(ends, 1, 0)
    middle = ends.mean(axis=1)
    for one in obstacles:
        if one.via is not None:
            middle = one.base(np.tile(one.via, (len(ends), 1, 1)))[:, 0]
    string = np.stack([start, (start + middle) / 2, middle, (middle + stop) / 2, stop], axis=1)
    for level in range(LEVELS):
        if level:
            string = _doubled(string)
        for _ in range(ROUNDS):
            for first in (1, 2):
                moved = (string[:, first - 1 : -2 : 2] + string[:, first + 1 :: 2]) / 2
                for one, matters in zip(obstacles, free, strict=True):
                    moved = np.where(matters, one.outside(moved), moved)
                string[:, first:-1:2] = moved
    length: Floats = np.linalg.norm(np.diff(string, axis=1), axis=-1).sum(axis=1)
    return length


def _nearest(start: Floats, stop: Floats) -> Floats:
    """Return the distances of straight lines between ends from the origin, (n,)."""
    ahead = stop - start
    share = np.clip(-(start * ahead).sum(1) / np.maximum((ahead**2).sum(1), 1e-24), 0, 1)
    distance: Floats = np.linalg.norm(start + share[:, None] * ahead, axis=1)
    return distance


def _on_side(start: Floats, stop: Floats, radius: float, side: Floats) -> tuple[Bools, Bools]:
    """Return where a straight line passes on that side, and where the path to it is the longer way, (n,)."""
    ahead = stop - start
    share = -(start * ahead).sum(1) / np.maximum((ahead**2).sum(1), 1e-24)
    nearest = start + share[:, None] * ahead
    crosses = (np.linalg.norm(nearest, axis=1) < radius) & (share > 0) & (share < 1)
    first, last = start @ side > 0, stop @ side > 0
    wraps: Bools = crosses | ~(first | last) | ((first != last) & (nearest @ side <= 0))
    middle = sum(end / np.maximum(np.linalg.norm(end, axis=1, keepdims=True), 1e-12) for end in (start, stop))
    other_way: Bools = (middle @ side < 0) | ~crosses
    return ~wraps, other_way


def _doubled(string: Floats) -> Floats:
    out = np.empty((len(string), 2 * string.shape[1] - 1, 3))
    out[:, ::2] = string
    out[:, 1::2] = (string[:, 1:] + string[:, :-1]) / 2
    return out


def _on_ring(points: Floats, radius: float) -> Floats:
    """Return the nearest points of a ring about z."""
    flat = points * np.array([1.0, 1.0, 0.0])
    nearest: Floats = flat * (radius / (np.linalg.norm(flat, axis=-1, keepdims=True) + 1e-12))
    return nearest


def _out_of_ellipsoid(points: Floats, axes: Floats) -> Floats:
    inside = ((points / axes) ** 2).sum(-1, keepdims=True) < 1
    moved = points.copy()
    for _ in range(_NEWTON):
        slope = moved / axes**2 + 1e-12
        value = ((moved / axes) ** 2).sum(-1, keepdims=True)
        moved = moved + slope * (1 - value) / (2 * (slope**2).sum(-1, keepdims=True))
    return np.where(inside, moved, points)

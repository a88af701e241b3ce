"""Whether two groups of views show the same surface, once it is said how they lie to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

SAME_DEPTH = 0.1
"""Share of the depth within which two views see the same surface."""

STRIDE = 4
"""Every so many pixels in both directions are looked at."""


class Overlap(NamedTuple):
    """How well the two fit.

    Attributes:
        share: of the points of one group, those that fall into a view of the other; the better of both directions.
        agreement: of those, the share that lies as deep as that view saw it; the worse of both directions.
    """

    share: float
    agreement: float


def overlap(a: Sequence[Prediction], b: Sequence[Prediction], a_from_b: Sim3) -> Overlap:
    """How views of two submaps fit, each given in its submap with pose and intrinsics; others do not count."""
    forward, backward = _seen_in(a, b, a_from_b), _seen_in(b, a, a_from_b.inverse())
    return Overlap(max(forward.share, backward.share), min(forward.agreement, backward.agreement))


def _seen_in(views: Sequence[Prediction], others: Sequence[Prediction], views_from_others: Sim3) -> Overlap:
    """How the points of others fall into the views: over each point, the view in which it fits best counts."""
    clouds = [other.points[::STRIDE, ::STRIDE][other.confidence[::STRIDE, ::STRIDE] > 0] for other in others]
    points = views_from_others.apply(np.concatenate(clouds).astype(np.float64))
    inside, agreeing = np.zeros(len(points), np.bool_), np.zeros(len(points), np.bool_)
    for view in views:
        in_view, as_deep = _compared(view, points)
        inside |= in_view
        agreeing |= as_deep
    count = int(inside.sum())
    return Overlap(count / max(1, len(points)), float((agreeing & inside).sum()) / max(1, count))


def _compared(view: Prediction, points: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) whether points fall onto pixels of a view that it is sure of, and whether they lie as deep as it saw."""
    pose, camera = view.submap_from_camera, view.intrinsics
    nothing = np.zeros(len(points), np.bool_)
    if pose is None or camera is None:
        return nothing, nothing
    to_camera = pose.inverse()
    depth = view.points @ to_camera.rotation[2] + to_camera.translation[2]
    x, y, z = to_camera.apply(points).T
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    height, width = depth.shape
    inside = (z > 0) & (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
    rows, columns = np.rint(v[inside]).astype(int), np.rint(u[inside]).astype(int)
    inside[inside] = view.confidence[rows, columns] > 0
    sure = view.confidence[rows, columns] > 0
    seen = depth[rows[sure], columns[sure]]
    agreeing = nothing.copy()
    agreeing[inside] = np.abs(z[inside] - seen) < SAME_DEPTH * np.abs(seen)
    return inside, agreeing

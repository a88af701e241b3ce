"""Pixels of a pointmap at which the surface breaks off: what lies between two surfaces flies freely in space.

A pixel is an edge where the depth jumps and the normal turns (section 5.2 of the specification of pi^3); a slanted
surface has jumps of depth alone, a corner turns its normal alone.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

DEPTH_JUMP = 0.03
"""Difference of depths in a window over the depth of its middle beyond which the depth jumps; the authors' value."""

NORMAL_TURN = 5.0
"""Degrees between normals beyond which the normal turns; the authors' value."""

_WINDOW = np.ones((3, 3), np.uint8)
_LEAST_LENGTH = np.float32(1e-12)


def surface_edges(
    points: NDArray[Any], valid: Mask | None = None, *, jump: float = DEPTH_JUMP, turn: float = NORMAL_TURN
) -> Mask:
    """Edges (h, w) of a pointmap.

    Args:
        points: (h, w, 3) in the optical axes of the camera that sees it.
        valid: (h, w) pixels to look at, or None for all; points that are not finite and before the camera never count.
        jump: see ``DEPTH_JUMP``.
        turn: see ``NORMAL_TURN``.

    Raises:
        GeometryError: wrong shapes.
    """
    points = _checked(points, valid)
    usable = (points[..., 2] > 0) & np.isfinite(points[..., 0])
    usable &= np.isfinite(points[..., 1]) & np.isfinite(points[..., 2])
    if valid is not None:
        usable &= valid
    jumps = depth_edges(points[..., 2], usable, jump=jump)
    if not jumps.any():
        return jumps
    # Normals are dear and jumps are rare: they are found only as far from a jump as they have a say in it.
    near = cv2.dilate(jumps.view(np.uint8), _WINDOW, iterations=2).view(np.bool_)
    return normal_edges(*pointmap_normals(points, usable, near), jumps, turn=turn)


def depth_edges(depth: NDArray[Any], valid: Mask | None = None, *, jump: float = DEPTH_JUMP) -> Mask:
    """Pixels (h, w) around which the depth differs by more than ``jump`` of their own, among 3 x 3 valid ones.

    A pixel that is not valid itself may be one; without ``valid`` all depths count that are finite.
    """
    depth = np.asarray(depth, dtype=np.float32)
    finite = np.isfinite(depth)
    usable = finite if valid is None else valid & finite
    largest = np.finfo(np.float32).max
    farthest = cv2.dilate(np.where(usable, depth, -largest), _WINDOW)
    nearest = cv2.erode(np.where(usable, depth, largest), _WINDOW)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(finite & ((farthest - nearest) / depth > np.float32(jump)))


def pointmap_normals(points: NDArray[Any], valid: Mask, where: Mask | None = None) -> tuple[Floats, Mask]:
    """Unit normals (h, w, 3) float32 from each pixel's four neighbors, and where there is one (h, w).

    The normal is the mean direction of up to four triangles: those whose three corners are valid. Elsewhere, and
    outside of ``where``, it is zero.
    """
    there, stride = np.pad(valid, 1).ravel(), valid.shape[1] + 2
    # Planes of coordinates, with a border so that every pixel has four neighbors.
    planes = np.zeros((3, valid.shape[0] + 2, stride), np.float32)
    np.copyto(planes[:, 1:-1, 1:-1], np.moveaxis(points, -1, 0), where=valid)
    planes = planes.reshape(3, -1)
    places = np.flatnonzero(np.pad(valid if where is None else valid & where, 1))
    middle = planes[:, places]
    around = [places + step for step in (-stride, -1, stride, 1)]  # upper, left, lower, right
    arms, reached = [planes[:, beside] - middle for beside in around], [there[beside] for beside in around]
    total, found = np.zeros_like(middle), np.zeros(len(places), bool)
    for number in range(4):
        after = (number + 1) % 4
        counts = reached[number] & reached[after]
        total += np.where(counts, _unit(_cross(arms[number], arms[after])), np.float32(0))
        found |= counts
    normals, mask = np.zeros((len(there), 3), np.float32), np.zeros(len(there), bool)
    normals[places], mask[places] = np.where(found, _unit(total), np.float32(0)).T, found
    return _inner(normals, valid.shape), _inner(mask, valid.shape)


def normal_edges(normals: Floats, valid: Mask, where: Mask | None = None, *, turn: float = NORMAL_TURN) -> Mask:
    """Pixels (h, w) of ``where`` with a normal, around which normals turn by more than ``turn`` degrees.

    A pixel's angle is the largest to the valid normals beside it, and it is an edge where a pixel beside it has a large
    one. A pixel without a normal is at a right angle to every valid neighbor, so what borders on unknown is an edge.
    """
    asked = valid if where is None else where & valid
    there, stride = np.pad(valid, 1).ravel(), valid.shape[1] + 2
    planes = np.pad(np.moveaxis(normals, -1, 0), ((0, 0), (1, 1), (1, 1))).reshape(3, -1)
    places = np.flatnonzero(np.pad(cv2.dilate(asked.view(np.uint8), _WINDOW), 1))
    middle, cosine = planes[:, places], np.ones(len(places), np.float32)
    for step in (-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1):
        beside = places + step
        between = np.einsum("ij,ij->j", middle, planes[:, beside])
        np.minimum(cosine, np.where(there[beside], between, np.float32(1)), out=cosine)
    least = np.ones(len(there), np.float32)
    least[places] = cosine
    turned = cv2.erode(_inner(least, valid.shape), _WINDOW)
    return np.asarray(asked & (np.arccos(np.clip(turned, -1, 1)) > np.float32(np.deg2rad(turn))))


def _inner(flat: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A flat array of bordered pixels as (h, w, ...), without the border."""
    bordered = flat.reshape(shape[0] + 2, shape[1] + 2, *flat.shape[1:])
    return np.ascontiguousarray(bordered[1:-1, 1:-1])


def _cross(a: Floats, b: Floats) -> Floats:
    """Of vectors (3, N)."""
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _unit(vectors: Floats) -> Floats:
    """Vectors (3, N) at length 1; those of no length stay as they are."""
    length = np.sqrt(vectors[0] ** 2 + vectors[1] ** 2 + vectors[2] ** 2)
    return np.asarray(vectors / np.maximum(length, _LEAST_LENGTH))


def _checked(points: NDArray[Any], valid: Mask | None) -> Floats:
    points = np.asarray(points, dtype=np.float32)
    if points.ndim != 3 or points.shape[2] != 3 or points.size == 0:
        raise GeometryError("pointmap", got=points.shape, expected="shape (h, w, 3)")
    if valid is not None and (valid.shape != points.shape[:2] or valid.dtype != np.bool_):
        raise GeometryError("valid pixels", got=(valid.dtype, valid.shape), expected=f"bool {points.shape[:2]}")
    return points

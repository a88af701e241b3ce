"""Where a camera stood, from the pointmap that its image gave (perspective-n-point).

Here "world" is whatever frame the pointmap is in: a submap's, for the reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.point_cloud import finite_points
from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]

MIN_POINTS = 16
RANSAC_ITERATIONS = 300
REFINE_ITERATIONS = 20
SMALL = 0.03
"""Step after which the refinement ends, in standard deviations of the pose if all samples erred independently: they do
not, so it is far below the pose's error."""

MOST_AHEAD = 4.0
"""How far the refinement goes beyond a step at most, in steps of the round before."""

FOLLOWED = 0.5
"""Share of the samples that must agree with a pose that was followed from the one before."""
MAX_POSITION_DEVIATION = 0.1
"""Largest standard deviation of the camera's position, as a share of the scene's depth, that still counts as known."""


@dataclass(frozen=True, eq=False)
class PoseEstimate:
    """A camera pose, or why there is none.

    Attributes:
        world_from_camera: rigid pose of the camera (optical axes), or None when the points do not tell it.
        reason: why the pose is None, for people; empty when it is known.
        inlier_share: share in [0, 1] of the points used that reproject within the threshold.
        covariance: (6, 6) of the pose's error, translation before rotation vector, along the world's axes, in its unit
            and radians; None without a pose. It follows from the residuals as if they were independent, which those of
            neighboring pixels are not: a lower bound.
    """

    world_from_camera: Sim3 | None
    reason: str
    inlier_share: float
    covariance: Array | None = None


def estimate_pose(
    points: NDArray[Any],
    confidence: NDArray[Any],
    intrinsics: Intrinsics,
    *,
    samples: int = 2000,
    reprojection_error: float = 8.0,
    min_inliers: float = 0.3,
    start: Sim3 | None = None,
) -> PoseEstimate:
    """Pose from confident pixels: RANSAC (P3P) or where the camera was, then a robust refinement over all samples.

    A network's pointmap errs by whole patches at once, so the inliers of a minimal sample are a biased choice. The
    refinement therefore sees every sample and lets a Geman-McClure weight, whose scale follows the residuals, decide.
    Deterministic: the same input gives the same pose, whatever the state of any random generator.

    Args:
        points: (h, w, 3) pointmap in any world frame and unit.
        confidence: (h, w) in [0, 1]; pixels of confidence 0 are not used.
        intrinsics: of the (h, w) grid.
        samples: most pixels used; they are spread over the image in proportion to confidence.
        reprojection_error: pixels within which a point agrees with the pose.
        min_inliers: least share of the samples that must agree.
        start: ``world_from_camera`` of the same camera shortly before. Where half of the samples agree with what it is
            refined to, nothing is drawn at random; else it counts for nothing.

    Raises:
        GeometryError: arrays whose sizes do not fit each other. Points that tell no pose are no error.
    """
    size = (intrinsics.height, intrinsics.width)
    if points.shape != (*size, 3) or confidence.shape != size:
        raise GeometryError(
            "pointmap, confidence and intrinsics of different sizes",
            got=(points.shape, confidence.shape, size),
            expected="(h, w, 3), (h, w) and intrinsics of (h, w)",
        )
    chosen = _sample(points, confidence, samples)
    if len(chosen) < MIN_POINTS:
        return PoseEstimate(None, f"{len(chosen)} confident points, {MIN_POINTS} are needed", 0.0)
    world = points.reshape(-1, 3)[chosen].astype(np.float64)
    pixels = np.stack([chosen % intrinsics.width, chosen // intrinsics.width], axis=1).astype(np.float64)
    weights = confidence.ravel()[chosen].astype(np.float64)
    center = world.mean(axis=0)
    world -= center  # a map's far corner must not cost digits
    spread = np.linalg.svd(world, compute_uv=False)
    if not spread[1] > 1e-4 * spread[0]:
        return PoseEstimate(None, "the points lie on one line or in one place", 0.0)

    refined = _Refinement(world, pixels, weights, intrinsics, reprojection_error)
    found = None if start is None else refined.follow(start, center)
    if found is None:
        initial = _ransac(world, pixels, intrinsics, reprojection_error)
        if initial is None:
            return PoseEstimate(None, "no pose explains enough points", 0.0)
        found = refined.run(*initial)
    rotation, translation = found
    agree, depth = refined.agreement(rotation, translation)
    inlier_share = float(agree.mean())
    if (depth > 0).mean() < 0.5:
        return PoseEstimate(None, "most points lie behind the camera", inlier_share)
    if inlier_share < min_inliers:
        return PoseEstimate(
            None,
            f"{inlier_share:.0%} of the points agree within {reprojection_error:g} px, {min_inliers:.0%} are needed",
            inlier_share,
        )
    covariance = refined.covariance(rotation, translation)
    deviation = float("inf")
    if covariance is not None:
        deviation = float(np.sqrt(np.trace(covariance[:3, :3]))) / float(np.median(depth[depth > 0]))
    if not deviation < MAX_POSITION_DEVIATION:
        return PoseEstimate(None, f"the position is ambiguous by {deviation:.0%} of the points' depth", inlier_share)
    world_from_camera = Sim3.rigid(rotation.T, center - rotation.T @ translation)
    return PoseEstimate(world_from_camera, "", inlier_share, covariance)


def _sample(points: NDArray[Any], confidence: NDArray[Any], samples: int) -> NDArray[np.intp]:
    """Flat indices of at most ``samples`` usable pixels, by systematic sampling in proportion to confidence.

    Equal steps through the cumulative confidence in raster order: dense where the network is sure, still spread over
    the whole image, and free of chance.
    """
    usable = finite_points(points) & np.isfinite(confidence) & (confidence > 0)
    pixels = np.flatnonzero(usable)
    if len(pixels) <= samples:
        return pixels
    cumulative = np.cumsum(confidence.ravel()[pixels], dtype=np.float64)
    steps = (np.arange(samples) + 0.5) * (cumulative[-1] / samples)
    found = np.searchsorted(cumulative, steps)  # ascending, as the steps are
    return np.asarray(pixels[found[np.diff(found, prepend=-1) > 0]], dtype=np.intp)


def _ransac(
    world: Array, pixels: Array, intrinsics: Intrinsics, reprojection_error: float
) -> tuple[Array, Array] | None:
    """``camera_from_world`` as (rotation, translation), or None. OpenCV seeds this generator anew in each call."""
    try:
        found, vector, translation, _ = cv2.solvePnPRansac(
            world,
            pixels,
            intrinsics.matrix(),
            None,
            iterationsCount=RANSAC_ITERATIONS,
            reprojectionError=reprojection_error,
            confidence=0.999,
            flags=cv2.SOLVEPNP_AP3P,
        )
    except cv2.error:  # its solvers assert on some degenerate samples
        return None
    if not found or not (np.isfinite(vector).all() and np.isfinite(translation).all()):
        return None
    rotation = np.asarray(cv2.Rodrigues(vector)[0], dtype=np.float64)
    return rotation, np.asarray(translation, dtype=np.float64).ravel()


class _Refinement:
    """Gauss-Newton on the reprojection error, reweighted by confidence and a Geman-McClure weight.

    Points, pixels and residuals are planes, (3, N) and (2, N): every round is then a few long vector operations.
    """

    def __init__(
        self, world: Array, pixels: Array, confidence: Array, intrinsics: Intrinsics, reprojection_error: float
    ) -> None:
        self.world = np.ascontiguousarray(world.T)
        # Of each pixel the x and y of its ray at depth 1: the principal point costs nothing in the rounds.
        self.focal = np.array([[intrinsics.fx], [intrinsics.fy]])
        self.rays = (pixels.T - np.array([[intrinsics.cx], [intrinsics.cy]])) / self.focal
        self.confidence, self.total = confidence, float(confidence.sum())
        self.largest_scale = reprojection_error
        self._rows = np.zeros((6, 2, len(confidence)))

    def follow(self, start: Sim3, center: Array) -> tuple[Array, Array] | None:
        """As of ``run`` from a pose shortly before, in a world that was shifted by -center; None when few agree."""
        camera_from_world = start.inverse()
        found = self.run(camera_from_world.rotation, camera_from_world.apply(center))
        agree, _ = self.agreement(*found)
        return found if agree.mean() >= FOLLOWED else None

    def agreement(self, rotation: Array, translation: Array) -> tuple[NDArray[np.bool_], Array]:
        """Which points (N,) agree with a pose, and how deep (N,) they lie."""
        seen = self._seen(rotation, translation)
        return (seen.squared < self.largest_scale**2) & (seen.depth > 0), seen.depth

    def run(self, rotation: Array, translation: Array) -> tuple[Array, Array]:
        """The refined ``camera_from_world``; the initial one when refining did not lower the robust cost."""
        start = (rotation, translation)
        first = seen = self._seen(rotation, translation)
        before: tuple[Array, Array] | None = None
        for _ in range(REFINE_ITERATIONS):
            scale = self._scale(seen)
            normal, gradient = self._normal_equations(seen, self._weights(seen, scale))
            # Levenberg's tiny damping only keeps the solve defined when a direction is unobservable.
            damped = normal + np.diag(1e-9 * np.diag(normal) + 1e-12)
            step: Array = np.asarray(-np.linalg.solve(damped, gradient), dtype=np.float64)
            moved = step if before is None else _extrapolated(step, *before, normal)
            before = step, moved
            turn = np.asarray(cv2.Rodrigues(moved[:3])[0])
            rotation, translation = turn @ rotation, turn @ translation + moved[3:]
            seen = self._seen(rotation, translation)
            # The inverse of the normal equations is the error's covariance, over its size: the step in deviations.
            if step @ normal @ step < (SMALL * scale) ** 2 * self.total / len(self.confidence):
                break
        scale = self._scale(seen)
        if not self._cost(seen, scale) <= self._cost(first, scale):
            return start
        left, _, right = np.linalg.svd(rotation)  # twenty products of rotations: remove the rounding
        return left @ right, translation

    def covariance(self, rotation: Array, translation: Array) -> Array | None:
        """As of ``PoseEstimate``; None when the points do not fix the pose."""
        seen = self._seen(rotation, translation)
        scale = self._scale(seen)
        weights = self._weights(seen, scale) / self.confidence.mean()
        normal, _ = self._normal_equations(seen, weights)
        values, vectors = np.linalg.eigh(normal)
        if values[0] <= 1e-14 * values[-1]:
            return None
        covariance = scale**2 * (vectors / values) @ vectors.T
        # The step turns about the camera center, so its translation part is the position's change. It is one of
        # camera_from_world along the camera's axes: the pose's own has the other sign, which a covariance does not see.
        order = [3, 4, 5, 0, 1, 2]
        turn = np.zeros((6, 6))
        turn[:3, :3] = turn[3:, 3:] = rotation.T
        return np.asarray(turn @ covariance[np.ix_(order, order)] @ turn.T)

    def _seen(self, rotation: Array, translation: Array) -> _SeenPoints:
        camera = rotation @ self.world
        camera += translation[:, None]
        inverse = 1.0 / np.maximum(camera[2], 1e-9)  # points behind get huge residuals, hence no weight
        rays = camera[:2] * inverse
        residuals = (rays - self.rays) * self.focal
        return _SeenPoints(rays, inverse, camera[2], residuals, np.einsum("ij,ij->j", residuals, residuals))

    def _scale(self, seen: _SeenPoints) -> float:
        """Standard deviation of the residuals (pixels) from their confidence-weighted median."""
        order = np.argsort(seen.squared)
        cumulative = np.cumsum(self.confidence[order])
        median = seen.squared[order[np.searchsorted(cumulative, 0.5 * cumulative[-1])]] ** 0.5
        return float(min(max(median / 1.177, 1e-3), self.largest_scale))  # median of a Rayleigh distribution

    def _weights(self, seen: _SeenPoints, scale: float) -> Array:
        spread = seen.squared * (1.0 / (2.0 * scale) ** 2) + 1.0
        return np.asarray(self.confidence / (spread * spread))

    def _cost(self, seen: _SeenPoints, scale: float) -> float:
        squared = seen.squared * (1.0 / (2.0 * scale) ** 2)
        return float(self.confidence @ (squared / (1.0 + squared)))

    def _normal_equations(self, seen: _SeenPoints, weights: Array) -> tuple[Array, Array]:
        """(6, 6) and (6,) for a step (turn, shift) applied in camera axes."""
        (x, y), inverse, rows = seen.rays, seen.inverse, self._rows
        np.multiply(x, -y, out=rows[0, 0])
        np.multiply(x, x, out=rows[1, 0])
        rows[1, 0] += 1
        np.negative(y, out=rows[2, 0])
        rows[3, 0] = rows[4, 1] = inverse  # the other shift moves no pixel along this axis, and stays zero
        np.multiply(y, -y, out=rows[0, 1])
        rows[0, 1] -= 1
        np.negative(rows[0, 0], out=rows[1, 1])
        rows[2, 1] = x
        np.multiply(seen.rays, -inverse, out=rows[5])
        # The focal lengths stand in the weights and residuals rather than in every row.
        weighted = (rows * (weights * self.focal**2)).reshape(6, -1)
        return weighted @ rows.reshape(6, -1).T, weighted @ (seen.residuals / self.focal).ravel()


def _extrapolated(step: Array, before: Array, moved: Array, metric: Array) -> Array:
    """Where steps lead that shrink at a steady rate, as those of reweighted least squares do (Anderson 1965).

    Args:
        step: (6,) of this round.
        before, moved: of the round before, as it was found and as it was made.
        metric: (6, 6) in which lengths are measured.
    """
    change = step - before
    weighed = metric @ change
    share = float(weighed @ step) / max(float(weighed @ change), np.finfo(float).tiny)
    return np.asarray(step - min(max(share, -MOST_AHEAD), 0.0) * (moved + change))


@dataclass(frozen=True, eq=False)
class _SeenPoints:
    """The N points as a camera of some pose sees them.

    Attributes:
        rays: (2, N) x and y at depth 1.
        inverse: (N,) 1 over the depth; large behind the camera.
        depth: (N,) along the optical axis.
        residuals: (2, N) pixels.
        squared: (N,) their squared lengths.
    """

    rays: Array
    inverse: Array
    depth: Array
    residuals: Array
    squared: Array

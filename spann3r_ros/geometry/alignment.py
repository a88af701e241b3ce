"""The similarity that carries one set of points onto another, exactly or in spite of outliers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]

MOST_PIXELS = 10_000
"""Pixels that determine how two pointmaps lie to each other; seven numbers need no more."""

LEAST_PIXELS = 16

AGREEMENT = 0.25
"""How far two points of one pixel may lie apart and still agree, as a share of the scene's extent. Of two
unrelated surfaces seen by the same rays a third of the pixels agree at most; with noise of 4 % of the depth on both
sides, more than half."""

LEAST_AGREEING = 0.5
"""Share of the confidence that must be on pixels that agree."""

TIGHTNESS = 3.0
"""Residuals beyond so many times the median of those that agree do not count in the end."""

ROUNDS = 3
"""Of tightening."""


@dataclass(frozen=True, eq=False)
class RobustAlignment:
    """An alignment and the points that support it.

    Attributes:
        target_from_source: the similarity.
        inliers: (N,) bool, the pairs within the inlier distance after alignment.
    """

    target_from_source: Sim3
    inliers: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PointmapSample:
    """Pixels of a pointmap on an even grid: what it takes to tell how it lies to another one of the same image.

    Attributes:
        points: (m, n, 3) float32.
        confidence: (m, n) float32.
    """

    points: NDArray[np.float32]
    confidence: NDArray[np.float32]

    @classmethod
    def of(cls, points: NDArray[np.float32], confidence: NDArray[np.float32]) -> PointmapSample:
        """A copy of at most ``MOST_PIXELS`` pixels; which ones follows from the size of the pointmap alone.

        Pixels that are not finite are zero, with confidence 0: a memory keeps no NaN.
        """
        stride = math.ceil(math.sqrt(confidence.size / MOST_PIXELS))
        points, confidence = points[::stride, ::stride], confidence[::stride, ::stride]
        finite = np.isfinite(points).all(axis=-1) & np.isfinite(confidence)
        zero = np.float32(0)
        return cls(np.where(finite[..., None], points, zero), np.where(finite, confidence, zero))

    @property
    def nbytes(self) -> int:
        """Its size."""
        return self.points.nbytes + self.confidence.nbytes


def umeyama(
    source: NDArray[Any],
    target: NDArray[Any],
    weights: NDArray[Any] | None = None,
    *,
    with_scale: bool = True,
) -> Sim3:
    """``target_from_source`` that minimizes ``sum w |target - s R source - t|^2`` (Umeyama, PAMI 1991, eq. 40-43).

    Args:
        source: (N, 3) points.
        target: (N, 3) the same points in the other frame.
        weights: (N,) >= 0; None weighs all alike.
        with_scale: False finds the best rigid transform (scale 1).

    Raises:
        GeometryError: wrong shapes, values that are not finite, fewer than 3 weighted pairs, or points on one line,
            which make the rotation ambiguous.
    """
    source, target, weights = _checked(source, target, weights)
    if int((weights > 0).sum()) < 3:
        raise GeometryError("pairs of points to align", got=int((weights > 0).sum()), expected=">= 3 of weight > 0")
    return fit_similarity(source, target, weights, "target" if with_scale else "")


def align_robust(
    source: NDArray[Any],
    target: NDArray[Any],
    inlier_distance: float,
    weights: NDArray[Any] | None = None,
    *,
    with_scale: bool = True,
) -> RobustAlignment:
    """Like ``umeyama`` when many pairs are wrong: graduated non-convexity with the Geman-McClure cost.

    Starts from the convex problem and tightens it by 1.4 per round until only residuals of about ``inlier_distance``
    count (Yang et al., RA-L 2020, section IV); no random choice, so the same input gives the same answer.

    Args:
        source, target, weights, with_scale: as in ``umeyama``.
        inlier_distance: in units of the target, the error that a right pair may have.

    Raises:
        GeometryError: as ``umeyama``, a distance that is not positive, or fewer than 3 pairs that agree.
    """
    source, target, weights = _checked(source, target, weights)
    bound = inlier_distance**2  # of a tiny distance 0
    if not (np.isfinite(inlier_distance) and inlier_distance > 0 and bound > 0):
        raise GeometryError("inlier distance", got=inlier_distance, expected="> 0, in units of the target")
    scaling = "target" if with_scale else ""
    alignment = umeyama(source, target, weights, with_scale=with_scale)
    squared = _squared_residuals(alignment, source, target)
    relaxation = max(1.0, 2.0 * float(squared.max()) / bound)
    while True:
        robust = weights * (relaxation * bound / (squared + relaxation * bound)) ** 2
        alignment = fit_similarity(source, target, robust, scaling)
        squared = _squared_residuals(alignment, source, target)
        if relaxation <= 1.0:
            break
        relaxation = max(1.0, relaxation / 1.4)
    inliers = (squared <= bound) & (weights > 0)
    if int(inliers.sum()) < 3:
        raise GeometryError(
            "pairs that agree on one alignment",
            got=int(inliers.sum()),
            expected=f">= 3 within {inlier_distance:g}",
            next_step="Raise the inlier distance, or check that the pairs belong together",
        )
    alignment = umeyama(source, target, weights * inliers, with_scale=with_scale)
    return RobustAlignment(alignment, np.asarray(inliers))


def align_pointmaps(
    source: NDArray[Any],
    target: NDArray[Any],
    source_confidence: NDArray[Any],
    target_confidence: NDArray[Any],
) -> RobustAlignment:
    """``target_from_source`` of the same pixels seen in two frames, in spite of noise and outliers.

    Pixels count in proportion to the geometric mean of their confidences, those of low confidence not at all; at most
    ``MOST_PIXELS``, spread evenly, are looked at. What counts as agreement follows from the extent of the target, and
    is tightened to the noise that was found. The scale is the ratio of the spreads: both sides are noisy, and least
    squares, which takes the source to be exact, would shrink the scene with every joint of a long chain.

    Args:
        source, target: (..., 3) pointmaps of the same pixels.
        source_confidence, target_confidence: their confidences, shape (...).

    Returns:
        The similarity; its ``inliers`` are of the pixels that were looked at.

    Raises:
        GeometryError: shapes that do not fit, too few usable pixels, or too few that agree.
    """
    shapes = (source.shape[:-1], target.shape[:-1], source_confidence.shape, target_confidence.shape)
    if len(set(shapes)) != 1 or source.shape[-1:] != (3,) or target.shape[-1:] != (3,):
        raise GeometryError(
            "pointmaps to align, and their confidences",
            got=(source.shape, target.shape, *shapes[2:]),
            expected="(..., 3) and (...) of the same pixels",
        )
    pixels = _usable_pixels(source, target, source_confidence, target_confidence)
    here, there = source.reshape(-1, 3)[pixels].astype(np.float64), target.reshape(-1, 3)[pixels].astype(np.float64)
    one, other = source_confidence.reshape(-1)[pixels], target_confidence.reshape(-1)[pixels]
    weights = np.sqrt(one.astype(np.float64) * other)
    extent = float(np.median(np.linalg.norm(there - np.median(there, axis=0), axis=1)))
    agreement = max(AGREEMENT * extent, float(np.finfo(np.float64).tiny))
    found = align_robust(here, there, agreement, weights)
    share = float(weights[found.inliers].sum() / weights.sum())
    if share < LEAST_AGREEING:
        raise GeometryError(
            "pixels that agree on how two pointmaps lie to each other",
            got=f"{share:.0%} of the confidence",
            expected=f">= {LEAST_AGREEING:.0%} within {AGREEMENT:.0%} of the extent",
        )
    alignment, inliers = found.target_from_source, found.inliers
    for _ in range(ROUNDS):
        residuals = np.sqrt(_squared_residuals(alignment, here, there))
        noise = max(float(np.median(residuals[inliers])), 1e-6 * agreement)
        inliers = residuals <= min(agreement, TIGHTNESS * noise)
        alignment = fit_similarity(here, there, weights * inliers, "both")
    return RobustAlignment(alignment, np.asarray(inliers))


def align_samples(source: Sequence[PointmapSample], target: Sequence[PointmapSample]) -> RobustAlignment:
    """``align_pointmaps`` of several images, each sampled alike on both sides; GeometryError where they are not."""
    pairs = list(zip(source, target, strict=True))
    if not pairs or any(here.confidence.shape != there.confidence.shape for here, there in pairs):
        got = [(here.confidence.shape, there.confidence.shape) for here, there in pairs]
        raise GeometryError("sampled pointmaps to align", got=got, expected="at least one, of the same size in both")
    return align_pointmaps(
        np.concatenate([here.points.reshape(-1, 3) for here, _ in pairs]),
        np.concatenate([there.points.reshape(-1, 3) for _, there in pairs]),
        np.concatenate([here.confidence.ravel() for here, _ in pairs]),
        np.concatenate([there.confidence.ravel() for _, there in pairs]),
    )


def _usable_pixels(
    source: NDArray[Any], target: NDArray[Any], source_confidence: NDArray[Any], target_confidence: NDArray[Any]
) -> NDArray[np.intp]:
    """Places, in reading order, of at most ``MOST_PIXELS`` pixels that both sides are sure enough of."""
    one, other = source_confidence.reshape(-1), target_confidence.reshape(-1)
    finite = np.isfinite(source).all(axis=-1) & np.isfinite(target).all(axis=-1)
    usable = finite.reshape(-1) & np.isfinite(one) & np.isfinite(other)
    if usable.any():
        least = 0.1 * min(float(np.median(one[usable])), float(np.median(other[usable])))
        usable &= (one > least) & (other > least)
    pixels = np.flatnonzero(usable)
    if len(pixels) < LEAST_PIXELS:
        raise GeometryError("usable pixels that two pointmaps share", got=len(pixels), expected=f">= {LEAST_PIXELS}")
    stride = -(-len(pixels) // MOST_PIXELS) | 1  # odd: widths are even, and every column shall have its turn
    return pixels[::stride]


def fit_similarity(source: Array, target: Array, weights: Array, scaling: str) -> Sim3:
    """Umeyama's closed form on inputs that are known to be in order: ``target_from_source``.

    Args:
        source, target: (N, 3) float64.
        weights: (N,) float64, at least three of them positive.
        scaling: ``target`` minimizes the error there, ``both`` takes the ratio of spreads, empty none.
    """
    share = weights / weights.sum()
    source_mean, target_mean = share @ source, share @ target
    source_centered, target_centered = source - source_mean, target - target_mean
    weighted = target_centered * share[:, None]
    left, singular, right = np.linalg.svd(weighted.T @ source_centered)
    if not singular[1] > 1e-12 * singular[0]:
        raise GeometryError(
            "points to align lie on one line or in one place",
            got=f"singular values {singular.tolist()}",
            expected="at least two of them above zero",
            next_step="Use a stretch of the trajectory with a bend, or more points",
        )
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = (left * signs) @ right
    scale, variance = 1.0, float(share @ np.einsum("ij,ij->i", source_centered, source_centered))
    if scaling == "target":
        scale = float(singular @ signs) / variance
    elif scaling == "both":
        scale = math.sqrt(float(np.einsum("ij,ij->", weighted, target_centered)) / variance)
    return Sim3(scale, rotation, target_mean - scale * (rotation @ source_mean))


def _squared_residuals(target_from_source: Sim3, source: Array, target: Array) -> Array:
    errors = target_from_source.apply(source) - target
    return np.asarray(np.einsum("ij,ij->i", errors, errors))


def _checked(source: NDArray[Any], target: NDArray[Any], weights: NDArray[Any] | None) -> tuple[Array, Array, Array]:
    """The inputs as float64, or GeometryError."""
    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if source.ndim != 2 or source.shape[1] != 3 or source.shape != target.shape:
        raise GeometryError("points to align", got=(source.shape, target.shape), expected="(N, 3) both")
    weights = np.ones(len(source)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != (len(source),) or not (weights >= 0).all():
        raise GeometryError("weights of the pairs", got=weights.shape, expected=f"({len(source)},), all >= 0")
    if not (np.isfinite(source).all() and np.isfinite(target).all() and np.isfinite(weights).all()):
        raise GeometryError("points to align contain values that are not finite", expected="finite numbers")
    return source, target, weights

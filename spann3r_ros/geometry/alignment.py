"""The similarity that carries one set of points onto another, exactly or in spite of outliers."""

from __future__ import annotations

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

AGREEMENT = 0.05
"""How far two points of one pixel may lie apart and still agree, as a share of the scene's extent."""

LEAST_AGREEING = 0.3
"""Share of the pixels that must agree."""


@dataclass(frozen=True, eq=False)
class RobustAlignment:
    """An alignment and the points that support it.

    Attributes:
        target_from_source: the similarity.
        inliers: (N,) bool, the pairs within the inlier distance after alignment.
    """

    target_from_source: Sim3
    inliers: NDArray[np.bool_]


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
    share = weights / weights.sum()
    source_mean, target_mean = share @ source, share @ target
    source_centered, target_centered = source - source_mean, target - target_mean
    covariance = (target_centered * share[:, None]).T @ source_centered
    left, singular, right = np.linalg.svd(covariance)
    if not singular[1] > 1e-12 * singular[0]:
        raise GeometryError(
            "points to align lie on one line or in one place",
            got=f"singular values {singular.tolist()}",
            expected="at least two of them above zero",
            next_step="Use a stretch of the trajectory with a bend, or more points",
        )
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = (left * signs) @ right
    variance = float(share @ (source_centered**2).sum(axis=1))
    scale = float(singular @ signs) / variance if with_scale else 1.0
    return Sim3(scale, rotation, target_mean - scale * (rotation @ source_mean))


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
    if not (np.isfinite(inlier_distance) and inlier_distance > 0):
        raise GeometryError("inlier distance", got=inlier_distance, expected="> 0, in units of the target")
    alignment = umeyama(source, target, weights, with_scale=with_scale)
    squared = _squared_residuals(alignment, source, target)
    bound = inlier_distance**2
    relaxation = max(1.0, 2.0 * float(squared.max()) / bound)
    while True:
        robust = weights * (relaxation * bound / (squared + relaxation * bound)) ** 2
        alignment = umeyama(source, target, robust, with_scale=with_scale)
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
    ``MOST_PIXELS``, spread evenly, are looked at. What counts as agreement follows from the size of the scene.

    Args:
        source, target: (..., 3) pointmaps of the same pixels.
        source_confidence, target_confidence: their confidences, shape (...).

    Raises:
        GeometryError: shapes that do not fit, too few usable pixels, or too few that agree.
    """
    if source.shape != target.shape or source.shape[:-1] != source_confidence.shape != target_confidence.shape:
        shapes = (source.shape, target.shape, source_confidence.shape, target_confidence.shape)
        raise GeometryError("pointmaps to align", got=shapes, expected="the same pixels in all")
    here, there = source.reshape(-1, 3), target.reshape(-1, 3)
    one, other = source_confidence.reshape(-1), target_confidence.reshape(-1)
    usable = np.isfinite(here).all(axis=1) & np.isfinite(there).all(axis=1)
    least = 0.1 * min(float(np.median(one)), float(np.median(other)))
    usable &= (one > least) & (other > least)
    pixels = np.flatnonzero(usable)
    if len(pixels) < LEAST_PIXELS:
        raise GeometryError("pixels that two pointmaps share", got=len(pixels), expected=f">= {LEAST_PIXELS}")
    pixels = pixels[:: -(-len(pixels) // MOST_PIXELS)]
    here, there = here[pixels].astype(np.float64), there[pixels].astype(np.float64)
    weights = np.sqrt(one[pixels].astype(np.float64) * other[pixels])
    extent = float(np.median(np.linalg.norm(there - np.median(there, axis=0), axis=1)))
    found = align_robust(here, there, max(AGREEMENT * extent, np.finfo(np.float64).tiny), weights)
    share = float(found.inliers.mean())
    if share < LEAST_AGREEING:
        raise GeometryError(
            "pixels that agree on how two pointmaps lie to each other",
            got=f"{share:.0%}",
            expected=f">= {LEAST_AGREEING:.0%}",
        )
    return found


def _squared_residuals(target_from_source: Sim3, source: Array, target: Array) -> Array:
    return np.asarray(((target_from_source.apply(source) - target) ** 2).sum(axis=1))


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

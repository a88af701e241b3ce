"""Alignment of two pointmaps of the same images by iteratively reweighted least squares, as VGGT-Long joins its chunks.

Deng et al. (arXiv 2507.16443), section 3.2: a similarity weighted by confidence, with Huber weights for the residuals.
``alignment.align_pointmaps`` needs no distance in units of the map and stands more outliers; this is the published way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.alignment import fit_similarity
from spann3r_ros.sim3 import Sim3

STILL = math.radians(0.1)
"""A rotation that is no change any more."""


@dataclass(frozen=True)
class IrlsSettings:
    """The published ones.

    Attributes:
        delta: residual, in the unit of the target, beyond which a pixel counts less.
        iterations: at most so many.
        tolerance: change of the transform, or relative change of the cost, that ends them.
        rigid: leave the scale at 1, for networks that speak in meters.
        confidence_share: pixels below this share of the smaller median confidence are not looked at.

    Raises:
        GeometryError: a value out of range.
    """

    delta: float = 0.1
    iterations: int = 5
    tolerance: float = 1e-9
    rigid: bool = False
    confidence_share: float = 0.1

    def __post_init__(self) -> None:
        for name, low in (("delta", 0.0), ("iterations", -1), ("tolerance", -1.0), ("confidence_share", -1.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > low):
                raise GeometryError(f"{name} of the alignment", got=value, expected=f"> {low}")


@dataclass(frozen=True, eq=False)
class IrlsAlignment:
    """An alignment and how it was found.

    Attributes:
        target_from_source: the similarity.
        estimates: every weighted fit in its order, the first without regard to residuals. Where a test ended the
            iterations, the last one was not taken.
        threshold: confidence that both sides had to exceed.
    """

    target_from_source: Sim3
    estimates: tuple[Sim3, ...]
    threshold: float


def align_irls(
    source: NDArray[Any],
    target: NDArray[Any],
    source_confidence: NDArray[Any],
    target_confidence: NDArray[Any],
    settings: IrlsSettings | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> IrlsAlignment:
    """``target_from_source`` of the same pixels seen in two frames; sums are in float64.

    Args:
        source, target: (..., 3) pointmaps of the same pixels.
        source_confidence, target_confidence: their confidences, shape (...).
        settings: by default the published ones.
        valid: (...) pixels that may count, or None for all.

    Raises:
        GeometryError: shapes that do not fit, or no pixels that are sure enough.
    """
    settings = settings or IrlsSettings()
    shapes = (source.shape[:-1], target.shape[:-1], source_confidence.shape, target_confidence.shape)
    if len(set(shapes)) != 1 or source.shape[-1:] != (3,) or target.shape[-1:] != (3,):
        raise GeometryError(
            "pointmaps to align, and their confidences",
            got=(source.shape, target.shape, *shapes[2:]),
            expected="(..., 3) and (...) of the same pixels",
        )
    medians = float(np.median(source_confidence)), float(np.median(target_confidence))
    threshold = settings.confidence_share * min(medians)
    used = (source_confidence > threshold) & (target_confidence > threshold)
    used &= np.isfinite(source).all(axis=-1) & np.isfinite(target).all(axis=-1)
    if valid is not None:
        used &= valid
    here, there = source[used].astype(np.float64), target[used].astype(np.float64)
    sure = np.sqrt(source_confidence[used].astype(np.float64) * target_confidence[used])
    if len(sure) < 3 or not (np.isfinite(sure).all() and sure.sum() > 1e-6):
        raise GeometryError("usable pixels that two pointmaps share", got=len(sure), expected=">= 3 of confidence > 0")
    return _iterated(here, there, sure, settings, threshold)


def _iterated(
    source: NDArray[np.float64],
    target: NDArray[np.float64],
    sure: NDArray[np.float64],
    settings: IrlsSettings,
    threshold: float,
) -> IrlsAlignment:
    """Fit, weigh by residuals, fit again."""
    scaling = "" if settings.rigid else "both"
    current = fit_similarity(source, target, sure, scaling)
    estimates = [current]
    before = math.inf
    for _ in range(settings.iterations):
        residuals = np.linalg.norm(target - current.apply(source), axis=1)
        far = residuals > settings.delta
        huber = np.where(far, settings.delta / np.where(far, residuals, 1.0), 1.0)
        found = fit_similarity(source, target, sure * huber, scaling)
        estimates.append(found)
        change = abs(found.scale - current.scale) + float(np.linalg.norm(found.translation - current.translation))
        angle = Sim3.rigid(found.rotation @ current.rotation.T, np.zeros(3)).rotation_angle()
        beyond = settings.delta * (residuals - settings.delta / 2)
        cost = float(sure @ np.where(far, beyond, residuals**2 / 2))
        if (change < settings.tolerance and angle < STILL) or abs(before - cost) < settings.tolerance * before:
            break
        current, before = found, cost
    return IrlsAlignment(current, tuple(estimates), threshold)

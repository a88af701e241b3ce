"""The similarity that matched points tell, when many matches are wrong (RANSAC, Fischler and Bolles 1981)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.alignment import RobustAlignment, umeyama
from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]

LEAST_MATCHES = 16

MOST_MATCHES = 5_000
"""That are looked at; seven numbers need no more."""

HYPOTHESES = 512
"""Three matches each. With half of the matches wrong, all fail once in 10^29."""

AGREEMENT = 0.1
"""How far two matched points may lie apart and still agree, as a share of the scene's extent."""

LEAST_AGREEING = 0.4
"""Share of the weight that must be on matches that agree."""

TIGHTNESS = 3.0
"""Residuals beyond so many times the median of those that agree do not count in the end."""

ROUNDS = 4
"""Of refining."""


def align_matches(source: NDArray[Any], target: NDArray[Any], weights: NDArray[Any]) -> RobustAlignment:
    """``target_from_source`` of matched points.

    Points anywhere, on either side, do no harm as long as ``LEAST_AGREEING`` of the weight is right. Nothing depends on
    chance: the same input gives the same answer.

    Args:
        source, target: (N, 3) points of the two sides; those that are not finite do not count.
        weights: (N,) >= 0.

    Returns:
        The similarity; ``inliers`` are (N,), false also for the matches that were not looked at.

    Raises:
        GeometryError: wrong shapes, fewer than ``LEAST_MATCHES`` usable matches, or too few that agree.
    """
    if (
        source.ndim != 2
        or source.shape[1:] != (3,)
        or target.shape != source.shape
        or weights.shape != source.shape[:1]
    ):
        raise GeometryError(
            "matched points", got=(source.shape, target.shape, weights.shape), expected="(N, 3) twice and (N,)"
        )
    usable = np.isfinite(source).all(axis=1) & np.isfinite(target).all(axis=1) & (weights > 0) & np.isfinite(weights)
    chosen = np.flatnonzero(usable)
    if len(chosen) < LEAST_MATCHES:
        raise GeometryError("matches that can be used", got=len(chosen), expected=f">= {LEAST_MATCHES}")
    chosen = chosen[:: -(-len(chosen) // MOST_MATCHES)]
    here, there = source[chosen].astype(np.float64), target[chosen].astype(np.float64)
    weight = weights[chosen].astype(np.float64) / weights[chosen].sum(dtype=np.float64)
    extent = float(np.median(np.linalg.norm(there - np.median(there, axis=0), axis=1)))
    agreement = max(AGREEMENT * extent, float(np.finfo(np.float64).tiny))
    alignment = _best_hypothesis(here, there, weight, agreement)
    inliers = _residuals(alignment, here, there) <= agreement
    for _ in range(ROUNDS):
        share = float(weight[inliers].sum())
        if share < LEAST_AGREEING or inliers.sum() < LEAST_MATCHES:
            raise GeometryError(
                "matches that agree on one similarity",
                got=f"{share:.0%} of the weight",
                expected=f">= {LEAST_AGREEING:.0%} within {AGREEMENT:.0%} of the extent",
            )
        alignment = _spread_scaled(here, there, weight * inliers)
        residuals = _residuals(alignment, here, there)
        noise = float(np.median(residuals[inliers]))
        inliers = residuals <= np.clip(TIGHTNESS * noise, 1e-6 * agreement, agreement)
    found = np.zeros(len(source), dtype=np.bool_)
    found[chosen[inliers]] = True
    return RobustAlignment(alignment, found)


def _residuals(target_from_source: Sim3, source: Array, target: Array) -> Array:
    return np.asarray(np.linalg.norm(target_from_source.apply(source) - target, axis=1))


def _spread_scaled(source: Array, target: Array, weights: Array) -> Sim3:
    """Umeyama's rotation with the ratio of spreads for the scale: both sides are noisy."""
    rotation = umeyama(source, target, weights).rotation
    share = weights / weights.sum()
    means = share @ source, share @ target
    spreads = [
        float(share @ ((points - mean) ** 2).sum(axis=1)) for points, mean in zip((source, target), means, strict=True)
    ]
    scale = float(np.sqrt(spreads[1] / spreads[0]))
    return Sim3(scale, rotation, means[1] - scale * (rotation @ means[0]))


def _best_hypothesis(source: Array, target: Array, weights: Array, agreement: float) -> Sim3:
    """Of similarities through three matches each, the one on which most of the weight agrees."""
    triples = np.random.default_rng(0).choice(len(source), (HYPOTHESES, 3), p=weights)
    ours, theirs = source[triples], target[triples]
    means = ours.mean(axis=1), theirs.mean(axis=1)
    ours, theirs = ours - means[0][:, None], theirs - means[1][:, None]
    left, _, right = np.linalg.svd(np.einsum("kni,knj->kij", theirs, ours))
    left[:, :, 2] *= np.sign(np.linalg.det(left) * np.linalg.det(right))[:, None]
    rotation = left @ right
    spread = (ours**2).sum(axis=(1, 2))
    scale = np.sqrt((theirs**2).sum(axis=(1, 2)) / np.where(spread > 0, spread, np.inf))
    best, most = 0, -1.0
    for number in range(HYPOTHESES):
        moved = scale[number] * (source - means[0][number]) @ rotation[number].T + means[1][number]
        agreeing = float(weights @ (((moved - target) ** 2).sum(axis=1) <= agreement**2))
        if agreeing > most and scale[number] > 0:
            best, most = number, agreeing
    if most < 0:
        raise GeometryError("matched points all lie in one place", expected="points that are spread out")
    shift = means[1][best] - scale[best] * (rotation[best] @ means[0][best])
    return Sim3(float(scale[best]), rotation[best], shift)

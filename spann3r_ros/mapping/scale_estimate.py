"""One scale out of many measurements of it, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.geometry.alignment import Array
from spann3r_ros.mapping.map import Map

BATCHES = 6
"""A series is cut into so many parts, whose means are as good as independent however slowly its errors change."""

LEAST_BATCHES = 4

HUBER = 1.5
"""Standard deviations beyond which a measurement counts less."""

FLOOR = 0.002
"""No source of scale is better than this: least relative standard deviation of one part of a series."""


@dataclass(frozen=True)
class ScaleEstimate:
    """What a source of scale says.

    Attributes:
        value: meters of one unit in which the network spoke in the first submap.
        deviation: relative standard deviation of the value.
        stamp: nanoseconds, of the newest image that it rests on.
        samples: measurements that it rests on.
    """

    value: float
    deviation: float
    stamp: int
    samples: int


def unit_of(world: Map, number: int) -> float:
    """Units of the first submap in one unit of another, as far as it is known how they lie to each other."""
    return world.submap(number).world_from_submap.scale / world.submaps[0].world_from_submap.scale


def robust_mean(values: Array, deviations: Array) -> tuple[float, float] | None:
    """Mean of independent measurements and its standard deviation, by what they really differ.

    Weighted by Huber's function of their residuals; the scatter decides on the deviation, not what the measurements say
    of themselves, and few of them are trusted less than their scatter tells (as Student's distribution has it).

    Args:
        values: (K,).
        deviations: (K,) of each, > 0.

    Returns:
        Mean and deviation; None for fewer than ``LEAST_BATCHES``, or when half of them do not agree with the rest.
    """
    count = len(values)
    if count < LEAST_BATCHES:
        return None
    mean = float(np.median(values))
    weights = np.ones(count)
    for _ in range(10):
        residuals = np.abs(values - mean)
        # The measurements' own deviations say how they compare; the median of the residuals, how large they are.
        spread = max(1.0, 1.4826 * float(np.median(residuals / deviations)))
        sizes = spread * deviations
        huber = np.minimum(1.0, HUBER * sizes / np.maximum(residuals, 1e-300))
        weights = huber / sizes**2
        mean = float(weights @ values / weights.sum())
    scatter = float(np.sqrt(weights**2 @ (values - mean) ** 2) / weights.sum()) * np.sqrt(count / (count - 1))
    claimed = float(np.sqrt(weights**2 @ deviations**2) / weights.sum())
    return mean, max(scatter * (1.0 + 2.0 / (count - 1)), claimed)


def series_mean(values: Array, deviations: Array) -> tuple[float, float] | None:
    """As ``robust_mean`` of a series whose neighbors share their errors: of the medians of ``BATCHES`` parts."""
    parts = [part for part in np.array_split(np.arange(len(values)), BATCHES) if len(part)]
    medians = np.array([np.median(values[part]) for part in parts])
    own = np.array([max(FLOOR, float(np.median(deviations[part])) / np.sqrt(len(part))) for part in parts])
    return robust_mean(medians, own) if parts else None


def median_and_spread(values: NDArray[np.floating]) -> tuple[float, float]:
    """Median, and the standard deviation by the median of the distances from it (normal where there is no outlier)."""
    median = float(np.median(values))
    return median, 1.4826 * float(np.median(np.abs(values - median)))

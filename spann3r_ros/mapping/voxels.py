"""What voxels hold: a mean point, a mean color, and how many frames agree."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.point_cloud import PointCloud

AXIS_BITS = 21
AXIS_LIMIT = 2 ** (AXIS_BITS - 1)
"""Voxels on each side of the origin along an axis: 21 km at voxels of 2 cm."""

MOST_MISSES = 8
"""Frames that see a voxel's surface elsewhere for each that agrees, beyond which it is noise, however often it was hit:
a camera that stands still hits everything around a surface in time."""

REGION = 32
"""Voxels along each side of a region, which is young until twice the frames asked for agree on one of its voxels."""

REGION_BITS = 22
"""Of the table of regions: 8 MB while a map is published."""


@dataclass(frozen=True, eq=False)
class Voxels:
    """Content of N distinct voxels.

    Attributes:
        keys: (N,) int64 packed voxel coordinates.
        mean: (N, 6) float32 confidence-weighted mean of x, y, z and of red, green, blue (0..255).
        weight: (N,) float32 sum of the confidences.
        count: (N,) int32 points that fell into the voxel.
        seen: (N,) int32 revision of the last of them.
        frames: (N,) int32 distinct frames whose points fell into the voxel, less those that looked through it.
        misses: (N,) int32 frames that had the voxel in view, out of those that were asked, and saw a surface elsewhere.
    """

    keys: NDArray[np.int64]
    mean: NDArray[np.float32]
    weight: NDArray[np.float32]
    count: NDArray[np.int32]
    seen: NDArray[np.int32]
    frames: NDArray[np.int32]
    misses: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def joined(cls, one: Voxels, other: Voxels) -> Voxels:
        """The voxels of both, which have no key in common."""
        names = [entry.name for entry in fields(cls)]
        return cls(**{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in names})

    def check(self, voxel_size: float) -> None:
        """Raise ValueError for content that no grid of voxels of this size could have written."""
        if not len(self):
            return
        if not (np.isfinite(self.mean).all() and np.isfinite(self.weight).all()):
            raise ValueError("voxels that are not finite")
        if self.keys.min() < 0 or len(np.unique(self.keys)) < len(self):
            raise ValueError("keys of voxels that are negative or not distinct")
        axes = np.stack([self.keys >> 2 * AXIS_BITS, self.keys >> AXIS_BITS, self.keys], axis=1)
        centers = (axes & (2**AXIS_BITS - 1)) - AXIS_LIMIT + 0.5
        apart = np.abs(self.mean[:, :3].astype(np.float64) / voxel_size - centers)
        if (apart > 0.75 + 1e-6 * np.abs(centers)).any():  # a mean lies in its voxel, but for rounding
            raise ValueError("keys of voxels that are elsewhere than their points")
        if self.weight.min() <= 0 or self.count.min() < 1 or self.seen.min() < 0:
            raise ValueError("voxels without weight, points or revision")
        if self.frames.min() < 1 or self.misses.min() < 0:
            raise ValueError("voxels that no frame saw")
        if self.mean[:, 3:].min() < -0.5 or self.mean[:, 3:].max() > 255.5:
            raise ValueError("colors of voxels that are out of range")

    def take(self, index: NDArray[np.intp]) -> Voxels:
        """Some of them, by number. (``ndarray.take`` gathers rows several times faster than brackets do.)"""
        return Voxels(
            self.keys.take(index),
            self.mean.take(index, axis=0),
            self.weight.take(index),
            self.count.take(index),
            self.seen.take(index),
            self.frames.take(index),
            self.misses.take(index),
        )

    def cloud(self, min_observations: int = 1) -> PointCloud:
        """The mean points.

        Args:
            min_observations: frames that must agree on a voxel. In a region that is too young for it half as many as on
                its best voxel, of which none may contradict.
        """
        mean, weight, count = self.mean, self.weight, self.count
        if min_observations > 1:
            agreed = np.flatnonzero(_agreed(self.keys, self.frames, self.misses, min_observations))
            mean, weight, count = mean.take(agreed, axis=0), weight.take(agreed), count.take(agreed)
        confidence = np.clip(weight / count, 0.0, 1.0)
        return PointCloud(mean[:, :3], np.rint(mean[:, 3:]).astype(np.uint8), confidence.astype(np.float32))

    def by_key(self) -> Voxels:
        """The same, sorted by key."""
        return self.take(np.argsort(self.keys))


def _agreed(
    keys: NDArray[np.int64], frames: NDArray[np.int32], misses: NDArray[np.int32], least: int
) -> NDArray[np.bool_]:
    """Which voxels enough frames agree on: in a young region half as many as on its best voxel, and ``least`` at most.

    One of fewer than ``least`` must not have been contradicted either.
    """
    # The best of each region is found in a table by hash: two that share an entry only cost a young one its exemption.
    low = ~(REGION - 1) & (2**AXIS_BITS - 1)
    region = keys & (low << 2 * AXIS_BITS | low << AXIS_BITS | low)
    mark = ((region.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - REGION_BITS)).astype(np.intp)
    capped = np.minimum(frames, 2 * least).astype(np.uint16)  # of 16 bits, which NumPy sorts in linear time
    ascending = np.argsort(capped, kind="stable")
    best = np.zeros(2**REGION_BITS, np.uint16)
    best[mark[ascending]] = capped[ascending]  # of several the last, which is the largest, stays
    needed = np.minimum((best[mark] + 1) // 2, least)
    is_contradicted = np.where(frames >= least, misses > MOST_MISSES * frames, misses > 0)
    return np.asarray((frames >= needed) & ~is_contradicted)

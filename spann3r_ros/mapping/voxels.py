"""What voxels hold, as rows of one cache line, and how points and voxels of one key become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.compiler import COMPILES, njit
from spann3r_ros.errors import GeometryError
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3

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

LEAST_WEIGHT = 1e-6
"""Weight of a point of confidence 0, so that a voxel of nothing else still has a mean."""

SCATTER = np.uint64(0x9E3779B97F4A7C15)
"""Odd, 2^64 over the golden ratio: products of neighboring keys with it lie far apart (Knuth, section 6.4)."""

MEAN, WEIGHT, COUNT, FRAMES, MISSES = slice(0, 6), 6, 7, 8, 9
"""Columns of a cell: float32 mean and weight, int32 counters in the same words."""

CELL = 10
"""Words of a cell. One row for all of it: a voxel costs one access to memory, not one for each of its numbers."""


@dataclass(frozen=True, eq=False)
class Voxels:
    """Content of N distinct voxels.

    Attributes:
        keys: (N,) int64 packed voxel coordinates.
        cells: (N, CELL) float32 what lies in them, one row each; the other properties are views of it.
        seen: (N,) int32 revision of the last point that fell into the voxel.
    """

    keys: NDArray[np.int64]
    cells: NDArray[np.float32]
    seen: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        keys: NDArray[np.int64],
        mean: NDArray[np.float32],
        weight: NDArray[np.float32],
        count: NDArray[np.int32],
        seen: NDArray[np.int32],
        frames: NDArray[np.int32],
        misses: NDArray[np.int32],
    ) -> Voxels:
        """Voxels of these columns, which are copied."""
        cells = np.empty((len(keys), CELL), np.float32)
        counters = cells.view(np.int32)
        cells[:, MEAN], cells[:, WEIGHT], counters[:, COUNT] = mean, weight, count
        counters[:, FRAMES], counters[:, MISSES] = frames, misses
        return cls(keys, cells, seen)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def mean(self) -> NDArray[np.float32]:
        """(N, 6) confidence-weighted mean of x, y, z and of red, green, blue (0..255)."""
        return self.cells[:, MEAN]

    @property
    def weight(self) -> NDArray[np.float32]:
        """(N,) sum of the confidences."""
        return self.cells[:, WEIGHT]

    @property
    def count(self) -> NDArray[np.int32]:
        """(N,) points that fell into the voxel."""
        return self.cells.view(np.int32)[:, COUNT]

    @property
    def frames(self) -> NDArray[np.int32]:
        """(N,) distinct frames whose points fell into the voxel, less those that looked through it."""
        return self.cells.view(np.int32)[:, FRAMES]

    @property
    def misses(self) -> NDArray[np.int32]:
        """(N,) frames that had the voxel in view, out of those that were asked, and saw a surface elsewhere."""
        return self.cells.view(np.int32)[:, MISSES]

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

    def cloud(self, min_observations: int = 1) -> PointCloud:
        """The mean points.

        Args:
            min_observations: frames that must agree on a voxel. In a region that is too young for it half as many as on
                its best voxel, of which none may contradict.
        """
        held = self
        if min_observations > 1:
            held = self.take(np.flatnonzero(_agreed(self.keys, self.frames, self.misses, min_observations)))
        confidence = np.clip(held.weight / held.count, 0.0, 1.0)
        colors = np.rint(held.mean[:, 3:]).astype(np.uint8)
        return PointCloud(np.ascontiguousarray(held.mean[:, :3]), colors, confidence.astype(np.float32))

    def take(self, index: NDArray[np.intp]) -> Voxels:
        """Some of them, by number. (``ndarray.take`` gathers rows several times faster than brackets do.)"""
        return Voxels(self.keys.take(index), self.cells.take(index, axis=0), self.seen.take(index))

    def by_key(self) -> Voxels:
        """The same, sorted by key."""
        return self.take(np.argsort(self.keys))

    def joined(self, other: Voxels) -> Voxels:
        """These and those of other keys."""
        names = ("keys", "cells", "seen")
        return Voxels(**{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names})


def voxel_keys(points: NDArray[Any], voxel_size: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Packed voxel coordinates (N,) of points (N, 3), and which of them are addressable.

    Voxel i of an axis covers ``[i, i + 1) * voxel_size``. Points that are not finite or too far away are not
    addressable; their keys mean nothing.
    """
    cells = np.array(points.T, dtype=np.float64, order="C")
    cells /= voxel_size
    np.floor(cells, out=cells)
    if len(points) and cells.min() >= -AXIS_LIMIT and cells.max() < AXIS_LIMIT:  # false for NaN
        inside = np.ones(len(points), bool)
    else:
        inside = (np.abs(cells + 0.5) < AXIS_LIMIT).all(axis=0)
        cells[:, ~inside] = 0.0
    x, y, z = cells.astype(np.int64) + AXIS_LIMIT
    return (x << 2 * AXIS_BITS) | (y << AXIS_BITS) | z, inside


def moved_voxels(voxels: Voxels, target_from_source: Sim3, voxel_size: float) -> Voxels:
    """The voxels of a grid in another frame, those that fall together united; side ``voxel_size`` in that frame.

    Raises:
        GeometryError: points that leave the addressable space.
    """
    points = target_from_source.apply(voxels.mean[:, :3])
    keys, inside = voxel_keys(points, voxel_size)
    if not inside.all():
        raise GeometryError("points of a moved grid", got=f"{int((~inside).sum())} out of reach", expected="none")
    columns = (*points.T, *voxels.mean[:, 3:].T)
    return united(keys, columns, voxels)


def averaged(cloud: PointCloud, voxel_size: float, revision: int) -> Voxels:
    """The addressable points of a cloud, averaged by voxel, in the order of the first point of each."""
    summed = _summed_in_one_pass if COMPILES else _summed
    keys, sums, counts = summed(cloud.points, cloud.colors, cloud.confidence, voxel_size)
    cells = np.empty((len(keys), CELL), np.float32)
    counters = cells.view(np.int32)
    cells[:, MEAN], cells[:, WEIGHT] = sums[:, :6] / sums[:, 6:], sums[:, 6]
    counters[:, COUNT], counters[:, FRAMES], counters[:, MISSES] = counts, 1, 0
    return Voxels(keys, cells, np.full(len(keys), revision, np.int32))


def _summed(
    points: NDArray[np.float32], colors: NDArray[np.uint8], confidence: NDArray[np.float32], voxel_size: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.intp]]:
    """Key (M,), sums (M, 7) and number (M,) of the points (N, 3) that fall into each voxel.

    The sums are of x, y, z, red, green and blue, each times the weight, and of the weights.
    """
    keys, inside = voxel_keys(points, voxel_size)
    if not inside.all():
        keys, points, colors, confidence = keys[inside], points[inside], colors[inside], confidence[inside]
    _, starts, group = _groups(keys)
    weight = np.maximum(confidence, LEAST_WEIGHT).astype(np.float64)
    columns = [*(weight * column for column in (*points.T, *colors.T)), weight]
    sums: NDArray[np.float64] = np.stack([np.bincount(group, column, len(starts)) for column in columns], axis=1)
    first = np.empty(len(starts), np.intp)
    first[group[::-1]] = np.arange(len(keys))[::-1]  # of several the last that is written stays: the first point
    turn = np.argsort(first)
    return keys[first[turn]], sums[turn], np.diff(starts, append=len(keys))[turn]


@njit
def _summed_in_one_pass(
    points: NDArray[np.float32], colors: NDArray[np.uint8], confidence: NDArray[np.float32], voxel_size: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.intp]]:
    """As ``_summed``, and every sum is made in the same order; compiled, in a tenth of its time."""
    number, mask = len(points), 1
    while mask < 2 * number:
        mask *= 2
    mask -= 1
    table = np.full(mask + 1, -1, np.int32)  # the group of a key, where its hash says or in the next free place
    keys, sums, counts = np.empty(number, np.int64), np.empty((number, 7)), np.empty(number, np.intp)
    groups = 0
    for i in range(number):
        x, y, z = (points[i, 0] / voxel_size, points[i, 1] / voxel_size, points[i, 2] / voxel_size)
        x, y, z = np.floor(x), np.floor(y), np.floor(z)
        if not (abs(x + 0.5) < AXIS_LIMIT and abs(y + 0.5) < AXIS_LIMIT and abs(z + 0.5) < AXIS_LIMIT):
            continue
        across, down = np.int64(x) + AXIS_LIMIT, np.int64(y) + AXIS_LIMIT
        key = across << 2 * AXIS_BITS | down << AXIS_BITS | (np.int64(z) + AXIS_LIMIT)
        place = np.int64(np.uint64(key) * SCATTER >> np.uint64(32)) & mask
        while table[place] >= 0 and keys[table[place]] != key:
            place = (place + 1) & mask
        group = table[place]
        if group < 0:
            group = table[place] = groups
            keys[group], counts[group] = key, 0
            sums[group] = 0.0
            groups += 1
        weight = np.float64(max(confidence[i], np.float32(LEAST_WEIGHT)))
        for axis in range(3):
            sums[group, axis] += weight * points[i, axis]
            sums[group, 3 + axis] += weight * colors[i, axis]
        sums[group, 6] += weight
        counts[group] += 1
    return keys[:groups], sums[:groups], counts[:groups]


def united(keys: NDArray[np.int64], columns: Sequence[NDArray[Any]], old: Voxels) -> Voxels:
    """Voxels with the same new key become one: weighted mean of the six columns, sums, latest revision.

    How many distinct frames saw any of them nobody knows: as many as saw the one of most, at least.
    """
    order, starts, group = _groups(keys)
    number = len(starts)
    cells = np.empty((number, CELL), np.float32)
    counters = cells.view(np.int32)
    _average(group, old.weight.astype(np.float64), columns, cells)
    counters[:, COUNT] = np.bincount(group, old.count, number)
    counters[:, FRAMES] = np.maximum.reduceat(old.frames[order], starts) if number else 0
    counters[:, MISSES] = np.minimum.reduceat(old.misses[order], starts) if number else 0
    seen = np.maximum.reduceat(old.seen[order], starts) if number else old.seen
    return Voxels(keys[order[starts]], cells, seen)


def _average(
    group: NDArray[np.intp], weight: NDArray[np.float64], columns: Sequence[NDArray[Any]], cells: NDArray[np.float32]
) -> None:
    """Write weighted means and weights of the groups into their cells."""
    total = np.bincount(group, weight, len(cells))
    for column, values in enumerate(columns):
        cells[:, column] = np.bincount(group, weight * values, len(cells)) / total
    cells[:, WEIGHT] = total


def _groups(keys: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """An order that sorts keys, where each distinct key begins in it, and the rank of each key among the distinct."""
    order = np.argsort(keys)
    ordered = keys[order]
    first = np.ones(len(keys), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    group = np.empty(len(keys), np.intp)
    group[order] = np.cumsum(first) - 1
    return order, np.flatnonzero(first), group


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

"""Voxels in batches of one place each, so that those near a view are found without reading the map."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.mapping.voxel_view import VoxelView

Slots = NDArray[np.int64]

BATCH = 2048
"""Voxels of a batch; those of one frame come together, and lie together."""

MOST_LISTED = 65536
"""Voxels near a view that are listed at most."""


class VoxelBatches:
    """Numbers of voxels with a sphere around each batch of them.

    Args:
        most: voxels that are kept, give or take a batch; the oldest batches, most of whose voxels are forgotten, go.

    Attributes:
        total: voxels in all batches, with those forgotten since.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.total = 0
        self._slots: deque[Slots] = deque()
        self._spheres = np.empty((0, 4), np.float32)  # center and radius
        self._listed = np.empty(0, np.int64)  # when each batch was last listed

    def add(self, slots: Slots, points: NDArray[np.float32]) -> None:
        """New voxels (N,) and where they are (N, 3); many at a time are sorted by place first."""
        if len(slots) > 2 * BATCH:
            extent = np.ptp(points, axis=0).max() or 1.0
            cells = ((points - points.min(axis=0)) * (15.99 / extent)).astype(np.int64)
            order = np.argsort(cells @ np.array([256, 16, 1]))
            slots, points = slots[order], points[order]
        self.total += len(slots)
        new, spheres = [], []
        for start in range(0, len(slots), BATCH):
            batch, around = slots[start : start + BATCH], points[start : start + BATCH]
            center = (around.min(axis=0) + around.max(axis=0)) / 2
            new.append(batch)
            spheres.append([*center, np.sqrt(((around - center) ** 2).sum(axis=1).max())])
        if self._slots and new and len(self._slots[-1]) + len(new[0]) <= BATCH:
            new[0] = np.concatenate([self._slots.pop(), new[0]])
            spheres[0] = _joined(self._spheres[-1], np.array(spheres[0]))
            self._spheres, self._listed = self._spheres[:-1], self._listed[:-1]
        if new:
            self._slots += new
            self._spheres = np.concatenate([self._spheres, np.array(spheres, np.float32)])
            self._listed = np.concatenate([self._listed, np.zeros(len(new), np.int64)])
        while self.total > self._most + BATCH:
            self.total -= len(self._slots.popleft())
            self._spheres, self._listed = self._spheres[1:], self._listed[1:]

    def near(self, view: VoxelView, revision: int) -> Slots:
        """At most ``MOST_LISTED`` voxels of the batches that reach into a view.

        Those listed longest ago come first. Some may be forgotten by now, some named twice.
        """
        batches = np.flatnonzero(view.reaches(self._spheres[:, :3], self._spheres[:, 3]))
        batches = batches[np.argsort(self._listed[batches], kind="stable")]
        sizes = np.cumsum([len(self._slots[number]) for number in batches])
        batches = batches[: int(np.searchsorted(sizes, MOST_LISTED, side="right"))]
        self._listed[batches] = revision
        if not len(batches):
            return np.empty(0, np.int64)
        return np.concatenate([self._slots[number] for number in batches])


def _joined(a: NDArray[np.float32], b: NDArray[np.float32]) -> list[float]:
    """The smallest sphere around two."""
    apart = float(np.linalg.norm(b[:3] - a[:3]))
    if apart + b[3] <= a[3]:
        return [float(value) for value in a]
    if apart + a[3] <= b[3]:
        return [float(value) for value in b]
    radius = (apart + float(a[3]) + float(b[3])) / 2
    center = a[:3] + (b[:3] - a[:3]) * ((radius - float(a[3])) / apart)
    return [*map(float, center), radius]

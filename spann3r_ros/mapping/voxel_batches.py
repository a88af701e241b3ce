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
        if not len(slots):
            return
        planes = np.ascontiguousarray(points.T)
        if len(slots) > 2 * BATCH:
            low = planes.min(axis=1, keepdims=True)
            extent = (planes - low).max() or np.float32(1)
            x, y, z = ((planes - low) * (np.float32(15.99) / extent)).astype(np.uint16)
            order = np.argsort(x << 8 | y << 4 | z, kind="stable")  # of 16 bits, which NumPy sorts in linear time
            slots, planes = slots[order], planes[:, order]
        self.total += len(slots)
        starts = np.arange(0, len(slots), BATCH)
        new = [np.sort(slots[start : start + BATCH]) for start in starts]  # what lies together is read faster in order
        center = (np.minimum.reduceat(planes, starts, axis=1) + np.maximum.reduceat(planes, starts, axis=1)) / 2
        from_center = planes - np.repeat(center, [len(batch) for batch in new], axis=1)
        squared = np.maximum.reduceat(np.einsum("ij,ij->j", from_center, from_center), starts)
        spheres = np.concatenate([center, np.sqrt(squared)[None]]).T
        if self._slots and len(self._slots[-1]) + len(new[0]) <= BATCH:
            new[0] = np.concatenate([self._slots.pop(), new[0]])
            spheres[0] = _joined(self._spheres[-1], spheres[0])
            self._spheres, self._listed = self._spheres[:-1], self._listed[:-1]
        self._slots += new
        self._spheres = np.concatenate([self._spheres, spheres])
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

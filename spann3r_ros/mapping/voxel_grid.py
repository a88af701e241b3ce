"""A bounded map of colored voxels whose insertion costs the same however large and old the map is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.mapping.grid_copy import GridCopy, Moment
from spann3r_ros.mapping.voxel_batches import VoxelBatches
from spann3r_ros.mapping.voxel_table import VoxelTable
from spann3r_ros.mapping.voxel_view import VoxelView
from spann3r_ros.mapping.voxels import AXIS_BITS, AXIS_LIMIT, Voxels
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3

MOST_ASKED = 16384
"""Voxels that one frame is asked about at most."""

SCATTER = np.uint64(0x9E3779B97F4A7C15)
"""Odd, 2^64 over the golden ratio: products of neighboring keys with it lie far apart (Knuth, section 6.4)."""

SETTLED = 8
"""Frames that agree on a voxel after which it is not asked about first."""

LEAST_WEIGHT = 1e-6
"""Weight of a point of confidence 0, so that a voxel of nothing else still has a mean."""

_changes = itertools.count()


@dataclass(frozen=True)
class VoxelUpdate:
    """What the insertion of a cloud changed, in voxels unless said otherwise.

    Attributes:
        added: new ones.
        updated: known ones that were seen again.
        forgotten: old ones that made room.
        refused_points: points outside the addressable space.
        refused: new ones for which there was no room, because this cloud alone fills the map.
    """

    added: int = 0
    updated: int = 0
    forgotten: int = 0
    refused_points: int = 0
    refused: int = 0


class VoxelGrid:
    """One mean point per voxel: position, color and confidence.

    All memory is taken at the beginning, about 120 bytes per point of ``max_points``. When it is full, the voxels of
    the frame seen longest ago make room, a whole frame's worth at a time.

    Args:
        voxel_size: side of a voxel in the unit of the points.
        max_points: most voxels.

    Raises:
        GeometryError: a size or number that is not positive.
    """

    def __init__(self, voxel_size: float, max_points: int) -> None:
        if max_points < 1:
            raise GeometryError("max_points of a voxel grid", got=max_points, expected=">= 1")
        self._voxel_size = _checked_size(voxel_size)
        self.revision = 0
        self._change = self._epoch = next(_changes)
        self._table = VoxelTable(max_points)
        self._mean: NDArray[np.float32] = np.zeros((self._table.slots, 6), np.float32)
        self._weight: NDArray[np.float32] = np.zeros(self._table.slots, np.float32)
        self._count: NDArray[np.int32] = np.zeros(self._table.slots, np.int32)
        self._frames: NDArray[np.int32] = np.zeros(self._table.slots, np.int32)
        self._misses: NDArray[np.int32] = np.zeros(self._table.slots, np.int32)
        self._written: NDArray[np.int32] = np.zeros(self._table.slots, np.int32)  # revision of the last change
        self._batches = VoxelBatches(2 * self._table.capacity)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def voxel_size(self) -> float:
        """Side of a voxel in the unit of the points."""
        return self._voxel_size

    @property
    def max_points(self) -> int:
        """Most voxels."""
        return self._table.capacity

    @property
    def change(self) -> int:
        """A number that no two states of any grids share: where it is the same, so is the content."""
        return self._change

    def clear(self) -> None:
        """Forget everything."""
        self._table.clear()
        self._batches.clear()
        self.revision = 0
        self._change = self._epoch = next(_changes)

    def insert(self, cloud: PointCloud) -> VoxelUpdate:
        """Average the points of one frame into their voxels, in time proportional to their number."""
        self.revision += 1
        self._change = next(_changes)
        new = _average(cloud, self._voxel_size, self.revision)
        slots, alive = self._table.find(new.keys)
        known, unknown = np.flatnonzero(alive), np.flatnonzero(~alive)
        self._table.touch(slots[known], self.revision)  # first, so that what is seen now does not make room
        self._blend(slots[known], new.take(known))

        forgotten = self._table.make_room(len(unknown), self.revision)
        unknown = unknown[heaviest(new.weight[unknown], self._table.capacity - len(self._table))]
        added = self._store(new.take(unknown), slots[unknown])
        return VoxelUpdate(
            added=added,
            updated=len(known),
            forgotten=forgotten,
            refused=len(new) - len(known) - added,
            refused_points=len(cloud) - int(new.count.sum()),
        )

    def look(self, view: VoxelView, margin: float) -> int:
        """Ask a frame that was just inserted about voxels in its view that it did not hit; clear what it looks through.

        A voxel that has lost as many frames as it had is cleared. The work is bounded: at most ``MOST_ASKED`` voxels,
        first those of few frames that nobody has contradicted, then others in turn.

        Args:
            view: of the frame, in the frame of the points.
            margin: share of a depth by which a voxel must lie in front of what the frame saw to be looked through.

        Returns:
            How many voxels were cleared.
        """
        slots = self._batches.near(view, self.revision)
        slots = slots[self._table.alive(slots) & (self._table.seen(slots) < self.revision)]
        if len(slots) > MOST_ASKED:
            is_young = (self._misses[slots] == 0) & (self._frames[slots] < SETTLED)
            young = self._in_turn(slots[is_young], MOST_ASKED)
            slots = np.concatenate([young, self._in_turn(slots[~is_young], MOST_ASKED - len(young))])
        missed, through = view.judge(self._mean[slots, :3], self._voxel_size, margin)
        self._misses[slots[missed]] += 1
        self._written[slots[missed]] = self.revision
        crossed = np.unique(slots[through])  # each of which missed, too
        self._frames[crossed] -= 1
        cleared = crossed[self._frames[crossed] <= 0]
        self._table.forget(cleared)
        if missed.any():
            self._change = next(_changes)
        return len(cleared)

    def _in_turn(self, slots: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """At most so many of some voxels; later revisions get the others.

        Which ones follows from keys and revision alone, so that a map that was saved goes on as one that was not. All
        voxels lie on a circle by a hash of their keys, and each revision gets the next arc.
        """
        if len(slots) <= most:
            return slots
        if most == 0:
            return slots[:0]
        places = self._table.keys(slots).astype(np.uint64) * SCATTER >> np.uint64(32)
        start = self.revision * most % len(slots) * 2**32 // len(slots)
        ranks = (places - np.uint64(start)) & np.uint64(2**32 - 1)
        return slots[np.argpartition(ranks, most - 1)[:most]]

    def cloud(self, min_observations: int = 1) -> PointCloud:
        """The mean points, in no particular order; ``min_observations`` as of ``Voxels.cloud``. Reads the whole map."""
        return self._at(self._table.live()).cloud(min_observations)

    def check_size(self, voxel_size: float) -> None:
        """Raise GeometryError for what ``resize`` would refuse; reads the whole map."""
        points = self._mean[self._table.live(), :3]
        if not voxel_keys(points, _checked_size(voxel_size))[1].all():
            reach = float(np.abs(points).max())
            raise GeometryError(
                "voxel size", got=voxel_size, expected=f"> {reach / AXIS_LIMIT:g} for a map of this extent"
            )

    def resize(self, voxel_size: float) -> None:
        """Sort the content into voxels of another size; reads and writes the whole map.

        Smaller voxels get the old mean points until new points refine them.

        Raises:
            GeometryError: a size that is not positive, or so small that points leave the addressable space.
        """
        self.check_size(voxel_size)
        old = self.voxels()
        keys, _ = voxel_keys(old.mean[:, :3], voxel_size)
        merged = _united(keys, tuple(old.mean.T), old)
        revision = self.revision
        self.clear()
        self._voxel_size, self.revision = voxel_size, revision
        self._store(merged, np.full(len(merged), -1, np.int64))

    def resized(self, max_points: int) -> VoxelGrid:
        """A grid of the same content in buffers for ``max_points``; what was seen longest ago stays out."""
        return VoxelGrid.restore(self.voxels(), self._voxel_size, max_points, self.revision)

    def voxels(self) -> Voxels:
        """Everything the grid knows, sorted by key. Reads the whole map."""
        return self._at(self._table.live()).by_key()

    def copied(self, earlier: GridCopy | None = None) -> GridCopy:
        """What the grid knows now; only what changed since an earlier copy of it is copied again."""
        if earlier is not None and earlier.change == self._change:
            return earlier
        base = earlier if earlier is not None and earlier.epoch == self._epoch else None
        if base is None:
            slots, gone = self._table.live(), np.empty(0, np.int64)
        else:
            written = np.flatnonzero(self._written > base.revision)
            alive = self._table.alive(written)
            slots, gone = written[alive], written[~alive]
        moment = Moment(self._epoch, self._change, self.revision, self._table.horizon)
        return GridCopy(moment, slots, self._at(slots), gone, base)

    def _at(self, slots: NDArray[np.int64]) -> Voxels:
        return Voxels(
            self._table.keys(slots),
            self._mean.take(slots, axis=0),
            self._weight.take(slots),
            self._count.take(slots),
            self._table.seen(slots),
            self._frames.take(slots),
            self._misses.take(slots),
        )

    @classmethod
    def restore(cls, voxels: Voxels, voxel_size: float, max_points: int, revision: int) -> VoxelGrid:
        """A grid with the given content; where it exceeds ``max_points``, what was seen longest ago stays out."""
        grid = cls(voxel_size, max_points)
        grid.revision = revision
        if len(voxels) > max_points:
            newest = np.lexsort((voxels.keys, -voxels.weight, -voxels.seen))[:max_points]
            voxels = voxels.take(np.sort(newest))
        grid._store(voxels, np.full(len(voxels), -1, np.int64))
        return grid

    def _store(self, voxels: Voxels, slots: NDArray[np.int64]) -> int:
        """Write voxels that are not alive; ``slots`` is what the table said of them. Returns how many found room."""
        self._change = next(_changes)
        slots = self._table.place(voxels.keys, slots, voxels.seen)
        if (slots < 0).any():
            voxels, slots = voxels.take(np.flatnonzero(slots >= 0)), slots[slots >= 0]
        self._mean[slots], self._weight[slots], self._count[slots] = voxels.mean, voxels.weight, voxels.count
        self._frames[slots], self._misses[slots], self._written[slots] = voxels.frames, voxels.misses, self.revision
        self._batches.add(slots, voxels.mean[:, :3])
        return len(slots)

    def _blend(self, slots: NDArray[np.int64], new: Voxels) -> None:
        """Continue the running means of live voxels."""
        weight = self._weight.take(slots) + new.weight
        mean = self._mean.take(slots, axis=0)
        self._mean[slots] = mean + (new.mean - mean) * (new.weight / weight)[:, None]
        self._weight[slots] = weight
        self._count[slots] = self._count.take(slots) + new.count
        self._frames[slots] = self._frames.take(slots) + new.frames
        self._written[slots] = self.revision


def voxel_keys(points: NDArray[Any], voxel_size: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Packed voxel coordinates (N,) of points (N, 3), and which of them are addressable.

    Voxel i of an axis covers ``[i, i + 1) * voxel_size``. Points that are not finite or too far away are not
    addressable; their keys mean nothing.
    """
    cells = np.floor(np.asarray(points, dtype=np.float64) / voxel_size)
    inside = (np.abs(cells + 0.5) < AXIS_LIMIT).all(axis=1)  # false for NaN
    cells[~inside] = 0.0
    whole = cells.astype(np.int64) + AXIS_LIMIT
    return (whole[:, 0] << 2 * AXIS_BITS) | (whole[:, 1] << AXIS_BITS) | whole[:, 2], inside


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
    return _united(keys, columns, voxels)


def heaviest(weight: NDArray[np.float32], number: int) -> NDArray[np.intp]:
    """Ascending indices of the ``number`` largest weights, the earlier one where two are equal."""
    if len(weight) <= number:
        return np.arange(len(weight))
    return np.sort(np.argsort(-weight, kind="stable")[:number])


def _average(cloud: PointCloud, voxel_size: float, revision: int) -> Voxels:
    """The addressable points of a cloud, averaged by voxel."""
    keys, inside = voxel_keys(cloud.points, voxel_size)
    points, colors, confidence = cloud.points, cloud.colors, cloud.confidence
    if not inside.all():
        keys, points, colors, confidence = keys[inside], points[inside], colors[inside], confidence[inside]
    number = len(keys)
    points_as_voxels = Voxels(
        keys,
        np.empty((number, 6), np.float32),
        np.maximum(confidence, LEAST_WEIGHT),
        np.ones(number, np.int32),
        np.full(number, revision, np.int32),
        np.ones(number, np.int32),
        np.zeros(number, np.int32),
    )
    return _united(keys, (*points.T, *colors.T), points_as_voxels)


def _united(keys: NDArray[np.int64], columns: Sequence[NDArray[Any]], old: Voxels) -> Voxels:
    """Points or voxels with the same new key become one: weighted mean of the six columns, sums, latest revision.

    How many distinct frames saw any of them nobody knows: as many as saw the one of most, at least.
    """
    order, starts, group = _groups(keys)
    number = len(starts)
    weight = old.weight.astype(np.float64)
    total = np.bincount(group, weight, number)
    mean = np.empty((number, 6), np.float32)
    for column, values in enumerate(columns):
        mean[:, column] = np.bincount(group, weight * values, number) / total
    return Voxels(
        keys[order[starts]],
        mean,
        total.astype(np.float32),
        np.bincount(group, old.count, number).astype(np.int32),
        np.maximum.reduceat(old.seen[order], starts) if number else old.seen,
        np.maximum.reduceat(old.frames[order], starts) if number else old.frames,
        np.minimum.reduceat(old.misses[order], starts) if number else old.misses,
    )


def _groups(keys: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """An order that sorts keys, where each distinct key begins in it, and the rank of each key among the distinct."""
    order = np.argsort(keys)
    ordered = keys[order]
    first = np.ones(len(keys), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    group = np.empty(len(keys), np.intp)
    group[order] = np.cumsum(first) - 1
    return order, np.flatnonzero(first), group


def _checked_size(voxel_size: float) -> float:
    if not (np.isfinite(voxel_size) and voxel_size > 0):
        raise GeometryError("voxel size", got=voxel_size, expected="a finite number > 0")
    return float(voxel_size)

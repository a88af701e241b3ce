"""A bounded map of colored voxels whose insertion costs the same however large and old the map is."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.compiler import COMPILES, njit
from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.mapping.grid_copy import GridCopy, Moment
from spann3r_ros.mapping.voxel_batches import VoxelBatches
from spann3r_ros.mapping.voxel_table import VoxelTable
from spann3r_ros.mapping.voxel_view import VoxelView
from spann3r_ros.mapping.voxels import (
    AXIS_LIMIT,
    CELL,
    COUNT,
    FRAMES,
    MEAN,
    MISSES,
    SCATTER,
    WEIGHT,
    Voxels,
    averaged,
    united,
    voxel_keys,
)
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3

MOST_ASKED = 16384
"""Voxels that one frame is asked about at most."""

SETTLED = 8
"""Frames that agree on a voxel after which it is not asked about first."""

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

    All memory is taken at the beginning, about 95 bytes per point of ``max_points``. When it is full, the voxels of
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
        self._cells: NDArray[np.float32] = np.zeros((self._table.slots, CELL), np.float32)
        self._counters: NDArray[np.int32] = self._cells.view(np.int32)
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
        new = averaged(cloud, self._voxel_size, self.revision)
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
        split = _split_one_by_one if COMPILES else _split
        young, others = split(slots, *self._table.times, self.revision, self._counters)
        if len(young) + len(others) > MOST_ASKED:
            young = self._in_turn(young, MOST_ASKED)
            others = self._in_turn(others, MOST_ASKED - len(young))
        slots = np.concatenate([young, others])
        missed, through = view.judge(self._cells.take(slots, axis=0)[:, :3], self._voxel_size, margin)
        self._counters[slots[missed], MISSES] += 1
        self._written[slots[missed]] = self.revision
        crossed = np.unique(slots[through])  # each of which missed, too
        self._counters[crossed, FRAMES] -= 1
        cleared = crossed[self._counters[crossed, FRAMES] <= 0]
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
        points = self._cells.take(self._table.live(), axis=0)[:, :3]
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
        merged = united(keys, tuple(old.mean.T), old)
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
        if earlier is not None and earlier.moment.change == self._change:
            return earlier
        base = earlier if earlier is not None and earlier.moment.epoch == self._epoch else None
        if base is None:
            slots, gone = self._table.live(), np.empty(0, np.int64)
        else:
            written = np.flatnonzero(self._written > base.moment.revision)
            alive = self._table.alive(written)
            slots, gone = written[alive], written[~alive]
        moment = Moment(self._epoch, self._change, self.revision, self._table.horizon)
        return GridCopy(moment, slots, self._at(slots), gone, base)

    def _at(self, slots: NDArray[np.int64]) -> Voxels:
        return Voxels(self._table.keys(slots), self._cells.take(slots, axis=0), self._table.seen(slots))

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
        self._cells[slots], self._written[slots] = voxels.cells, self.revision
        self._batches.add(slots, voxels.mean[:, :3])
        return len(slots)

    def _blend(self, slots: NDArray[np.int64], new: Voxels) -> None:
        """Continue the running means of live voxels."""
        blend = _blend_one_by_one if COMPILES else _blend
        blend(slots, new.cells, self._cells)
        self._written[slots] = self.revision


def _split(
    slots: NDArray[np.int64], seen: NDArray[np.int32], horizon: int, revision: int, counters: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which slots (n,) hold live voxels of before a revision: those of few frames that none contradicts, and others.

    Args:
        slots: to choose from.
        seen, horizon: as of ``VoxelTable.times``.
        revision: now.
        counters: (S, CELL) of all cells.
    """
    times = seen.take(slots)
    slots = slots[(times > horizon) & (times < revision)]
    # Column by column: NumPy gathers single numbers four times faster than rows.
    is_young = (counters[:, MISSES][slots] == 0) & (counters[:, FRAMES][slots] < SETTLED)
    return slots[is_young], slots[~is_young]


@njit
def _split_one_by_one(
    slots: NDArray[np.int64], seen: NDArray[np.int32], horizon: int, revision: int, counters: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As ``_split``, compiled."""
    young, others, first, second = np.empty_like(slots), np.empty_like(slots), 0, 0
    for slot in slots:
        if horizon < seen[slot] < revision:
            if counters[slot, MISSES] == 0 and counters[slot, FRAMES] < SETTLED:
                young[first] = slot
                first += 1
            else:
                others[second] = slot
                second += 1
    return young[:first], others[:second]


def _blend(slots: NDArray[np.int64], new: NDArray[np.float32], all_cells: NDArray[np.float32]) -> None:
    """Continue the running means of the cells (S, CELL) in distinct slots (n,) by new cells (n, CELL), in place."""
    cells = all_cells.take(slots, axis=0)
    counters = cells.view(np.int32)
    weight = cells[:, WEIGHT] + new[:, WEIGHT]
    cells[:, MEAN] += (new[:, MEAN] - cells[:, MEAN]) * (new[:, WEIGHT] / weight)[:, None]
    cells[:, WEIGHT] = weight
    counters[:, COUNT : FRAMES + 1] += new.view(np.int32)[:, COUNT : FRAMES + 1]
    all_cells[slots] = cells


@njit
def _blend_one_by_one(slots: NDArray[np.int64], new: NDArray[np.float32], cells: NDArray[np.float32]) -> None:
    """As ``_blend``, compiled."""
    counters, added = cells.view(np.int32), new.view(np.int32)
    for i in range(len(slots)):
        slot = slots[i]
        weight = cells[slot, WEIGHT] + new[i, WEIGHT]
        share = new[i, WEIGHT] / weight
        for column in range(WEIGHT):
            cells[slot, column] += (new[i, column] - cells[slot, column]) * share
        cells[slot, WEIGHT] = weight
        counters[slot, COUNT] += added[i, COUNT]
        counters[slot, FRAMES] += added[i, FRAMES]


def heaviest(weight: NDArray[np.float32], number: int) -> NDArray[np.intp]:
    """Ascending indices of the ``number`` largest weights, the earlier one where two are equal."""
    if len(weight) <= number:
        return np.arange(len(weight))
    return np.sort(np.argsort(-weight, kind="stable")[:number])


def _checked_size(voxel_size: float) -> float:
    if not (np.isfinite(voxel_size) and voxel_size > 0):
        raise GeometryError("voxel size", got=voxel_size, expected="a finite number > 0")
    return float(voxel_size)


def warm_up() -> None:
    """Insert and look once, so that what is compiled is compiled before the first frame."""
    grid, point = VoxelGrid(1.0, 10), np.zeros((1, 3), np.float32)
    cloud = PointCloud(point, point.astype(np.uint8), np.ones(1, np.float32))
    grid.insert(cloud)
    grid.insert(cloud)
    grid.look(VoxelView(Sim3(), Intrinsics(1.0, 1.0, 0.0, 0.0, 1, 1), np.ones((1, 1), np.float32)), 0.1)

"""A hash table of voxels in arrays of fixed size that forgets the voxels seen longest ago."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

WAYS = 8
"""Slots of a bucket: eight keys fill one cache line."""

LOAD = 0.5
"""Largest share of the slots in use. With two buckets to choose from, both are then practically never full."""

Keys = NDArray[np.int64]
Slots = NDArray[np.int64]
Revisions = NDArray[np.int32]


class VoxelTable:
    """Where each voxel is stored and when it was last seen.

    A key may live in any slot of two buckets which its hash names, and goes to the emptier of the two ("balanced
    allocations", Azar et al. 1999); so a look-up reads sixteen keys, however full the table is and however long it has
    been in use. Forgetting moves a horizon: a slot last seen at or before it counts as free and is overwritten when its
    bucket needs it. No operation but ``live`` and ``clear`` touches more than the voxels it is about.

    Args:
        capacity: most voxels alive at a time.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._buckets = max(2, -(-int(capacity / LOAD) // WAYS))
        self._keys: NDArray[np.int64] = np.full((self._buckets, WAYS), -1, np.int64)  # keys are never negative
        self._seen: NDArray[np.int32] = np.zeros(self._buckets * WAYS, np.int32)
        self._horizon = 0
        self._alive = 0
        # How many live voxels were last seen at each revision, oldest first; empty ones are removed.
        self._census: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return self._alive

    @property
    def slots(self) -> int:
        """How many slots there are; every slot number is below this."""
        return self._buckets * WAYS

    def clear(self) -> None:
        """Forget everything, keys too: whoever places voxels afterwards does not ask where they once were."""
        self._keys.fill(-1)
        self._seen.fill(0)
        self._horizon = self._alive = 0
        self._census.clear()

    def find(self, keys: Keys) -> tuple[Slots, NDArray[np.bool_]]:
        """Slots of distinct keys (-1 where there is none), and whether each is alive.

        A slot of a forgotten voxel is reported too, not alive: the key must be placed there again, so that no key is
        ever stored twice.
        """
        candidates = self._candidates(keys)
        stored = self._keys.take(candidates.ravel(), axis=0).reshape(-1, 2 * WAYS)
        hits = np.flatnonzero(stored == keys[:, None])  # of a key at most one, or one slot twice
        rows, ways = hits // (2 * WAYS), hits % (2 * WAYS)
        slots = np.full(len(keys), -1, np.int64)
        slots[rows] = candidates[rows, ways // WAYS] * WAYS + ways % WAYS
        alive = np.zeros(len(keys), bool)
        alive[rows] = self._seen.take(slots[rows]) > self._horizon
        return slots, alive

    def touch(self, slots: Slots, revision: int) -> None:
        """Live voxels have been seen at ``revision``, which no earlier call exceeded."""
        if not len(slots):
            return
        self._uncount(slots)
        self._seen[slots] = revision
        self._census[revision] = self._census.pop(revision, 0) + len(slots)  # popped, so that it comes last

    def make_room(self, room: int, revision: int) -> int:
        """Forget whole revisions, oldest first and never ``revision`` itself, until ``room`` more voxels fit.

        Returns:
            How many voxels were forgotten. There may still be too little room when the rest was seen at ``revision``.
        """
        before = self._alive
        while self._alive + room > self.capacity and self._census:
            oldest, count = next(iter(self._census.items()))
            if oldest == revision:
                break
            self._census.popitem(last=False)
            self._horizon = oldest
            self._alive -= count
        return before - self._alive

    def place(self, keys: Keys, slots: Slots, seen: Revisions) -> Slots:
        """Store distinct keys that are not alive; there must be room.

        Args:
            keys: (n,) distinct.
            slots: (n,) what ``find`` said of them.
            seen: (n,) revision of each, above the horizon and not below any revision in the table.

        Returns:
            (n,) their slots; -1 where both buckets were full, which at the table's load is a theoretical case.
        """
        slots = slots.copy()
        revived = slots >= 0
        # What was freed since ``find`` still is: only this method fills slots.
        self._seen[slots[revived]] = seen[revived]
        pending = np.flatnonzero(~revived)
        while len(pending):
            wanted = self._free_slots(keys[pending])
            pending, wanted = pending[wanted >= 0], wanted[wanted >= 0]
            flat_keys = self._keys.reshape(-1)
            flat_keys[wanted] = keys[pending]
            won = flat_keys[wanted] == keys[pending]  # of several that want one slot, the last written has it
            self._seen[wanted[won]] = seen[pending[won]]
            slots[pending[won]] = wanted[won]
            pending = pending[~won]
        revisions, counts = np.unique(seen[slots >= 0], return_counts=True)
        for revision, count in zip(revisions.tolist(), counts.tolist(), strict=True):
            self._census[revision] = self._census.get(revision, 0) + count
            self._alive += count
        return slots

    def forget(self, slots: Slots) -> None:
        """Forget the live voxels in these distinct slots."""
        self._uncount(slots)
        self._seen[slots] = 0
        self._alive -= len(slots)

    def alive(self, slots: Slots) -> NDArray[np.bool_]:
        """Which slots hold a live voxel."""
        return np.asarray(self._seen.take(slots) > self._horizon)

    def alive_before(self, slots: Slots, revision: int) -> NDArray[np.bool_]:
        """Which slots hold a live voxel that was last seen before a revision."""
        seen = self._seen.take(slots)
        return np.asarray((seen > self._horizon) & (seen < revision))

    def live(self) -> Slots:
        """Slots of all live voxels, ascending. Reads the whole table."""
        return np.flatnonzero(self._seen > self._horizon)

    @property
    def horizon(self) -> int:
        """Voxels that were last seen at this revision or before are forgotten."""
        return self._horizon

    def keys(self, slots: Slots) -> Keys:
        """The keys stored in slots."""
        return self._keys.reshape(-1).take(slots)

    def seen(self, slots: Slots) -> Revisions:
        """When the voxels in slots were last seen."""
        return self._seen.take(slots)

    def _uncount(self, slots: Slots) -> None:
        """Take live voxels out of the census."""
        revisions, counts = np.unique(self._seen.take(slots), return_counts=True)
        for old, count in zip(revisions.tolist(), counts.tolist(), strict=True):
            self._census[old] -= count
            if not self._census[old]:
                del self._census[old]

    def _candidates(self, keys: Keys) -> NDArray[np.int64]:
        """(n, 2) numbers of the two buckets of each key (splitmix64's finalizer, Steele et al. 2014)."""
        mixed = keys.astype(np.uint64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        halves = np.stack([mixed >> np.uint64(32), mixed & np.uint64(0xFFFFFFFF)], axis=1)
        return np.asarray((halves * np.uint64(self._buckets)) >> np.uint64(32), dtype=np.int64)

    def _free_slots(self, keys: Keys) -> Slots:
        """A free slot of the emptier bucket of each key, or -1; different keys may be told the same slot."""
        candidates = self._candidates(keys)
        seen = self._seen.reshape(self._buckets, WAYS).take(candidates.ravel(), axis=0)
        free = seen.reshape(-1, 2, WAYS) <= self._horizon
        side = np.diff(free.sum(axis=2), axis=1)[:, 0] > 0
        rows = np.arange(len(keys))
        chosen = free[rows, side.astype(np.intp)]
        slots = candidates[rows, side.astype(np.intp)] * WAYS + chosen.argmax(axis=1)
        slots[~chosen.any(axis=1)] = -1
        return np.asarray(slots, dtype=np.int64)

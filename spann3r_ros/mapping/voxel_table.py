"""A hash table of voxels in arrays of fixed size that forgets the voxels seen longest ago."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.compiler import COMPILES, njit

WAYS = 8
"""Entries of a bucket: eight fill one cache line."""

LOAD = 0.5
"""Largest share of the entries in use. With two buckets to choose from, both are then practically never full."""

SPARE = 1.25
"""Slots for each voxel that may be alive: the share that is free keeps the search for free ones short."""

_SLOT = 2**32 - 1
"""Bits of an entry that name the slot; above them lies a mark of the key."""

Keys = NDArray[np.int64]
Slots = NDArray[np.int64]
Revisions = NDArray[np.int32]


class VoxelTable:
    """Where each voxel is stored and when it was last seen.

    Slots are given out in turn, so that voxels which came together lie together: reading those of one place costs a
    tenth of what it would if they lay where a hash says. Forgetting moves a horizon: a slot last seen at or before it
    counts as free and is given out again when its turn comes.

    The slot of a key is written in any entry of two buckets which its hash names, the emptier of the two ("balanced
    allocations", Azar et al. 1999); so a look-up reads sixteen entries, however full the table is and however long it
    has been in use. No operation but ``live`` and ``clear`` touches more than the voxels it is about, save that the
    search for free slots reads when the slots that it passes were seen.

    Args:
        capacity: most voxels alive at a time.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.slots = int(SPARE * capacity) + 1
        """How many slots there are; every slot number is below this."""
        self._keys: NDArray[np.int64] = np.full(self.slots, -1, np.int64)  # keys are never negative
        self._seen: NDArray[np.int32] = np.zeros(self.slots, np.int32)
        self._buckets = max(2, -(-int(self.slots / LOAD) // WAYS))
        self._entries: NDArray[np.int64] = np.full((self._buckets, WAYS), -1, np.int64)
        self._home: NDArray[np.int32] = np.full(self.slots, -1, np.int32)  # the entry of each slot
        self._next = 0  # slot whose turn it is
        self._horizon = 0
        self._alive = 0
        # How many live voxels were last seen at each revision, oldest first; empty ones are removed.
        self._census: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return self._alive

    def clear(self) -> None:
        """Forget everything, keys too: whoever places voxels afterwards does not ask where they once were."""
        self._keys.fill(-1)
        self._seen.fill(0)
        self._entries.fill(-1)
        self._home.fill(-1)
        self._next = self._horizon = self._alive = 0
        self._census.clear()

    def find(self, keys: Keys) -> tuple[Slots, NDArray[np.bool_]]:
        """Slots of distinct keys (-1 where there is none), and whether each is alive.

        A slot of a forgotten voxel is reported too, not alive: the key must be placed there again, so that no key is
        ever stored twice.
        """
        find = _found_one_by_one if COMPILES else _found
        slots = find(keys, self._entries, self._keys)
        return slots, (slots >= 0) & (self._seen.take(slots) > self._horizon)

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
        revived, new = slots >= 0, np.flatnonzero(slots < 0)
        # What was freed since ``find`` still is: only this method fills slots.
        self._seen[slots[revived]] = seen[revived]
        slots[new] = taken = self._free_slots(len(new))
        entered = (_entered_one_by_one if COMPILES else _entered)(keys[new], taken, self._entries)
        self._keys[taken], self._home[taken] = np.where(entered < 0, -1, keys[new]), entered
        self._seen[taken] = np.where(entered < 0, 0, seen[new])
        slots[new[entered < 0]] = -1
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

    def live(self) -> Slots:
        """Slots of all live voxels, ascending. Reads the whole table."""
        return np.flatnonzero(self._seen > self._horizon)

    @property
    def times(self) -> tuple[Revisions, int]:
        """When the voxel in each slot was last seen (to be read only), and the horizon."""
        return self._seen, self._horizon

    @property
    def horizon(self) -> int:
        """Voxels that were last seen at this revision or before are forgotten."""
        return self._horizon

    def keys(self, slots: Slots) -> Keys:
        """The keys stored in slots."""
        return self._keys.take(slots)

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

    def _free_slots(self, number: int) -> Slots:
        """So many free slots, the next in turn, out of which what was stored there is taken. There must be as many."""
        found = [np.empty(0, np.int64)]
        missing = number
        while missing:
            end = min(self._next + 2 * missing, self.slots)
            free = self._next + np.flatnonzero(self._seen[self._next : end] <= self._horizon)[:missing]
            found.append(free)
            missing -= len(free)
            self._next = (end if missing else int(free[-1]) + 1) % self.slots
        slots = np.concatenate(found)
        home = self._home.take(slots)
        self._entries.reshape(-1)[home[home >= 0]] = -1
        return slots


def _found(keys: Keys, entries: NDArray[np.int64], stored: Keys) -> Slots:
    """Slots (n,) of keys, or -1, by the entries (B, WAYS) of a table and the key (S,) that is stored in each slot."""
    buckets, marks = _hashed(keys, len(entries))
    read = entries.take(buckets.ravel(), axis=0)
    hits = np.flatnonzero((read ^ np.repeat(marks, 2)[:, None]) >> 32 == 0)  # seldom of another key
    rows, found = hits // (2 * WAYS), read.reshape(-1)[hits] & _SLOT
    is_its = stored.take(found) == keys[rows]
    slots = np.full(len(keys), -1, np.int64)
    slots[rows[is_its]] = found[is_its]
    return slots


def _entered(keys: Keys, slots: Slots, entries: NDArray[np.int64]) -> NDArray[np.int64]:
    """Write the slots of distinct keys into free entries (B, WAYS) of a table; which ones (n,), or -1 where none is."""
    buckets, marks = _hashed(keys, len(entries))
    flat, places = entries.reshape(-1), np.full(len(keys), -1, np.int64)
    pending = np.arange(len(keys))
    while len(pending):
        free = entries.take(buckets[pending].ravel(), axis=0).reshape(-1, 2, WAYS) < 0
        side = (np.diff(free.sum(axis=2), axis=1)[:, 0] > 0).astype(np.intp)
        chosen = free[np.arange(len(pending)), side]
        wanted = buckets[pending, side] * WAYS + chosen.argmax(axis=1)
        has_room = chosen.any(axis=1)
        pending, wanted = pending[has_room], wanted[has_room]
        written = marks[pending] | slots[pending]
        flat[wanted] = written
        won = flat[wanted] == written  # of several that want one entry, the last written has it
        places[pending[won]] = wanted[won]
        pending = pending[~won]
    return places


def _hashed(keys: Keys, buckets: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the two buckets (n, 2) and mark (n,) of each key (splitmix64's finalizer, Steele et al. 2014)."""
    mixed = keys.astype(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    halves = np.stack([mixed >> np.uint64(32), mixed & np.uint64(_SLOT)], axis=1)
    marks = (halves[:, 0] ^ halves[:, 1]) << np.uint64(33) >> np.uint64(1)  # 31 bits: an entry is never negative
    return ((halves * np.uint64(buckets)) >> np.uint64(32)).astype(np.int64), marks.astype(np.int64)


# The same again, compiled: one key after the other.


@njit
def _found_one_by_one(keys: Keys, entries: NDArray[np.int64], stored: Keys) -> Slots:
    slots = np.full(len(keys), -1, np.int64)
    for i in range(len(keys)):
        first, second, mark = _hashed_one(keys[i], len(entries))
        for bucket in (first, second):
            for way in range(WAYS):
                entry = entries[bucket, way]
                if (entry ^ mark) >> 32 == 0 and stored[entry & _SLOT] == keys[i]:
                    slots[i] = entry & _SLOT
    return slots


@njit
def _entered_one_by_one(keys: Keys, slots: Slots, entries: NDArray[np.int64]) -> NDArray[np.int64]:
    places = np.full(len(keys), -1, np.int64)
    for i in range(len(keys)):
        first, second, mark = _hashed_one(keys[i], len(entries))
        most = 0
        for bucket in (first, second):
            free, place = 0, 0
            for way in range(WAYS - 1, -1, -1):
                if entries[bucket, way] < 0:
                    free, place = free + 1, way
            if free > most:
                most, places[i] = free, bucket * WAYS + place
        if most:
            entries[places[i] // WAYS, places[i] % WAYS] = mark | slots[i]
    return places


@njit
def _hashed_one(key: int, buckets: int) -> tuple[int, int, int]:
    mixed = np.uint64(key)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    high, low = mixed >> np.uint64(32), mixed & np.uint64(_SLOT)
    first, second = high * np.uint64(buckets) >> np.uint64(32), low * np.uint64(buckets) >> np.uint64(32)
    return np.int64(first), np.int64(second), np.int64((high ^ low) << np.uint64(33) >> np.uint64(1))

import numpy as np
import pytest

from spann3r_ros.mapping.voxel_table import VoxelTable

pytestmark = pytest.mark.usefixtures("both_ways")


def put(table: VoxelTable, keys: np.ndarray, revision: int) -> np.ndarray:
    slots, alive = table.find(keys)
    table.touch(slots[alive], revision)
    table.make_room(int((~alive).sum()), revision)
    slots[~alive] = table.place(keys[~alive], slots[~alive], np.full(int((~alive).sum()), revision, np.int32))
    return slots


def test_every_key_is_found_where_it_was_placed_and_no_other_is():
    table = VoxelTable(5000)
    keys = np.random.default_rng(0).choice(2**62, 5000, replace=False)
    slots = put(table, keys, 1)
    assert (slots >= 0).all() and len(np.unique(slots)) == 5000 and slots.max() < table.slots
    found, alive = table.find(keys[::-1])
    assert alive.all()
    np.testing.assert_array_equal(found, slots[::-1])
    absent, alive = table.find(keys + 1)
    assert not alive.any() and (absent == -1).all()
    np.testing.assert_array_equal(np.sort(table.keys(table.live())), np.sort(keys))


def test_neighboring_keys_fill_it_to_the_brim():
    # Voxel keys are anything but random: neighbors differ by one.
    table = VoxelTable(40_000)
    keys = np.arange(40_000, dtype=np.int64)
    assert (put(table, keys, 1) >= 0).all()
    assert len(table) == 40_000


def test_the_oldest_revisions_are_forgotten_whole():
    table = VoxelTable(100)
    for revision in (1, 2, 3):
        put(table, np.arange(30, dtype=np.int64) + 1000 * revision, revision)
    table.touch(table.find(np.arange(1000, 1010, dtype=np.int64))[0], 4)
    assert table.make_room(20, 4) == 20, "the 20 of revision 1 that were not seen again"
    assert len(table) == 70
    assert table.find(np.arange(1000, 1030, dtype=np.int64))[1].tolist() == [True] * 10 + [False] * 20
    assert table.make_room(31, 4) == 30
    assert table.make_room(100, 4) == 30
    assert table.make_room(100, 4) == 0, "what is seen now never makes room"
    assert len(table) == 10


def test_a_forgotten_key_comes_back_once():
    table = VoxelTable(50)
    keys = np.arange(50, dtype=np.int64)
    for revision in range(1, 200):
        put(table, (keys + 25 * revision) % 400, revision)
        live = table.keys(table.live())
        assert len(live) == len(np.unique(live)) == len(table)


def test_nothing_is_refused_in_a_long_life_at_full_load():
    rng = np.random.default_rng(0)
    table = VoxelTable(3000)
    for revision in range(1, 1500):
        keys = np.unique(rng.integers(0, 20_000, 300))
        assert (put(table, keys, revision) >= 0).all()
    assert len(table) > 2700


def test_clear_forgets_all():
    table = VoxelTable(100)
    keys = np.arange(100, dtype=np.int64)
    put(table, keys, 7)
    table.clear()
    assert len(table) == 0 and not len(table.live()) and not table.find(keys)[1].any()
    assert (put(table, keys, 1) >= 0).all() and len(table) == 100


def test_without_keys_nothing_happens():
    table = VoxelTable(10)
    nothing = np.empty(0, np.int64)
    assert len(put(table, nothing, 1)) == 0
    assert len(table) == 0


def test_single_voxels_can_be_forgotten_and_come_back():
    table = VoxelTable(100)
    keys = np.arange(10, dtype=np.int64)
    slots = table.place(keys, table.find(keys)[0], np.full(10, 1, np.int32))
    table.forget(slots[:4])
    assert len(table) == 6 and table.alive(slots).tolist() == [False] * 4 + [True] * 6
    found, alive = table.find(keys)
    assert alive.tolist() == [False] * 4 + [True] * 6 and len(table.live()) == 6
    table.place(keys[:4], found[:4], np.full(4, 2, np.int32))
    assert len(table) == 10 and table.make_room(100, 3) == 10

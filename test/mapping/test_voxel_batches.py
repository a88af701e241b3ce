import numpy as np

from spann3r_ros.frame import Intrinsics
from spann3r_ros.mapping.voxel_batches import BATCH, MOST_LISTED, VoxelBatches
from spann3r_ros.mapping.voxel_view import VoxelView
from spann3r_ros.sim3 import Sim3

AHEAD = VoxelView(Sim3(), Intrinsics(40.0, 40.0, 31.5, 23.5, 64, 48), np.full((48, 64), 2.0, np.float32))


def around(place: tuple[float, float, float], number: int) -> np.ndarray:
    return (np.random.default_rng(0).uniform(-0.2, 0.2, (number, 3)) + place).astype(np.float32)


def test_voxels_near_a_view_are_found_and_others_are_not():
    batches = VoxelBatches(10**6)
    for first in range(0, 4000, 100):  # small frames become full batches
        place = (0.0, 0.0, 2.0) if first < 2000 else (0.0, 0.0, -5.0)
        batches.add(np.arange(first, first + 100), around(place, 100))
    found = batches.near(AHEAD, 1)
    assert batches.total == 4000 and len(np.unique(found)) == len(found)
    assert set(range(2000)) <= set(found.tolist()) and len(found) <= 2000 + BATCH
    batches.clear()
    assert batches.total == 0 and len(batches.near(AHEAD, 2)) == 0


def test_a_batch_of_joined_frames_reaches_as_far_as_its_voxels():
    batches = VoxelBatches(10**6)
    batches.add(np.arange(10), around((50.0, 0.0, -5.0), 10))
    batches.add(np.arange(10, 20), around((0.0, 0.0, 2.0), 10))  # joins a batch that lies aside
    assert set(range(10, 20)) <= set(batches.near(AHEAD, 1).tolist())


def test_a_large_map_is_listed_a_bounded_part_at_a_time_until_all_of_it_was():
    batches, number = VoxelBatches(10**6), 3 * MOST_LISTED
    batches.add(np.arange(number), around((0.0, 0.0, 2.0), number))
    listed: set[int] = set()
    for revision in range(1, 5):
        found = batches.near(AHEAD, revision)
        assert len(found) <= MOST_LISTED
        listed |= set(found.tolist())
    assert listed == set(range(number))


def test_of_a_map_that_forgets_the_oldest_batches_go():
    batches = VoxelBatches(5000)
    for first in range(0, 50_000, 500):
        batches.add(np.arange(first, first + 500), around((0.0, 0.0, 2.0), 500))
    found = batches.near(AHEAD, 1)
    assert 5000 <= batches.total == len(found) <= 5000 + BATCH
    assert set(range(45_000, 50_000)) <= set(found.tolist())

import numpy as np
import pytest

from spann3r_ros.mapping.voxels import AXIS_LIMIT, Voxels, averaged, united, voxel_keys
from spann3r_ros.point_cloud import PointCloud


def some_voxels(rng: np.random.Generator, number: int) -> Voxels:
    return Voxels.of(
        np.arange(number, dtype=np.int64),
        rng.uniform(0, 1, (number, 6)).astype(np.float32),
        rng.uniform(0.1, 1, number).astype(np.float32),
        rng.integers(1, 2**31 - 1, number, dtype=np.int32),
        rng.integers(0, 9, number, dtype=np.int32),
        rng.integers(1, 2**31 - 1, number, dtype=np.int32),
        rng.integers(0, 2**31 - 1, number, dtype=np.int32),
    )


def test_counters_of_any_size_survive_in_rows_of_floats():
    voxels = some_voxels(np.random.default_rng(0), 1000)
    order = np.random.default_rng(1).permutation(1000)
    moved = voxels.take(order[:500]).joined(voxels.take(order[500:])).by_key()
    for name in ("keys", "mean", "weight", "count", "seen", "frames", "misses"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(voxels, name))


def test_a_key_is_the_floor_of_each_axis_up_to_the_last_addressable_voxel():
    edge = np.float64(AXIS_LIMIT)
    points = np.array([[0.5, -0.5, 1.0], [edge - 0.5, -edge, 0], [edge, 0, 0], [0, -edge - 0.5, 0], [np.nan, 0, 0]])
    keys, inside = voxel_keys(points, 1.0)
    assert inside.tolist() == [True, True, False, False, False]
    first = [(int(keys[0]) >> shift & 2**21 - 1) - AXIS_LIMIT for shift in (42, 21, 0)]
    second = [(int(keys[1]) >> shift & 2**21 - 1) - AXIS_LIMIT for shift in (42, 21, 0)]
    assert first == [0, -1, 1] and second == [AXIS_LIMIT - 1, -AXIS_LIMIT, 0]
    assert voxel_keys(points[:2], 1.0)[0].tolist() == keys[:2].tolist()


@pytest.mark.usefixtures("both_ways")
def test_points_of_a_voxel_are_averaged_by_confidence():
    points = np.array([[2.5, 0, 0], [0.25, 0.5, 0.5], [0.75, 0.5, 0.5]], np.float32)
    colors = np.array([[9, 9, 9], [0, 100, 0], [40, 0, 0]], np.uint8)
    voxels = averaged(PointCloud(points, colors, np.array([1, 0.75, 0.25], np.float32)), 1.0, 7).by_key()
    np.testing.assert_allclose(voxels.mean[0], [0.375, 0.5, 0.5, 10, 75, 0], rtol=1e-6)
    np.testing.assert_array_equal(voxels.mean[1, :3], points[0])
    assert voxels.count.tolist() == [2, 1] and voxels.seen.tolist() == [7, 7]
    assert voxels.frames.tolist() == [1, 1] and voxels.misses.tolist() == [0, 0]


def test_united_voxels_keep_sums_and_extremes():
    rng = np.random.default_rng(2)
    old = some_voxels(rng, 60)
    old.count[:] = rng.integers(1, 100, 60)
    keys = rng.integers(0, 10, 60)
    new = united(keys, tuple(old.mean.T), old)
    for place, key in enumerate(np.unique(keys)):
        members = keys == key
        expected = np.average(old.mean[members].astype(float), axis=0, weights=old.weight[members])
        np.testing.assert_allclose(new.mean[place], expected, rtol=1e-5)
        assert new.count[place] == old.count[members].sum()
        assert new.frames[place] == old.frames[members].max() and new.misses[place] == old.misses[members].min()
        assert new.seen[place] == old.seen[members].max()

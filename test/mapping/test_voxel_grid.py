import math

import numpy as np
import pytest

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.mapping import voxel_grid, voxel_table, voxel_view, voxels
from spann3r_ros.mapping.voxel_grid import MOST_ASKED, VoxelGrid
from spann3r_ros.mapping.voxel_view import VoxelView
from spann3r_ros.mapping.voxels import AXIS_LIMIT, voxel_keys
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3

pytestmark = pytest.mark.usefixtures("both_ways")


def random_cloud(rng: np.random.Generator, number: int, low=(-1.0, -1.0, -1.0), high=(1.0, 1.0, 1.0)) -> PointCloud:
    return PointCloud(
        rng.uniform(low, high, (number, 3)).astype(np.float32),
        rng.integers(0, 256, (number, 3), dtype=np.uint8),
        rng.uniform(0, 1, number).astype(np.float32),
    )


class Reference:
    """The same map as a dictionary, a point at a time."""

    def __init__(self, voxel_size: float, max_points: int) -> None:
        self.voxel_size, self.max_points, self.revision = voxel_size, max_points, 0
        self.voxels: dict[tuple[int, int, int], list] = {}

    def insert(self, cloud: PointCloud) -> None:
        self.revision += 1
        frame: dict[tuple[int, int, int], list] = {}
        for point, color, confidence in zip(cloud.points, cloud.colors, cloud.confidence, strict=True):
            cell = tuple(math.floor(float(value) / self.voxel_size) for value in point)
            weight = max(float(confidence), 1e-6)
            entry = frame.setdefault(cell, [np.zeros(6), 0.0, 0])
            entry[0] += weight * np.array([*point, *color], dtype=float)
            entry[1] += weight
            entry[2] += 1
        for cell in frame.keys() & self.voxels.keys():
            old = self.voxels[cell]
            self.voxels[cell] = [
                old[0] + frame[cell][0],
                old[1] + frame[cell][1],
                old[2] + frame[cell][2],
                self.revision,
            ]
        new = {cell: [*entry, self.revision] for cell, entry in frame.items() if cell not in self.voxels}
        while len(self.voxels) + len(new) > self.max_points:
            oldest = min((entry[3] for entry in self.voxels.values()), default=self.revision)
            if oldest == self.revision:
                break
            self.voxels = {cell: entry for cell, entry in self.voxels.items() if entry[3] != oldest}
        room = self.max_points - len(self.voxels)
        ranked = sorted(new, key=lambda cell: -new[cell][1])[:room]
        self.voxels.update({cell: new[cell] for cell in ranked})


def assert_equal(grid: VoxelGrid, reference: Reference) -> None:
    voxels = grid.voxels()
    cells = sorted(reference.voxels)  # keys pack x, y, z in this order, so they sort alike
    packed = [((x + AXIS_LIMIT) << 42) | ((y + AXIS_LIMIT) << 21) | (z + AXIS_LIMIT) for x, y, z in cells]
    np.testing.assert_array_equal(voxels.keys, packed)
    entries = [reference.voxels[cell] for cell in cells]
    np.testing.assert_allclose(voxels.mean, [entry[0] / entry[1] for entry in entries], rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(voxels.weight, [entry[1] for entry in entries], rtol=1e-5)
    np.testing.assert_array_equal(voxels.count, [entry[2] for entry in entries])
    np.testing.assert_array_equal(voxels.seen, [entry[3] for entry in entries])


@pytest.mark.parametrize(("max_points", "frame"), [(100_000, 400), (700, 300), (250, 400)])
def test_content_equals_a_dictionary_also_while_old_voxels_make_room(max_points, frame):
    rng = np.random.default_rng(max_points)
    grid, reference = VoxelGrid(0.1, max_points), Reference(0.1, max_points)
    for step in range(60):
        center = np.array([0.08 * (step % 37), 0.5, -0.3])
        reach = np.array([0.6, 0.2, 0.2])
        cloud = random_cloud(rng, frame, center - reach, center + reach)
        size = len(grid)
        update = grid.insert(cloud)
        reference.insert(cloud)
        assert len(grid) == len(reference.voxels) <= max_points
        assert len(grid) == size + update.added - update.forgotten
        if step % 6 == 0 or step > 55:
            assert_equal(grid, reference)


def test_one_voxel_is_the_confidence_weighted_mean():
    grid = VoxelGrid(1.0, 10)
    points = np.array([[0.1, 0.2, 0.3], [0.5, 0.6, 0.7], [0.9, 0.1, 0.2]], np.float32)
    colors = np.array([[10, 0, 255], [20, 0, 255], [90, 30, 0]], np.uint8)
    confidence = np.array([0.9, 0.3, 0.6], np.float32)
    grid.insert(PointCloud(points[:2], colors[:2], confidence[:2]))
    grid.insert(PointCloud(points[2:], colors[2:], confidence[2:]))
    cloud = grid.cloud()
    assert len(cloud) == len(grid) == 1
    np.testing.assert_allclose(cloud.points[0], np.average(points, axis=0, weights=confidence), rtol=1e-6)
    np.testing.assert_array_equal(cloud.colors[0], np.rint(np.average(colors, axis=0, weights=confidence)))
    assert cloud.confidence[0] == pytest.approx(0.6)


def test_voxel_zero_is_not_twice_as_wide():
    points = np.array([[-0.01, 0.01, 0.01], [0.01, 0.01, 0.01]], np.float32)
    grid = VoxelGrid(0.1, 10)
    grid.insert(PointCloud(points, np.zeros((2, 3), np.uint8), np.ones(2, np.float32)))
    assert len(grid) == 2


def test_points_of_no_confidence_still_have_a_place():
    grid = VoxelGrid(1.0, 10)
    points = np.array([[0.2, 0.2, 0.2], [0.4, 0.4, 0.4]], np.float32)
    grid.insert(PointCloud(points, np.zeros((2, 3), np.uint8), np.zeros(2, np.float32)))
    cloud = grid.cloud()
    np.testing.assert_allclose(cloud.points, [[0.3, 0.3, 0.3]], rtol=1e-6)
    assert cloud.confidence[0] < 1e-5


def test_the_map_stays_bounded_and_keeps_the_newest():
    rng = np.random.default_rng(0)
    grid = VoxelGrid(0.05, 5000)
    held = [grid._cells, grid._table._keys, grid._table._seen]
    for step in range(300):
        cloud = random_cloud(rng, 1000, (step, 0, 0), (step + 2, 1, 1))
        grid.insert(cloud)
        assert len(grid) <= 5000
        now, _ = voxel_keys(cloud.points, 0.05)
        assert np.isin(now, grid.voxels().keys).all(), "what was just seen is in the map"
    assert len(grid) > 4000
    assert grid.cloud().points[:, 0].min() > 290
    again = [grid._cells, grid._table._keys, grid._table._seen]
    assert all(a is b for a, b in zip(held, again, strict=True)), "no array was ever replaced by a larger one"
    assert len(grid._table._census) <= 5000


class Counted(np.ndarray):
    """An array that counts the elements that are read from it or written to it, whatever is used to do so."""

    touched = 0

    def __getitem__(self, index):
        result = super().__getitem__(index)
        if isinstance(result, Counted) and np.shares_memory(np.asarray(result), np.asarray(self)):
            return result  # a view reads nothing
        Counted.touched += np.size(np.asarray(result))
        return np.asarray(result)

    def __setitem__(self, index, value):
        Counted.touched += np.size(np.asarray(self)[index])
        super().__setitem__(index, value)

    def take(self, *arguments, **options):
        result = np.asarray(self).take(*arguments, **options)
        Counted.touched += result.size
        return result

    def fill(self, value):
        Counted.touched += self.size
        super().fill(value)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        Counted.touched += sum(entry.size for entry in inputs if isinstance(entry, Counted))
        plain = [np.asarray(entry) if isinstance(entry, Counted) else entry for entry in inputs]
        return getattr(ufunc, method)(*plain, **options)

    def __array_function__(self, function, types, arguments, options):
        Counted.touched += sum(entry.size for entry in arguments if isinstance(entry, Counted))
        plain = [np.asarray(entry) if isinstance(entry, Counted) else entry for entry in arguments]
        return function(*plain, **options)


def test_the_counting_array_counts():
    array = np.zeros((10, 4)).view(Counted)
    for action, expected in (
        (lambda: array[np.array([1, 2])], 8),
        (lambda: array.take([1], axis=0), 4),
        (lambda: array > 0, 40),
        (lambda: array.reshape(-1)[np.array([3])], 1),
        (lambda: np.flatnonzero(array), 40),
        (lambda: array.__setitem__(np.array([1]), 5.0), 4),
    ):
        before = Counted.touched
        action()
        assert Counted.touched - before == expected


@pytest.mark.parametrize("both_ways", [False], indirect=True, ids=["numpy"])  # compiled code counts nothing
def test_insertion_touches_as_much_of_a_full_old_map_as_of_a_young_one():
    rng = np.random.default_rng(0)
    grid = VoxelGrid(0.05, 50_000)
    grid._cells = grid._cells.view(Counted)
    grid._table._keys, grid._table._seen = grid._table._keys.view(Counted), grid._table._seen.view(Counted)
    touched = []
    for step in range(1200):
        cloud = random_cloud(rng, 500, (0.25 * step, 0, 0), (0.25 * step + 1, 1, 1))
        before = Counted.touched
        grid.insert(cloud)
        touched.append(Counted.touched - before)
    young, old = np.array(touched[5:25]), np.array(touched[-300:])
    assert len(grid) > 45_000, "the map was full"
    assert old.mean() < 1.2 * young.mean()
    assert old.max() < 1.5 * young.max(), "no insertion pays for the others"
    assert old.max() < 60 * 500, "elements per point; the map holds 1.4 million"


def test_another_voxel_size_regroups_what_is_there():
    rng = np.random.default_rng(0)
    fine = VoxelGrid(0.05, 10_000)
    for step in range(5):
        fine.insert(random_cloud(rng, 500, (step * 0.2, 0, 0), (step * 0.2 + 1, 1, 1)))
    before = fine.voxels()
    fine.resize(0.2)
    after = fine.voxels()
    assert fine.voxel_size == 0.2 and len(after) < len(before) / 3
    keys, _ = voxel_keys(before.mean[:, :3], 0.2)
    for key in after.keys[::17]:
        members, here = keys == key, after.keys == key
        expected = np.average(before.mean[members].astype(float), axis=0, weights=before.weight[members])
        np.testing.assert_allclose(after.mean[here][0], expected, rtol=1e-5)
        assert after.count[here][0] == before.count[members].sum()
        assert after.seen[here][0] == before.seen[members].max()
    assert after.count.sum() == before.count.sum() == 2500
    assert fine.revision == 5
    update = fine.insert(random_cloud(rng, 500))
    assert update.added and update.updated and len(fine) == len(after) + update.added


def test_after_resizing_the_oldest_still_leave_first():
    rng = np.random.default_rng(0)
    grid = VoxelGrid(0.1, 1000)
    for step in range(5):
        grid.insert(random_cloud(rng, 150, (step * 10, 0, 0), (step * 10 + 1, 1, 1)))
    grid.resize(0.08)
    for step in range(5, 8):
        grid.insert(random_cloud(rng, 150, (step * 10, 0, 0), (step * 10 + 1, 1, 1)))
    xs = grid.cloud().points[:, 0]
    assert xs.min() > 9 and xs.max() > 70 and len(grid) <= 1000


def test_a_size_that_would_lose_points_changes_nothing():
    grid = VoxelGrid(0.1, 100)
    grid.insert(PointCloud(np.array([[5000.0, 0, 0]], np.float32), np.zeros((1, 3), np.uint8), np.ones(1, np.float32)))
    with pytest.raises(GeometryError, match="voxel size"):
        grid.resize(0.001)
    assert len(grid) == 1 and grid.voxel_size == 0.1


def test_points_without_an_address_are_refused_and_counted():
    points = np.array([[0, 0, 0], [np.nan, 0, 0], [0, np.inf, 0], [1e9, 0, 0]], np.float32)
    grid = VoxelGrid(0.1, 100)
    update = grid.insert(PointCloud(points, np.zeros((4, 3), np.uint8), np.ones(4, np.float32)))
    assert (update.added, update.refused_points, len(grid)) == (1, 3, 1)


def test_a_frame_larger_than_the_map_keeps_its_most_confident_voxels():
    grid = VoxelGrid(1.0, 10)
    confidence = np.linspace(0, 1, 50).astype(np.float32)
    points = np.zeros((50, 3), np.float32)
    points[:, 0] = np.arange(50) + 0.5
    update = grid.insert(PointCloud(points, np.zeros((50, 3), np.uint8), confidence))
    assert (update.added, update.refused) == (10, 40)
    np.testing.assert_array_equal(np.sort(grid.cloud().points[:, 0]), points[40:, 0])


def test_an_empty_cloud_and_clear():
    grid = VoxelGrid(0.1, 100)
    assert grid.insert(PointCloud.empty()).added == 0
    assert len(grid.cloud()) == 0
    grid.insert(random_cloud(np.random.default_rng(0), 50))
    grid.clear()
    assert len(grid) == len(grid.cloud()) == grid.revision == 0


def test_restored_content_continues_bit_for_bit():
    rng = np.random.default_rng(0)
    clouds = [random_cloud(rng, 300, (step * 0.2, 0, 0), (step * 0.2 + 1, 1, 1)) for step in range(40)]
    whole = VoxelGrid(0.1, 900)
    for cloud in clouds[:20]:
        whole.insert(cloud)
    resumed = VoxelGrid.restore(whole.voxels(), 0.1, 900, whole.revision)
    for cloud in clouds[20:]:
        assert whole.insert(cloud) == resumed.insert(cloud)
    one, two = whole.voxels(), resumed.voxels()
    for name in ("keys", "mean", "weight", "count", "seen"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_restoring_into_a_smaller_grid_keeps_the_newest():
    rng = np.random.default_rng(0)
    grid = VoxelGrid(0.1, 5000)
    for step in range(10):
        grid.insert(random_cloud(rng, 100, (step * 5, 0, 0), (step * 5 + 1, 1, 1)))
    small = VoxelGrid.restore(grid.voxels(), 0.1, 250, grid.revision)
    assert len(small) == 250
    assert small.cloud().points[:, 0].min() > 34


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan, np.inf])
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(GeometryError, match="voxel size"):
        VoxelGrid(size, 10)
    with pytest.raises(GeometryError, match="max_points"):
        VoxelGrid(0.1, 0)


@pytest.mark.fault("map bound")
def test_no_voxel_is_stored_twice_after_the_size_changed() -> None:
    """Cells of the new size have numbers that cells of the old size had, too, in other slots."""
    rng = np.random.default_rng(1)
    grid = VoxelGrid(0.1, 1200)
    for size in (0.1, 0.15, 0.2, 0.12):
        if size != grid.voxel_size:
            grid.resize(size)
        for _ in range(15):
            points = rng.uniform(-1, 1, (80, 3)).astype(np.float32)
            grid.insert(PointCloud(points, np.zeros((80, 3), np.uint8), np.ones(80, np.float32)))
            keys = grid.voxels().keys
            assert len(np.unique(keys)) == len(keys) == len(grid)


CAMERA = Intrinsics(40.0, 40.0, 31.5, 23.5, 64, 48)


def view_of(depth: float) -> VoxelView:
    return VoxelView(Sim3(), CAMERA, np.full((48, 64), depth, np.float32))


def wall_cloud(depth: float) -> PointCloud:
    points = backproject(np.full((48, 64), depth, np.float32), CAMERA).reshape(-1, 3)
    return PointCloud(points, np.full((len(points), 3), 90, np.uint8), np.full(len(points), 0.8, np.float32))


def test_a_voxel_knows_how_many_distinct_frames_agree_on_it():
    grid = VoxelGrid(0.1, 100)
    twice = np.full((2, 3), 0.05, np.float32)
    for _ in range(3):  # two points of one frame are one frame
        grid.insert(PointCloud(twice, np.zeros((2, 3), np.uint8), np.ones(2, np.float32)))
    voxels = grid.voxels()
    assert (voxels.frames.tolist(), voxels.count.tolist()) == ([3], [6])


def test_a_voxel_that_enough_frames_see_is_published_and_a_stray_one_beside_it_is_not():
    grid = VoxelGrid(0.1, 10_000)
    for _ in range(8):
        grid.insert(wall_cloud(2.05))
    stray = PointCloud(np.array([[0, 0, 1.75]], np.float32), np.zeros((1, 3), np.uint8), np.ones(1, np.float32))
    grid.insert(stray)
    depths = grid.cloud(4).points[:, 2]
    assert len(depths) > 300 and np.allclose(depths, 2.05, atol=1e-4)
    assert grid.cloud(1).points[:, 2].min() < 1.8


def test_a_young_region_is_published_until_frames_agree_there():
    grid = VoxelGrid(0.1, 10_000)
    for frames in (1, 2):
        grid.insert(wall_cloud(2.05))
        assert len(grid.cloud(6)) == len(grid), frames


def test_a_floating_voxel_is_cleared_when_later_frames_look_through_it_and_a_wall_is_not():
    grid = VoxelGrid(0.1, 10_000)
    floating = PointCloud(np.array([[0, 0, 1.05]], np.float32), np.zeros((1, 3), np.uint8), np.ones(1, np.float32))
    for _ in range(2):
        grid.insert(floating)
    cleared = []
    for _ in range(3):
        grid.insert(wall_cloud(2.05))
        cleared.append(grid.look(view_of(2.05), 0.15))
    assert cleared == [0, 1, 0]  # each of its two frames is outvoted by one
    assert grid.voxels().mean[:, 2].min() > 2.0
    held = len(grid)
    grid.insert(floating)  # and the place can be taken again
    assert len(grid) == held + 1 and grid.voxels().frames.min() == 1


def test_what_is_hidden_behind_a_wall_stays():
    grid = VoxelGrid(0.1, 10_000)
    grid.insert(wall_cloud(4.05))
    for _ in range(5):
        grid.insert(wall_cloud(2.05))
        assert grid.look(view_of(2.05), 0.15) == 0
    assert (grid.voxels().misses == 0).all()


def test_a_voxel_that_frames_contradict_more_than_they_agree_is_noise_however_often_it_was_hit():
    grid = VoxelGrid(0.02, 10_000)
    stray = PointCloud(np.array([[0, 0, 1.85]], np.float32), np.zeros((1, 3), np.uint8), np.ones(1, np.float32))
    for _ in range(4):
        grid.insert(stray)
    for number in range(33):  # too near to the wall to be looked through
        assert (len(grid.cloud(4)) > 0) == (number <= 32)
        grid.insert(PointCloud.empty())
        grid.look(view_of(2.05), 0.15)
    assert len(grid.cloud(4)) == 0 and len(grid) == 1


def test_coarser_voxels_keep_the_frames_of_the_best_of_them():
    grid = VoxelGrid(0.1, 100)
    for place in (0.05, 0.05, 0.15):
        grid.insert(PointCloud(np.full((1, 3), place, np.float32), np.zeros((1, 3), np.uint8), np.ones(1, np.float32)))
    grid.resize(0.4)
    assert grid.voxels().frames.tolist() == [2]
    again = VoxelGrid.restore(grid.voxels(), 0.4, 100, grid.revision)
    assert again.voxels().frames.tolist() == [2]


def test_one_look_asks_a_bounded_number_of_voxels():
    grid = VoxelGrid(0.001, 3 * MOST_ASKED)
    rng = np.random.default_rng(0)
    grid.insert(random_cloud(rng, 3 * MOST_ASKED, (-0.3, -0.3, 1.0), (0.3, 0.3, 1.4)))
    grid.insert(PointCloud.empty())
    held = len(grid)
    cleared = grid.look(view_of(3.0), 0.15)
    assert 0 < cleared <= MOST_ASKED and len(grid) == held - cleared


def test_voxels_are_asked_in_turn_whether_the_grid_was_saved_or_not():
    rng = np.random.default_rng(2)
    grid = VoxelGrid(0.001, 3 * MOST_ASKED)
    grid.insert(random_cloud(rng, 3 * MOST_ASKED, (-0.3, -0.3, 1.0), (0.3, 0.3, 1.4)))
    other = VoxelGrid.restore(grid.voxels(), 0.001, 3 * MOST_ASKED, grid.revision)
    held = grid.voxels()
    for _ in range(6):
        for each in (grid, other):
            each.insert(PointCloud.empty())
            each.look(view_of(1.2), 0.15)
        mine, theirs = grid.voxels(), other.voxels()
        assert np.array_equal(mine.keys, theirs.keys) and np.array_equal(mine.misses, theirs.misses)
    far = held.keys[(held.mean[:, 2] < 1.0) | (held.mean[:, 2] > 1.26)]
    asked = mine.keys[mine.misses > 0]
    gone = np.setdiff1d(held.keys, mine.keys)
    assert len(np.intersect1d(far, np.concatenate([asked, gone]))) > 0  # and all had their turn


def walked(max_points: int) -> tuple[VoxelGrid, list[int]]:
    """The map of a camera that moves along a bumpy wall and is wrong about some of it, and what was cleared."""
    rng, camera = np.random.default_rng(0), Intrinsics(60.0, 60.0, 47.5, 35.5, 96, 72)
    grid, cleared = VoxelGrid(0.02, max_points), list[int]()
    for step in range(60):
        depth = (2 + 0.1 * rng.random((72, 96)) - (rng.random((72, 96)) < 0.05)).astype(np.float32)
        pose = Sim3.rigid(np.eye(3), np.array([0.05 * step, 0, 0]))
        points = pose.apply(backproject(depth, camera)).astype(np.float32).reshape(-1, 3)
        points[rng.random(len(points)) < 0.01] *= 1e6
        grid.insert(
            PointCloud(
                points,
                rng.integers(0, 256, points.shape, dtype=np.uint8),
                rng.random(len(points), np.float32),
            )
        )
        cleared.append(grid.look(VoxelView(pose.inverse(), camera, depth), 0.15))
    return grid, cleared


@pytest.mark.parametrize("max_points", [1_000_000, 30_000])
def test_compiled_code_makes_the_same_map_bit_for_bit(max_points, monkeypatch):
    compiled, cleared = walked(max_points)
    for module in (voxel_grid, voxel_table, voxel_view, voxels):
        monkeypatch.setattr(module, "COMPILES", False)
    plain, cleared_too = walked(max_points)
    assert cleared == cleared_too and sum(cleared) > 100 and len(plain) > 20_000
    one, other = compiled.voxels(), plain.voxels()
    assert one.keys.tobytes() == other.keys.tobytes() and one.seen.tobytes() == other.seen.tobytes()
    assert one.cells.tobytes() == other.cells.tobytes()


@pytest.mark.usefixtures("compiled_way")
def test_after_the_warm_up_no_frame_waits_for_the_compiler():
    voxel_grid.warm_up()
    kernels = [
        voxels._summed_in_one_pass,
        voxel_table._found_one_by_one,
        voxel_table._entered_one_by_one,
        voxel_grid._split_one_by_one,
        voxel_grid._blend_one_by_one,
        voxel_view._judged_one_by_one,
    ]
    before = [len(kernel.signatures) for kernel in kernels]
    walked(1_000_000)
    walked(30_000)
    assert [len(kernel.signatures) for kernel in kernels] == before and min(before) > 0

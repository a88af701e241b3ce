"""Copies of a grid of voxels."""

import numpy as np
import pytest

from spann3r_ros.frame import Intrinsics
from spann3r_ros.mapping.grid_copy import GridCopy
from spann3r_ros.mapping.voxel_grid import VoxelGrid
from spann3r_ros.mapping.voxel_view import VoxelView
from spann3r_ros.mapping.voxels import Voxels
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3


def wall(rng: np.random.Generator, depth: float, number: int = 400) -> PointCloud:
    points = rng.uniform(-1, 1, (number, 3)).astype(np.float32)
    points[:, 2] = depth
    return PointCloud(points, rng.integers(0, 256, (number, 3)).astype(np.uint8), np.ones(number, np.float32))


def view_of(depth: float) -> VoxelView:
    return VoxelView(Sim3(), Intrinsics(40.0, 40.0, 31.5, 23.5, 64, 48), np.full((48, 64), depth, np.float32))


def content(voxels: Voxels) -> list[bytes]:
    ordered = voxels.by_key()
    return [column.tobytes() for column in vars(ordered).values()]


@pytest.mark.parametrize("read_each", [True, False])
def test_a_chain_of_copies_holds_what_the_grid_does_whatever_changed_it(read_each: bool) -> None:
    """New points, frames that look through old ones, forgetting, and voxels of another size."""
    rng = np.random.default_rng(0)
    grid = VoxelGrid(0.05, 1500)
    copy: GridCopy | None = None
    cleared = forgotten = 0
    for step in range(80):
        depth = float(rng.uniform(1.0, 3.0))
        forgotten += grid.insert(wall(rng, depth)).forgotten
        cleared += grid.look(view_of(depth), 0.1)
        if step == 50:
            grid.resize(0.08)
        if rng.random() < 0.5:
            continue
        copy = grid.copied(copy)
        if read_each:
            assert content(copy.voxels()) == content(grid.voxels()), step
    assert cleared > 100 and forgotten > 100
    assert content(grid.copied(copy).voxels()) == content(grid.voxels())


def test_a_copy_stays_as_it_was() -> None:
    rng = np.random.default_rng(1)
    grid = VoxelGrid(0.05, 5000)
    grid.insert(wall(rng, 2.0))
    copy, expected = grid.copied(), content(grid.voxels())
    assert grid.copied(copy) is copy
    for depth in (2.0, 2.5):
        grid.insert(wall(rng, depth))
        grid.look(view_of(depth), 0.1)
    assert content(copy.voxels()) == expected != content(grid.voxels())


def test_only_what_changed_is_copied_again() -> None:
    rng = np.random.default_rng(2)
    grid = VoxelGrid(0.01, 100_000)
    for depth in np.linspace(1.0, 2.0, 20):
        grid.insert(wall(rng, float(depth)))
    first = grid.copied()
    grid.insert(wall(rng, 3.0, 50))
    second = grid.copied(first)
    assert len(second.changed) <= 50 < len(first.changed)
    assert len(second.voxels()) == len(grid)

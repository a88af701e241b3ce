"""A map's state at one moment: what the map does afterwards does not reach it, and a file gives it back."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from spann3r_ros.config import MapConfig
from spann3r_ros.frame import Frame
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.map_state import VERSION, MapState, map_from_arrays
from spann3r_ros.mapping.storage import read_map, write_map
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

CONFIG = MapConfig(voxel_size=0.1, max_points=5000, min_confidence=0.0)
IMAGE = np.zeros((8, 10, 3), np.uint8)


def prediction(index: int, submap: int = 0) -> Prediction:
    rng = np.random.default_rng(index)
    return Prediction(
        Frame(index, 10**18 + index * 10**8, "camera", IMAGE),
        rng.uniform(-1, 1, (8, 10, 3)).astype(np.float32),
        rng.uniform(0.1, 1, (8, 10)).astype(np.float32),
        rng.integers(0, 256, (8, 10, 3), dtype=np.uint8),
        Sim3.rigid(np.eye(3), rng.normal(0, 1, 3)),
        submap=submap,
    )


def content(state: MapState) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in state.arrays().items()}


def test_nothing_that_the_map_does_afterwards_reaches_the_state() -> None:
    world = Map(CONFIG)
    for index in range(6):
        world.insert(prediction(index, index // 3))
    state = MapState.of(world)
    before = content(state)
    for index in range(6, 30):
        world.insert(prediction(index, 1))
    world.move(0, Sim3(2.0, np.eye(3), np.ones(3)), "a test")
    world.clear()
    world.insert(prediction(99))
    assert content(state) == before
    assert (state.points, state.frames) == (len(state.arrays()["voxel.keys"]), 6)


def test_what_did_not_change_is_shared_with_the_state_before() -> None:
    world = Map(CONFIG)
    for index in range(6):
        world.insert(prediction(index, index // 3))
    first = MapState.of(world)
    world.insert(prediction(6, 1))
    world.move(0, Sim3(1.0, np.eye(3), np.ones(3)))
    second = MapState.of(world, first)
    assert second.submaps[0].grid is first.submaps[0].grid
    assert second.submaps[1].grid is not first.submaps[1].grid
    assert content(second) == content(MapState.of(world))
    # The same number of insertions into a map that began anew is another content.
    world.clear()
    for index in range(10, 13):
        world.insert(prediction(index))
    assert content(MapState.of(world, second)) == content(MapState.of(world))


@pytest.mark.slow
@pytest.mark.fault("map bound")
def test_a_thousand_submaps_stay_within_the_bound_and_come_back(tmp_path, capsys) -> None:
    number = 1000
    world = Map(dataclasses.replace(CONFIG, max_points=4 * number))
    for index in range(number):
        world.insert(prediction(index, index))
        assert len(world) <= 4 * number
    assert world.forgotten > 0 and len(world.submaps) == number
    begin = time.perf_counter()
    saved = write_map(tmp_path / "map", MapState.of(world))
    written = time.perf_counter()
    back, _ = read_map(tmp_path / "map", world.config)
    read = time.perf_counter()
    size = (tmp_path / "map" / "state.npz").stat().st_size
    with capsys.disabled():
        print(
            f"\n{number} submaps, {len(world)} points: written in {written - begin:.2f} s, read in "
            f"{read - written:.2f} s, {size / 1e6:.1f} MB"
        )
    assert saved.points == len(world) == len(back)
    assert content(MapState.of(back)) == content(MapState.of(world))
    assert sum(submap.voxels.max_points for submap in back.submaps) <= 2 * 4 * number


def test_a_smaller_bound_holds_over_all_submaps_of_a_loaded_map() -> None:
    world = Map(CONFIG)
    for index in range(60):
        world.insert(prediction(index, index // 10))
    assert len(world) > 2000
    small = dataclasses.replace(CONFIG, max_points=1000, coarsening=1.0)
    loaded = map_from_arrays(MapState.of(world).arrays(), small, VERSION)
    assert len(loaded) <= 1000 and loaded.forgotten > 0
    for index in range(60, 90):
        loaded.insert(prediction(index, 5))
        assert len(loaded) <= 1000
    # With coarser voxels allowed, that comes first.
    coarse = map_from_arrays(
        MapState.of(world).arrays(), dataclasses.replace(small, max_points=2000, coarsening=4.0), VERSION
    )
    assert coarse.voxel_size > CONFIG.voxel_size and len(coarse) <= 2000


def test_a_chain_of_copies_holds_what_a_whole_copy_holds_whatever_happens_in_between() -> None:
    """Insertions, forgetting, coarser voxels, submaps that move and begin, and copies that nobody reads."""
    rng = np.random.default_rng(1)
    world = Map(dataclasses.replace(CONFIG, max_points=1200, coarsening=2.0))
    earlier: MapState | None = None
    index = 0
    for step in range(60):
        for _ in range(int(rng.integers(0, 3))):
            world.insert(prediction(index, index // 40))
            index += 1
        if step == 20:
            world.config.voxel_size = 0.12
        if step == 40:
            world.move(0, Sim3(3.0, np.eye(3), np.ones(3)))
        state = MapState.of(world, earlier)
        if step % 3 == 0:
            assert content(state) == content(MapState.of(world)), step
            earlier = state
    assert world.forgotten > 0 and index > 45 and len(world.submaps) == 2

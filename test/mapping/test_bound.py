from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from geometric_models import FakeStreamingModel, frames_of_the_path

from spann3r_ros.complaints import Complaints, Severity
from spann3r_ros.config import Config, MapConfig
from spann3r_ros.mapping.bound import BoundNotice
from spann3r_ros.mapping.map import GROWTH, Map
from spann3r_ros.models.base import ModelStream
from spann3r_ros.prediction import Prediction
from spann3r_ros.reconstruction import Reconstruction


def walk(count: int) -> list[Prediction]:
    model = FakeStreamingModel(poses=True, scales=False)
    memory = model.new_memory()
    return [answer for frame in frames_of_the_path(count) for answer in model.step(frame, memory)]


@pytest.mark.fault("map bound")
def test_voxels_grow_before_points_are_forgotten_and_both_are_said_once() -> None:
    log: list[tuple[Severity, str]] = []
    complaints = Complaints(lambda severity, text: log.append((severity, text)))
    world, notice = Map(MapConfig(voxel_size=0.02, max_points=12_000, coarsening=4.0)), BoundNotice(complaints)
    sizes, forgotten = [], []
    for answer in walk(120):
        world.insert(answer)
        notice.tell(world)
        sizes.append(world.voxel_size)
        forgotten.append(world.forgotten)
    assert sizes[0] == 0.02 and sizes == sorted(sizes)
    assert set(sizes) == {0.02, 0.02 * GROWTH, 0.02 * GROWTH**2, 0.02 * GROWTH**3, 0.08}
    first = forgotten.index(next(number for number in forgotten if number))
    assert sizes[first] == 0.08, "nothing is forgotten while voxels can grow"
    assert [severity for severity, _ in log] == [Severity.INFO, Severity.WARNING]
    assert "12000 points (map.max_points): its voxels grow" in log[0][1] and "are forgotten" in log[1][1]
    assert [each.kind for each in complaints.current()] == ["map forgets", "map grows coarser"]
    world.clear()
    notice.clear()
    assert (world.voxel_size, world.forgotten, world.refused) == (0.02, 0, 0)
    assert [each.kind for each in complaints.current()] == ["map grows coarser"], "which is over by itself"


@pytest.mark.fault("map bound")
def test_a_coarse_map_covers_what_a_fine_one_would_forget() -> None:
    config = MapConfig(voxel_size=0.02, max_points=12_000)
    answers = walk(60)
    fine, coarse = Map(dataclasses.replace(config, coarsening=1.0)), Map(config)
    for world in (fine, coarse):
        for answer in answers:
            world.insert(answer)
    assert fine.forgotten > 10_000 and coarse.forgotten == 0
    # The camera moves to its right, so what it saw first lies leftmost.
    leftmost = [float(world.cloud().points[:, 1].max()) for world in (fine, coarse)]
    assert leftmost[0] < leftmost[1] - 0.5


def test_every_point_is_in_the_map_or_counted() -> None:
    config = MapConfig(voxel_size=1e-4, max_points=2000, coarsening=1.0, min_confidence=0.0)
    world = Map(dataclasses.replace(config, max_slant=90.0, clear_margin=0.0))
    given = 0
    for answer in walk(6):
        points = answer.points.copy()
        points[0, :5] = 1e6  # out of reach
        world.insert(dataclasses.replace(answer, points=points))
        given += answer.confidence.size
    assert world.refused >= 25 and len(world) + world.forgotten + world.refused == given


@pytest.mark.fault("map bound")
def test_a_loaded_map_is_told_of_anew(tmp_path: Path) -> None:
    config = Config()
    config.map.voxel_size, config.map.max_points, config.map.coarsening = 0.02, 5000, 1.0
    reconstruction = Reconstruction(ModelStream(FakeStreamingModel(poses=True)), config)
    reconstruction.save(tmp_path / "empty")
    for frame in frames_of_the_path(12):
        reconstruction.process(frame)
    assert [each.kind for each in reconstruction.complaints.current()] == ["map forgets"]
    reconstruction.load(tmp_path / "empty")
    assert not reconstruction.complaints.current()
    for frame in frames_of_the_path(12):
        reconstruction.process(frame)
    assert [each.kind for each in reconstruction.complaints.current()] == ["map forgets"]

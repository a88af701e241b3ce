"""A camera that begins anywhere in a loaded map: found by two frames that say the same, and never elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometric_models import FakeStreamingModel, frames_of_the_path, true_pose
from numpy.typing import NDArray

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError, DataError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.joints import SubmapJoints
from spann3r_ros.mapping.map_state import MapState
from spann3r_ros.mapping.relocalizing import Relocalization
from spann3r_ros.models.base import ModelStream
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.relating import relating

RNG = np.random.default_rng(0)
WAVES, PHASES = RNG.normal(0, 1.2, (3, 32)), RNG.uniform(0, 6.28, 32)


def describe(frames: Sequence[Frame]) -> NDArray[np.float32]:
    """Alike where the cameras were near each other."""
    places = np.array([true_pose(frame.index).translation for frame in frames])
    vectors = np.cos(places @ WAVES + PHASES)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def reconstruction(
    said: list[str] | None = None, is_live: bool = False, locate: Any = None, **errors: Any
) -> Reconstruction:
    config = Config(device="cpu")
    config.map.voxel_size, config.map.max_points, config.map.min_confidence = 0.1, 20_000, 0.1
    config.tracking.enabled, config.relocalizer = False, "retrieval"
    stream = ModelStream(FakeStreamingModel(**errors))
    complaints = Complaints(lambda _, text: None if said is None else said.append(text))
    finder = Relocalization(
        config.loops, relating(stream).relate, Background(is_live), locate, None if locate else describe, complaints
    )
    return Reconstruction(stream, config, [SubmapJoints(), finder], complaints)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The map of forty frames."""
    first = reconstruction()
    for frame in frames_of_the_path(40):
        first.process(frame)
    first.flush()
    first.save(tmp_path / "map")
    return tmp_path / "map"


def world_error(found: Reconstruction, first_saved: int, index: int, pose: Sim3) -> float:
    """How far a camera is from where the loaded map has it, over the depth of the scene."""
    same = next(each for each in found.map.submaps[0].poses if each.index == index)
    place = found.map.submaps[0].world_from_submap
    return float(np.linalg.norm(place.carry(same.target_from_camera).translation - pose.translation)) / (
        4.0 * place.scale * scale_of(found, first_saved)
    )


def scale_of(found: Reconstruction, index: int) -> float:
    """Units of the loaded submap in one of the truth."""
    poses = {each.index: each.target_from_camera.translation for each in found.map.submaps[0].poses}
    truth = np.linalg.norm(true_pose(index + 10).translation - true_pose(index).translation)
    return float(np.linalg.norm(poses[index + 10] - poses[index]) / truth)


@pytest.mark.parametrize("start", [3, 17, 29])
def test_the_camera_is_found_wherever_it_begins(saved: Path, start: int) -> None:
    said: list[str] = []
    found = reconstruction(said)
    loaded = found.relocalize(saved)
    before, path, published = MapState.of(found.map), len(found.trajectory), len(found.map.cloud())
    assert found.is_relocalizing and loaded.frames == path == 40
    took = 0
    for frame in frames_of_the_path(10, start):
        answers = found.process(dataclasses.replace(frame, stamp=frame.stamp + 10**12))
        if found.is_relocalizing:
            took += 1
            assert not any(each.is_tracked or each.world_from_camera for each in answers)
            assert len(found.trajectory) == path and len(found.map.cloud()) == published
        else:
            for answer in answers:
                assert answer.is_tracked and answer.world_from_camera is not None
                assert world_error(found, 0, answer.frame.index, answer.world_from_camera) < 0.05
    assert took <= 4 and not found.is_relocalizing
    # Those that came before are placed, too, and the loaded part is as it was.
    assert len(found.trajectory) > path + 5 and len(found.map.cloud()) > published
    assert [submap.id for submap in found.map.submaps] == [0, 1]
    after = MapState.of(found.map).submaps[0]
    np.testing.assert_array_equal(after.grid.voxels().mean, before.submaps[0].grid.voxels().mean)
    assert any("the camera is looked for in the loaded map" in text for text in said)
    assert said[-1].startswith("the camera was found in the loaded map, after ")


def test_a_world_that_was_gone_on_with_can_be_saved_and_continued(saved: Path, tmp_path: Path) -> None:
    found = reconstruction()
    found.relocalize(saved)
    for frame in frames_of_the_path(6, 10):
        found.process(dataclasses.replace(frame, stamp=frame.stamp + 10**12))
    assert not found.is_relocalizing
    found.save(tmp_path / "again")
    other = reconstruction()
    other.load(tmp_path / "again")
    frame = dataclasses.replace(frames_of_the_path(1, 16)[0], stamp=2 * 10**12)
    mine, its = found.process(frame), other.process(frame)
    assert [each.world_from_camera.translation.tolist() for each in mine if each.world_from_camera] == [
        each.world_from_camera.translation.tolist() for each in its if each.world_from_camera
    ]
    assert [submap.id for submap in other.map.submaps] == [0, 1] and mine


def test_the_search_goes_on_after_a_crash(saved: Path, tmp_path: Path) -> None:
    found = reconstruction()
    found.relocalize(saved)
    for frame in frames_of_the_path(2, 10):
        found.process(dataclasses.replace(frame, stamp=frame.stamp + 10**12))
    assert found.is_relocalizing
    found.copied().write(tmp_path / "snapshot")
    other = reconstruction()
    other.load(tmp_path / "snapshot")
    assert other.is_relocalizing
    for frame in frames_of_the_path(5, 12):
        other.process(dataclasses.replace(frame, stamp=frame.stamp + 10**12))
    assert not other.is_relocalizing and [submap.id for submap in other.map.submaps] == [0, 1]


def test_a_camera_that_is_elsewhere_is_not_found(saved: Path) -> None:
    """Frames of another part of the surface; and frames that look like known ones, but show another scene."""
    found = reconstruction()
    found.relocalize(saved)
    for frame in frames_of_the_path(10, 400):
        found.process(frame)
    found.flush()
    assert found.is_relocalizing and len(found.trajectory) == 40
    lookalike = reconstruction(elsewhere=set(range(10, 25)))
    lookalike.relocalize(saved)
    for frame in frames_of_the_path(10, 12):
        lookalike.process(dataclasses.replace(frame, stamp=frame.stamp + 10**12))
    lookalike.flush()
    finder = lookalike.correctors[1]
    assert isinstance(finder, Relocalization)
    assert finder.counts.candidates > 0 and finder.counts.accepted == 0
    assert lookalike.is_relocalizing and len(lookalike.trajectory) == 40


def test_a_network_that_fails_is_said_and_the_search_goes_on(saved: Path) -> None:
    said: list[str] = []
    found = reconstruction(said)
    found.relocalize(saved)
    finder = found.correctors[1]
    assert isinstance(finder, Relocalization)
    relate, calls = finder._search._relate, []

    def fail_once(*groups: Any) -> Any:
        calls.append(groups)
        if len(calls) == 1:
            raise RuntimeError("the network failed")
        return relate(*groups)

    finder._search._relate = fail_once
    for frame in frames_of_the_path(8, 10):
        found.process(dataclasses.replace(frame, stamp=frame.stamp + 10**12))
    assert not found.is_relocalizing
    assert any("an image could not be looked for in the loaded map: the network failed" in text for text in said)


def test_beside_a_live_stream(saved: Path) -> None:
    found = reconstruction(is_live=True)
    found.relocalize(saved)
    for frame in frames_of_the_path(20, 5):
        found.process(dataclasses.replace(frame, stamp=frame.stamp + 10**12))
        finder = found.correctors[1]
        assert isinstance(finder, Relocalization)
        if finder._task is not None:
            finder._task.exception(30.0)
    assert not found.is_relocalizing


def test_a_network_that_knows_the_scene_gives_the_candidates(saved: Path) -> None:
    """What it says is a meter and twenty degrees off: the geometry decides."""
    asked: list[int] = []
    place = Sim3()

    def locate(frame: Frame) -> Sim3:
        asked.append(frame.index)
        exact = place @ true_pose(frame.index)
        return Sim3.rigid(exact.rotation, exact.translation + np.array([0.1, 0.05, 0.0]))

    found = reconstruction(locate=locate)
    found.relocalize(saved)
    submap = found.map.submaps[0]
    place = submap.world_from_submap @ Sim3(scale_of(found, 0)) @ true_pose(0).inverse()
    for frame in frames_of_the_path(8, 14):
        found.process(dataclasses.replace(frame, stamp=frame.stamp + 10**12))
    assert not found.is_relocalizing and asked


def test_maps_in_which_no_camera_can_be_found_are_refused_and_nothing_changes(saved: Path, tmp_path: Path) -> None:
    found = reconstruction()
    for frame in frames_of_the_path(5):
        found.process(frame)
    before = MapState.of(found.map).arrays()
    plain = reconstruction()
    plain.correctors.pop()
    for frame in frames_of_the_path(5):
        plain.process(frame)
    plain.save(tmp_path / "plain")
    with pytest.raises(DataError, match=r"has no keyframes.*relocalizer: retrieval"):
        found.relocalize(tmp_path / "plain")
    with pytest.raises(ConfigError, match="relocalizer"):
        plain.relocalize(saved)
    other = reconstruction()
    other.model.__class__ = type("OtherModel", (FakeStreamingModel,), {})
    other.save(tmp_path / "other")
    with pytest.raises(MemoryMismatchError, match=r"made by another network: got OtherModel.*expected FakeStreaming"):
        found.relocalize(tmp_path / "other")
    metric = reconstruction()
    metric.model.metric = True
    with pytest.raises(MemoryMismatchError, match="a unit that nobody knows; expected meters"):
        metric.relocalize(saved)
    after = MapState.of(found.map).arrays()
    assert all(np.array_equal(before[name], after[name]) for name in before) and not found.is_relocalizing

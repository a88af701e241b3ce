"""`merge` and `localize MAP` as a user types them, with geometry in place of a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from geometric_models import FakeStreamingModel, frames_of_the_path, true_pose
from PIL import Image

from spann3r_ros.cli.main import main
from spann3r_ros.config import Config
from spann3r_ros.files.tum import read_trajectory
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.joints import SubmapJoints
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.relocalization import Relocalization
from spann3r_ros.mapping.storage import read_map
from spann3r_ros.models.base import ModelStream
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.streaming.relating import relating

RNG = np.random.default_rng(0)
WAVES, PHASES = RNG.normal(0, 1.2, (3, 32)), RNG.uniform(0, 6.28, 32)


def describe(frames: list[Frame]) -> np.ndarray:
    places = np.array([true_pose(frame.index).translation for frame in frames])
    vectors = np.cos(places @ WAVES + PHASES)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Numbered(FakeStreamingModel):
    """What an image shows is the number that its first pixel is."""

    def step(self, frame: Frame, memory):
        number = int(frame.image[0, 0, 0])
        return super().step(frame if frame.index == number else dataclasses.replace(frame, index=number), memory)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Reconstruction]:
    def made(config: Config) -> Reconstruction:
        config.map.voxel_size, config.map.max_points, config.map.min_confidence = 0.1, 20_000, 0.1
        config.tracking.enabled = False
        stream = ModelStream(Numbered())
        finder = Relocalization(config.loops, relating(stream).relate, Background(False), None, describe)
        return Reconstruction(stream, config, [SubmapJoints(), finder])

    monkeypatch.setattr(Reconstruction, "from_config", made)
    return made


def numbered(start: int, count: int, begin: int) -> list[Frame]:
    frames = []
    for frame in frames_of_the_path(count, start):
        frame.image[:] = frame.index
        frames.append(dataclasses.replace(frame, stamp=frame.stamp + begin))
    return frames


@pytest.fixture
def session(make: Callable[..., Reconstruction], tmp_path: Path) -> Callable[..., Path]:
    def recorded(name: str, start: int, count: int, metric: bool = False) -> Path:
        config = Config(device="cpu")
        config.relocalizer = "retrieval"
        run = make(config)
        run.map.scale_source = "odometry" if metric else ""
        for frame in numbered(start, count, 10**12 * (1 + start)):
            run.process(frame)
        run.flush()
        run.save(tmp_path / name)
        return tmp_path / name

    return recorded


def shape_error(world: Map) -> float:
    """How far the path of a map is from the truth after one similarity, over the depth of the scene."""
    poses = list(world.trajectory())
    found = np.array([pose.target_from_camera.translation for pose in poses])
    truth = np.array([true_pose(pose.index).translation for pose in poses])
    return float(np.linalg.norm(umeyama(found, truth).apply(found) - truth, axis=1).max()) / 4.0


def test_maps_of_several_sessions_become_one(session, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second one knows nothing of the first; the third one knows both."""
    maps = [session("a", 0, 30), session("b", 40, 30), session("c", 20, 30)]
    sizes = [read_map(path, Config().map)[1] for path in maps]
    assert main(["merge", *map(str, maps), "-o", str(tmp_path / "all")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said[:2]] == [str(maps[2]), str(maps[1])]  # b had to wait for c
    world, saved = read_map(tmp_path / "all", Config().map)
    assert [submap.id for submap in world.submaps] == [0, 1, 2] and world.apart is None
    assert saved.frames == sum(each.frames for each in sizes) and saved.memory is None
    assert shape_error(world) < 0.02
    # The camera is found in it, and the joined map can be joined again.
    assert main(["merge", str(tmp_path / "all"), str(session("d", 60, 20)), "-o", str(tmp_path / "more")]) == 0
    assert shape_error(read_map(tmp_path / "more", Config().map)[0]) < 0.02


def test_maps_that_know_no_common_place_are_not_joined(session, tmp_path: Path, capsys) -> None:
    maps = [session("a", 0, 20), session("b", 100, 20)]
    assert main(["merge", *map(str, maps), "-o", str(tmp_path / "all")]) == 2
    assert "is not joined: no place that both know was found" in capsys.readouterr().err
    assert not (tmp_path / "all").exists()


def test_maps_of_another_network_or_unit_are_refused_in_words(session, tmp_path: Path, capsys) -> None:
    maps = [session("a", 0, 20), session("b", 10, 20, metric=True)]
    assert main(["merge", *map(str, maps), "-o", str(tmp_path / "all")]) == 2
    assert "unit of the map" in (said := capsys.readouterr().err) and "got meters; expected a unit that nobody" in said
    manifest = maps[1] / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"network": "Numbered"', '"network": "Another"'))
    assert main(["merge", *map(str, maps), "-o", str(tmp_path / "all")]) == 2
    assert "was made by another network: got Numbered" in capsys.readouterr().err
    assert main(["merge", str(maps[0]), "-o", str(tmp_path / "all")]) == 2
    assert "expected two or more" in capsys.readouterr().err
    state = maps[0] / "state.npz"
    state.write_bytes(state.read_bytes()[:-10])
    assert main(["merge", *map(str, maps), "-o", str(tmp_path / "all")]) == 2
    assert "state.npz is not as it was written" in capsys.readouterr().err
    assert not (tmp_path / "all").exists()


def write_images(folder: Path, frames: list[Frame]) -> Path:
    folder.mkdir()
    for frame in frames:
        Image.fromarray(frame.image).save(folder / f"{frame.index:04d}.png")
    return folder


def test_poses_in_a_saved_map(session, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = session("a", 0, 40)
    recording = write_images(tmp_path / "photos", numbered(12, 10, 0))
    output = tmp_path / "poses.txt"
    assert main(["localize", str(known), str(recording), "-o", str(output)]) == 0
    assert "10 images located" in capsys.readouterr().out
    world, _ = read_map(known, Config().map)
    loaded = {pose.index: pose.target_from_camera.translation for pose in world.trajectory()}
    found = [pose.target_from_camera.translation for pose in read_trajectory(output)]
    depth = (
        4.0
        * np.linalg.norm(loaded[20] - loaded[10])
        / np.linalg.norm(true_pose(20).translation - true_pose(10).translation)
    )
    for number, place in enumerate(found, start=12):
        assert np.linalg.norm(place - loaded[number]) < 0.05 * depth


def test_a_recording_of_another_place_is_not_located(session, tmp_path: Path, capsys) -> None:
    known = session("a", 0, 20)
    recording = write_images(tmp_path / "photos", numbered(120, 10, 0))
    assert main(["localize", str(known), str(recording), "-o", str(tmp_path / "poses.txt")]) == 2
    assert "the camera was not found in" in capsys.readouterr().err
    assert not (tmp_path / "poses.txt").exists()
    assert main(["localize", str(recording), "-o", str(tmp_path / "poses.txt")]) == 2
    assert "expected MAP SOURCE, or SOURCE with --checkpoint" in capsys.readouterr().err
    assert main(["localize", "a", "b", "c"]) == 2

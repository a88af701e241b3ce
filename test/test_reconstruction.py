from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import random_frames, tiny_config, tiny_network

from spann3r_ros.config import Config
from spann3r_ros.errors import DataError, FrameError, MemoryMismatchError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.models.pointmap import Pointmap
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.sim3 import Sim3


def make(output: str = "refined", **network: object) -> Reconstruction:
    config = tiny_config()
    config.output = output
    config.map.min_confidence = 0.0
    return Reconstruction(Spann3r(tiny_network(**network), config, "random"), config)  # type: ignore[arg-type]


def test_points_are_the_model_s_in_ros_axes() -> None:
    frames, reconstruction = random_frames(4), make()
    model, memory = reconstruction.model, reconstruction.model.new_memory()
    expected = [answer for frame in frames for answer in model.step(frame, memory)] + model.flush(memory)
    found = [answer for frame in frames for answer in reconstruction.process(frame)] + reconstruction.flush()
    assert [answer.frame for answer in found] == frames
    for ours, theirs in zip(found, expected, strict=True):
        x, y, z = np.moveaxis(theirs.points, -1, 0)
        np.testing.assert_array_equal(ours.points, np.stack([z, -x, -y], axis=-1))
        np.testing.assert_array_equal(ours.confidence, theirs.confidence)


class Corridor:
    """A network's heads replaced by a known scene: a bumpy wall seen from a camera that moves sideways.

    Random weights see no scene, so poses can be tested only with pointmaps that are known; everything else is real.
    """

    def __init__(self, reconstruction: Reconstruction, camera: Intrinsics) -> None:
        self.camera, self.calls = camera, 0
        network = reconstruction.model.network.dust3r  # type: ignore[attr-defined]
        self._original, network.pointmap = network.pointmap, self.pointmap
        v, u = np.mgrid[: camera.height, : camera.width].astype(np.float64)
        rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)
        self.points = rays * (3.0 + np.sin(u / 7) + np.cos(v / 5))[..., None]

    def pose(self, number: int) -> Sim3:
        angle = 0.05 * number
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        return Sim3(1.0, turn, np.array([0.2 * number, 0.0, 0.1 * number]))

    def pointmap(self, branch: int, layers: dict, grid: tuple[int, int]) -> Pointmap:  # type: ignore[type-arg]
        real = self._original(branch, layers, grid)
        number = self.calls if branch == 1 else self.calls + 1
        self.calls += branch == 1
        points = self.pose(number).apply(self.points).astype(np.float32)
        return Pointmap(real.points.new_tensor(points)[None], real.confidence * 0 + 10.0)


@pytest.mark.parametrize("calibrated", [True, False])
def test_poses_and_intrinsics_come_from_the_pointmaps(calibrated: bool) -> None:
    camera = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
    reconstruction = make()
    scene = Corridor(reconstruction, camera)
    frames = [Frame(f.index, f.stamp, "camera", f.image, camera if calibrated else None) for f in random_frames(5)]
    answers = [answer for frame in frames for answer in reconstruction.process(frame)]
    assert len(answers) == 4 and len(reconstruction.trajectory) == 4
    for number, answer in enumerate(answers):
        assert answer.intrinsics is not None and answer.world_from_camera is not None
        assert answer.intrinsics.fx == pytest.approx(60.0, rel=1e-3)
        expected = ROS_FROM_OPTICAL @ scene.pose(number)
        error = expected.inverse() @ answer.world_from_camera
        assert np.linalg.norm(error.translation) < 5e-3 and error.rotation_angle() < 2e-3
        entry = reconstruction.trajectory[number]
        assert (entry.index, entry.stamp) == (answer.frame.index, answer.frame.stamp)
    # The wall lies three meters ahead: x of ROS axes.
    assert 1.0 < float(np.median(reconstruction.map.cloud().points[:, 0])) < 5.0


def test_no_pose_without_a_scene_but_a_reason() -> None:
    reconstruction = make()
    for frame in random_frames(4):
        for answer in reconstruction.process(frame):
            if answer.world_from_camera is None:
                assert reconstruction.pose_failure
    assert len(reconstruction.map) > 0


@pytest.mark.parametrize("output", ["refined", "immediate", "both"])
def test_every_frame_enters_the_map_once(output: str) -> None:
    reconstruction, frames = make(output), random_frames(5)
    Corridor(reconstruction, Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48))
    inserted: list[int] = []
    insert = reconstruction.map.insert

    def counting(prediction):  # type: ignore[no-untyped-def]
        inserted.append(prediction.frame.index)
        return insert(prediction)

    reconstruction.map.insert = counting  # type: ignore[method-assign]
    for frame in frames:
        reconstruction.process(frame)
    reconstruction.flush()
    assert inserted == [0, 1, 2, 3, 4]
    assert [pose.index for pose in reconstruction.trajectory] == [0, 1, 2, 3, 4]


def test_a_reset_begins_a_new_world() -> None:
    reconstruction, frames = make(), random_frames(4)
    first = [answer.points for frame in frames for answer in reconstruction.process(frame)]
    revision = reconstruction.map.revision
    reconstruction.reset()
    assert len(reconstruction.map) == 0 and len(reconstruction.trajectory) == 0
    assert reconstruction.map.revision > revision and reconstruction.statistics().offered == 0
    again = [answer.points for frame in frames for answer in reconstruction.process(frame)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def content(reconstruction: Reconstruction) -> list[tuple[float, ...]]:
    """Every point with its color and confidence; the order of the points means nothing."""
    cloud = reconstruction.map.cloud()
    return sorted(map(tuple, np.column_stack([cloud.points, cloud.colors, cloud.confidence]).tolist()))


def test_a_saved_world_is_continued_as_if_never_stopped(tmp_path: Path) -> None:
    frames, straight, stopped, resumed = random_frames(10), make(), make(), make()
    expected = [straight.process(frame) for frame in frames]
    for frame in frames[:6]:
        stopped.process(frame)
    saved = stopped.save(tmp_path / "world")
    assert saved.points == len(stopped.map) and all(file.is_file() for file in saved.files)
    resumed.load(tmp_path / "world")
    assert content(resumed) == content(stopped)
    for frame, want in zip(frames[6:], expected[6:], strict=True):
        got = resumed.process(frame)
        assert [a.points.tobytes() for a in got] == [a.points.tobytes() for a in want]
        assert [a.intrinsics for a in got] == [a.intrinsics for a in want]
    assert content(resumed) == content(straight)


def test_what_cannot_be_continued_leaves_everything_as_it_was(tmp_path: Path) -> None:
    reconstruction, stranger = make(), make(encoder_depth=1)
    for frame in random_frames(3):
        reconstruction.process(frame)
        stranger.process(frame)
    stranger.save(tmp_path / "other")
    points, memory = len(reconstruction.map), reconstruction.memory
    with pytest.raises(MemoryMismatchError, match="another network"):
        reconstruction.load(tmp_path / "other")
    with pytest.raises(DataError, match="no saved map"):
        reconstruction.load(tmp_path / "nowhere")
    assert len(reconstruction.map) == points and reconstruction.memory is memory


def test_a_refused_frame_changes_nothing() -> None:
    reconstruction, frames = make(), random_frames(3)
    for frame in frames:
        reconstruction.process(frame)
    revision, statistics = reconstruction.map.revision, repr(reconstruction.statistics())
    with pytest.raises(FrameError):
        reconstruction.process(Frame(9, 9, "camera", np.zeros((1, 5000, 3), np.uint8)))
    assert reconstruction.map.revision == revision and repr(reconstruction.statistics()) == statistics


def test_closing_releases_the_model() -> None:
    reconstruction = make()
    reconstruction.close()
    with pytest.raises(AttributeError):
        reconstruction.process(random_frames(1)[0])


def test_a_missing_checkpoint_is_reported_when_making_one_from_parameters(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"nothing\.pth"):
        Reconstruction.from_config(Config(checkpoint=str(tmp_path / "nothing.pth")))

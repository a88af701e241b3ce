from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree
from tiny_models import random_frames, tiny_config, tiny_network
from wall_network import write_wall_checkpoint

from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError, DataError, FrameError, MemoryMismatchError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.geometry.camera import depth_from_pointmap
from spann3r_ros.mapping.corrections import Correction
from spann3r_ros.mapping.map import Map
from spann3r_ros.models.base import ModelStream
from spann3r_ros.models.checkpoint.reading import write_checkpoint
from spann3r_ros.models.pointmap import Pointmap
from spann3r_ros.models.salad.architecture import TINY
from spann3r_ros.models.salad.network import SaladNetwork
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.prediction import Prediction, WorldPrediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.stream import load_stream


def make(output: str = "refined", **network: object) -> Reconstruction:
    config = tiny_config()
    config.output = output
    config.map.min_confidence = 0.0
    return Reconstruction(ModelStream(Spann3r(tiny_network(**network), config, "random")), config)  # type: ignore[arg-type]


def test_points_are_the_model_s_in_ros_axes() -> None:
    frames, reconstruction = random_frames(4), make()
    stream = ModelStream(reconstruction.model)
    expected = [answer for frame in frames for answer in stream.step(frame)] + stream.flush()
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
        return Sim3.rigid(turn, np.array([0.2 * number, 0.0, 0.1 * number]))

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
                [complaint] = reconstruction.complaints.current()
                assert complaint.kind == "tracking"
                assert re.search(r"frame \d: no pose: \w+", complaint.text)
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
    assert reconstruction.map.revision > revision and reconstruction.status().offered == 0
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


@pytest.mark.fault("load is all or nothing")
def test_what_cannot_be_continued_leaves_everything_as_it_was(tmp_path: Path) -> None:
    reconstruction, stranger = make(), make(encoder_depth=1)
    for frame in random_frames(3):
        reconstruction.process(frame)
        stranger.process(frame)
    stranger.save(tmp_path / "other")
    points, stream = len(reconstruction.map), reconstruction._stream
    with pytest.raises(MemoryMismatchError, match="another network"):
        reconstruction.load(tmp_path / "other")
    with pytest.raises(DataError, match="no saved map"):
        reconstruction.load(tmp_path / "nowhere")
    assert len(reconstruction.map) == points and reconstruction._stream is stream


@pytest.mark.fault("load is all or nothing")
@pytest.mark.parametrize(
    "note",
    [
        '{"fx": 0, "fy": 1, "cx": 1, "cy": 1, "width": 64, "height": 48}',
        '{"fx": 60, "fy": 60, "cx": 1, "cy": 1, "width": 64.5, "height": 48}',
        '{"fx": 1e9, "fy": 1e9, "cx": 0, "cy": 0, "width": 1, "height": 1}',
        '{"fx": NaN, "fy": 60, "cx": 1, "cy": 1, "width": 64, "height": 48}',
        '{"fx": 60}',
        "[1, 2]",
        '"text"',
        "not json",
        "[" * 100_000,
    ],
)
def test_a_bad_note_leaves_everything_as_it_was(tmp_path: Path, note: str) -> None:
    reconstruction = make()
    for frame in random_frames(3):
        reconstruction.process(frame)
    reconstruction.save(tmp_path / "map")
    manifest = json.loads((tmp_path / "map" / "manifest.json").read_text())
    manifest["notes"]["estimated intrinsics"] = note
    (tmp_path / "map" / "manifest.json").write_text(json.dumps(manifest))
    before = (reconstruction.map, reconstruction.map.revision, reconstruction._stream, reconstruction._intrinsics)
    with pytest.raises(DataError, match="estimated intrinsics of the map"):
        reconstruction.load(tmp_path / "map")
    after = (reconstruction.map, reconstruction.map.revision, reconstruction._stream, reconstruction._intrinsics)
    assert before == after
    reconstruction.process(random_frames(4)[3])


def test_intrinsics_estimated_on_another_grid_are_scaled() -> None:
    reconstruction = make()
    for frame in random_frames(3):
        reconstruction.process(frame)
    reconstruction._intrinsics.found = Intrinsics(120.0, 120.0, 63.5, 47.5, 128, 96)
    (answer,) = reconstruction.process(random_frames(4)[3])
    assert answer.intrinsics == Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)


def test_a_refused_frame_changes_nothing() -> None:
    reconstruction, frames = make(), random_frames(3)
    for frame in frames:
        reconstruction.process(frame)
    revision, statistics = reconstruction.map.revision, repr(reconstruction.status())
    with pytest.raises(FrameError):
        reconstruction.process(Frame(9, 9, "camera", np.zeros((1, 5000, 3), np.uint8)))
    assert reconstruction.map.revision == revision and repr(reconstruction.status()) == statistics


def test_closing_releases_the_model() -> None:
    reconstruction = make()
    reconstruction.close()
    with pytest.raises(AttributeError):
        reconstruction.process(random_frames(1)[0])


def test_a_missing_checkpoint_is_reported_when_making_one_from_parameters(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"nothing\.pth"):
        Reconstruction.from_config(Config(checkpoint=str(tmp_path / "nothing.pth")))


class Once:
    """A corrector that moves submap 0 when it sees a certain frame."""

    name = "once"

    def __init__(self, frame: int, world_from_submap: Sim3, scale_source: str | None = None) -> None:
        self.frame, self.place, self.scale_source = frame, world_from_submap, scale_source

    def observe(self, prediction: Prediction, world: Map) -> list[Correction]:
        assert world.submap(prediction.submap).poses[-1].index == prediction.frame.index
        if prediction.frame.index != self.frame:
            return []
        return [Correction(prediction.submap, self.place, "a test", self.scale_source)]

    def clear(self) -> None:
        self.frame = -1

    def saved(self) -> dict[str, np.ndarray]:
        return {"frame": np.array(self.frame)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        if state and state["frame"].dtype.kind != "i":
            raise ValueError("no frame")
        self.frame = int(state["frame"]) if state else -1


TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    "correction",
    [
        Sim3(translation=np.array([0.0, 10.0, 0.0])),
        Sim3.rigid(TURN, np.zeros(3)),
        Sim3(2.0),
        Sim3(0.5, TURN, np.array([1.0, -2.0, 3.0])),
    ],
    ids=["translation", "rotation", "scale", "all"],
)
def test_a_correction_carries_what_was_and_what_comes(correction: Sim3, tmp_path: Path) -> None:
    camera = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
    plain, corrected = make(), make()
    for reconstruction in (plain, corrected):
        Corridor(reconstruction, camera)
        reconstruction.config.map.voxel_size = 1e-3  # so fine that every point is its own voxel
        reconstruction.config.map.max_slant = 90.0  # and that every point stays
        reconstruction.config.map.min_observations, reconstruction.config.map.clear_margin = 1, 0.0
    corrected.correctors.append(Once(2, correction @ ROS_FROM_OPTICAL))
    frames = [Frame(f.index, f.stamp, "camera", f.image, camera) for f in random_frames(6)]
    before = [answer for frame in frames for answer in plain.process(frame)]
    after = [answer for frame in frames for answer in corrected.process(frame)]

    # What is published: frames before the correction as they were, that one and all later ones moved.
    for number, (one, other) in enumerate(zip(before, after, strict=True)):
        assert one.world_from_camera is not None and other.world_from_camera is not None
        moved = correction if number >= 2 else Sim3()
        np.testing.assert_allclose(other.points, moved.apply(one.points), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            other.world_from_camera.matrix(), moved.carry(one.world_from_camera).matrix(), atol=1e-6
        )
        assert one.pose_covariance is not None and other.pose_covariance is not None
        np.testing.assert_allclose(
            np.trace(other.pose_covariance[:3, :3]),
            moved.scale**2 * np.trace(one.pose_covariance[:3, :3]),
            rtol=1e-6,
        )
    # The path: all of it.
    for mine, theirs in zip(plain.trajectory, corrected.trajectory, strict=True):
        np.testing.assert_allclose(
            theirs.target_from_camera.matrix(), correction.carry(mine.target_from_camera).matrix(), atol=1e-6
        )
    # The map: all of it, and it agrees with what is published of a later frame.
    assert_same_points(correction.apply(plain.map.cloud().points), corrected.map.cloud().points)
    assert_contains(corrected.map.cloud().points, after[-1].points.reshape(-1, 3))
    # Depth of a frame follows the scale.
    assert after[-1].world_from_camera is not None and before[-1].world_from_camera is not None
    depths = [depth_from_pointmap(a.points, a.world_from_camera) for a in (before[-1], after[-1])]
    np.testing.assert_allclose(depths[1], correction.scale * depths[0], rtol=1e-4)
    # A saved map, loaded elsewhere, goes on in the corrected world.
    corrected.save(tmp_path / "map")
    resumed = make()
    resumed.config.map.voxel_size = 1e-3
    resumed.load(tmp_path / "map")
    assert_same_points(resumed.map.cloud().points, corrected.map.cloud().points)
    assert [p.target_from_camera.translation.tolist() for p in resumed.trajectory] == [
        p.target_from_camera.translation.tolist() for p in corrected.trajectory
    ]
    np.testing.assert_array_equal(
        resumed.map.submap(0).world_from_submap.matrix(), corrected.map.submap(0).world_from_submap.matrix()
    )


@pytest.mark.fault("load is all or nothing")
def test_a_corrector_goes_on_where_it_was_saved_or_nothing_does(tmp_path: Path) -> None:
    reconstruction = make()
    first, second = Once(7, Sim3(2.0)), Once(5, Sim3(2.0))
    second.name = "second"
    reconstruction.correctors += [first, second]
    reconstruction.save(tmp_path / "good")
    first.frame = second.frame = 1
    reconstruction.load(tmp_path / "good")
    assert (first.frame, second.frame) == (7, 5)
    second.saved = lambda: {"frame": np.array(0.5)}  # type: ignore[method-assign]
    first.frame = 8
    reconstruction.save(tmp_path / "bad")
    del second.saved
    first.frame = 9
    held = reconstruction.map
    with pytest.raises(DataError, match=r"state of a corrector in the map .*bad: got no frame"):
        reconstruction.load(tmp_path / "bad")
    assert (first.frame, second.frame) == (9, 5) and reconstruction.map is held


def test_only_what_made_the_world_metric_is_its_scale_source(tmp_path: Path) -> None:
    camera = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
    reconstruction = make()
    Corridor(reconstruction, camera)
    assert not reconstruction.metric and reconstruction.scale_source == ""
    joint, scale = Once(1, ROS_FROM_OPTICAL), Once(2, Sim3(2.0) @ ROS_FROM_OPTICAL, "odometry")
    scale.name = "scale"
    reconstruction.correctors += [joint, scale]
    seen = []
    for frame in random_frames(5):
        reconstruction.process(dataclasses.replace(frame, intrinsics=camera))
        seen.append((reconstruction.map.reason, reconstruction.scale_source))
    assert seen[1:4] == [("", ""), ("a test", ""), ("a test", "odometry")]
    reconstruction.save(tmp_path / "map")
    reconstruction.reset()
    assert not reconstruction.metric
    reconstruction.load(tmp_path / "map")
    assert reconstruction.metric and reconstruction.scale_source == "odometry"


def assert_same_points(one: np.ndarray, other: np.ndarray) -> None:
    assert abs(len(one) - len(other)) <= len(one) // 100  # voxels of a moved grid are cut elsewhere
    assert_contains(one, other)
    assert_contains(other, one)


def assert_contains(cloud: np.ndarray, points: np.ndarray) -> None:
    distances, _ = KDTree(cloud).query(points)
    assert distances.max() < 5e-3


def test_answers_are_told_before_the_map_takes_them_up_and_returned_as_it_then_says() -> None:
    camera = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
    reconstruction = make()
    Corridor(reconstruction, camera)
    reconstruction.correctors.append(Once(2, Sim3(2.0) @ ROS_FROM_OPTICAL))
    told: list[tuple[int, WorldPrediction]] = []
    reconstruction.on_answers = lambda answers: told.extend((len(reconstruction.map), each) for each in answers)
    for number, frame in enumerate(random_frames(5)):
        held = len(reconstruction.map)
        answers = reconstruction.process(dataclasses.replace(frame, intrinsics=camera))
        assert len(told) == len(answers) == min(number, 1)
        for (points, before), after in zip(told, answers, strict=True):
            assert points == held < len(reconstruction.map)
            assert before.frame is after.frame and before.is_tracked
            scale = 2.0 if after.frame.index == 2 else 1.0
            np.testing.assert_allclose(after.points, scale * before.points, rtol=1e-5)
        told.clear()


def test_a_reset_forgets_corrections() -> None:
    reconstruction = make()
    corrector = Once(0, Sim3(2.0))
    reconstruction.correctors.append(corrector)
    reconstruction.map.move(0, Sim3(2.0))
    reconstruction.reset()
    assert corrector.frame == -1
    np.testing.assert_array_equal(reconstruction.map.submap(0).world_from_submap.matrix(), ROS_FROM_OPTICAL.matrix())


def test_a_world_saved_by_the_version_before_goes_on(tmp_path: Path, golden: Path) -> None:
    """The recording holds what that version answered, and its map and path, when it went on itself."""
    write_wall_checkpoint(tmp_path / "wall.safetensors")
    config = tiny_config()
    config.map.voxel_size, config.map.max_points, config.map.coarsening = 0.2, 2000, 1.0
    config.checkpoint, config.device = str(tmp_path / "wall.safetensors"), "cpu"
    reconstruction = Reconstruction(load_stream(config), config)
    saved = golden.parent / "saved_map_1"
    reconstruction.load(saved / "map")
    answers = [answer for frame in random_frames(9)[6:] for answer in reconstruction.process(frame)]
    with np.load(saved / "continued.npz") as recorded:
        # The weights are made anew by least squares, to a few digits.
        np.testing.assert_allclose(
            np.stack([answer.points[::6, ::6] for answer in answers]), recorded["points"], atol=2e-2
        )
        path = np.array([pose.target_from_camera.translation for pose in reconstruction.trajectory])
        np.testing.assert_allclose(path[:-1], recorded["path"][:-1], atol=2e-2)
        # The refinement of poses is another one since: of the last of these noisy images it finds one that fits better.
        np.testing.assert_allclose(path[-1], recorded["path"][-1], atol=0.1)
        assert answers[-1].pose_covariance is not None and answers[-1].pose_covariance[0, 0] < 0.0058**2
        assert abs(len(reconstruction.map) - len(recorded["cloud"])) < 10


def test_weights_of_salad_describe_the_places_and_without_gtsam_it_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that sees a wall, and the wall comes again: SALAD's random weights know it, so it is looked at."""
    torch.manual_seed(0)
    write_checkpoint(tmp_path / "salad.safetensors", SaladNetwork(TINY), TINY)
    write_wall_checkpoint(tmp_path / "wall.safetensors")
    config = Config(checkpoint=str(tmp_path / "wall.safetensors"), device="cpu")
    config.tracking.enabled, config.submap.frames, config.submap.overlap = False, 4, 1
    config.loops.enabled, config.loops.descriptor = True, str(tmp_path / "salad.safetensors")
    config.loops.min_gap, config.loops.similarity = 3, 0.999
    if importlib.util.find_spec("gtsam") is not None:
        reconstruction = Reconstruction.from_config(config)
        frames = random_frames(1)
        for number in range(14):
            reconstruction.process(dataclasses.replace(frames[0], index=number, stamp=number * 10**8))
        reconstruction.flush()
        assert reconstruction.usual is not None
        assert reconstruction.usual.loops.counts.candidates > 0
        reconstruction.close()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"spann3r_ros\[mapping\]"):
        Reconstruction.from_config(config)

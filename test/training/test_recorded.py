"""Recordings become training sequences whose points agree with their images' cameras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tiny_training import ARCHITECTURE, recipe

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.camera import project
from spann3r_ros.models.checkpoint.reading import write_checkpoint
from spann3r_ros.recordings.sequence import DepthImage, GroundTruth
from spann3r_ros.sim3 import Sim3
from spann3r_ros.training.preparation import existing_network, new_network
from spann3r_ros.training.recorded import RecordedSource, curriculum_indices
from spann3r_ros.training.schedule import Stage
from spann3r_ros.training.trainer import Trainer
from spann3r_ros.trajectory import CameraPath

CAMERA = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)


@dataclass
class Corridor:
    """A camera that moves sideways along a slanted wall."""

    length: int = 12
    name: str = "corridor"
    layout: str = "made up"
    path: Path = Path("corridor")
    unit: str = "m"

    def count(self) -> int:
        return self.length

    def frames(self, every: int = 1):
        for i in range(0, self.length, every):
            image = np.full((48, 64, 3), 10 * i, np.uint8)
            yield Frame(i, self._stamp(i), "camera", image, CAMERA)

    def ground_truth(self) -> GroundTruth:
        poses = [Sim3.rigid(np.eye(3), np.array([0.1 * i, 0.0, 0.0])) for i in range(self.length)]
        stamps = [self._stamp(i) for i in range(self.length)]
        depth = np.broadcast_to(np.linspace(2, 3, 64, dtype=np.float32), (48, 64)).copy()
        depth[:5] = np.nan
        return GroundTruth(
            CameraPath.from_poses(stamps, poses), np.array(stamps), lambda _index: DepthImage(depth, CAMERA), "made up"
        )

    @staticmethod
    def _stamp(i: int) -> int:
        return 1_000_000_000 + 100_000_000 * i


def test_points_project_to_their_own_pixels() -> None:
    source = RecordedSource([Corridor()], (16, 24))
    clip = source.walk(np.random.default_rng(0), 6, 2, 3, 1)
    assert clip.images.shape == (3, 16, 24, 3) and not clip.fixed_world
    i = int(clip.images[0, 0, 0, 0]) // 10
    grid = source.recordings[0][i].intrinsics
    camera = Sim3.rigid(np.eye(3), np.array([0.1 * i, 0.0, 0.0]))
    pixels = project(camera.inverse().apply(clip.points[0]), grid)
    y, x = np.mgrid[:16, :24]
    seen = clip.valid[0]
    assert 0.5 < seen.mean() < 1.0
    np.testing.assert_allclose(pixels[seen], np.stack([x, y], -1)[seen], atol=1e-3)
    origin = np.linalg.inv(clip.camera_from_world)[:3, 3]
    np.testing.assert_allclose(origin, [0.1 * (i - 1), 0, 0], atol=1e-9)


def test_clips_are_seen_from_their_first_frame_in_either_order() -> None:
    source, reversed_ = RecordedSource([Corridor()], (16, 24)), set()
    for seed in range(20):
        clip = source.clip(np.random.default_rng(seed), 4, 3.0)
        shown = clip.images[:, 0, 0, 0].astype(int) // 10
        steps = np.diff(shown)
        assert (np.abs(steps) <= 3).all() and (steps != 0).all()
        reversed_.add(bool(steps[0] < 0))
        np.testing.assert_allclose(np.linalg.inv(clip.camera_from_world)[0, 3], 0.1 * shown[0], atol=1e-9)
    assert reversed_ == {True, False}


def test_indices_stay_inside_and_within_the_gap() -> None:
    rng = np.random.default_rng(0)
    for available, frames, gap in ((5, 5, 30), (100, 5, 10), (12, 3, 1)):
        for _ in range(50):
            indices = curriculum_indices(rng, available, frames, gap)
            assert len(indices) == frames and indices[0] >= 0 and indices[-1] < available
            assert all(0 < step <= max(gap, 1) for step in np.diff(indices))


def test_recording_that_is_too_short_or_without_truth_is_refused() -> None:
    source = RecordedSource([Corridor(4)], (16, 24))
    with pytest.raises(DataError, match="longest recording"):
        source.clip(np.random.default_rng(0), 5, 1.0)

    class Blind(Corridor):
        def ground_truth(self) -> None:  # type: ignore[override]
            return None

    with pytest.raises(DataError, match="true poses and depth"):
        RecordedSource([Blind()], (16, 24))


def test_fine_tuning_begins_from_existing_weights(tmp_path: Path) -> None:
    settings = recipe(Stage("clips", 2, 2, 3))
    first = new_network(settings)
    write_checkpoint(tmp_path / "init.safetensors", first, ARCHITECTURE)
    network = existing_network(tmp_path / "init.safetensors")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name, tensor in first.state_dict().items():
        assert tensor.equal(before[name]), name
    Trainer(network, settings, RecordedSource([Corridor()], (16, 24)), tmp_path).run()
    changed = [name for name, tensor in network.state_dict().items() if not tensor.equal(before[name])]
    assert len(changed) == len(before)

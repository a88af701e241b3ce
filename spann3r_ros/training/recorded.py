"""Training sequences cut from recordings with true poses and depth: bags and dataset folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import ConfigError, DataError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import backproject, pixel_grid
from spann3r_ros.models.preprocess import preprocess
from spann3r_ros.recordings.sequence import DepthImage, Sequence
from spann3r_ros.sim3 import Sim3
from spann3r_ros.training.data import Clip, Single

MAX_GAP = 20_000_000
"""Nanoseconds between an image and its true pose and depth."""


@dataclass(frozen=True, eq=False)
class _View:
    """A frame as the network takes it, with its truth on the same grid."""

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    intrinsics: Intrinsics
    world_from_camera: Sim3


class RecordedSource:
    """Clips and walks cut from recordings; all frames are kept in memory at the size of the network.

    Args:
        recordings: sequences with true poses and depth.
        size: (height, width) of the network's images.

    Raises:
        DataError: a recording without true poses or depth, or with fewer than two usable frames.
    """

    def __init__(self, recordings: Iterable[Sequence], size: tuple[int, int]) -> None:
        sequences = list(recordings)
        self.description = "recordings: " + ", ".join(sequence.name for sequence in sequences)
        self.recordings = [_read(sequence, size) for sequence in sequences]

    def clip(self, rng: np.random.Generator, frames: int, gap: float) -> Clip:
        """See ``data.Source``; the order is reversed half of the time."""
        views = self._any(rng, frames)
        indices = curriculum_indices(rng, len(views), frames, round(gap))
        if rng.random() < 0.5:
            indices = indices[::-1]
        return _clip([views[i] for i in indices], views[indices[0]].world_from_camera)

    def single(self, _rng: np.random.Generator, _patch: int) -> Single:
        """See ``data.Source``: recordings share no world."""
        raise ConfigError("single images", got=self.description, expected="one fixed scene, in which they have a place")

    def walk(self, rng: np.random.Generator, frames: int, first: int, count: int, origin: int) -> Clip:
        """See ``data.Source``; consecutive frames from a random place on."""
        views = self._any(rng, frames)
        start = int(rng.integers(len(views) - frames + 1))
        chosen = views[start + first : start + first + count]
        return _clip(chosen, views[start + origin].world_from_camera)

    def _any(self, rng: np.random.Generator, frames: int) -> list[_View]:
        long_enough = [views for views in self.recordings if len(views) >= frames]
        if not long_enough:
            raise DataError(
                "frames of the longest recording",
                got=max(map(len, self.recordings)),
                expected=f">= {frames}, as the recipe asks",
                next_step="Lower frames or walk_frames of the stage, or give a longer recording",
            )
        return long_enough[int(rng.integers(len(long_enough)))]


def curriculum_indices(rng: np.random.Generator, available: int, frames: int, gap: int) -> list[int]:
    """Increasing indices with at most ``gap`` between neighbors, as the published training draws them.

    The first is uniform in the part that leaves room for the rest; each next one is uniform in what remains possible.
    """
    indices = [
        int(rng.integers(max(1, min(available - frames + 1, max(available // frames, available - frames * gap)))))
    ]
    for remaining in range(frames - 1, 0, -1):
        last = min(indices[-1] + max(1, gap), available - remaining)
        indices.append(int(rng.integers(indices[-1] + 1, last + 1)))
    return indices


def _read(recording: Sequence, size: tuple[int, int]) -> list[_View]:
    truth = recording.ground_truth()
    if truth is None or truth.trajectory is None or len(truth.depth_stamps) == 0:
        raise DataError(f"true poses and depth of {recording.path}", got="not both", expected="both, for training")
    path, views = truth.trajectory, []
    for frame in recording.frames():
        nearest = int(np.abs(path.stamps - frame.stamp).argmin())
        depth = truth.depth_at(frame.stamp, MAX_GAP)
        image = preprocess(frame, size)
        if depth is None or image.intrinsics is None or abs(int(path.stamps[nearest]) - frame.stamp) > MAX_GAP:
            continue
        pose = Sim3.rigid(path.rotations[nearest], path.positions[nearest])
        views.append(
            _View(image.colors, _depth_on_grid(depth, image.intrinsics, frame.intrinsics), image.intrinsics, pose)
        )
    if len(views) < 2:
        raise DataError(
            f"frames of {recording.path} with image, calibration, pose and depth", got=len(views), expected=">= 2"
        )
    return views


def _depth_on_grid(truth: DepthImage, grid: Intrinsics, camera: Intrinsics | None) -> NDArray[np.float32]:
    """Nearest true depth of each pixel of the network's image; NaN where unknown or outside."""
    source = truth.intrinsics or camera
    assert source is not None  # a frame without calibration has no grid
    pixels = pixel_grid(grid.width, grid.height)
    columns = np.rint((pixels[..., 0] - grid.cx) / grid.fx * source.fx + source.cx).astype(np.int64)
    rows = np.rint((pixels[..., 1] - grid.cy) / grid.fy * source.fy + source.cy).astype(np.int64)
    height, width = truth.depth.shape
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    depth = np.full(columns.shape, np.nan, np.float32)
    depth[inside] = truth.depth[rows[inside], columns[inside]]
    return depth


def _clip(views: list[_View], first: Sim3) -> Clip:
    points = np.stack([view.world_from_camera.apply(backproject(view.depth, view.intrinsics)) for view in views])
    valid = np.isfinite(points).all(axis=-1)
    return Clip(
        images=np.stack([view.image for view in views]),
        points=np.where(valid[..., None], points, 0).astype(np.float32),
        valid=valid,
        camera_from_world=first.inverse().matrix(),
        fixed_world=False,
    )

"""What really is in a frame: depth and pose of a recording, brought together."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError, FrameError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.prediction import Prediction
from spann3r_ros.recordings.measured_depth import DEPTH_GAP
from spann3r_ros.recordings.sequence import METERS, DepthImage, Sequence
from spann3r_ros.sim3 import Sim3


@dataclass(frozen=True, eq=False)
class TrueView:
    """What a camera really saw, on a grid of every n-th pixel.

    Attributes:
        points: (h, w, 3) float64 in the camera's optical axes, meters; NaN where unknown.
        colors: (h, w, 3) uint8.
        intrinsics: of the grid.
        world_from_camera: rigid, meters.
    """

    points: NDArray[np.float64]
    colors: NDArray[np.uint8]
    intrinsics: Intrinsics
    world_from_camera: Sim3

    @property
    def known(self) -> NDArray[np.bool_]:
        """(h, w) pixels whose depth is known."""
        return np.asarray(np.isfinite(self.points[..., 2]))

    def in_world(self) -> NDArray[np.float64]:
        """(h, w, 3) points in the true world."""
        points: NDArray[np.float64] = self.world_from_camera.apply(self.points)
        return points

    def shares(self, world_points: NDArray[np.float64]) -> float:
        """Share of points (N, 3) of the true world that this view shows, too: inside, within 5 % of the depth."""
        x, y, z = self.world_from_camera.inverse().apply(world_points).T
        camera = self.intrinsics
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
            inside = (z > 0) & (u > -0.5) & (u < camera.width - 0.5) & (v > -0.5) & (v < camera.height - 0.5)
        seen = self.points[np.rint(v[inside]).astype(int), np.rint(u[inside]).astype(int), 2]
        return float((np.abs(seen - z[inside]) < 0.05 * z[inside]).sum() / max(1, len(world_points)))


class RecordedTruth:
    """The truth about every frame of a recording; may be asked from several threads.

    Args:
        sequence: with true poses and depth, the latter seen by the camera of its images.
        most_width: of the grids; larger images are thinned out.

    Raises:
        DataError: a recording without either.
    """

    def __init__(self, sequence: Sequence, most_width: int) -> None:
        truth = sequence.ground_truth()
        if truth is None or truth.trajectory is None or not len(truth.depth_stamps):
            has_poses = truth is not None and truth.trajectory is not None
            raise DataError(
                f"truth of {sequence.path} for the simulated network",
                got="poses, but no depth" if has_poses else "no true poses",
                expected="a recording with true poses and depth images",
                next_step="`python -m spann3r_ros make_bag BAG --depth` makes one",
            )
        self._truth, self._path, self._most_width = truth, truth.trajectory, most_width
        self._meters, self._lock = METERS[sequence.unit], threading.Lock()
        self.stamps = truth.depth_stamps

    def grid_size(self, frame: Frame) -> tuple[int, int]:
        """(h, w) of the grid of a frame."""
        height, width = frame.image.shape[:2]
        stride = self._stride(width)
        return -(-height // stride), -(-width // stride)

    def of(self, frame: Frame) -> TrueView:
        """What the frame shows.

        Raises:
            FrameError: no pose or depth within 20 ms of it, depth of another size or nowhere known, or no calibration.
        """
        pose, found = self._near(frame.stamp)
        camera = frame.intrinsics or found.intrinsics
        if found.depth.shape != frame.image.shape[:2] or camera is None:
            raise FrameError(
                "true depth of a frame, and its calibration",
                got=(found.depth.shape, camera),
                expected=f"depth registered to the image {frame.image.shape[:2]}, and a calibration",
            )
        stride = self._stride(frame.image.shape[1])
        depth = self._thinned(found, stride)
        return _view(depth, thinned_camera(camera, stride, depth.shape), frame.image[::stride, ::stride], pose)

    def behind(self, answer: Prediction) -> TrueView:
        """What the frame of an answer shows, on the grid of the answer; of the frame only the stamp counts.

        Raises:
            FrameError: as ``of``, or an answer without calibration or of a grid that was not thinned out here.
        """
        pose, found = self._near(answer.frame.stamp)
        size, camera = answer.confidence.shape, answer.intrinsics
        depth = self._thinned(found, -(-found.depth.shape[1] // size[1]))
        if camera is None or depth.shape != size:
            raise FrameError("grid of an answer", got=(size, camera), expected=f"{depth.shape} and a calibration")
        return _view(depth, camera, answer.colors, pose)

    def _near(self, stamp: int) -> tuple[Sim3, DepthImage]:
        """Pose in meters and depth image of a stamp."""
        pose = self._path.at(stamp, DEPTH_GAP)
        with self._lock:
            found = self._truth.depth_at(stamp, DEPTH_GAP)
        if pose is None or found is None:
            missing = "true pose" if pose is None else "depth image"
            raise FrameError(f"no {missing} for the simulated network", expected=f"one within {DEPTH_GAP / 1e6:g} ms")
        return Sim3.rigid(pose.rotation, pose.translation * self._meters), found

    def _thinned(self, found: DepthImage, stride: int) -> NDArray[np.float64]:
        """Every ``stride``-th pixel in meters, NaN where unknown."""
        depth = found.depth[::stride, ::stride].astype(np.float64) * self._meters
        depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
        if np.isnan(depth).all():
            raise FrameError("true depth for the simulated network", got="unknown everywhere", expected="some depth")
        return depth

    def _stride(self, width: int) -> int:
        return -(-width // self._most_width)


def thinned_camera(camera: Intrinsics, stride: int, shape: tuple[int, ...]) -> Intrinsics:
    """That of the image of every ``stride``-th pixel in both directions, which is (h, w) large."""
    fx, fy, cx, cy = (value / stride for value in (camera.fx, camera.fy, camera.cx, camera.cy))
    return Intrinsics(fx, fy, cx, cy, shape[1], shape[0])


def _view(
    depth: NDArray[np.float64], camera: Intrinsics, colors: NDArray[np.uint8], world_from_camera: Sim3
) -> TrueView:
    u, v = (np.arange(camera.width) - camera.cx) / camera.fx, (np.arange(camera.height) - camera.cy) / camera.fy
    points = np.stack([depth * u[None, :], depth * v[:, None], depth], axis=-1)
    return TrueView(points, np.ascontiguousarray(colors), camera, world_from_camera)

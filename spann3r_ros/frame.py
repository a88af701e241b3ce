"""One camera image and its calibration, as the models take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import FrameError
from spann3r_ros.sim3 import Sim3

PATCH = 16
"""Pixels of the shorter side of the smallest image that networks can make something of."""


def frame_name(frame_id: str) -> str:
    """A coordinate frame's name without the leading slash, a habit of tf1 that tf2 refuses."""
    return frame_id.lstrip("/")


def check_smallest(width: int, height: int) -> None:
    """Raise FrameError for an image that is smaller than a patch of the networks."""
    if min(width, height) < PATCH:
        raise FrameError(
            "image smaller than a patch of the networks", got=f"{width} x {height}", expected=f"at least {PATCH} px"
        )


@dataclass(frozen=True)
class Intrinsics:
    """Rectified pinhole camera.

    Attributes:
        fx, fy: focal lengths in pixels, positive.
        cx, cy: principal point in pixels; (0, 0) is the center of the upper left pixel.
        width, height: image size in pixels.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy)
        if not np.isfinite(numbers).all() or self.fx <= 0 or self.fy <= 0:
            raise FrameError(
                "camera intrinsics (fx, fy, cx, cy)",
                got=numbers,
                expected="finite, with positive focal lengths",
                next_step="An uncalibrated camera has intrinsics None",
            )
        if self.width < 1 or self.height < 1:
            raise FrameError("image size of the intrinsics", got=(self.width, self.height), expected=">= 1")

    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) float64 camera matrix K."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera image.

    Attributes:
        index: running number of the frame in its sequence.
        stamp: time of the image in integer nanoseconds (the header's stamp).
        camera: name of the camera's optical frame (x right, y down, z forward).
        image: (H, W, 3) uint8, RGB.
        intrinsics: calibration of this very image, or None when unknown.
        prior: odom_from_camera at the stamp, rigid, where the robot has odometry; read by correctors, and by models
            that take poses.
        depth: (H, W) float32 in meters along the optical axis, measured for this very image, 0 where unknown; read by
            models that take depth.

    Raises:
        FrameError: wrong dtype or shape, an empty image, intrinsics of another size, a prior that is not rigid, or a
            depth of another size or with values that are no depths.
    """

    index: int
    stamp: int
    camera: str
    image: NDArray[np.uint8]
    intrinsics: Intrinsics | None = None
    prior: Sim3 | None = None
    depth: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        image = self.image
        if not isinstance(image, np.ndarray):
            raise FrameError("image", got=type(image).__name__, expected="a numpy array (H, W, 3) uint8 RGB")
        if image.dtype != np.uint8:
            nan = int(np.isnan(image).sum()) if np.issubdtype(image.dtype, np.floating) else 0
            raise FrameError(
                "image dtype",
                got=f"{image.dtype}" + (f" with {nan} NaN values" if nan else ""),
                expected="uint8 RGB in 0..255",
                next_step="Convert it with its value range in mind before making a Frame",
            )
        if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise FrameError("image shape", got=image.shape, expected="(H, W, 3) with H, W >= 1, RGB")
        size = (image.shape[1], image.shape[0])
        if self.intrinsics is not None and (self.intrinsics.width, self.intrinsics.height) != size:
            raise FrameError(
                "intrinsics are of another image size",
                got=(self.intrinsics.width, self.intrinsics.height),
                expected=f"the size of the image, {size} (width, height)",
                next_step="Scale them with geometry.camera first",
            )
        if self.prior is not None and self.prior.scale != 1.0:
            raise FrameError("prior pose of a frame", got=f"scale {self.prior.scale}", expected="a rigid pose, scale 1")
        if self.depth is not None:
            _check_depth(self.depth, image.shape[:2])


def _check_depth(depth: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    """Raise FrameError unless a depth image is one of an image of ``shape``."""
    if not isinstance(depth, np.ndarray) or depth.dtype != np.float32 or depth.shape != shape:
        got = (depth.dtype, depth.shape) if isinstance(depth, np.ndarray) else type(depth).__name__
        raise FrameError("depth of a frame", got=got, expected=f"float32 {shape}, the size of the image")
    # One pass without a temporary: NaN and infinity make the sum so, too.
    if not np.isfinite(depth.sum(dtype=np.float64)) or depth.min(initial=0.0) < 0:
        raise FrameError(
            "depth of a frame", got="values that are negative or not finite", expected="meters, 0: unknown"
        )

"""Where the calibration of a camera is published, and what ``sensor_msgs/CameraInfo`` says, whoever decoded it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import FrameError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import resize
from spann3r_ros.geometry.rectification import Rectification, StereoView, rectification

FOCAL_SHARES = (0.02, 100.0)
"""Least and largest focal length of a camera, in sides of its image: views from 175 down to half a degree."""

ASPECT = 3.0
"""How much longer one focal length may be than the other, in pixels; binning along one side doubles it."""

CLEAN_RATIOS = range(2, 9)
"""How many times larger the image of a calibration may be than the images it is applied to, or smaller."""


def is_rectified(image_topic: str) -> bool:
    """Whether a topic's images are rectified already, by its name: image_proc calls them ``image_rect*``."""
    return any(part.startswith("image_rect") for part in image_topic.split("/"))


def camera_info_topic(image_topic: str) -> str:
    """Where drivers publish the calibration of an image topic: ``camera_info`` in the same namespace."""
    folder, slash, _ = image_topic.removesuffix("/compressed").rpartition("/")
    return f"{folder}{slash}camera_info"


def calibration(
    info: Any, rectified: bool, size: tuple[int, int] | None = None
) -> tuple[Intrinsics | None, Rectification | None]:
    """Intrinsics of the image to work with, and the maps that make it out of the published one where it must be.

    Args:
        info: message with width, height, k, r, p, d, distortion_model, binning_x, binning_y and roi.
        rectified: whether the images are rectified already (P counts) or raw (K and D count; R and P of a stereo pair).
        size: (width, height) of the images, when it is known. A calibration that is 2, 3 ... 8 times as large or as
            small is scaled.

    Raises:
        FrameError: values that describe no camera, or the camera of images of another size.
        GeometryError: a lens that cannot become a pinhole.
    """
    published = intrinsics_from_info(info, rectified)
    if published is None:
        return None, None
    intrinsics = published if size is None else scaled_to(published, *size)
    if rectified:
        return intrinsics, None
    stereo = _stereo_view(info)
    if stereo is not None and size is not None:
        stereo = dataclasses.replace(stereo, intrinsics=scaled_to(stereo.intrinsics, *size))
    maps = rectification(intrinsics, info.distortion_model, info.d, stereo)
    return (intrinsics, None) if maps is None else (maps.intrinsics, maps)


def intrinsics_from_info(info: Any, rectified: bool) -> Intrinsics | None:
    """Intrinsics at the size of the published image, binning and region of interest applied; None if uncalibrated.

    Args: as of ``calibration``; ``K = 0`` means uncalibrated. Rectified images whose P is zero have K, if D is zero.

    Raises:
        FrameError: values that describe no camera.
    """
    k, p = np.asarray(info.k, np.float64).reshape(3, 3), np.asarray(info.p, np.float64).reshape(3, 4)
    if not rectified:
        return _published(info, "K", k)
    if p[0, 0] == 0 and p[1, 1] == 0 and k[0, 0] != 0:
        if np.any(info.d):
            raise FrameError(
                "P of camera_info, the matrix of rectified images",
                got="zeros, with a lens that distorts",
                expected="focal lengths",
                next_step="Calibrate anew, or give the raw images in image_topics: K and D are enough for them",
            )
        return _published(info, "K", k)
    return _published(info, "P", p[:, :3])


def scaled_to(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    """The intrinsics at the size of the images; raises FrameError where that is no clean multiple or part of theirs."""
    own = (intrinsics.width, intrinsics.height)
    sizes = [own] + [(own[0] // ratio, own[1] // ratio) for ratio in CLEAN_RATIOS]
    larger = [(width // ratio, height // ratio) for ratio in CLEAN_RATIOS]
    if (width, height) == own:
        return intrinsics
    if (width, height) not in sizes and own not in larger:
        raise FrameError(
            "calibration of another image size",
            got=f"{own[0]} x {own[1]} for images of {width} x {height}",
            expected=f"the same size, or {CLEAN_RATIOS[0]} to {CLEAN_RATIOS[-1]} times as large or as small",
            next_step="Give the camera_info that belongs to the images",
        )
    return resize(intrinsics, width, height)


def _published(info: Any, name: str, matrix: NDArray[np.float64]) -> Intrinsics | None:
    """A matrix of the sensor's full size (K, or the left of P), checked, for the image that is published."""
    (fx, skew, cx), (zero, fy, cy), last = matrix.tolist()
    if fx == 0 and fy == 0:
        return None
    width, height = int(info.width), int(info.height)
    if width < 1 or height < 1:
        raise FrameError("image size in camera_info (width, height)", got=(width, height), expected=">= 1 pixel")
    if not np.isfinite(matrix).all() or zero != 0 or last != [0.0, 0.0, 1.0] or abs(skew) > 1e-6 * abs(fx):
        raise FrameError(
            f"{name} of camera_info",
            got=np.round(matrix, 6).tolist(),
            expected="[fx, 0, cx], [0, fy, cy], [0, 0, 1], all finite",
        )
    low, high = (share * max(width, height) for share in FOCAL_SHARES)
    if not (low <= fx <= high and low <= fy <= high and 1 / ASPECT <= fx / fy <= ASPECT):
        raise FrameError(
            f"focal lengths in {name} of camera_info (fx, fy)",
            got=(fx, fy),
            expected=f"{low:g} .. {high:g} px for {width} x {height} pixels, and near each other",
        )
    if not (-width <= cx <= 2 * width and -height <= cy <= 2 * height):
        raise FrameError(
            f"principal point in {name} of camera_info (cx, cy)",
            got=(cx, cy),
            expected=f"near the image of {width} x {height} pixels",
        )
    roi = info.roi
    roi_width, roi_height = int(roi.width or width), int(roi.height or height)
    left, top = (int(roi.x_offset), int(roi.y_offset)) if roi.width and roi.height else (0, 0)
    if left + roi_width > width or top + roi_height > height:
        raise FrameError(
            "region of interest in camera_info (x, y, width, height)",
            got=(left, top, roi_width, roi_height),
            expected=f"inside of {width} x {height}",
        )
    bin_x, bin_y = max(int(info.binning_x), 1), max(int(info.binning_y), 1)
    return Intrinsics(
        fx / bin_x,
        fy / bin_y,
        (cx - left + 0.5) / bin_x - 0.5,
        (cy - top + 0.5) / bin_y - 0.5,
        roi_width // bin_x,
        roi_height // bin_y,
    )


def _stereo_view(info: Any) -> StereoView | None:
    """How the camera is turned to be rectified, and what it shows then; None where R turns nothing."""
    rotation = np.asarray(info.r, np.float64).reshape(3, 3)
    if not rotation.any() or np.array_equal(rotation, np.eye(3)):
        return None
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise FrameError("R of camera_info", got=np.round(rotation, 6).tolist(), expected="a rotation matrix")
    intrinsics = _published(info, "P", np.asarray(info.p, np.float64).reshape(3, 4)[:, :3])
    if intrinsics is None:
        raise FrameError(
            "P of camera_info", got="zeros beside an R that turns the image", expected="what the rectified image shows"
        )
    return StereoView(rotation, intrinsics)

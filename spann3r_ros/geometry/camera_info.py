"""Where the calibration of a camera is published, and what ``sensor_msgs/CameraInfo`` says, whoever decoded it."""

from __future__ import annotations

from typing import Any

from spann3r_ros.errors import FrameError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.rectification import Rectification, rectification


def is_rectified(image_topic: str) -> bool:
    """Whether a topic's images are rectified already, by its name: image_proc calls them ``image_rect*``."""
    return any(part.startswith("image_rect") for part in image_topic.split("/"))


def camera_info_topic(image_topic: str) -> str:
    """Where drivers publish the calibration of an image topic: ``camera_info`` in the same namespace."""
    folder, slash, _ = image_topic.removesuffix("/compressed").rpartition("/")
    return f"{folder}{slash}camera_info"


def calibration(info: Any, rectified: bool) -> tuple[Intrinsics | None, Rectification | None]:
    """Intrinsics of the image to work with, and the maps that make it out of the published one when it is distorted.

    Args:
        info: message with width, height, k, p, d, distortion_model, binning_x, binning_y and roi.
        rectified: whether the images are rectified already (P counts) or raw (K and D count).

    Raises:
        FrameError: values that describe no camera.
        GeometryError: a lens that cannot become a pinhole.
    """
    intrinsics = intrinsics_from_info(info, rectified)
    if intrinsics is None or rectified:
        return intrinsics, None
    maps = rectification(intrinsics, info.distortion_model, info.d)
    return (intrinsics, None) if maps is None else (maps.intrinsics, maps)


def intrinsics_from_info(info: Any, rectified: bool) -> Intrinsics | None:
    """Intrinsics at the size of the published image, binning and region of interest applied; None if uncalibrated.

    Args: as of ``calibration``; ``K = 0`` means uncalibrated.

    Raises:
        FrameError: values that describe no camera.
    """
    fx, skew, cx, _, fy, cy, *_ = info.k
    if rectified:
        fx, skew, cx, _, _, fy, cy, *_ = info.p
    if fx == 0.0 or info.width == 0 or info.height == 0:
        return None
    if abs(skew) > 1e-6 * abs(fx):
        raise FrameError("skew of the camera matrix", got=skew, expected="0")
    roi = info.roi
    width, height = (roi.width or info.width), (roi.height or info.height)
    bin_x, bin_y = max(info.binning_x, 1), max(info.binning_y, 1)
    left, top = (roi.x_offset, roi.y_offset) if roi.width else (0, 0)
    return Intrinsics(
        float(fx / bin_x),
        float(fy / bin_y),
        float((cx - left + 0.5) / bin_x - 0.5),
        float((cy - top + 0.5) / bin_y - 0.5),
        int(width // bin_x),
        int(height // bin_y),
    )

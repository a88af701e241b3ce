"""Pixels of image messages and image files as arrays, without ROS: the names are those of ``sensor_msgs/Image``."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import FrameError

# Encoding -> (dtype, channels, cv2 conversion to RGB or None). Bayer names differ: ROS names the pattern from the first
# pixel on, OpenCV from the second pixel of the second row, so rggb is cv2's BG.
_COLORS: dict[str, tuple[type[np.generic], int, int | None]] = {
    "rgb8": (np.uint8, 3, None),
    "bgr8": (np.uint8, 3, cv2.COLOR_BGR2RGB),
    "8UC3": (np.uint8, 3, cv2.COLOR_BGR2RGB),
    "rgba8": (np.uint8, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": (np.uint8, 4, cv2.COLOR_BGRA2RGB),
    "mono8": (np.uint8, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": (np.uint8, 1, cv2.COLOR_GRAY2RGB),
    "mono16": (np.uint16, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": (np.uint16, 3, None),
    "bgr16": (np.uint16, 3, cv2.COLOR_BGR2RGB),
    "bayer_rggb8": (np.uint8, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (np.uint8, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (np.uint8, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (np.uint8, 1, cv2.COLOR_BayerGB2RGB),
    "bayer_rggb16": (np.uint16, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": (np.uint16, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": (np.uint16, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": (np.uint16, 1, cv2.COLOR_BayerGB2RGB),
    "rgba16": (np.uint16, 4, cv2.COLOR_RGBA2RGB),
    "bgra16": (np.uint16, 4, cv2.COLOR_BGRA2RGB),
    "uyvy": (np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422": (np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuyv": (np.uint8, 2, cv2.COLOR_YUV2RGB_YUYV),
    "yuv422_yuy2": (np.uint8, 2, cv2.COLOR_YUV2RGB_YUYV),
}
_DEPTHS: dict[str, type[np.generic]] = {"32FC1": np.float32, "16UC1": np.uint16, "mono16": np.uint16}


def decode_image(
    data: Any, encoding: str, height: int, width: int, step: int, big_endian: bool = False
) -> NDArray[np.uint8]:
    """Raw image as (height, width, 3) uint8 RGB; 16-bit colors keep their upper byte.

    Args:
        data: bytes or a uint8 array of at least ``step * height``.
        encoding: a name of sensor_msgs/image_encodings.
        height, width: in pixels.
        step: bytes from one row to the next; rows may be padded.
        big_endian: order of the bytes of 16-bit values.

    Raises:
        FrameError: an encoding that is no color or gray image, an empty image, or too few bytes.
    """
    if encoding not in _COLORS:
        raise FrameError("image encoding", got=encoding or "(empty)", expected=" | ".join(_COLORS))
    dtype, channels, conversion = _COLORS[encoding]
    pixels = _rows(data, dtype, channels, height, width, step, big_endian)
    if dtype is np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if conversion is not None:
        pixels = cv2.cvtColor(pixels, conversion)
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def decode_depth(
    data: Any, encoding: str, height: int, width: int, step: int, big_endian: bool = False
) -> NDArray[np.float32]:
    """Raw depth image (REP 118) as (height, width) float32 meters; NaN where nothing was measured.

    Args: as of ``decode_image``; 32FC1 is in meters, 16UC1 in millimeters.

    Raises:
        FrameError: another encoding, an empty image, or too few bytes.
    """
    if encoding not in _DEPTHS:
        raise FrameError("depth encoding", got=encoding or "(empty)", expected=" | ".join(_DEPTHS))
    dtype = _DEPTHS[encoding]
    depth = _rows(data, dtype, 1, height, width, step, big_endian).astype(np.float32)
    if dtype is np.uint16:
        depth /= np.float32(1000.0)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))


def decode_compressed(data: Any) -> NDArray[np.uint8]:
    """JPEG, PNG or another file format of cv2, in memory, as (H, W, 3) uint8 RGB.

    Raises:
        FrameError: bytes that are no such file, or a damaged one.
    """
    content = np.frombuffer(data, np.uint8)
    # OpenCV fills up a JPEG that was cut off with gray, which a network would take for a wall.
    cut_off = content[:2].tobytes() == b"\xff\xd8" and b"\xff\xd9" not in content.tobytes()
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) and not cut_off else None
    if image is None:
        raise FrameError(
            "compressed image",
            got=f"{len(content)} bytes starting with {bytes(content[:4]).hex()}" + ", end missing" * cut_off,
            expected="a whole JPEG or PNG file",
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _rows(
    data: Any, dtype: type[np.generic], channels: int, height: int, width: int, step: int, big_endian: bool
) -> NDArray[Any]:
    """(height, width[, channels]) view of the pixels, padding removed, in the machine's byte order."""
    kind = np.dtype(dtype)
    row = width * channels * kind.itemsize
    content = np.frombuffer(data, np.uint8)
    if height < 1 or width < 1:
        raise FrameError("empty image", got=f"{width} x {height} pixels", expected="at least 1 x 1")
    if step < row or len(content) < step * (height - 1) + row:
        raise FrameError(
            "image data too short",
            got=f"{len(content)} bytes with step {step}",
            expected=f"step >= {row} and step * {height} bytes for {width} x {height}",
        )
    rows = np.lib.stride_tricks.as_strided(content, (height, row), (step, 1), writeable=False)
    pixels = np.ascontiguousarray(rows).view(kind.newbyteorder(">" if big_endian else "<"))
    pixels = pixels.astype(kind, copy=False)
    shape = (height, width, channels) if channels > 1 else (height, width)
    image: NDArray[Any] = pixels.reshape(shape)
    return image

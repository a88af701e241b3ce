"""The encodings of ``sensor_msgs/Image``: one table, for the node and for bags."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import FrameError


@dataclass(frozen=True)
class Chroma:
    """The plane, or planes, of color that follow a plane of brightness.

    Attributes:
        rows: how many there are for each row of the image.
        columns: bytes in one of them for each column of the image.
    """

    rows: Fraction
    columns: Fraction


@dataclass(frozen=True)
class Encoding:
    """How bytes become a picture.

    Attributes:
        dtype: of each value.
        channels: values of each pixel in a row.
        conversion: of OpenCV to RGB, or None where the values are that already.
        multiple: what width and height must be multiples of.
        chroma: where color lies apart from brightness; None where all values of a pixel lie together.
    """

    dtype: type[np.generic]
    channels: int
    conversion: int | None
    multiple: tuple[int, int] = (1, 1)
    chroma: Chroma | None = None

    def row_bytes(self, width: int) -> int:
        """Bytes of a row without padding; of the plane of brightness where there are planes."""
        return width * self.channels * np.dtype(self.dtype).itemsize

    def total_bytes(self, height: int, step: int) -> int:
        """Bytes of an image whose rows begin ``step`` bytes apart."""
        planes = 1 if self.chroma is None else 1 + self.chroma.rows * self.chroma.columns
        return int(step * height * planes)


# Bayer names differ: ROS names the pattern from the first pixel on, OpenCV from the second pixel of the second row,
# so rggb is cv2's BG.
BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}

_HALF, _ONE, _TWO = Fraction(1, 2), Fraction(1), Fraction(2)

ENCODINGS = {
    "rgb8": Encoding(np.uint8, 3, None),
    "bgr8": Encoding(np.uint8, 3, cv2.COLOR_BGR2RGB),
    "rgba8": Encoding(np.uint8, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": Encoding(np.uint8, 4, cv2.COLOR_BGRA2RGB),
    "mono8": Encoding(np.uint8, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": Encoding(np.uint16, 3, None),
    "bgr16": Encoding(np.uint16, 3, cv2.COLOR_BGR2RGB),
    "rgba16": Encoding(np.uint16, 4, cv2.COLOR_RGBA2RGB),
    "bgra16": Encoding(np.uint16, 4, cv2.COLOR_BGRA2RGB),
    "mono16": Encoding(np.uint16, 1, cv2.COLOR_GRAY2RGB),
    **{f"bayer_{name}8": Encoding(np.uint8, 1, code) for name, code in BAYER.items()},
    **{f"bayer_{name}16": Encoding(np.uint16, 1, code) for name, code in BAYER.items()},
    "uyvy": Encoding(np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuyv": Encoding(np.uint8, 2, cv2.COLOR_YUV2RGB_YUYV),
    "nv12": Encoding(np.uint8, 1, cv2.COLOR_YUV2RGB_NV12, (2, 2), Chroma(_HALF, _ONE)),
    "nv21": Encoding(np.uint8, 1, cv2.COLOR_YUV2RGB_NV21, (2, 2), Chroma(_HALF, _ONE)),
    "nv24": Encoding(np.uint8, 1, cv2.COLOR_YUV2RGB_NV12, (1, 1), Chroma(_ONE, _TWO)),
    "yuv420": Encoding(np.uint8, 1, cv2.COLOR_YUV2RGB_I420, (2, 2), Chroma(_ONE, _HALF)),
}
"""By their first names."""

OTHER_NAMES = {
    **{"8uc1": "mono8", "8uc3": "bgr8", "8uc4": "bgra8"},  # of OpenCV, which keeps blue first
    **{"rgb": "rgb8", "bgr": "bgr8", "rgba": "rgba8", "bgra": "bgra8"},
    **{"mono": "mono8", "gray": "mono8", "grey": "mono8", "y8": "mono8", "y16": "mono16"},
    **{"yuv422": "uyvy", "yuv422_yuy2": "yuyv", "yuy2": "yuyv", "i420": "yuv420"},
}
"""Further names, of drivers and of ROS itself; names count in lower case. ``rgb888`` is none of them: it is red first
to some and blue first to others."""

DEPTHS: dict[str, type[np.generic]] = {"32FC1": np.float32, "16UC1": np.uint16, "mono16": np.uint16}
"""Encodings of depth (REP 118)."""


def find(name: str) -> Encoding:
    """The encoding of a name; raises FrameError for one that is no color or gray image."""
    lower = name.lower()
    found = ENCODINGS.get(OTHER_NAMES.get(lower, lower))
    if found is None:
        next_step = ""
        if name in DEPTHS:
            next_step = "This is depth or another measurement; give the color image's topic. Thermal images are mono16"
        elif lower in ("jpeg", "jpg", "png"):
            next_step = "Image files belong into sensor_msgs/CompressedImage"
        elif lower == "rgb888":
            next_step = "Drivers mean rgb8 or bgr8 by it: let yours name one of them"
        raise FrameError("image encoding", got=name or "(empty)", expected=" | ".join(ENCODINGS), next_step=next_step)
    return found


def to_rgb(rows: NDArray[Any], encoding: Encoding) -> NDArray[Any]:
    """RGB pixels of unpadded rows.

    Args:
        rows: (height, width[, channels]) values; with planes (height x (1 + their share), width) bytes.
        encoding: of the rows.

    Returns:
        (height, width, 3) uint8 or uint16.

    Raises:
        FrameError: a size that the encoding cannot have.
    """
    if encoding.conversion is None:
        return rows
    if encoding.conversion in BAYER.values() and min(rows.shape) < 3:
        raise FrameError("size of a Bayer mosaic (height, width)", got=rows.shape, expected="at least 3 x 3")
    try:
        if encoding.chroma is not None and encoding.chroma.columns == 2:
            return _from_full_chroma(rows, encoding.conversion)
        if encoding.channels == 2 and rows.shape[1] % 2:
            return cv2.cvtColor(_with_even_width(rows), encoding.conversion)[:, :-1]
        return cv2.cvtColor(rows, encoding.conversion)
    except cv2.error as error:
        raise FrameError("image that OpenCV cannot convert", got=f"{rows.shape[1]} pixels wide: {error}") from error


def _from_full_chroma(rows: NDArray[np.uint8], conversion: int) -> NDArray[np.uint8]:
    """NV24, color for every pixel: an NV12 of twice the size, brightness repeated, has the very same plane of color."""
    height, width = rows.shape[0] // 3, rows.shape[1]
    bright = rows[:height].repeat(2, axis=0).repeat(2, axis=1)
    doubled = cv2.cvtColor(np.vstack([bright, rows[height:].reshape(height, 2 * width)]), conversion)
    return np.asarray(doubled[::2, ::2], dtype=np.uint8)


def _with_even_width(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two pixels share their color: the last one of an odd row takes what it lacks from the pair before."""
    if rows.shape[1] < 3:
        raise FrameError("width of a 4:2:2 image", got=f"{rows.shape[1]} px", expected="at least 2 px")
    return np.concatenate([rows, rows[:, -2:-1]], axis=1)

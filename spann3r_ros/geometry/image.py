"""Images and depth images of messages as arrays, without ROS; see ``encodings`` and ``image_file``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.config import ImageConfig
from spann3r_ros.errors import FrameError
from spann3r_ros.geometry import encodings
from spann3r_ros.geometry.encodings import DEPTHS, Encoding
from spann3r_ros.geometry.image_file import check_size, decode_file
from spann3r_ros.geometry.value_range import FULL, to_8_bit

_BAYER = re.compile(r"bayer_(rggb|bggr|gbrg|grbg)(8|16)\b")

Note = Callable[[str, str], None]
"""Takes what had to be assumed: which assumption it is, and the words."""


def ignore(_kind: str, _text: str) -> None:
    """A ``Note`` that nobody reads."""


def decode_image(
    data: Any,
    encoding: str,
    height: int,
    width: int,
    step: int,
    big_endian: bool = False,
    config: ImageConfig | None = None,
    note: Note = ignore,
) -> NDArray[np.uint8]:
    """Raw image as (height, width, 3) uint8 RGB.

    Args:
        data: bytes or a uint8 array.
        encoding: a name of ``encodings``.
        height, width: in pixels.
        step: bytes from one row to the next; rows may be padded. One that cannot be is put right, with a note, where
            the data are just those of unpadded rows.
        big_endian: order of the bytes of 16-bit values.
        config: the largest size, and what becomes of 16-bit values; by default as ``ImageConfig``.
        note: takes what had to be assumed.

    Raises:
        FrameError: an encoding that is no color or gray image, an empty or too large image, or too few bytes.
    """
    config = config or ImageConfig()
    found = encodings.find(encoding)
    rows = _rows(data, encoding, found, height, width, step, big_endian, config.max_pixels, note)
    return picture(encodings.to_rgb(rows, found), config.range, note)


def decode_depth(
    data: Any, encoding: str, height: int, width: int, step: int, big_endian: bool = False
) -> NDArray[np.float32]:
    """Raw depth image (REP 118) as (height, width) float32 meters; NaN where nothing was measured.

    Args: as of ``decode_image``; 32FC1 is in meters, 16UC1 in millimeters.

    Raises:
        FrameError: another encoding, an empty or too large image, or too few bytes.
    """
    if encoding not in DEPTHS:
        raise FrameError("depth encoding", got=encoding or "(empty)", expected=" | ".join(DEPTHS))
    dtype = DEPTHS[encoding]
    limit = ImageConfig().max_pixels
    rows = _rows(data, encoding, Encoding(dtype, 1, None), height, width, step, big_endian, limit, ignore)
    depth = rows.astype(np.float32)
    if dtype is np.uint16:
        depth /= np.float32(1000.0)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))


def decode_compressed(
    data: Any, form: str = "", config: ImageConfig | None = None, note: Note = ignore
) -> NDArray[np.uint8]:
    """An image file in memory as (H, W, 3) uint8 RGB.

    Args:
        data: bytes or a uint8 array.
        form: as ``CompressedImage.format`` names it: ``jpeg``, ``png``, or ``ENCODING; FORMAT compressed ENCODING``. A
            gray file that is said to be a Bayer mosaic gets its colors.
        config: the largest size, and what becomes of 16-bit values; by default as ``ImageConfig``.
        note: takes what had to be assumed.

    Raises:
        FrameError: data of another format, damaged, cut off or too large; depth and videos.
    """
    config = config or ImageConfig()
    _refuse_by_format(form)
    pixels = decode_file(bytes(data), config.max_pixels)
    if pixels.ndim == 2:
        mosaic = _BAYER.match(form.strip())
        pixels = encodings.to_rgb(pixels, encodings.ENCODINGS[mosaic[0] if mosaic else "mono8"])
    return picture(pixels, config.range, note)


def picture(pixels: NDArray[Any], value_range: str, note: Note = ignore) -> NDArray[np.uint8]:
    """RGB pixels of 8 or 16 bits as contiguous uint8; how 16 bits were read is noted."""
    if pixels.dtype == np.uint16:
        pixels, (low, high) = to_8_bit(pixels, value_range)
        text = f"16-bit images: the values {low}..{high} become 0..255 (parameter image.range is {value_range})"
        if value_range == "auto" and (low, high) != FULL:
            text += ", and in other images their own: set LOW..HIGH for one brightness in all"
        note("range" if (low, high) == FULL else "narrow range", text)
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _rows(
    data: Any,
    name: str,
    encoding: Encoding,
    height: int,
    width: int,
    step: int,
    big_endian: bool,
    max_pixels: int,
    note: Note,
) -> NDArray[Any]:
    """(height, width[, channels]) view of the values, padding removed, in the machine's byte order.

    With planes: (height x (1 + their share), width).
    """
    check_size(width, height, max_pixels)
    content = np.frombuffer(data, np.uint8)
    columns, lines = encoding.multiple
    if width % columns or height % lines:
        raise FrameError(
            f"size of an image in {name}",
            got=f"{width} x {height}",
            expected=f"a width in multiples of {columns} and a height in multiples of {lines}",
        )
    row = encoding.row_bytes(width)
    padding = 0 if encoding.chroma else step - row  # the last row may lack it
    splits = encoding.chroma is None or (step * encoding.chroma.columns).denominator == 1
    whole = step >= row and splits and len(content) >= encoding.total_bytes(height, step) - padding
    if not whole:
        unpadded = encoding.total_bytes(height, row)
        if len(content) != unpadded:
            raise FrameError(
                "image data too short" if len(content) < unpadded else "image data of another size",
                got=f"{len(content)} bytes with step {step}",
                expected=f"step >= {row} and step * {height} bytes for {width} x {height} in {name}"
                + (f" ({encoding.total_bytes(height, step)} bytes with this step)" if step >= row else ""),
                next_step="Check encoding, step and size that the driver gives",
            )
        note("step", f"images say step {step}, which cannot be: {row} is taken, for their data are just as long")
        step = row
    if encoding.chroma is not None:
        return _planes(content, encoding, height, width, step)
    kind = np.dtype(encoding.dtype)
    lines_of_bytes = np.lib.stride_tricks.as_strided(content, (height, row), (step, 1), writeable=False)
    values = np.ascontiguousarray(lines_of_bytes).view(kind.newbyteorder(">" if big_endian else "<"))
    values = values.astype(kind, copy=False)
    shape = (height, width, encoding.channels) if encoding.channels > 1 else (height, width)
    image: NDArray[Any] = values.reshape(shape)
    return image


def _planes(content: NDArray[np.uint8], encoding: Encoding, height: int, width: int, step: int) -> NDArray[np.uint8]:
    """The plane of brightness above those of color, all with rows of ``width`` bytes."""
    assert encoding.chroma is not None
    rows, columns = encoding.chroma.rows, encoding.chroma.columns
    bright = content[: step * height].reshape(height, step)[:, :width]
    size = encoding.total_bytes(height, step)
    color = content[step * height : size].reshape(int(height * rows), -1)[:, : int(width * columns)]
    return np.vstack([bright, color.reshape(-1, width)])


def _refuse_by_format(form: str) -> None:
    """Raise FrameError for what a name tells to be no picture, though its data may look like one."""
    words = re.split(r"[;\s]+", form.strip())
    next_step = ""
    if "compressedDepth" in words or words[0] in set(DEPTHS) - {"mono16"}:
        next_step = "This is a depth topic; give the color image's topic in image_topics"
    elif words[0].lower() in ("h264", "h265", "hevc", "av1", "vp8", "vp9", "ffmpeg"):
        next_step = "These are packets of a video: record pictures, or convert them first"
    if next_step:
        raise FrameError(
            "compressed image format", got=repr(form), expected="jpeg or png pictures", next_step=next_step
        )

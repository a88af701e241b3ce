"""Image files in memory: judged before memory is taken for them, then decoded; half a picture is none."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from spann3r_ros.errors import FrameError
from spann3r_ros.geometry import jpeg_scans

FORMATS = ("JPEG", "PNG", "WebP", "TIFF", "BMP", "PPM")
"""What is read; MPO is a JPEG that further ones follow, as many telephones write it."""

PADDING = 8
"""Superfluous bytes before the end that are no damage: some webcams pad their JPEGs."""

# Pillow's own limit is one for the whole process; ours is a parameter, and every file is judged by it.
Image.MAX_IMAGE_PIXELS = None

_JPEG_END = b"\xff\xd9"
_SUPERFLUOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_ORIENTATION = 0x0112

_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: np.rot90(np.fliplr(image), 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(np.fliplr(image), -1),
    8: lambda image: np.rot90(image, 1),
}
"""What turns the image upright, by EXIF's tag."""


def decode_file(content: bytes, max_pixels: int) -> NDArray[Any]:
    """Pixels of a file as (H, W) gray or (H, W, 3) RGB, uint8 or uint16, turned as its EXIF tag says.

    Args:
        content: the whole file. A JPEG may lack its end marker, and nothing else.
        max_pixels: of the largest image to take.

    Raises:
        FrameError: no image of ``FORMATS``, a damaged or incomplete one, one that moves or has pages, or one that is
            too large.
    """
    with _judged(content, max_pixels) as opened:
        is_jpeg = opened.format in ("JPEG", "MPO")
        try:
            pixels = _decode_jpeg(content, opened) if is_jpeg else _decode_other(content, opened)
        except FrameError:
            raise
        except Exception as error:  # whatever the damage makes a decoder say
            raise _refusal(content, f"damaged {opened.format}: {error}") from error
    if pixels.dtype not in (np.uint8, np.uint16):
        raise _refusal(content, f"{opened.format} of {pixels.dtype} values, which is no picture")
    return np.ascontiguousarray(pixels)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise FrameError for an image that is empty or larger than ``image.max_pixels``."""
    if height < 1 or width < 1:
        raise FrameError("empty image", got=f"{width} x {height} pixels", expected="at least 1 x 1")
    if width * height > max_pixels:
        raise FrameError(
            "image too large",
            got=f"{width} x {height} pixels",
            expected=f"at most {max_pixels} pixels",
            next_step="Raise the parameter image.max_pixels if such images are meant",
        )


def _judged(content: bytes, max_pixels: int) -> Image.Image:
    """The file with its header read and no pixel decoded, within the limit."""
    try:
        opened = Image.open(io.BytesIO(content), formats=[name.upper() for name in FORMATS])
        # A telephone's JPEG has previews behind it; elsewhere several pictures are a film or a document.
        pictures = 1 if opened.format in ("JPEG", "MPO") else getattr(opened, "n_frames", 1)
    except Exception as error:  # Pillow's parsers raise what they like
        detail = "" if type(error).__name__ == "UnidentifiedImageError" else f": {error}"
        raise _refusal(content, f"no such file{detail}") from error
    check_size(*opened.size, max_pixels)
    if pictures > 1:
        raise _refusal(content, f"{opened.format} with {pictures} pictures")
    return opened


def _decode_jpeg(content: bytes, opened: Image.Image) -> NDArray[np.uint8]:
    """By libjpeg-turbo through simplejpeg, which tells the warnings that others print or swallow."""
    content += _JPEG_END  # the one marker that may lack; a second one does no harm
    if what := jpeg_scans.damage(content):
        raise _refusal(content, what)
    space = {"L": "GRAY", "CMYK": "CMYK"}.get(opened.mode, "RGB")
    try:
        pixels = simplejpeg.decode_jpeg(content, space)
    except ValueError as error:
        superfluous = _SUPERFLUOUS.search(str(error))
        if superfluous is None or int(superfluous[1]) > PADDING:
            raise
        pixels = simplejpeg.decode_jpeg(content, space, strict=False)
    if space == "CMYK":
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    pixels = pixels[..., 0] if space == "GRAY" else pixels
    turn = _UPRIGHT.get(opened.getexif().get(_ORIENTATION, 1))
    return pixels if turn is None else turn(pixels)


def _decode_other(content: bytes, opened: Image.Image) -> NDArray[Any]:
    """By OpenCV, after Pillow has verified what OpenCV does not."""
    if opened.format == "PNG":
        opened.verify()  # the checksums of all chunks, also those that a decoder skips
    elif opened.format == "TIFF":
        opened.load()  # OpenCV prints what is wrong with a strip, and goes on
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if image is None:
        raise _refusal(content, f"damaged {opened.format}")
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _refusal(content: bytes, what: str) -> FrameError:
    return FrameError(
        "compressed image",
        got=f"{what} ({len(content)} bytes starting with {content[:4].hex() or 'nothing'})",
        expected=f"a whole file of one picture, {' or '.join(FORMATS)}",
    )

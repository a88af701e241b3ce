"""A measured depth image brought to the pixels of the image that it belongs to."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import FrameError
from spann3r_ros.geometry.rectification import Rectification

SHAPE_TOLERANCE = 0.01
"""How far, of itself, the aspect of a depth image may be from its image's: the rounding of halved sizes."""


def fit_depth(
    depth: NDArray[np.float32], height: int, width: int, maps: Rectification | None = None
) -> NDArray[np.float32]:
    """Depth as ``Frame.depth`` has it.

    Args:
        depth: (h, w) float32 in meters of the camera of an image; NaN where unknown, as ``decode_depth`` gives it.
        height, width: of the image, in pixels. Depth of another size takes the nearest pixel: a mean of two surfaces
            lies on neither.
        maps: what rectified the image, where the depth has the distorted pixels that the image had.

    Returns:
        (height, width) float32 in meters, 0 where unknown.

    Raises:
        FrameError: a depth image of another aspect, which cannot be seen by the camera of the image.
    """
    rows, columns = depth.shape
    if abs(columns * height - rows * width) > SHAPE_TOLERANCE * rows * width:
        raise FrameError(
            "size of a depth image",
            got=f"{columns} x {rows}",
            expected=f"{width} x {height}, the size of its image, or one of the same aspect",
            next_step="Give depth that is registered to the image's camera",
        )
    known = np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0)
    if known.shape != (height, width):
        known = np.asarray(cv2.resize(known, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.float32)
    return known if maps is None else maps.apply_depth(known)

"""Image messages as RGB arrays: the one place that knows whether cv_bridge is installed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from spann3r_ros.errors import FrameError
from spann3r_ros.geometry.image import decode_compressed, decode_image

try:
    # A cv_bridge built for NumPy 1 fails with AttributeError beside NumPy 2.
    from cv_bridge import CvBridge, CvBridgeError
except (ImportError, AttributeError):
    CvBridge = None


def rgb_from_image(message: Image) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a raw image; rgb8 without padding shares the message's memory.

    Raises:
        FrameError: an encoding that is no color or gray image, an empty image, or too few bytes.
    """
    try:
        return decode_image(
            message.data, message.encoding, message.height, message.width, message.step, bool(message.is_bigendian)
        )
    except FrameError as error:
        # Driver formats beyond ours may be known to cv_bridge; a damaged message is damaged for it too.
        if CvBridge is None or error.problem != "image encoding":
            raise
        return _with_cv_bridge(message, error)


def _with_cv_bridge(message: Image, refusal: FrameError) -> NDArray[np.uint8]:
    if re.match(r"(16|32|64)[USF]C", message.encoding):  # depth and other measurements are no pictures
        raise refusal
    try:
        image: Any = CvBridge().imgmsg_to_cv2(message, "rgb8")
    except CvBridgeError as error:
        raise refusal from error
    return np.ascontiguousarray(image, dtype=np.uint8)


def rgb_from_compressed(message: CompressedImage) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a JPEG or PNG image.

    Raises:
        FrameError: data of another format, damaged or cut off; depth in the format of compressedDepth.
    """
    if "compressedDepth" in message.format:
        raise FrameError(
            "compressed image format",
            got=repr(message.format),
            expected="jpeg or png pictures",
            next_step="This is a depth topic; give the color image's topic in image_topics",
        )
    return decode_compressed(message.data)

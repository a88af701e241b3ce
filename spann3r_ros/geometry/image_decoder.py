"""Image messages of one topic as RGB pictures, whoever decoded the messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.config import ImageConfig
from spann3r_ros.geometry.image import decode_compressed, decode_image


class ImageDecoder:
    """Decodes the images of one topic, and says once what it had to assume.

    Args:
        config: limits and ranges; read anew for each image.
        say: takes what was assumed, once for each kind.

    Attributes:
        config: as given.
    """

    def __init__(self, config: ImageConfig, say: Callable[[str], None]) -> None:
        self.config, self._say = config, say
        self._said: set[str] = set()

    def raw(self, message: Any) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of a ``sensor_msgs/Image``; rgb8 without padding shares the message's memory.

        Raises:
            FrameError: as ``decode_image`` does.
        """
        return decode_image(
            message.data,
            message.encoding,
            int(message.height),
            int(message.width),
            int(message.step),
            bool(message.is_bigendian),
            self.config,
            self.note,
        )

    def compressed(self, message: Any) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of a ``sensor_msgs/CompressedImage``; raises FrameError as ``decode_compressed`` does."""
        return decode_compressed(message.data, message.format, self.config, self.note)

    def file(self, content: bytes) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of an image file; raises FrameError as ``decode_compressed`` does."""
        return decode_compressed(content, "", self.config, self.note)

    def note(self, kind: str, text: str) -> None:
        """A ``Note`` that is said once."""
        if kind not in self._said:
            self._said.add(kind)
            self._say(text)

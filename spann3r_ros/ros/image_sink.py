"""What cameras hand their images to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from spann3r_ros.frame import Intrinsics
from spann3r_ros.ros.depth_input import ExpectedDepth
from spann3r_ros.stamp_order import Observed

ImageMessage: TypeAlias = "Image | CompressedImage"


@dataclass(frozen=True, eq=False)
class ReceivedImage:
    """A message as it came.

    Attributes:
        message: not decoded yet.
        frame_id: the camera's optical frame.
        arrival: monotonic time in seconds when it came.
        clock: ROS time in nanoseconds when it came.
    """

    message: ImageMessage
    frame_id: str
    arrival: float
    clock: int


@dataclass(frozen=True, eq=False)
class CameraImage:
    """An image as it came from a camera, decoded and rectified.

    Attributes:
        stamp: nanoseconds, of its header or its arrival (parameter ``stamp``).
        frame_id: the camera's optical frame.
        pixels: (H, W, 3) uint8 RGB.
        intrinsics: of these pixels, or None while unknown.
        arrival: monotonic time in seconds when its message came.
        depth: what is or will be measured for it; None where nobody measures.
    """

    stamp: int
    frame_id: str
    pixels: NDArray[np.uint8]
    intrinsics: Intrinsics | None
    arrival: float
    depth: ExpectedDepth | None = None


class ImageSink(Protocol):
    """Takes the images of all cameras; called from their callbacks, so nothing in it waits."""

    @property
    def accepting(self) -> bool:
        """Whether an image would be taken now; when not, it is not even decoded."""
        ...

    def observe(self, camera: str, stamp: int | None, image: ReceivedImage) -> Observed[ReceivedImage]:
        """Which images of a camera, by its name, are to be used now; ``stamp`` is as in ``StampOrder.observe``."""
        ...

    def time_jumped(self, reason: str) -> None:
        """Follow the policy for time that jumps back; ``reason`` says which time did."""
        ...

    def accept(self, image: CameraImage) -> None:
        """Take an image, after those that were accepted before."""
        ...

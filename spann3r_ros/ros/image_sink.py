"""What cameras hand their images to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.frame import Intrinsics
from spann3r_ros.ros.clock import Arrival


@dataclass(frozen=True, eq=False)
class CameraImage:
    """An image as it came from a camera, decoded and rectified.

    Attributes:
        stamp: nanoseconds, of its header.
        frame_id: the camera's optical frame.
        pixels: (H, W, 3) uint8 RGB.
        intrinsics: of these pixels, or None while unknown.
        arrival: monotonic time in seconds when its message came.
    """

    stamp: int
    frame_id: str
    pixels: NDArray[np.uint8]
    intrinsics: Intrinsics | None
    arrival: float


class ImageSink(Protocol):
    """Takes the images of all cameras; called from their callbacks, so nothing in it waits."""

    @property
    def accepting(self) -> bool:
        """Whether an image would be taken now; when not, it is not even decoded."""
        ...

    def observe(self, camera: str, stamp: int) -> Arrival:
        """How a stamp (ns) of a camera, by its name, fits to those before it; remembering it is all that happens."""
        ...

    def time_jumped(self, reason: str) -> None:
        """Follow the policy for time that jumps back; ``reason`` says which time did."""
        ...

    def accept(self, image: CameraImage) -> None:
        """Take an image, after those that were accepted before."""
        ...

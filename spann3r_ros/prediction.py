"""What a model says about one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.sim3 import Sim3


@dataclass(frozen=True, eq=False)
class Prediction:
    """The pointmap of one frame, in the world frame.

    Attributes:
        frame: the image it is about.
        points: (h, w, 3) float32 pointmap in the world frame; meters if ``metric``, else in the model's own unit.
        confidence: (h, w) float32 in [0, 1]; (c - 1) / c of the network's c >= 1.
        colors: (h, w, 3) uint8 RGB on the same grid.
        world_from_camera: rigid pose of the camera (optical axes), or None while unknown or not recoverable.
        intrinsics: of the (h, w) grid, or None while unknown.
        refined: True for the final pointmap of a past frame (head 1), False for the immediate one (head 2).
        metric: whether the unit is the meter.
    """

    frame: Frame
    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    colors: NDArray[np.uint8]
    world_from_camera: Sim3 | None = None
    intrinsics: Intrinsics | None = None
    refined: bool = True
    metric: bool = False

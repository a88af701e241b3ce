"""What a model says about one frame, in the model's frame and in the world."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.sim3 import Sim3


@dataclass(frozen=True, eq=False)
class Prediction:
    """The pointmap of one frame in its submap's frame: optical axes of some camera, the model's own unit.

    Attributes:
        frame: the image it is about.
        points: (h, w, 3) float32 pointmap in the submap's frame.
        confidence: (h, w) float32 in [0, 1]; (c - 1) / c of the network's c >= 1.
        colors: (h, w, 3) uint8 RGB on the same grid.
        submap_from_camera: rigid pose of the camera (optical axes), or None while unknown or not recoverable.
        pose_source: where the pose came from: ``model`` or ``pnp``; empty without one.
        pose_covariance: (6, 6) float64 of the pose's error, translation before rotation vector, both along the submap's
            axes, in its unit and radians; None when nobody knows it.
        intrinsics: of the (h, w) grid, or None while unknown.
        intrinsics_source: ``camera_info``, ``model`` or ``estimated``; empty without intrinsics.
        final: whether no other answer about this frame will come.
        submap: which of the model's frames it speaks in; a model that opens a new one counts up.
        descriptor: (D,) float32 of unit length that recognizes the place, or None where the model has none.
    """

    frame: Frame
    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    colors: NDArray[np.uint8]
    submap_from_camera: Sim3 | None = None
    pose_source: str = ""
    pose_covariance: NDArray[np.float64] | None = None
    intrinsics: Intrinsics | None = None
    intrinsics_source: str = ""
    final: bool = True
    submap: int = 0
    descriptor: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class WorldPrediction:
    """A prediction as everyone outside sees it: in the world (x forward, y left, z up), corrected as far as is known.

    Attributes:
        frame, confidence, colors, pose_source, intrinsics, intrinsics_source, final: as of the ``Prediction``.
        points: (h, w, 3) float32 pointmap in the world; meters if ``metric``, else in a unit that nobody knows.
        world_from_camera: rigid pose of the camera (optical axes), or None while unknown or not recoverable.
        pose_covariance: (6, 6) float64 along the world's axes, in its unit and radians, or None.
        metric: whether the unit is the meter.
        submap: which it lies in, by its number in the map.
        world_from_submap: where that submap lay when this was said; a later correction moves all that is in it.
        is_tracked: whether the answer is trusted; one that is not is in no map and has no pose.
    """

    frame: Frame
    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    colors: NDArray[np.uint8]
    world_from_camera: Sim3 | None = None
    pose_source: str = ""
    pose_covariance: NDArray[np.float64] | None = None
    intrinsics: Intrinsics | None = None
    intrinsics_source: str = ""
    final: bool = True
    metric: bool = False
    submap: int = 0
    world_from_submap: Sim3 = field(default_factory=Sim3)
    is_tracked: bool = True

    def untrusted(self) -> WorldPrediction:
        """The same where it does not fit, or its world was given up: without a pose, and not to be published."""
        return replace(self, world_from_camera=None, pose_source="", pose_covariance=None, is_tracked=False)

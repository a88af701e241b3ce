"""How far the poses of a relocalizer are from the true ones: medians of meters and degrees, without any alignment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import CameraPath


@dataclass(frozen=True, eq=False)
class RelocalizationErrors:
    """Errors of the images that have a true pose.

    Attributes:
        positions: (N,) distances of the camera centers, in the unit of the recording.
        angles: (N,) degrees between the rotations.
    """

    positions: NDArray[np.float64]
    angles: NDArray[np.float64]

    @property
    def median_position(self) -> float:
        """As PoseNet and its successors report it."""
        return float(np.median(self.positions))

    @property
    def median_angle(self) -> float:
        """Likewise, degrees."""
        return float(np.median(self.angles))


def relocalization_errors(
    stamps: list[int], found: list[Sim3], truth: CameraPath, max_gap: int
) -> RelocalizationErrors:
    """Compare poses ``world_from_camera`` of images with the true ones nearest in time.

    Args:
        stamps: of the images, nanoseconds.
        found: one pose each.
        truth: true poses in the same world.
        max_gap: nanoseconds between an image and its true pose; images without one are left out.

    Raises:
        DataError: no image has a true pose.
    """
    positions, angles = [], []
    for stamp, pose in zip(stamps, found, strict=True):
        true = truth.at(stamp, max_gap)
        if true is None:
            continue
        positions.append(float(np.linalg.norm(pose.translation - true.translation)))
        angles.append(np.degrees((true.inverse() @ pose).rotation_angle()))
    if not positions:
        raise DataError("images with a true pose", got=f"none of {len(stamps)}", expected=f"one within {max_gap} ns")
    return RelocalizationErrors(np.array(positions), np.array(angles))

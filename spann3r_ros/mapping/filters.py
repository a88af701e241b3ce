"""Which pixels of a prediction may become points of a cloud."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.point_cloud import PointCloud, finite_points
from spann3r_ros.prediction import Prediction


def confident(points: NDArray[np.float32], confidence: NDArray[np.float32], least: float) -> NDArray[np.bool_]:
    """(...) mask of the points (..., 3) that are finite and of at least this confidence (...) in [0, 1]."""
    return np.asarray(finite_points(points) & (confidence >= least))


def usable(
    prediction: Prediction,
    min_confidence: float = 0.0,
    max_range: float = 0.0,
    unwanted: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """(h, w) mask of the pixels whose point is finite, confident and near.

    Args:
        prediction: pointmap, confidence and pose of one frame.
        min_confidence: least confidence in [0, 1].
        max_range: largest distance from the camera in the unit of the points; 0 for no limit. While the pose is
            unknown so is the distance, and with a limit no pixel passes.
        unwanted: (h, w) pixels that are left out.
    """
    points = prediction.points
    mask = confident(points, prediction.confidence, min_confidence)
    if max_range > 0:
        pose = prediction.submap_from_camera
        if pose is None:
            return np.zeros_like(mask)
        with np.errstate(invalid="ignore", over="ignore"):
            squared = ((points - pose.translation.astype(np.float32)) ** 2).sum(axis=2)
        mask &= squared <= max_range**2
    if unwanted is not None:
        mask &= ~unwanted
    return np.asarray(mask)


def cloud_from_prediction(
    prediction: Prediction,
    min_confidence: float = 0.0,
    max_range: float = 0.0,
    unwanted: NDArray[np.bool_] | None = None,
) -> PointCloud:
    """The usable points of a prediction, in its submap's frame and raster order; arguments as of ``usable``."""
    pixels = np.flatnonzero(usable(prediction, min_confidence, max_range, unwanted))
    return PointCloud(
        prediction.points.reshape(-1, 3).take(pixels, axis=0),
        prediction.colors.reshape(-1, 3).take(pixels, axis=0),
        prediction.confidence.ravel().take(pixels),
    )

"""The true world of a recording as a colored cloud."""

from __future__ import annotations

import numpy as np

from spann3r_ros.errors import DataError
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.recordings.sequence import GroundTruth, Sequence


def true_cloud(sequence: Sequence, truth: GroundTruth, max_gap: int, stride: int = 5) -> PointCloud:
    """Every ``stride``-th pixel of all images at its true depth, in the true world; confidence 1.

    Args:
        sequence: the images.
        truth: poses and depth of the same recording.
        max_gap: nanoseconds between an image and the pose and depth that count as its own.
        stride: in both directions.

    Raises:
        DataError: no image with a true pose and a true depth of known intrinsics.
    """
    clouds = []
    for frame in sequence.frames() if truth.trajectory is not None else ():
        assert truth.trajectory is not None
        depth, world_from_camera = truth.depth_at(frame.stamp, max_gap), truth.trajectory.at(frame.stamp, max_gap)
        if depth is None or world_from_camera is None or depth.intrinsics is None:
            continue
        seen = backproject(depth.depth, depth.intrinsics)[::stride, ::stride]
        known = np.isfinite(seen).all(axis=2)
        points = world_from_camera.apply(seen[known]).astype(np.float32)
        colors = frame.image[::stride, ::stride][known]
        clouds.append(PointCloud(points, colors, np.ones(len(points), np.float32)))
    if not clouds:
        raise DataError(f"no image of {sequence.path} has a true pose and a true depth", got=truth.origin)
    return PointCloud.joined(clouds)

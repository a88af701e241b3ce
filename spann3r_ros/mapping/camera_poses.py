"""Where the cameras of predictions stood: the model's own pose, else PnP, refined with the motion of the camera."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.config import PoseConfig
from spann3r_ros.geometry.motion_prior import MotionPrior
from spann3r_ros.geometry.pnp import estimate_pose
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

MOST_CAMERAS = 16
"""Cameras whose motion is remembered; beyond it the one heard of longest ago is forgotten."""


class CameraPoses:
    """The last pose and the motion of each camera in each submap."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[Sim3, MotionPrior]] = {}

    def clear(self) -> None:
        """A new world begins."""
        self._known.clear()

    def forget(self, prediction: Prediction) -> None:
        """The pose of a prediction was wrong: nothing follows from it."""
        self._known.pop((prediction.frame.camera, prediction.submap), None)

    def saved(self) -> dict[str, NDArray[Any]]:
        """What it takes to go on in the same world, as arrays by name; none without a camera."""
        if not self._known:
            return {}
        motions = [motion.saved() for _, motion in self._known.values()]
        return {
            "cameras": np.array([camera for camera, _ in self._known], np.str_),
            "submaps": np.array([submap for _, submap in self._known], np.int64),
            "rotations": np.stack([pose.rotation for pose, _ in self._known.values()]),
            "translations": np.stack([pose.translation for pose, _ in self._known.values()]),
            "stamps": np.array([stamp for stamp, _ in motions], np.int64),
            "motions": np.stack([numbers for _, numbers in motions]),
        }

    @classmethod
    def restored(cls, state: Mapping[str, NDArray[Any]]) -> CameraPoses:
        """What ``saved`` gave; raises ValueError (GeometryError is one) or KeyError for other arrays."""
        found = cls()
        if not state:
            return found
        columns = [state[name] for name in ("cameras", "submaps", "rotations", "translations", "stamps", "motions")]
        kinds = "".join(column.dtype.kind for column in columns)
        shapes = [column.shape[1:] for column in columns]
        if len({len(np.atleast_1d(column)) for column in columns}) != 1 or kinds != "Uiffif":
            raise ValueError(f"poses of cameras: {kinds} {shapes}")
        for camera, submap, rotation, translation, stamp, numbers in zip(*columns, strict=True):
            motion = MotionPrior.restored(int(stamp), numbers)
            found._known[str(camera), int(submap)] = (Sim3.rigid(rotation, translation), motion)
        return found

    def locate(self, prediction: Prediction, settings: PoseConfig) -> tuple[Prediction, str]:
        """With the pose of its camera, or without one and why; a pose that the model gave stays as it is.

        Only the final answer about a frame tells about the motion, and is refined by it.
        """
        if prediction.submap_from_camera is not None:
            return prediction, ""
        assert prediction.intrinsics is not None
        camera = (prediction.frame.camera, prediction.submap)
        last, motion = self._known.pop(camera, (None, MotionPrior()))
        estimate = estimate_pose(
            prediction.points,
            prediction.confidence,
            prediction.intrinsics,
            samples=settings.samples,
            reprojection_error=settings.reprojection_error,
            min_inliers=settings.min_inliers,
            start=last if settings.motion_prior else None,
        )
        pose, covariance = estimate.world_from_camera, estimate.covariance
        if pose is None:
            return prediction, f"no pose: {estimate.reason}"
        self._known[camera] = (pose, motion)
        if len(self._known) > MOST_CAMERAS:
            del self._known[next(iter(self._known))]
        if settings.motion_prior and prediction.final:
            pose, covariance = motion.refine(prediction.frame.stamp, pose, covariance)
        located = dataclasses.replace(
            prediction, submap_from_camera=pose, pose_source="pnp", pose_covariance=covariance
        )
        return located, ""

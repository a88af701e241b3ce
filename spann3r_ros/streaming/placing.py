"""Answers of one call of a network, brought into the submap that the stream speaks in."""

from __future__ import annotations

import dataclasses

import numpy as np

from spann3r_ros.geometry.pose_covariance import turned_covariance
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3


def placed(answer: Prediction, submap_from_answer: Sim3, submap: int) -> Prediction:
    """The answer, points and pose, in the frame and with the number of a submap."""
    if submap_from_answer.is_identity():
        return dataclasses.replace(answer, submap=submap)
    pose, covariance = answer.submap_from_camera, answer.pose_covariance
    return dataclasses.replace(
        answer,
        points=np.asarray(submap_from_answer.apply(answer.points), dtype=np.float32),
        submap_from_camera=None if pose is None else submap_from_answer.carry(pose),
        pose_covariance=None if covariance is None else turned_covariance(covariance, submap_from_answer),
        submap=submap,
    )

"""Pointmaps as the network gives them, and as the rest of the package takes them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.prediction import Prediction


class Pointmap(NamedTuple):
    """Output of a head, float32: points (B, H, W, 3) and confidence (B, H, W), at least 1."""

    points: Tensor
    confidence: Tensor


class View(NamedTuple):
    """A frame as the network saw it: colours (h, w, 3) uint8 of the network's input, and its intrinsics there."""

    frame: Frame
    colors: NDArray[np.uint8]
    intrinsics: Intrinsics | None


def to_prediction(pointmap: Pointmap, view: View, *, refined: bool, metric: bool) -> Prediction:
    """The first item of a batch as a Prediction on the host; the pose is not known yet."""
    points: NDArray[Any] = pointmap.points[0].cpu().numpy()
    confidence: NDArray[Any] = (1.0 - 1.0 / pointmap.confidence[0]).cpu().numpy()
    return Prediction(
        view.frame, points, confidence, view.colors, intrinsics=view.intrinsics, refined=refined, metric=metric
    )

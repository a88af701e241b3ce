"""From frames to what VGGT takes, and from what it says to predictions; StreamVGGT does both alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spann3r_ros.config import Config
from spann3r_ros.errors import AnswerError, ConfigError, GeometryError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.camera import crop
from spann3r_ros.models.pixels import check_pixels, target_size
from spann3r_ros.models.preprocess import UNIT, Box, NetworkImage, Planner, planned_size, preprocess
from spann3r_ros.models.transfer import to_host
from spann3r_ros.models.vggt.aggregator import Features
from spann3r_ros.models.vggt.architecture import VggtArchitecture
from spann3r_ros.models.vggt.camera import intrinsics, points_from_depth, world_from_camera
from spann3r_ros.models.vggt.crop import fixed_width, long_side, stacked
from spann3r_ros.models.vggt.network import Dense, in_parts
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3


@dataclass(frozen=True, eq=False)
class Loaded:
    """Frames as the network takes them.

    Attributes:
        frames: the camera images.
        images: each of them cut and resized.
        pixels: (1, S, 3, H, W) in [0, 1] on the CPU: all of them, in white where they are smaller.
        windows: where each lies there.
    """

    frames: Sequence[Frame]
    images: Sequence[NetworkImage]
    pixels: Tensor
    windows: Sequence[Box]


class ImageSize:
    """Which size frames are brought to.

    Args:
        config: ``image_width`` and ``image_height``; both: exactly that; the width alone: the height follows from the
            image; neither: the same at the width that the weights were made for.
        architecture: of the network.
        fit: ``crop`` or ``pad``, where the height is not asked for.

    Raises:
        ConfigError: a size that is no multiple of the patch.
    """

    def __init__(self, config: Config, architecture: VggtArchitecture, fit: str) -> None:
        self.architecture = architecture
        self.least = (0, 0)
        self.target: tuple[int, int] | Planner
        if config.image_height:
            self.target = self.usual = target_size(config, architecture)
            return
        width, patch = config.image_width or architecture.image_size[1], architecture.patch_size
        if width % patch:
            raise ConfigError("image_width", got=width, expected=f"a multiple of the patch, {patch} px")
        if fit == "pad":
            self.target, self.least, self.usual = long_side(width, patch), (width, width), (width, width)
        else:
            self.target, self.usual = fixed_width(width, patch), (patch * round(0.75 * width / patch), width)

    def of(self, frame: Frame) -> tuple[int, int]:
        """(h, w) of the answer about a frame; raises FrameError as ``preprocess`` does."""
        return planned_size(frame, self.target)

    def load(self, frames: Sequence[Frame]) -> Loaded:
        """Frames as the network takes them; raises FrameError as ``preprocess`` does."""
        images = [preprocess(frame, self.target, UNIT) for frame in frames]
        pixels, windows = stacked([image.pixels[0] for image in images], self.least)
        check_pixels(pixels, self.architecture)
        return Loaded(frames, images, pixels[None], windows)


def require_head(architecture: VggtArchitecture, points: str, parameter: str) -> None:
    """Raise ConfigError when the weights lack the head that the parameter asks for."""
    if not (architecture.has_depth if points == "depth" else architecture.has_points):
        raise ConfigError(
            f"parameter '{parameter}'",
            got=points,
            expected="pointmap" if points == "depth" else "depth",
            next_step="The weights have no other head",
        )


def predictions(
    dense: Dense, features: Features, encodings: Tensor, loaded: Loaded, points: str, use_camera_info: bool
) -> list[Prediction]:
    """Final answers about the frames of one scene, in the network's frame; only the head that is asked for runs.

    Args:
        dense: of the network that computed the features.
        features: of the aggregator, one scene.
        encodings: (1, S, 9) of the cameras.
        loaded: the frames.
        points: ``depth`` or ``pointmap``.
        use_camera_info: whether a frame's own calibration comes before the network's.

    Raises:
        AnswerError: values that are not finite.
    """
    values, confidence = (found[None] for found in in_parts(dense, "depth" if points == "depth" else "point", features))
    world = points_from_depth(values, encodings) if points == "depth" else values
    # Everything is queued by now; only here does the host wait for the device.
    grids, cameras = to_host(torch.cat([world[0], (1 - 1 / confidence[0]).unsqueeze(-1)], dim=-1), encodings[0])
    if not np.isfinite(grids).all() or not np.isfinite(cameras).all():
        raise AnswerError(
            "the network's answer is not finite",
            next_step="What was remembered is as it was. If that happens often, set precision to fp32",
        )
    return [
        _prediction(frame, image, window, grid, camera, features.size, use_camera_info)
        for frame, image, window, grid, camera in zip(
            loaded.frames, loaded.images, loaded.windows, grids, cameras, strict=True
        )
    ]


def _prediction(
    frame: Frame,
    image: NetworkImage,
    window: Box,
    grid: NDArray[np.float32],
    camera: NDArray[Any],
    size: tuple[int, int],
    use_camera_info: bool,
) -> Prediction:
    inside = grid[window.top : window.bottom, window.left : window.right]
    calibration, source = image.intrinsics, "camera_info"
    if calibration is None or not use_camera_info:
        calibration, source = _calibration(camera, size, window), "model"
    pose = _pose(camera)
    return Prediction(
        frame,
        np.ascontiguousarray(inside[..., :3]),
        np.ascontiguousarray(inside[..., 3]),
        image.colors,
        submap_from_camera=pose,
        pose_source="" if pose is None else "model",
        intrinsics=calibration,
        intrinsics_source="" if calibration is None else source,
    )


def _pose(camera: NDArray[Any]) -> Sim3 | None:
    try:
        return world_from_camera(camera)
    except GeometryError:  # a quaternion of no length
        return None


def _calibration(camera: NDArray[Any], size: tuple[int, int], window: Box) -> Intrinsics | None:
    whole = intrinsics(camera, size)
    return None if whole is None else crop(whole, window.left, window.top, window.width, window.height)

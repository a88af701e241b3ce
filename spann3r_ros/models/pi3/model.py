"""pi^3: images in no order, a pointmap and a pose for each in one frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.config import Config
from spann3r_ros.errors import AnswerError, ConfigError, FrameError, GeometryError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.pointmap_edges import surface_edges
from spann3r_ros.geometry.ray_intrinsics import intrinsics_from_rays
from spann3r_ros.models.pi3.architecture import Pi3Architecture
from spann3r_ros.models.pi3.camera_head import rigid_inverse
from spann3r_ros.models.pi3.network import Pi3Network
from spann3r_ros.models.pi3.parameters import Pi3Parameters
from spann3r_ros.models.pi3.squeeze import squeezed, whole_image
from spann3r_ros.models.pi3.trunk import Pi3Trunk, ViewSet
from spann3r_ros.models.pixels import target_size
from spann3r_ros.models.pointmap import View, fingerprint
from spann3r_ros.models.preprocess import CropPlan, Planner, fitted, planned, planned_size
from spann3r_ros.models.transfer import to_device, to_host
from spann3r_ros.models.window_memory import require_memory, window_bytes
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

LEAST_CONFIDENCE = 0.05
"""Of pixels that can be edges or beside one (section 9)."""

LEAST_PIXELS = 10
"""Fewer of a whole window are not all that is no edge: the filter does not understand what it sees (section 9)."""


class ViewSetModel:
    """What the models of pi^3 and Pi3X have in common; see ``WindowModel``.

    Every call is in the optical axes of its first frame's camera.

    Args:
        trunk: of the network, in evaluation mode, on its device, in its precision.
        architecture: of the network.
        config: ``image_width``, ``image_height`` and ``pose.use_camera_info`` are used.
        settings: the family's own parameters.
        weights: where the weights came from.

    Raises:
        ConfigError: a size that is no multiple of the patch, or a window that does not fit into memory.
    """

    name: str
    metric: bool
    outside = ("register_token", "encoder.norm.", "camera_head.fc_t.")

    def __init__(
        self, trunk: Pi3Trunk, architecture: object, config: Config, settings: Pi3Parameters, weights: str
    ) -> None:
        self.config, self.settings, self.weights = config, settings, weights
        self.image_size = _image_size(config, settings, trunk.sizes)
        self.device = trunk.register_token.device
        size = trunk.sizes.image_size if callable(self.image_size) else self.image_size
        pixels = settings.pixel_limit if callable(self.image_size) and settings.pixel_limit else size[0] * size[1]
        require_memory(
            f"a window of {settings.window} frames",
            memory_of(trunk, pixels, settings.window),
            self.device,
            f"Lower {settings.GROUP}.window or {settings.GROUP}.pixel_limit, or set precision to bf16",
        )
        samples = [trunk.encoder.norm, trunk.camera_head.fc_t]
        self.fingerprint = fingerprint(self.name, architecture, samples, trunk.dtype)
        # Not recorded on CUDA: a window is much work for each launch.
        self.stages = {name: Captured(stage, enabled=False) for name, stage in trunk.stages().items()}

    def answer_size(self, frame: Frame) -> tuple[int, int]:
        """See ``WindowModel.answer_size``."""
        return planned_size(frame, self.image_size)

    @torch.inference_mode()
    def infer(self, frames: Sequence[Frame]) -> list[Prediction]:
        """See ``WindowModel.infer``; images of other shapes than the first are squeezed to its size.

        Raises:
            FrameError: no frames, or an image that cannot be taken.
            AnswerError: an answer that is not finite.
        """
        if not frames:
            raise FrameError("frames to infer", got=0, expected=">= 1")
        views = self.views(frames)
        colors = torch.from_numpy(np.stack([view.colors for view in views]))
        answer = self._seen((to_device(colors, self.device).permute(0, 3, 1, 2) / 255.0)[None], views)
        first_from_camera = rigid_inverse(answer.scene_from_camera[:, :1]) @ answer.scene_from_camera
        points, local, confidence = to_host(
            answer.points_in(first_from_camera)[0], answer.local_points[0], torch.sigmoid(answer.logits)[0]
        )
        poses: NDArray[Any] = first_from_camera[0].cpu().numpy()
        if not all(np.isfinite(values).all() for values in (poses, confidence, points)):
            raise AnswerError(
                "the network's answer is not finite",
                next_step="What was remembered is as it was. If that happens often, set precision to fp32",
            )
        if self.settings.edge_filter:
            confidence = without_edges(local, confidence)
        return [self._prediction(*parts) for parts in zip(views, points, local, confidence, poses, strict=True)]

    def _prediction(
        self,
        view: View,
        points: NDArray[np.float32],
        local: NDArray[np.float32],
        confidence: NDArray[np.float32],
        pose: NDArray[np.float64],
    ) -> Prediction:
        """The answer about one view, with the intrinsics of its rays unless its camera is calibrated."""
        intrinsics, source = view.intrinsics, "camera_info"
        if intrinsics is None or not self.config.pose.use_camera_info:
            intrinsics, source = _camera_of(local), "model"
        return Prediction(
            view.frame,
            points,
            confidence,
            view.colors,
            submap_from_camera=Sim3.rigid(pose[:3, :3], pose[:3, 3]),
            pose_source="model",
            intrinsics=intrinsics,
            intrinsics_source="" if intrinsics is None else source,
        )

    def _seen(self, images: Tensor, views: Sequence[View]) -> ViewSet:
        """What the network says of images (1, N, 3, H, W) in [0, 1]."""
        raise NotImplementedError

    def views(self, frames: Sequence[Frame]) -> list[View]:
        """The frames at the size of the first one."""
        target = self.common_size(frames[0])
        return [View(frame, *fitted(frame, target)) for frame in frames]

    def common_size(self, first: Frame) -> tuple[int, int] | Planner:
        """What all frames of a window are brought to, given its first one."""
        if not callable(self.image_size):
            return self.image_size
        size = planned(first, self.image_size).size

        def plan(width: int, height: int, _camera: Intrinsics | None) -> CropPlan:
            return squeezed(width, height, size)

        return plan


class Pi3(ViewSetModel):
    """A pi^3 network with fixed weights; see ``WindowModel``."""

    name, metric = "pi3", False

    def __init__(self, network: Pi3Network, config: Config, weights: str) -> None:
        super().__init__(network, network.architecture, config, config.of(Pi3Parameters), weights)
        self.network = network

    def _seen(self, images: Tensor, _views: Sequence[View]) -> ViewSet:
        answer: ViewSet = self.network(images, self.stages)
        return answer


def without_edges(local: NDArray[np.float32], confidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Confidences (N, h, w) of pointmaps (N, h, w, 3), each in its own camera's axes, with 0 at the surfaces' edges."""
    kept = confidence.copy()
    for points, sure in zip(local, kept, strict=True):
        sure[surface_edges(points, sure > LEAST_CONFIDENCE)] = 0.0
    return kept if int((kept > LEAST_CONFIDENCE).sum()) >= LEAST_PIXELS else confidence


def memory_of(trunk: Pi3Trunk, pixels: int, frames: int) -> int:
    """About how many bytes so many frames of as many pixels take at once, besides the weights."""
    a = trunk.sizes
    return window_bytes(
        tokens=frames * (a.registers + pixels // a.patch_size**2),
        width=a.encoder.width,
        dtype=trunk.dtype,
        mlp_ratio=a.mlp_ratio,
        kept=2 * a.encoder.width,
        pixels=frames * pixels,
        **trunk.largest_maps(pixels, frames),
    )


def _image_size(config: Config, settings: Pi3Parameters, architecture: Pi3Architecture) -> tuple[int, int] | Planner:
    """The size that was asked for, else whole images of as many pixels as were asked for or the weights are used to."""
    if config.image_height or config.image_width:
        return target_size(config, architecture)
    limit = settings.pixel_limit or architecture.pixel_limit
    if limit < architecture.patch_size**2:
        expected = f"0, or at least the {architecture.patch_size**2} of a patch"
        raise ConfigError(f"parameter '{settings.GROUP}.pixel_limit'", got=limit, expected=expected)
    return whole_image(limit, architecture.patch_size)


def _camera_of(local: NDArray[np.float32]) -> Intrinsics | None:
    """The camera of a pointmap in its own axes, or None where none explains it."""
    try:
        return intrinsics_from_rays(local)
    except GeometryError:
        return None

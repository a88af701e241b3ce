"""VGGT as a model of windows: a set of frames in, their pointmaps, poses and calibrations out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.config import Config
from spann3r_ros.frame import Frame
from spann3r_ros.models.pointmap import fingerprint
from spann3r_ros.models.transfer import to_device
from spann3r_ros.models.vggt.aggregator import Features
from spann3r_ros.models.vggt.answers import ImageSize, predictions, require_head
from spann3r_ros.models.vggt.architecture import VggtArchitecture
from spann3r_ros.models.vggt.network import HEAD_FRAMES, VggtNetwork
from spann3r_ros.models.vggt.parameters import VggtParameters
from spann3r_ros.models.window_memory import require_memory, window_bytes
from spann3r_ros.prediction import Prediction


class Vggt:
    """A VGGT network with fixed weights; see ``WindowModel``.

    Args:
        network: in evaluation mode, on its device, in its precision.
        config: ``image_width``, ``image_height``, ``pose.use_camera_info`` and its own.
        weights: where the weights came from.

    Raises:
        ConfigError: weights without the head that is asked for, or a window that does not fit into memory.
    """

    name = "vggt"
    outside = ("aggregator.patch_embed.norm.", "camera_head.token_norm.", "camera_head.trunk_norm.")

    def __init__(self, network: VggtNetwork, config: Config, weights: str) -> None:
        self.network, self.config, self.weights = network, config, weights
        self.settings = config.of(VggtParameters)
        architecture = network.architecture
        self.metric = architecture.metric
        self.device = network.camera_head.token_norm.weight.device
        require_head(architecture, self.settings.points, "vggt.points")
        self.image_size = ImageSize(config, architecture, self.settings.fit)
        require_memory(
            f"a window of {self.settings.window} frames",
            memory_of(architecture, self.image_size.usual, self.settings.window, network.dtype),
            self.device,
            "Lower vggt.window or image_width, or set precision to bf16",
        )
        samples = [network.aggregator.patch_embed.norm, network.camera_head.token_norm, network.camera_head.trunk_norm]
        self.fingerprint = fingerprint(self.name, architecture, samples, network.dtype)
        # Not recorded on CUDA: a window is much work for each launch.
        self._aggregate, self._cameras, self._dense = (
            Captured(stage, enabled=False) for stage in (self._aggregated, self._encoded, network.dense)
        )
        self.stages = {"aggregate": self._aggregate, "cameras": self._cameras, "dense": self._dense}

    def answer_size(self, frame: Frame) -> tuple[int, int]:
        """See ``WindowModel.answer_size``."""
        return self.image_size.of(frame)

    @torch.inference_mode()
    def infer(self, frames: Sequence[Frame]) -> list[Prediction]:
        """See ``WindowModel.infer``; frames of different sizes are centered in white. The first one is the reference.

        Raises:
            FrameError: an image that cannot be taken.
            AnswerError: an answer that is not finite.
        """
        loaded = self.image_size.load(frames)
        camera, *patches = self._aggregate(to_device(loaded.pixels, self.device))
        of_frames = tuple(tokens.flatten(0, 1) for tokens in patches)
        features = Features(camera, of_frames, (loaded.pixels.shape[-2], loaded.pixels.shape[-1]))
        [encodings] = self._cameras(camera)
        return predictions(
            self._dense, features, encodings, loaded, self.settings.points, self.config.pose.use_camera_info
        )

    def _aggregated(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.network.aggregator(images)
        scenes = images.shape[:2]
        return features.camera, *(patches.view(*scenes, *patches.shape[1:]) for patches in features.patches)

    def _encoded(self, camera: Tensor) -> tuple[Tensor]:
        """Encodings (1, S, 9) of the last iteration, of camera tokens (1, S, 2 width)."""
        with torch.autocast(camera.device.type, enabled=False):
            return (self.network.camera_head(camera.float())[-1],)


def memory_of(a: VggtArchitecture, size: tuple[int, int], frames: int, dtype: torch.dtype) -> int:
    """About how many bytes so many frames of (H, W) pixels take at once, besides the weights."""
    pixels = size[0] * size[1]
    return window_bytes(
        tokens=frames * (a.specials + pixels // a.patch_size**2),
        width=a.width,
        dtype=dtype,
        mlp_ratio=a.mlp_ratio,
        kept=len(a.layers) * 2 * a.width,
        pixels=frames * pixels,
        map_channels=a.dpt_width,
        map_pixels=min(frames, HEAD_FRAMES) * pixels,
    )

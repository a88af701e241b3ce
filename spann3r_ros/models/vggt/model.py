"""VGGT as a model of windows: a set of frames in, their pointmaps, poses and calibrations out."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from spann3r_ros.config import Config
from spann3r_ros.frame import Frame
from spann3r_ros.models.pointmap import fingerprint
from spann3r_ros.models.transfer import to_device
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

    def __init__(self, network: VggtNetwork, config: Config, weights: str) -> None:
        self.network, self.config, self.weights = network, config, weights
        self.settings = config.of(VggtParameters)
        architecture = network.architecture
        self.metric = architecture.metric
        self.device = network.aggregator.camera_token.device
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
        features = self.network.aggregator(to_device(loaded.pixels, self.device))
        encodings = self.network.cameras(features)[-1]
        return predictions(
            self.network, features, encodings, loaded, self.settings.points, self.config.pose.use_camera_info
        )


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

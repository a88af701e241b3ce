"""SALAD as a descriptor of places."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.frame import Frame, check_smallest
from spann3r_ros.models.preprocess import BILINEAR
from spann3r_ros.models.salad.network import SaladNetwork

BATCH = 32
"""Images at a time."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colors, RGB in 0..1."""


class Salad:
    """Recognizes places; see ``PlaceDescriptor``.

    Args:
        network: with loaded weights.
        weights: where they came from.
    """

    name = "salad"
    metric = False
    outside = ("aggregator.dust_bin", "aggregator.score.0.weight")

    def __init__(self, network: SaladNetwork, weights: str) -> None:
        self.network, self.weights = network, weights
        self.device = network.aggregator.dust_bin.device
        self.width = network.architecture.descriptor_width
        self._network = Captured(lambda images: (network(images),), enabled=False)
        self.stages = {"network": self._network}
        sample = network.state_dict()["aggregator.score.0.weight"].float().cpu().numpy().tobytes()
        self.fingerprint = hashlib.sha256(repr(network.architecture).encode() + sample).hexdigest()[:16]

    @torch.inference_mode()
    def describe(self, frames: Sequence[Frame]) -> NDArray[np.float32]:
        """See ``PlaceDescriptor.describe``; images are resized without regard to their aspect, as published."""
        found = [torch.zeros(0, self.width)]
        for begin in range(0, len(frames), BATCH):
            pixels = torch.stack([self.pixels(frame) for frame in frames[begin : begin + BATCH]])
            [descriptors] = self._network(pixels.to(self.device))
            found.append(descriptors.cpu())
        return torch.cat(found).numpy()

    def pixels(self, frame: Frame) -> Tensor:
        """(3, H, W) float32 on the CPU; FrameError for an image smaller than a patch."""
        height, width = self.network.architecture.image_size
        check_smallest(frame.image.shape[1], frame.image.shape[0])
        resized = Image.fromarray(frame.image).resize((width, height), BILINEAR)
        return normalized(torch.from_numpy(np.array(resized)))


def normalized(colors: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 RGB to (..., 3, H, W) float32, each color less its mean over its deviation."""
    values = colors.movedim(-1, -3).float() / 255
    mean, deviation = (torch.tensor(numbers)[:, None, None] for numbers in (MEAN, DEVIATION))
    return (values - mean) / deviation

"""DUSt3R: two images in, two pointmaps in the camera of the first out."""

from __future__ import annotations

import torch
from torch import Tensor

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.config import Config
from spann3r_ros.frame import Frame
from spann3r_ros.models.dust3r.crop import published_size
from spann3r_ros.models.dust3r.network import Dust3rNetwork, Grid, Layers
from spann3r_ros.models.pixels import check_pixels
from spann3r_ros.models.pointmap import EncodedView, Pointmap, View, fingerprint, to_prediction
from spann3r_ros.models.preprocess import preprocess
from spann3r_ros.models.transfer import to_device
from spann3r_ros.prediction import Prediction


class Dust3r:
    """A DUSt3R network with fixed weights; see ``PairModel``.

    Args:
        network: in evaluation mode, on its device, in its precision.
        config: ``image_width`` and ``image_height`` are used.
        weights: where the weights came from.
    """

    name = "dust3r"
    outside = ("enc_norm.", "dec_norm.")

    def __init__(self, network: Dust3rNetwork, config: Config, weights: str) -> None:
        self.network = network
        self.weights = weights
        self.metric = network.architecture.metric
        self.image_size = published_size(config, network.architecture)
        self.mixed_sizes = callable(self.image_size)  # which then follows the aspect of each image
        self.device = network.enc_norm.weight.device
        samples = [network.enc_norm, network.dec_norm]
        self.fingerprint = fingerprint(self.name, network.architecture, samples, network.dtype)
        self._encode, self._decode, self._head = (
            Captured(stage, config.cuda_graphs) for stage in (self._encoded, self._decoded, network.head_outputs)
        )
        self.stages = {"encode": self._encode, "decode": self._decode, "head": self._head}

    @torch.inference_mode()
    def encode(self, frame: Frame) -> EncodedView:
        """See ``PairModel.encode``."""
        image = preprocess(frame, self.image_size)
        check_pixels(image.pixels, self.network.architecture)
        [features] = self._encode(to_device(image.pixels, self.device))
        return EncodedView(features, self.network.grid(image.pixels), View(frame, image.colors, image.intrinsics))

    @torch.inference_mode()
    def infer(self, a: EncodedView, b: EncodedView) -> tuple[Prediction, Prediction]:
        """See ``PairModel.infer``."""
        layers1, layers2 = self._layers(a, b)
        first, second = self._pointmap(1, layers1, a.grid), self._pointmap(2, layers2, b.grid)
        return (
            to_prediction(first, a.view, final=True, features=a.features),
            to_prediction(second, b.view, final=True, features=b.features),
        )

    def _encoded(self, images: Tensor) -> tuple[Tensor]:
        return (self.network.encode(images),)

    def _decoded(self, a: Tensor, b: Tensor, *, grid_a: Grid, grid_b: Grid) -> tuple[Tensor, ...]:
        """The decoder's layers of a's branch and then of b's, their inputs aside."""
        layers1, layers2 = self.network.decode(a, b, grid_a, grid_b)
        return *list(layers1.values())[1:], *list(layers2.values())[1:]

    def _layers(self, a: EncodedView, b: EncodedView) -> tuple[Layers, Layers]:
        layers = self._decode(a.features, b.features, grid_a=a.grid, grid_b=b.grid)
        half = len(layers) // 2
        return self.network.layers_of(a.features, layers[:half]), self.network.layers_of(b.features, layers[half:])

    def _pointmap(self, branch: int, layers: Layers, grid: Grid) -> Pointmap:
        points, confidence = self._head(*layers.values(), branch=branch, grid=grid)
        return Pointmap(points, confidence)

"""DUSt3R: two images in, two pointmaps in the camera of the first out."""

from __future__ import annotations

import torch
from torch import Tensor

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.config import Config
from spann3r_ros.frame import Frame
from spann3r_ros.models.dust3r.crop import published_size
from spann3r_ros.models.dust3r.network import Dust3rNetwork, Grid
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

    def __init__(self, network: Dust3rNetwork, config: Config, weights: str) -> None:
        self.network = network
        self.weights = weights
        self.metric = network.architecture.metric
        self.image_size = published_size(config, network.architecture)
        self.mixed_sizes = callable(self.image_size)  # which then follows the aspect of each image
        self.device = network.enc_norm.weight.device
        samples = [network.enc_norm, network.dec_norm]
        self.fingerprint = fingerprint(self.name, network.architecture, samples, network.dtype)
        self._encode = Captured(self._encoded, config.cuda_graphs)
        self._pair = Captured(self._paired, config.cuda_graphs)

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
        found = self._pair(a.features, b.features, grid_a=a.grid, grid_b=b.grid)
        first, second = Pointmap(*found[:2]), Pointmap(*found[2:])
        return to_prediction(first, a.view, final=True), to_prediction(second, b.view, final=True)

    def _encoded(self, images: Tensor) -> tuple[Tensor]:
        return (self.network.encode(images),)

    def _paired(self, a: Tensor, b: Tensor, *, grid_a: Grid, grid_b: Grid) -> tuple[Tensor, ...]:
        """Points and confidence of both views, of their features."""
        layers1, layers2 = self.network.decode(a, b, grid_a, grid_b)
        return *self.network.pointmap(1, layers1, grid_a), *self.network.pointmap(2, layers2, grid_b)

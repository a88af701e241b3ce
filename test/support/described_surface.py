"""A MASt3R whose descriptors come from geometry: official weights cannot be had here.

What an image shows follows from its brightness, which is the number of a frame of ``geometric_models``' path. The
descriptor of a pixel is a set of waves of the surface's point that it shows, so that pixels match where they should.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from geometric_models import true_points, true_pose
from torch import Tensor

from spann3r_ros.config import Config
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models.dust3r.network import Grid, Layers
from spann3r_ros.models.mast3r import architecture as mast3r
from spann3r_ros.models.mast3r.model import Mast3r
from spann3r_ros.models.mast3r.network import Descriptors, Mast3rNetwork
from spann3r_ros.models.pointmap import Pointmap
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

WIDTH = 24


class SurfaceNetwork(Mast3rNetwork):
    """Knows the surface; only its layers' shapes are a network's."""

    def __init__(self, sure: float = 5.0) -> None:
        super().__init__(dataclasses.replace(mast3r.TINY, descriptor_width=WIDTH))
        self.sure = sure
        generator = torch.Generator().manual_seed(0)
        self.waves = torch.randn(3, WIDTH, generator=generator, dtype=torch.float64) * 2.0
        self.phases = torch.rand(WIDTH, generator=generator, dtype=torch.float64) * 6.28

    def encode(self, images: Tensor) -> Tensor:
        number = ((images.mean() * 0.5 + 0.5) * 255).round()
        rows, columns = self.grid(images)
        return number.expand(1, rows * columns, self.architecture.encoder_width).clone()

    def decode(self, features1: Tensor, features2: Tensor, _grid1: Grid, _grid2: Grid) -> tuple[Layers, Layers]:
        numbers = self.layers_of(features1, [features1] * (len({*self.architecture.hooks}) - 1))
        return dict.fromkeys(numbers, features1), {number: features1 if number else features2 for number in numbers}

    def _points(self, layers: Layers, grid: Grid) -> Tensor:
        """(H, W, 3) of the surface; kept by ``true_points``."""
        return torch.from_numpy(true_points(int(layers[0].flatten()[0]), camera_of(16 * grid[1], 16 * grid[0])))

    def descriptors(
        self, _branch: int, layers: Layers, grid: Grid, _points_confidence: Tensor | None = None
    ) -> Descriptors:
        vectors = torch.cos(self._points(layers, grid) @ self.waves + self.phases)
        vectors = torch.nn.functional.normalize(vectors, dim=-1).float()[None]
        return Descriptors(vectors, torch.full(vectors.shape[:3], self.sure))

    def pointmap(self, _branch: int, layers: Layers, grid: Grid) -> Pointmap:
        camera = true_pose(int(layers[max(layers)].flatten()[0])).inverse()
        points = torch.from_numpy(camera.apply(self._points(layers, grid).numpy())).float()[None]
        return Pointmap(points, torch.full(points.shape[:3], 10.0))


def camera_of(width: int, height: int) -> Intrinsics:
    """Of images of that size."""
    return Intrinsics(0.75 * width, 0.75 * width, (width - 1) / 2, (height - 1) / 2, width, height)


def surface_frame(number: int, width: int = 64, height: int = 48) -> Frame:
    """An image of that frame of the path; at most 255."""
    return Frame(number, number * 10**8, "camera", np.full((height, width, 3), number, np.uint8))


def surface_model(sure: float = 5.0) -> Mast3r:
    """Such a network as a model."""
    network = SurfaceNetwork(sure).eval().requires_grad_(False)
    return Mast3r(network, Config(model="mast3r", image_width=64, image_height=48), "surface")


def surface_answer(number: int, submap_from_truth: Sim3, width: int = 64, height: int = 48) -> Prediction:
    """What a model that is right says about a frame in a submap of its own."""
    frame = surface_frame(number, width, height)
    points = submap_from_truth.apply(true_points(number, camera_of(width, height))).astype(np.float32)
    return Prediction(frame, points, np.full((height, width), 0.9, np.float32), frame.image)

"""What all pairs together say about one image in its own camera, condensed to a grid of anchors (MASt3R-SfM, 3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spann3r_ros.alignment.camera_estimates import focal_of
from spann3r_ros.errors import ConfigError

LEAST_FOCAL, MOST_FOCAL = 0.5, 3.5
"""Of the focal length of an image that sees 60 degrees along its long side."""

TINY = float(torch.finfo(torch.float32).eps)


@dataclass(frozen=True, eq=False)
class CanonicalView:
    """One image in its own camera.

    Attributes:
        points: (H, W, 3), mean over the pairs.
        confidence: (H, W).
        relative_depth: (H, W) of each pixel over that of the center of its cell.
        focal: pixels.
        core_depth: (H / step, W / step) depth of the centers of the cells.
        step: side of a cell in pixels.
    """

    points: Tensor
    confidence: Tensor
    relative_depth: Tensor
    focal: float
    core_depth: Tensor
    step: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.confidence.shape[0], self.confidence.shape[1]

    @property
    def center(self) -> tuple[float, float]:
        """The middle of the image (x, y) in pixels."""
        return self.size[1] / 2, self.size[0] / 2

    def anchors(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Cell (N,), in reading order, of pixels (N, 2) (x, y), and their depth (N,) over that of the cell's center."""
        step, columns = self.step, self.core_depth.shape[1]
        cell = pixels // step
        center = cell * step + step // 2
        offset = self.relative_depth[pixels[:, 1], pixels[:, 0]] / self.relative_depth[center[:, 1], center[:, 0]]
        return cell[:, 1] * columns + cell[:, 0], offset


class CanonicalSum:
    """All pairs' answers about one image in its own camera, added up: its size does not grow with their number.

    Args:
        step: side of a cell in pixels.
    """

    def __init__(self, step: int = 8) -> None:
        self._step, self._count = step, 0
        self._sums: dict[str, Tensor] = {}

    def add(self, points: Tensor, confidence: Tensor) -> None:
        """Add one pair's answer.

        Args:
            points: (H, W, 3) float32.
            confidence: (H, W), at least 1.

        Raises:
            ConfigError: an image whose sides are no multiples of the step.
        """
        height, width = confidence.shape
        if height % self._step or width % self._step:
            expected = f"multiples of {self._step} px"
            raise ConfigError("image size for a sparse alignment", got=(height, width), expected=expected)
        weight = confidence - 0.999
        radius, angle = _rise(points, self._step)
        terms = {
            "weight": weight,
            "square": weight.square(),
            "points": weight[..., None] * points,
            "radius": radius,
            "angle": _cells(weight, self._step) * angle,
        }
        for name, term in terms.items():
            self._sums[name] = self._sums[name] + term if name in self._sums else term
        self._count += 1

    def view(self) -> CanonicalView:
        """The mean of what was added; at least one answer."""
        step, total = self._step, self._sums["weight"]
        height, width = total.shape
        points = self._sums["points"] / total[..., None]
        middle = slice(step // 2, None, step)
        core = points[middle, middle, 2]
        angle = self._sums["angle"] / _cells(total, step)
        # A center in the plane of the camera itself has depth 0, which would make the whole cell and then the loss NaN.
        apart = torch.where(core == 0, TINY, core)
        relative = 1 + self._sums["radius"] / self._count * torch.tan(angle) / apart
        relative = functional.pixel_shuffle(relative[None], step)[0, 0]
        long_side = max(height, width) / (2 * math.tan(math.radians(30)))
        focal = min(max(focal_of(points.cpu().numpy()), LEAST_FOCAL * long_side), MOST_FOCAL * long_side)
        return CanonicalView(points, self._sums["square"] / total, relative, focal, core, step)


def _cells(values: Tensor, step: int) -> Tensor:
    """(H, W) to (pixels of a cell, H / step, W / step)."""
    return functional.pixel_unshuffle(values[None, None], step)[0]


def _rise(points: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """How far (across) each pixel's point is from that of its cell's center, and under which angle it rises from it."""
    x, y, z = (_cells(points[..., axis], step) for axis in range(3))
    middle = (step // 2) * step + step // 2
    center = slice(middle, middle + 1)
    radius = torch.stack([x - x[center], y - y[center]]).norm(dim=0).clamp(min=1e-8)
    return radius, torch.atan((z - z[center].clamp(min=TINY)) / radius)

"""From a camera image to what a network takes: crop, resize, crop, normalize; the calibration follows along.

A function plans and a shared one carries the plan out. ``cover`` plans for any size, at 224 x 224 pixel for pixel as
Spann3R's authors do; a family whose images are cut otherwise brings a plan of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from spann3r_ros.errors import ConfigError, FrameError
from spann3r_ros.frame import Frame, Intrinsics, check_smallest
from spann3r_ros.geometry import camera as geometry

# Of the module itself before Pillow 9.1.
LANCZOS: int = getattr(Image, "Resampling", Image).LANCZOS
BICUBIC: int = getattr(Image, "Resampling", Image).BICUBIC
BILINEAR: int = getattr(Image, "Resampling", Image).BILINEAR

# What networks take for the values 0..255, rounded at each step as the published codes do in float32.
UNIT = np.arange(256, dtype=np.float32) / np.float32(255)
SYMMETRIC = (UNIT - np.float32(0.5)) / np.float32(0.5)


class FittedImage(NamedTuple):
    """One image at a network's size: colors (h, w, 3) uint8 RGB, and the calibration of that grid or None."""

    colors: NDArray[np.uint8]
    intrinsics: Intrinsics | None


@dataclass(frozen=True, eq=False)
class NetworkImage:
    """One image as a network takes it.

    Attributes:
        pixels: (1, 3, h, w) float32 on the CPU, RGB in [-1, 1], or what else ``values`` made of it.
        colors: (h, w, 3) uint8 RGB, the same pixels.
        intrinsics: calibration of the (h, w) grid, or None when the frame has none.
    """

    pixels: torch.Tensor
    colors: NDArray[np.uint8]
    intrinsics: Intrinsics | None


@dataclass(frozen=True)
class Box:
    """Half-open pixel rectangle."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns inside."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows inside."""
        return self.bottom - self.top


@dataclass(frozen=True)
class CropPlan:
    """How an image becomes a network's image: cut out ``crop``, resize that to ``size``, cut out ``window``.

    Attributes:
        crop: of the camera image.
        size: (width, height) after resizing.
        window: of the resized image; its size is the network's.
        resampling: filter of the resize.
        factor: exact factor of the resize where ``size`` was rounded down from it, as Spann3R counts; None: ``size``
            over the size of ``crop``, each side by itself.
    """

    crop: Box
    size: tuple[int, int]
    window: Box
    resampling: int
    factor: float | None = None

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 to contiguous (h, w, 3) uint8."""
        crop, window = self.crop, self.window
        if crop != Box(0, 0, image.shape[1], image.shape[0]):
            image = image[crop.top : crop.bottom, crop.left : crop.right]
        if self.size != (crop.width, crop.height):
            image = np.asarray(Image.fromarray(image).resize(self.size, self.resampling))
        return np.ascontiguousarray(image[window.top : window.bottom, window.left : window.right])

    def apply_depth(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W) float32 to (h, w): the nearest values, since the mean of two surfaces' depths is neither's."""
        crop, window = self.crop, self.window
        depth = depth[crop.top : crop.bottom, crop.left : crop.right]
        resized = cv2.resize(depth, self.size, interpolation=cv2.INTER_NEAREST)
        return np.ascontiguousarray(resized[window.top : window.bottom, window.left : window.right], np.float32)

    def intrinsics(self, camera: Intrinsics) -> Intrinsics:
        """Calibration of the network's image, given that of the camera image."""
        crop, window = self.crop, self.window
        cut = geometry.crop(camera, crop.left, crop.top, crop.width, crop.height)
        resized = geometry.resize(cut, *self.size) if self.factor is None else geometry.scale(cut, self.factor)
        return geometry.crop(resized, window.left, window.top, window.width, window.height)


Planner: TypeAlias = Callable[[int, int, "Intrinsics | None"], "CropPlan"]
"""(width, height, calibration or None) of a camera image to how it is cut and resized."""


def planned(frame: Frame, target: tuple[int, int] | Planner) -> CropPlan:
    """How the image of a frame is brought to a network's size.

    Args:
        frame: any image size.
        target: (height, width) in pixels; or the plan of a family.

            A size keeps the aspect ratio: the largest part of the image that is centered on the principal point (on the
            image when uncalibrated), resized to cover the target, the surplus cut off evenly. An image that has the
            size already passes untouched. A principal point in the outer fifth of the image centers the crop on the
            image instead, since centering on it would throw most of the view away; the intrinsics stay true either way.

    Raises:
        ConfigError: a size that is not positive.
        FrameError: an image smaller than a patch, one that the plan cannot take, or of which less than 1/64 would
            remain.
    """
    height, width = frame.image.shape[:2]
    check_smallest(width, height)
    if callable(target):
        return target(width, height, frame.intrinsics)
    if min(target) < 1:
        raise ConfigError("network image size (height, width)", got=tuple(target), expected=">= 1 px")
    return cover(width, height, (int(target[0]), int(target[1])), frame.intrinsics)


def planned_size(frame: Frame, target: tuple[int, int] | Planner) -> tuple[int, int]:
    """(height, width) of what ``preprocess`` would make of a frame; raises as ``planned``."""
    window = planned(frame, target).window
    return window.height, window.width


def fitted(frame: Frame, target: tuple[int, int] | Planner) -> FittedImage:
    """The image of a frame at a network's size, its pixels as they are; arguments and errors as of ``planned``."""
    plan = planned(frame, target)
    intrinsics = None if frame.intrinsics is None else plan.intrinsics(frame.intrinsics)
    return FittedImage(plan.apply(frame.image), intrinsics)


def preprocess(
    frame: Frame, target: tuple[int, int] | Planner, values: NDArray[np.float32] = SYMMETRIC
) -> NetworkImage:
    """The image of a frame as a network takes it; errors as of ``planned``, ``values`` as of ``looked_up``."""
    image = fitted(frame, target)
    return NetworkImage(looked_up(image.colors, values), image.colors, image.intrinsics)


def looked_up(colors: NDArray[np.uint8], values: NDArray[np.float32] = SYMMETRIC) -> torch.Tensor:
    """Colors (h, w, 3) as a network takes them: (1, 3, h, w) float32.

    Args:
        colors: of the network's size.
        values: (256,) what it takes for the values of an image: ``SYMMETRIC``, -1 to 1, or ``UNIT``, 0 to 1.
    """
    # One pass: looked up, converted and laid out plane by plane.
    return torch.from_numpy(np.take(values, colors.transpose(2, 0, 1)))[None]


def cover(width: int, height: int, target: tuple[int, int], camera: Intrinsics | None) -> CropPlan:
    """Plan for any target (height, width): identity when the image has it, else centered as ``preprocess`` tells."""
    if (height, width) == target:
        whole = Box(0, 0, width, height)
        return CropPlan(whole, (width, height), whole, LANCZOS)
    crop = _around_principal_point(width, height, camera)
    if not _is_central(crop, width, height):
        crop = Box(0, 0, width, height)
    return _cover_crop(crop, target)


def _around_principal_point(width: int, height: int, camera: Intrinsics | None) -> Box:
    """The largest box in the image whose center is the rounded principal point; may be empty."""
    cx, cy = (width // 2, height // 2) if camera is None else (round(camera.cx), round(camera.cy))
    half_width, half_height = min(cx, width - cx), min(cy, height - cy)
    return Box(cx - half_width, cy - half_height, cx + half_width, cy + half_height)


def _is_central(crop: Box, width: int, height: int) -> bool:
    return crop.width / 2 > width / 5 and crop.height / 2 > height / 5


def _cover_crop(crop: Box, target: tuple[int, int]) -> CropPlan:
    """Resize the crop so that it just covers the target (height, width), then cut the middle out.

    FrameError when nearly all would be cut off: a line of pixels would otherwise be blown up without bound.
    """
    height, width = target
    # The published factor: the surplus of 1e-8 keeps the floor below from losing a pixel.
    scale = max(width / crop.width, height / crop.height) + 1e-8
    size = (int(crop.width * scale), int(crop.height * scale))
    if size[0] * size[1] > 64 * width * height:
        raise FrameError(
            "image of a very different shape than the network's",
            got=f"{crop.width} x {crop.height} for a network at {width} x {height}",
            expected="a part of at least 1/64 of the image to remain after cropping",
            next_step="Set image_width and image_height nearer to the shape of the camera's images",
        )
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return CropPlan(crop, size, Box(left, top, left + width, top + height), LANCZOS, factor=scale)

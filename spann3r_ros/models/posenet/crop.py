"""From a camera image to PoseNet's crop, as its authors and as the PyTorch port do it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from spann3r_ros.errors import FrameError
from spann3r_ros.frame import check_smallest
from spann3r_ros.models.posenet.architecture import PosenetArchitecture
from spann3r_ros.models.preprocess import BICUBIC

CROP = 224
LARGEST_RATIO = 16
"""Of the sides of an image; a longer strip shows no scene and would be resized to a huge one."""


def resized(image: NDArray[np.uint8], architecture: PosenetArchitecture) -> NDArray[np.uint8]:
    """An image (H, W, 3) uint8 RGB whose shorter side is ``short_side``; bilinear for the authors' weights (BGR).

    The port resizes with PIL's bicubic filter. An image that has the size already stays as it is.

    Raises:
        FrameError: an image smaller than a patch, or one that is more than ``LARGEST_RATIO`` times as long as wide.
    """
    height, width = image.shape[:2]
    check_smallest(width, height)
    short, long = min(width, height), max(width, height)
    if long > LARGEST_RATIO * short:
        raise FrameError(
            "image too narrow for PoseNet", got=f"{width} x {height}", expected=f"sides of at most 1 : {LARGEST_RATIO}"
        )
    if short == architecture.short_side:
        return image
    longer = int(architecture.short_side * long / short)
    size = (longer, architecture.short_side) if width > height else (architecture.short_side, longer)
    if architecture.channels == "bgr":
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.asarray(Image.fromarray(image).resize(size, BICUBIC))


def central_corner(width: int, height: int, architecture: PosenetArchitecture) -> tuple[int, int]:
    """(left, top) of the central crop of an image; half pixels go down, or for the port to the even number."""
    if architecture.channels == "bgr":
        return (width - CROP) // 2, (height - CROP) // 2
    return round((width - CROP) / 2), round((height - CROP) / 2)


def crops(
    image: NDArray[np.uint8], corners: Sequence[tuple[int, int]], mean_image: Tensor, centered: bool = True
) -> Tensor:
    """Cut crops out of a resized image and subtract the mean image at the same pixels.

    Args:
        image: (H, W, 3) uint8 RGB, as ``resized`` gives it.
        corners: (left, top) of each crop.
        mean_image: (3, h, w) RGB, 0..255; one of another size is resized, as there is no better guess.
        centered: False leaves the mean in.

    Returns:
        (len(corners), 3, 224, 224) float32 RGB.
    """
    # from_numpy warns of read-only arrays, which images often are; nothing is written here.
    pixels = torch.from_numpy(np.array(image.transpose(2, 0, 1), np.float32))
    if centered:
        pixels = pixels - mean_of_size(mean_image, *image.shape[:2])
    return torch.stack([pixels[:, top : top + CROP, left : left + CROP] for left, top in corners])


def mean_of_size(mean_image: Tensor, height: int, width: int) -> Tensor:
    """The mean image (3, h, w) at (height, width), or one mean color as (3, 1, 1), which fits any size."""
    if tuple(mean_image.shape[1:]) in ((1, 1), (height, width)):
        return mean_image
    return functional.interpolate(mean_image[None], (height, width), mode="bilinear", align_corners=False)[0]

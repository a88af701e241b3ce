"""How VGGT's authors cut and resize images, pixel for pixel, and how images of different shapes become one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from spann3r_ros.errors import FrameError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.models.preprocess import BICUBIC, Box, CropPlan, Planner


def fixed_width(side: int, patch: int) -> Planner:
    """Width ``side``, height as the aspect gives; of a portrait image the middle square.

    Args:
        side: in pixels, a multiple of the patch.
        patch: of the network.
    """

    def plan(width: int, height: int, _camera: Intrinsics | None) -> CropPlan:
        tall = _nearest(height * (side / width), patch, width, height)
        top = max(0, tall - side) // 2
        return _plan(width, height, (side, tall), Box(0, top, side, top + min(tall, side)))

    return plan


def long_side(side: int, patch: int) -> Planner:
    """The longer side ``side``, the other as the aspect gives; nothing is cut off."""

    def plan(width: int, height: int, _camera: Intrinsics | None) -> CropPlan:
        if width >= height:
            size = (side, _nearest(height * (side / width), patch, width, height))
        else:
            size = (_nearest(width * (side / height), patch, width, height), side)
        return _plan(width, height, size, Box(0, 0, *size))

    return plan


def _nearest(length: float, patch: int, width: int, height: int) -> int:
    """The nearest multiple of the patch; FrameError for one that is nothing."""
    found = patch * round(length / patch)
    if found < patch:
        raise FrameError(
            "image too narrow for VGGT",
            got=f"{width} x {height}, {length:.1f} px of its short side after resizing",
            expected=f"at least {patch / 2:g} px",
        )
    return found


def _plan(width: int, height: int, size: tuple[int, int], window: Box) -> CropPlan:
    if size[0] * size[1] > 64 * window.width * window.height:
        raise FrameError(
            "image of a very different shape than the network's",
            got=f"{width} x {height}",
            expected="a part of at least 1/64 of the image to remain after cropping",
            next_step="Set the parameter fit of the family to pad",
        )
    return CropPlan(Box(0, 0, width, height), size, window, BICUBIC)


def stacked(images: Sequence[Tensor], least: tuple[int, int] = (0, 0)) -> tuple[Tensor, list[Box]]:
    """Images (3, h, w) in [0, 1] centered in white to one size, (S, 3, H, W), and where each lies there.

    Args:
        images: of any sizes.
        least: the size (H, W) is at least this.
    """
    height = max(least[0], *(image.shape[-2] for image in images))
    width = max(least[1], *(image.shape[-1] for image in images))
    padded, windows = [], []
    for image in images:
        tall, wide = image.shape[-2:]
        top, left = (height - tall) // 2, (width - wide) // 2
        windows.append(Box(left, top, left + wide, top + tall))
        margins = (left, width - wide - left, top, height - tall - top)
        padded.append(functional.pad(image, margins, value=1.0) if any(margins) else image)
    return torch.stack(padded), windows

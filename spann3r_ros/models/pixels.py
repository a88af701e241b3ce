"""The images that a network takes: which size is asked for, and whether a tensor is one."""

from __future__ import annotations

import torch
from torch import Tensor

from spann3r_ros.config import ModelConfig
from spann3r_ros.errors import ConfigError, FrameError
from spann3r_ros.models.family import Architecture


def target_size(config: ModelConfig, architecture: Architecture) -> tuple[int, int]:
    """(height, width) in pixels that frames are brought to; raises ConfigError unless a multiple of the patch."""
    height, width, patch = config.image_height, config.image_width, architecture.patch_size
    if height == 0 and width == 0:
        return architecture.image_size
    if height < patch or width < patch or height % patch or width % patch:
        raise ConfigError(
            "image_width x image_height",
            got=f"{width} x {height}",
            expected=f"both multiples of the patch, {patch} px, or both 0 for the size the weights were made for",
        )
    return height, width


def check_pixels(pixels: Tensor, architecture: Architecture) -> None:
    """Raise FrameError unless ``pixels`` is (B, 3, H, W) floating point, H and W multiples of the patch, finite.

    The values are looked at on the host only: on a device that would stop the queue for every frame.
    """
    patch = architecture.patch_size
    if not isinstance(pixels, Tensor) or not pixels.is_floating_point():
        raise FrameError(
            "network input",
            got=getattr(pixels, "dtype", type(pixels).__name__),
            expected="a floating point tensor in [-1, 1]",
            next_step="models.preprocess makes one of a Frame",
        )
    if pixels.ndim != 4 or pixels.shape[0] < 1 or pixels.shape[1] != 3:
        raise FrameError("shape of the network input", got=tuple(pixels.shape), expected="(B, 3, H, W)")
    height, width = pixels.shape[-2:]
    if height < patch or width < patch or height % patch or width % patch:
        raise FrameError("size of the network input (H, W)", got=(height, width), expected=f"multiples of {patch}")
    if not pixels.is_cuda and not bool(torch.isfinite(pixels).all()):
        bad = int((~torch.isfinite(pixels)).sum())
        raise FrameError("network input", got=f"{bad} NaN or infinite values", expected="finite values in [-1, 1]")

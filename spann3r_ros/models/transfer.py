"""Between the host and the device of a network: one copy each way, from and to pages that the device can reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(pixels: Tensor, device: torch.device) -> Tensor:
    """An image's tensor on the network's device; the host does not wait for the copy."""
    if device.type != "cuda":
        return pixels.to(device)
    # PyTorch keeps the pinned pages of earlier images, and reuses them once their copy is done.
    return pixels.pin_memory().to(device, non_blocking=True)


def to_host(*tensors: Tensor) -> list[NDArray[np.float32]]:
    """Tensors of one device as float32 arrays of their shapes.

    On CUDA they come in one copy, for which the host waits; that is where a step waits for the device.
    """
    if not tensors[0].is_cuda:
        return [_array(tensor) for tensor in tensors]
    packed = torch.cat([tensor.float().flatten() for tensor in tensors])
    pinned = torch.empty(packed.shape, dtype=torch.float32, pin_memory=True)
    pinned.copy_(packed, non_blocking=True)
    torch.cuda.current_stream(packed.device).synchronize()
    # A copy: answers are kept for long, and would keep the pinned pages.
    parts = torch.split(pinned.clone(), [tensor.numel() for tensor in tensors])
    return [_array(part.view(tensor.shape)) for part, tensor in zip(parts, tensors, strict=True)]


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[Any] = tensor.float().numpy()
    return array

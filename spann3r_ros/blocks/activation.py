"""From raw head outputs to points and confidences (DUSt3R, section 3.3 of its regression heads)."""

from __future__ import annotations

import torch
from torch import Tensor

SHORTEST = 1e-8
"""Length below which raw channels have no direction."""


def points_from_raw(raw: Tensor, mode: str) -> Tensor:
    """Raw channels (..., 3) to points (..., 3).

    ``exp``: the direction is kept and the length d becomes exp(d) - 1; ``square``: d becomes d^2; ``linear``: as it is.
    """
    if mode == "linear":
        return raw
    # Tensor.norm is two hundred times slower where the channels lie apart, as a convolution leaves them.
    length = raw.square().sum(dim=-1, keepdim=True).clamp(min=SHORTEST**2).sqrt()
    direction = raw / length
    return direction * (torch.expm1(length) if mode == "exp" else length.square())


def confidence_from_raw(raw: Tensor, mode: str, low: float, high: float) -> Tensor:
    """Raw channel to a confidence in [low, high]; ``exp``: low + exp(raw), ``sigmoid``: between the two bounds."""
    if mode == "sigmoid":
        return low + (high - low) * torch.sigmoid(raw)
    return low + raw.exp().clamp(max=high - low)

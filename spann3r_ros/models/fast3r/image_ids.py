"""Which view a token belongs to: ids of views, and the fixed table that encodes them (Fast3R, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from spann3r_ros.errors import ConfigError
from spann3r_ros.models.fast3r.architecture import MOST_VIEWS


def image_ids(views: int, seed: int | None) -> Tensor:
    """Ids (1, views) int64 of one set of views; the first, whose camera is the frame of the pointmaps, has 0.

    Args:
        views: how many.
        seed: the others' are drawn without repetition from the rest of the table, by a generator of this seed (the
            published code draws anew in each call); None: they are 1, 2, 3 ...

    Raises:
        ConfigError: more views than the table has rows.
    """
    if not 1 <= views <= MOST_VIEWS:
        raise ConfigError("views that Fast3R sees at once", got=views, expected=f"1 .. {MOST_VIEWS}")
    if seed is None:
        return torch.arange(views)[None]
    drawn = torch.randperm(MOST_VIEWS - 1, generator=torch.Generator().manual_seed(seed))
    return torch.cat([torch.zeros(1, dtype=torch.long), drawn[: views - 1] + 1])[None]


def id_embedding(ids: Tensor, width: int) -> Tensor:
    """Rows (..., width) float32 of the table for ids (...): sines, then cosines (Vaswani et al. 2017), exact."""
    half = width // 2
    frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64, device=ids.device) / half)
    angle = ids.double().unsqueeze(-1) * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1).float()

"""Whether a window of frames, or a cache of them, fits into memory: a rough estimate, before anything is made."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from spann3r_ros.errors import ConfigError

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def window_bytes(
    *,
    tokens: int,
    width: int,
    dtype: torch.dtype,
    mlp_ratio: float = 4.0,
    kept: int = 0,
    pixels: int = 0,
    map_channels: int = 0,
    map_pixels: int = 0,
) -> int:
    """About how many bytes a network takes for one window of frames, besides its weights.

    The score matrix of attention does not count: it is never made for that many tokens.

    Args:
        tokens: of all frames together, when they look at each other.
        width: of a token.
        dtype: of the tokens.
        mlp_ratio: hidden width of a block's MLP over ``width``.
        kept: channels of each token that are kept for the heads.
        pixels: of all frames together, as the network sees them; an answer is 4 float32 numbers a pixel, twice.
        map_channels, map_pixels: of the largest maps of a dense head, several of which live at a time in float32.
    """
    element = torch.empty((), dtype=dtype).element_size()
    # The residual stream, its norm, what is added; queries, keys and values, or the hidden layer before and after.
    activations = tokens * width * (4 + 2 * mlp_ratio) * element
    return int(activations + tokens * kept * element + pixels * 8 * 4 + 3 * map_pixels * map_channels * 4)


def available_bytes(device: torch.device) -> int | None:
    """Bytes of memory that can still be had on a device, or None where nobody says."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    limits = []
    with contextlib.suppress(OSError, KeyError, ValueError, IndexError):  # not Linux
        entries = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        limits.append(int(entries["MemAvailable"].split()[0]) * 1024)
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        limits.append(int((_CGROUP / "memory.max").read_text()) - int((_CGROUP / "memory.current").read_text()))
    return min(limits, default=None)


def require_memory(what: str, needed: int, device: torch.device, next_step: str) -> None:
    """Raise ConfigError when what is needed is more than can be had.

    Args:
        what: that takes the memory, for people.
        needed: bytes, estimated.
        device: where.
        next_step: what makes it less.
    """
    available = available_bytes(device)
    if available is not None and needed > available:
        raise ConfigError(
            f"memory for {what}",
            got=f"about {needed / 1e9:.1f} GB",
            expected=f"at most the {available / 1e9:.1f} GB that are free on {device}",
            next_step=next_step,
        )

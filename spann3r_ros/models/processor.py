"""What a network runs on: the processor and its instructions, and how fast its precisions are there."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

logger = logging.getLogger(__name__)

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Data types of the parameter ``precision``; besides, it may be ``auto``."""

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "avx_vnni", "amx_bf16", "asimd", "bf16")
"""Those of a processor that a network's speed depends on, as Linux names them."""

TOKENS, WIDTH = 196, 1024
"""Of the layer that is timed: a 224 x 224 image in a ViT-L."""

REPEATS = 5

GAIN = 1.1
"""What is not faster by this factor is not faster."""


def processor_name(device: str = "cpu") -> str:
    """The name of the processor, with its instructions in parentheses; on ``cuda`` that of the device."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    name = _entries().get("model name", platform.processor() or platform.machine())
    return f"{name} ({', '.join(instructions()) or 'no vector instructions that are known'})"


def instructions() -> list[str]:
    """Those of ``INSTRUCTIONS`` that this machine's processor has; none where the system does not tell."""
    entries = _entries()
    flags = set(entries.get("flags", entries.get("Features", "")).split())
    return [name for name in INSTRUCTIONS if name in flags]


def chosen_precision(asked: str, device: torch.device) -> str:
    """A key of ``PRECISIONS``: what was asked for, or for ``auto`` the faster one of fp32 and bf16.

    A layer is timed in the precisions in question, once a process and device. A precision that is asked for and
    slower than fp32 is warned of. fp16 is never chosen, for its numbers can overflow.
    """
    if asked == "fp32":
        return asked
    names = ("fp32", "bf16") if asked == "auto" else ("fp32", asked)
    seconds = {name: seconds_of_a_layer(name, device) for name in names}
    other, figures = names[1], _told(seconds)
    if asked == "auto":
        name = other if seconds["fp32"] > GAIN * seconds[other] else "fp32"
        logger.info("precision auto: %s on %s; a layer takes %s", name, processor_name(device.type), figures)
        return name
    if seconds[other] > GAIN * seconds["fp32"]:
        logger.warning(
            "precision %s is slower than fp32 on %s: a layer takes %s. Set precision to auto or fp32, "
            "unless it is for the memory",
            *(other, processor_name(device.type), figures),
        )
    return asked


@cache
@torch.inference_mode()
def seconds_of_a_layer(precision: str, device: torch.device) -> float:
    """The shortest of a few runs of one linear layer, after two to warm up."""
    dtype = PRECISIONS[precision]
    layer = torch.nn.Linear(WIDTH, WIDTH, device=device, dtype=dtype)
    tokens = torch.randn(1, TOKENS, WIDTH, device=device).to(dtype)
    shortest = float("inf")
    for number in range(REPEATS + 2):
        start = time.perf_counter()
        float(layer(tokens)[0, 0, 0])  # the number waits for the device
        if number >= 2:
            shortest = min(shortest, time.perf_counter() - start)
    return shortest


def _told(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{1000 * value:.2f} ms in {name}" for name, value in seconds.items())


@cache
def _entries() -> dict[str, str]:
    """What Linux says of one core; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}

"""Which machine a figure was measured on."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def processor(device: str = "cpu") -> str:
    """The processor's name and the vector instructions that a network's speed depends on."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    entries = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(entries.get("flags", entries.get("Features", "")).split())
    known = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "asimd", "bf16")
    return f"{entries.get('model name', platform.machine())} ({', '.join(f for f in known if f in flags)})"

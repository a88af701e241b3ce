"""What a memory holds, in numbers, for status messages and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class MemoryStatus:
    """Counters since the memory was made. Reading them copies nothing from the device.

    Attributes:
        tokens: all tokens held.
        capacity: the most tokens that the buffers can hold.
        bytes: size of the memory on its device.
        offered: frames offered to the memory.
        inserted: of these, frames taken up.
        rejected: of these, frames refused because they resemble one that is held.
        counters: what else the family counts, by name.
    """

    tokens: int = 0
    capacity: int = 0
    bytes: int = 0
    offered: int = 0
    inserted: int = 0
    rejected: int = 0
    counters: Mapping[str, float] = field(default_factory=dict)

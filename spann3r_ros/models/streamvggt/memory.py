"""What StreamVGGT carries from frame to frame: keys and values of past frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from spann3r_ros.memory.kv_cache import KvCache
from spann3r_ros.memory.snapshot import KeptMemory, MemorySnapshot
from spann3r_ros.memory_status import MemoryStatus

CACHE = "cache."


@dataclass(eq=False)
class StreamVggtMemory(KeptMemory):
    """A world in the making; owned by the caller, changed only by ``StreamVggt.step``.

    Attributes:
        owner: fingerprint of the network that made it.
        size: (H, W) of the network's images, fixed by the first frame; None before.
        answer: (h, w) of the answers: the part of the images that is no padding.
        cache: None before the first frame.
    """

    owner: str
    size: tuple[int, int] | None = None
    answer: tuple[int, int] | None = None
    cache: KvCache | None = None

    def status(self) -> MemoryStatus:
        """Counters for a status message."""
        cache = self.cache
        if cache is None:
            return MemoryStatus()
        tokens = next(iter(cache.shapes.values())).entries
        return MemoryStatus(
            tokens=cache.frames * tokens,
            capacity=(cache.bound or cache.slots) * tokens,
            bytes=cache.bytes(),
            offered=cache.offered,
            inserted=cache.offered,
            counters={"kept_frames": cache.frames, "dropped_frames": cache.dropped},
        )

    def snapshot(self) -> MemorySnapshot:
        """Everything, so that a run resumed from it continues bit for bit."""
        tensors: dict[str, Tensor] = {}
        state: dict[str, Any] = {"size": self.size, "answer": self.answer}
        if self.cache is not None:
            state["counters"] = self.cache.counters()
            tensors = {CACHE + name: tensor for name, tensor in self.cache.tensors().items()}
        return MemorySnapshot(self.owner, tensors, state)

"""What every model looks like to the rest of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch

from spann3r_ros.frame import Frame
from spann3r_ros.memory_status import MemoryStatistics
from spann3r_ros.prediction import Prediction


class Memory(Protocol):
    """Everything that changes between frames. The caller owns it; a new one is a new world."""

    def statistics(self) -> MemoryStatistics:
        """Counters for a status message; no device synchronization."""
        ...

    def save(self, path: Path) -> None:
        """Write all of it as safetensors, so that a resumed run continues bit for bit."""
        ...


class StreamingModel(Protocol):
    """A network with fixed weights that consumes one frame at a time.

    Attributes:
        name: the registry's name of the family.
        metric: whether the unit of its pointmaps is the meter.
        weights: where the weights came from, for people.
        device: where it runs.
    """

    name: str
    metric: bool
    weights: str
    device: torch.device

    def new_memory(self) -> Memory:
        """An empty memory."""
        ...

    def load_memory(self, path: Path) -> Memory:
        """A memory written by ``Memory.save``; raises MemoryMismatchError when it is not one of this model."""
        ...

    def step(self, frame: Frame, memory: Memory) -> list[Prediction]:
        """Take one frame; return what is now known, oldest first.

        The list may be empty (a refined answer comes one frame late) and may speak of past frames. When an error is
        raised, the memory is as it was before the call.
        """
        ...

    def flush(self, memory: Memory) -> list[Prediction]:
        """The answers still owed when no further frame will come. The memory can go on afterwards."""
        ...

"""What CUT3R carries from frame to frame: its state, its pose memory, and frames that it will look at again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from spann3r_ros.memory.recurrent import RecurrentState
from spann3r_ros.memory.snapshot import KeptMemory, MemorySnapshot, memory_file, read_snapshot
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.pointmap import View


@dataclass(eq=False)
class Cut3rMemory(KeptMemory):
    """A world in the making; owned by the caller, changed only by ``Cut3r.step`` and ``flush``.

    Attributes:
        owner: fingerprint of the network that made it.
        image_size: (height, width) that frames are brought to, set by the first; None before, and where the size
            follows the aspect of each image.
        state: None before the first frame.
        held: frames whose final answers are owed until they have been seen again; empty without ``cut3r.revisit``.
    """

    owner: str
    image_size: tuple[int, int] | None = None
    state: RecurrentState | None = None
    held: list[View] = field(default_factory=list)

    def status(self) -> MemoryStatus:
        """Counters for a status message."""
        if self.state is None:
            return MemoryStatus()
        status = self.state.status()
        held = sum(view.frame.image.nbytes + view.colors.nbytes for view in self.held)
        counters = {"waiting_frames": len(self.held)}
        return MemoryStatus(
            status.tokens,
            status.capacity,
            status.bytes + held,
            status.offered,
            status.inserted,
            status.rejected,
            counters,
        )

    def snapshot(self) -> MemorySnapshot:
        """Everything, so that a run resumed from it continues bit for bit."""
        tensors: dict[str, Tensor] = {}
        state: dict[str, Any] = {"image_size": self.image_size, "counters": None}
        if self.state is not None:
            state["counters"] = self.state.counters()
            tensors |= {f"state.{name}": tensor for name, tensor in self.state.tensors.items()}
        state["held"] = [view.save(tensors, f"held.{number}") for number, view in enumerate(self.held)]
        return MemorySnapshot(self.owner, tensors, state)

    @classmethod
    def load(cls, path: Path, owner: str, initial: Mapping[str, Tensor]) -> Cut3rMemory:
        """Read what ``save`` wrote.

        Args:
            path: the file.
            owner: fingerprint of the network that will use it.
            initial: the network's state before any frame, on its device.

        Raises:
            MemoryMismatchError: no such file, a damaged one, another format, or a memory of another network.
        """
        tensors, state = read_snapshot(path, owner)
        with memory_file(path):
            size = state["image_size"]
            memory = cls(owner, None if size is None else (int(size[0]), int(size[1])))
            if state["counters"] is not None:
                saved = {
                    name.removeprefix("state."): tensor for name, tensor in tensors.items() if name.startswith("state.")
                }
                memory.state = RecurrentState.restored(saved, state["counters"], initial)
            memory.held = [View.load(tensors, entry, f"held.{number}") for number, entry in enumerate(state["held"])]
        return memory

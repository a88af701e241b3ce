"""What the simulated network keeps between frames: where it believes to be, and by how much that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spann3r_ros.memory.snapshot import KeptMemory, MemorySnapshot, memory_file, read_snapshot
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.sim3 import Sim3


@dataclass(frozen=True, eq=False)
class Belief:
    """What a memory believes after its last frame.

    Attributes:
        first_stamp: of the frame that its submap begins with, in nanoseconds.
        frames: so many it was given.
        world_from_camera: the true pose of the last one, meters.
        submap_from_camera: what it believes that pose to be, in its unit.
        scale: units of its submap per meter, as it believes now.
    """

    first_stamp: int
    frames: int
    world_from_camera: Sim3
    submap_from_camera: Sim3
    scale: float


@dataclass(eq=False)
class SimulatedMemory(KeptMemory):
    """Owned by the caller, changed only by ``SimulatedNetwork``.

    Attributes:
        owner: fingerprint of the network that made it.
        belief: None before the first frame.
        lost: frames so far that were answered with nonsense.
    """

    owner: str
    belief: Belief | None = None
    lost: int = 0

    def status(self) -> MemoryStatus:
        """Frames, and that they were simulated."""
        frames = self.belief.frames if self.belief else 0
        counters = {"simulated_frames": frames, "simulated_losses": self.lost}
        return MemoryStatus(offered=frames, inserted=frames, counters=counters)

    def mark(self) -> Callable[[], None]:
        """See ``MarkedMemory``."""
        belief, lost = self.belief, self.lost

        def back() -> None:
            self.belief, self.lost = belief, lost

        return back

    def snapshot(self) -> MemorySnapshot:
        """Everything, so that a run resumed from it continues bit for bit."""
        state: dict[str, Any] = {"lost": self.lost, "belief": None}
        if self.belief is not None:
            poses = {name: getattr(self.belief, name) for name in ("world_from_camera", "submap_from_camera")}
            state["belief"] = {
                **{name: getattr(self.belief, name) for name in ("first_stamp", "frames", "scale")},
                **{name: [pose.rotation.tolist(), pose.translation.tolist()] for name, pose in poses.items()},
            }
        return MemorySnapshot(self.owner, {}, state)

    @classmethod
    def load(cls, path: Path, owner: str) -> SimulatedMemory:
        """What ``save`` wrote; raises MemoryMismatchError for anything else."""
        _, state = read_snapshot(path, owner)
        with memory_file(path):
            if state["belief"] is None:
                return cls(owner, None, int(state["lost"]))
            kept = dict(state["belief"])
            for name in ("world_from_camera", "submap_from_camera"):
                rotation, translation = kept[name]
                kept[name] = Sim3.rigid(np.array(rotation), np.array(translation))
            return cls(owner, Belief(**kept), int(state["lost"]))

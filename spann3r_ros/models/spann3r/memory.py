"""What Spann3R carries from frame to frame: the spatial memory and the frame whose final answer is still owed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spann3r_ros.memory.snapshot import KeptMemory, MemorySnapshot, memory_file, read_snapshot
from spann3r_ros.memory.spatial import SpatialMemory
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.dust3r.network import Grid, Layers
from spann3r_ros.models.pointmap import View
from spann3r_ros.models.spann3r.parameters import Spann3rParameters
from spann3r_ros.parameter import parameters


@dataclass(eq=False)
class Pending:
    """The newest frame, in the middle of its way through the network.

    Attributes:
        features: (B, P, E) encoder features.
        query: (B, P, E) memory query, or None for the very first frame.
        layers: decoder layers of branch 2 that head 2 reads, or None for the very first frame.
        view: the frame itself; None when the network is driven with bare tensors.
        answered: whether a flush has given its final answer already.
    """

    features: Tensor
    query: Tensor | None
    layers: Layers | None
    view: View | None
    answered: bool = False


@dataclass(eq=False)
class Spann3rMemory(KeptMemory):
    """A world in the making; owned by the caller, changed only by ``Spann3r.step``.

    Attributes:
        owner: fingerprint of the network that made it.
        grid: rows and columns of tokens, fixed by the first frame; None before.
        spatial: the tokens; None before the first frame.
        pending: the newest frame; None before the first.
    """

    owner: str
    grid: Grid | None = None
    spatial: SpatialMemory | None = None
    pending: Pending | None = None

    def status(self) -> MemoryStatus:
        """Counters for a status message."""
        return self.spatial.status() if self.spatial else MemoryStatus()

    def mark(self) -> Callable[[], None]:
        """What brings the memory back to what it holds now; the pending frame is not answered again then."""
        spatial, pending = self.spatial, self.pending
        tokens = None if spatial is None else spatial.mark()

        @torch.inference_mode()
        def back() -> None:
            self.spatial = spatial
            self.pending = None if pending is None else dataclasses.replace(pending, answered=True)
            if tokens is not None:
                tokens()

        return back

    def snapshot(self) -> MemorySnapshot:
        """Everything, so that a run resumed from it continues bit for bit."""
        tensors: dict[str, Tensor] = {}
        state: dict[str, Any] = {"grid": self.grid}
        if self.spatial is not None:
            state["counters"] = self.spatial.counters()
            state["sizes"] = {
                "batch": self.spatial.batch,
                "working_frames": self.spatial.max_working_frames,
                "long_term_tokens": self.spatial.max_long_term_tokens,
                "protected_frames": self.spatial.protected_frames,
            }
            tensors |= {f"spatial.{name}": tensor for name, tensor in self.spatial.tensors().items()}
        if self.pending is not None:
            tensors["pending.features"] = self.pending.features
            if self.pending.query is not None:
                tensors["pending.query"] = self.pending.query
            for number, tokens in (self.pending.layers or {}).items():
                tensors[f"pending.layers.{number}"] = tokens
            if self.pending.view is not None:
                state["view"] = self.pending.view.save(tensors)
            state["answered"] = self.pending.answered
        return MemorySnapshot(self.owner, tensors, state)

    @classmethod
    def load(cls, path: Path, owner: str, device: torch.device) -> Spann3rMemory:
        """Read what ``save`` wrote.

        Args:
            path: the file.
            owner: fingerprint of the network that will use it.
            device: where the memory shall live.

        Raises:
            MemoryMismatchError: no such file, a damaged one, another format, or a memory of another network.
        """
        tensors, state = read_snapshot(path, owner)
        memory = cls(owner)
        with memory_file(path):
            if state["grid"] is None:
                return memory
            rows, columns = state["grid"]
            memory.grid = (int(rows), int(columns))
            memory.pending = _load_pending(tensors, state, device)
            features = memory.pending.features
            if features.ndim != 3 or features.shape[1] != memory.grid[0] * memory.grid[1]:
                raise ValueError(f"features {list(features.shape)} of a grid {memory.grid}")
            memory.spatial = _load_spatial(tensors, state, features)
        return memory


def _load_spatial(tensors: dict[str, Tensor], state: dict[str, Any], features: Tensor) -> SpatialMemory:
    sizes = state["sizes"]
    for entry in parameters(Spann3rParameters):
        if entry.name in sizes:
            entry.check(sizes[entry.name])  # before anything of that size is made
    if sizes["batch"] != len(features):
        raise ValueError(f"batch {sizes['batch']} of {len(features)}")
    spatial = SpatialMemory(
        tokens_per_frame=features.shape[1],
        width=features.shape[2],
        dtype=features.dtype,
        device=features.device,
        **sizes,
    )
    saved = {name.removeprefix("spatial."): tensor for name, tensor in tensors.items() if name.startswith("spatial.")}
    spatial.restore(saved, state["counters"])
    return spatial


def _load_pending(tensors: dict[str, Tensor], state: dict[str, Any], device: torch.device) -> Pending:
    here = {name: tensor.to(device) for name, tensor in tensors.items() if name.startswith("pending.")}
    layers = {
        int(name.rsplit(".", 1)[1]): tensor for name, tensor in here.items() if name.startswith("pending.layers.")
    }
    view = View.load(tensors, state["view"]) if "view" in state else None
    return Pending(
        here["pending.features"], here.get("pending.query"), layers or None, view, bool(state.get("answered"))
    )

"""What Spann3R carries from frame to frame: the spatial memory and the frame whose final answer is still owed."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spann3r_ros.errors import MemoryMismatchError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.memory.spatial import SpatialMemory
from spann3r_ros.memory.statistics import MemoryStatistics
from spann3r_ros.models.dust3r_network import Grid, Layers
from spann3r_ros.models.pointmap import View

FORMAT = "spann3r_ros.memory.1"


@dataclass(eq=False)
class Pending:
    """The newest frame, in the middle of its way through the network.

    Attributes:
        features: (B, P, E) encoder features.
        query: (B, P, E) memory query, or None for the very first frame.
        layers: decoder layers of branch 2 that head 2 reads, or None for the very first frame.
        view: the frame itself; None when the network is driven with bare tensors.
    """

    features: Tensor
    query: Tensor | None
    layers: Layers | None
    view: View | None


@dataclass(eq=False)
class Spann3rMemory:
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

    def statistics(self) -> MemoryStatistics:
        """Counters for a status message."""
        return self.spatial.statistics() if self.spatial else MemoryStatistics()

    def save(self, path: Path) -> None:
        """Write everything as safetensors; a run resumed from the file continues bit for bit."""
        tensors: dict[str, Tensor] = {}
        state: dict[str, Any] = {"owner": self.owner, "grid": self.grid}
        if self.spatial is not None:
            state["counters"] = self.spatial.counters()
            state["spatial"] = {
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
                view = self.pending.view
                tensors["view.image"] = torch.from_numpy(view.frame.image)
                tensors["view.colors"] = torch.from_numpy(view.colors)
                state["view"] = {
                    "index": view.frame.index,
                    "stamp": view.frame.stamp,
                    "camera": view.frame.camera,
                    "frame_intrinsics": view.frame.intrinsics and dataclasses.asdict(view.frame.intrinsics),
                    "intrinsics": view.intrinsics and dataclasses.asdict(view.intrinsics),
                }
        # Layer 0 of branch 2 is the feature itself: safetensors wants every tensor in storage of its own.
        stored = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
        }
        save_file(stored, path, metadata={"format": FORMAT, "state": json.dumps(state)})

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
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError) as error:
            raise MemoryMismatchError(
                f"memory file {path} cannot be read", got=error, expected="what save() wrote"
            ) from error
        if metadata.get("format") != FORMAT:
            raise MemoryMismatchError(f"format of {path}", got=metadata.get("format"), expected=FORMAT)
        state = json.loads(metadata["state"])
        if state["owner"] != owner:
            raise MemoryMismatchError(
                f"memory {path} belongs to another network",
                got=state["owner"],
                expected=owner,
                next_step="Load it with the weights and the precision that it was made with",
            )
        memory = cls(owner)
        if state["grid"] is not None:
            memory.grid = (state["grid"][0], state["grid"][1])
        tensors = {name: tensor if name.startswith("view.") else tensor.to(device) for name, tensor in tensors.items()}
        try:
            if "spatial" in state:
                memory.spatial = _load_spatial(state, tensors, device)
            if "pending.features" in tensors:
                memory.pending = _load_pending(state, tensors)
        except KeyError as error:
            raise MemoryMismatchError(
                f"memory file {path} lacks an entry", got=error, expected="what save() wrote"
            ) from error
        return memory


def _load_spatial(state: dict[str, Any], tensors: dict[str, Tensor], device: torch.device) -> SpatialMemory:
    features = tensors["pending.features"]
    spatial = SpatialMemory(
        tokens_per_frame=features.shape[1],
        width=features.shape[2],
        dtype=features.dtype,
        device=device,
        **state["spatial"],
    )
    saved = {name.removeprefix("spatial."): tensor for name, tensor in tensors.items() if name.startswith("spatial.")}
    spatial.restore(saved, state["counters"])
    return spatial


def _load_pending(state: dict[str, Any], tensors: dict[str, Tensor]) -> Pending:
    layers = {
        int(name.rsplit(".", 1)[1]): tensor for name, tensor in tensors.items() if name.startswith("pending.layers.")
    }
    view = None
    if "view" in state:
        stored = state["view"]
        calibration = stored["frame_intrinsics"] and Intrinsics(**stored["frame_intrinsics"])
        frame = Frame(stored["index"], stored["stamp"], stored["camera"], tensors["view.image"].numpy(), calibration)
        view = View(frame, tensors["view.colors"].numpy(), stored["intrinsics"] and Intrinsics(**stored["intrinsics"]))
    return Pending(tensors["pending.features"], tensors.get("pending.query"), layers or None, view)

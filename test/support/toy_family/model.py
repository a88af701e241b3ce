"""The toy as a streaming model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spann3r_ros.config import Config
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.memory.snapshot import KeptMemory, MemorySnapshot, read_snapshot
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.preprocess import preprocess
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from toy_family.network import ToyNetwork
from toy_family.parameters import ToyParameters


@dataclass
class ToyMemory(KeptMemory):
    """How many frames it saw."""

    owner: str
    seen: int = 0

    def status(self) -> MemoryStatus:
        """One token a frame."""
        return MemoryStatus(tokens=self.seen, offered=self.seen, inserted=self.seen, counters={"planes": self.seen})

    def snapshot(self) -> MemorySnapshot:
        """The count."""
        return MemorySnapshot(self.owner, {"none": torch.zeros(1)}, {"seen": self.seen})


class Toy:
    """See ``StreamingModel``: it answers at once, with its own pose and intrinsics."""

    name = "toy"

    def __init__(self, network: ToyNetwork, config: Config, weights: str) -> None:
        self.network, self.settings, self.weights = network, config.of(ToyParameters), weights
        self.metric, self.device = network.architecture.metric, network.plane.device
        self.fingerprint = f"toy {network.architecture}"

    def new_memory(self) -> ToyMemory:
        """An empty memory."""
        return ToyMemory(self.fingerprint)

    def load_memory(self, path: Path) -> ToyMemory:
        """See ``StreamingModel``."""
        _, state = read_snapshot(path, self.fingerprint)
        return ToyMemory(self.fingerprint, state["seen"])

    def step(self, frame: Frame, memory: ToyMemory) -> list[Prediction]:
        """A plane ahead of the camera, which moves on by a tenth with each frame."""
        height, width = self.network.architecture.image_size
        image = preprocess(frame, (height, width))
        camera = Intrinsics(20.0, 20.0, (width - 1) / 2, (height - 1) / 2, width, height)
        distance = self.settings.gain * float(self.network.plane.float().mean())
        pose = Sim3(translation=np.array([0.1 * memory.seen, 0.0, 0.0]))
        points = pose.apply(backproject(np.full((height, width), distance), camera)).astype(np.float32)
        memory.seen += 1
        return [
            Prediction(
                frame,
                points,
                np.full((height, width), 0.9, np.float32),
                image.colors,
                submap_from_camera=pose,
                pose_source="model",
                intrinsics=camera,
                intrinsics_source="model",
            )
        ]

    def flush(self, memory: ToyMemory) -> list[Prediction]:  # noqa: ARG002
        """Nothing is owed."""
        return []

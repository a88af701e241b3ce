"""DUSt3R as a streaming model: every frame is matched against a reference frame.

DUSt3R knows pairs only, each in a scale of its own. The first pair makes the world. A later pair is brought into it by
the similarity that maps its pointmap of the reference frame onto the one that the world has.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spann3r_ros.config import Config
from spann3r_ros.errors import MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.memory.snapshot import read_snapshot, write_snapshot
from spann3r_ros.memory_status import MemoryStatistics
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.dust3r.network import Dust3rNetwork
from spann3r_ros.models.pixels import check_pixels, target_size
from spann3r_ros.models.pointmap import Pointmap, View, fingerprint, to_prediction
from spann3r_ros.models.preprocess import preprocess
from spann3r_ros.prediction import Prediction


@dataclass(eq=False)
class Dust3rMemory:
    """The reference frame; owned by the caller, changed only by ``Dust3r.step``.

    Attributes:
        owner: fingerprint of the network that made it.
        features: (1, P, E) of the reference frame; None before the first frame.
        grid: its rows and columns of tokens.
        world: (H, W, 3) float32, the reference frame's pointmap in the world; None before the second frame.
        weight: (H, W) float32, its confidence in [0, 1].
        first: the first frame, until the second gives it an answer.
        offered, references: frames seen, and how many of them became the reference.
    """

    owner: str
    features: Tensor | None = None
    grid: tuple[int, int] | None = None
    world: NDArray[np.float32] | None = None
    weight: NDArray[np.float32] | None = None
    first: View | None = None
    offered: int = 0
    references: int = 0

    def statistics(self) -> MemoryStatistics:
        """Counters for a status message: the reference frame is all there is."""
        if self.features is None:
            return MemoryStatistics()
        tokens = self.features.shape[1]
        maps = [array for array in (self.world, self.weight) if array is not None]
        return MemoryStatistics(
            offered=self.offered,
            inserted=self.references,
            rejected=self.offered - self.references,
            working_frames=1,
            tokens=tokens,
            capacity=tokens,
            bytes=self.features.numel() * self.features.element_size() + sum(array.nbytes for array in maps),
        )

    def save(self, path: Path) -> None:
        """Write everything as safetensors; a run resumed from the file continues bit for bit."""
        tensors: dict[str, Tensor] = {}
        state: dict[str, Any] = {"grid": self.grid, "offered": self.offered, "references": self.references}
        if self.features is not None:
            tensors["features"] = self.features
        if self.world is not None and self.weight is not None:
            tensors |= {"world": torch.from_numpy(self.world), "weight": torch.from_numpy(self.weight)}
        if self.first is not None:
            state["first"] = self.first.save(tensors)
        write_snapshot(path, self.owner, tensors, state)


def _image_size(config: Config, architecture: Dust3rArchitecture) -> tuple[int, int] | str:
    """The size that was asked for, else the published preprocessing of the official sizes: 512 follows the aspect."""
    size = target_size(config, architecture)
    asked = config.image_height or config.image_width
    return {(384, 512): "dust3r-512", (224, 224): "dust3r-224"}.get(size, size) if not asked else size


class Dust3r:
    """A DUSt3R network with fixed weights; see ``StreamingModel``.

    Args:
        network: in evaluation mode, on its device, in its precision.
        config: ``image_width``, ``image_height`` and ``dust3r`` are used; the confidence may change between steps.
        weights: where the weights came from.
    """

    name = "dust3r"

    def __init__(self, network: Dust3rNetwork, config: Config, weights: str) -> None:
        self.network = network
        self.config = config
        self.weights = weights
        self.metric = network.architecture.metric
        self.image_size = _image_size(config, network.architecture)
        self.device = network.enc_norm.weight.device
        samples = [network.enc_norm, network.dec_norm]
        self.fingerprint = fingerprint(self.name, network.architecture, samples, network.dtype)

    def new_memory(self) -> Dust3rMemory:
        """An empty memory."""
        return Dust3rMemory(self.fingerprint)

    def load_memory(self, path: Path) -> Dust3rMemory:
        """A memory written by ``Dust3rMemory.save`` with the same weights and precision."""
        tensors, state = read_snapshot(path, self.fingerprint)
        memory = Dust3rMemory(self.fingerprint, offered=state["offered"], references=state["references"])
        if "features" in tensors:
            memory.features = tensors["features"].to(self.device)
            memory.grid = (state["grid"][0], state["grid"][1])
        if "world" in tensors:
            memory.world, memory.weight = tensors["world"].numpy(), tensors["weight"].numpy()
        if "first" in state:
            memory.first = View.load(tensors, state["first"])
        return memory

    @torch.inference_mode()
    def step(self, frame: Frame, memory: Dust3rMemory) -> list[Prediction]:
        """Match a frame against the reference. The first two frames are answered together, by the second.

        Raises:
            GeometryError: a pair from which no similarity to the world follows.
        """
        if memory.owner != self.fingerprint:
            raise MemoryMismatchError(
                "memory of another model", got=memory.owner, expected=self.fingerprint, next_step="Use new_memory()"
            )
        image = preprocess(frame, self.image_size)
        check_pixels(image.pixels, self.network.architecture)
        view = View(frame, image.colors, image.intrinsics)
        features = self.network.encode(image.pixels.to(self.device, non_blocking=True))
        grid = self.network.grid(image.pixels)
        if memory.features is None:
            memory.features, memory.grid, memory.first = features, grid, view
            memory.offered = memory.references = 1
            return []

        reference, current = self._pair(memory, features, grid)
        answers = []
        if memory.world is None and memory.first is not None:
            answers.append(to_prediction(reference, memory.first, refined=True, metric=self.metric))
            memory.world, memory.weight = answers[0].points, answers[0].confidence
            memory.first = None
        prediction = to_prediction(current, view, refined=True, metric=self.metric)
        answers.append(self._into_world(prediction, reference, memory) if not answers else prediction)
        memory.offered += 1
        self._choose_reference(answers[-1], features, grid, memory)
        return answers

    @torch.inference_mode()
    def flush(self, memory: Dust3rMemory) -> list[Prediction]:
        """A single frame is paired with itself; nothing else is ever owed."""
        if memory.first is None or memory.features is None or memory.grid is None:
            return []
        reference, _ = self._pair(memory, memory.features, memory.grid)
        return [to_prediction(reference, memory.first, refined=False, metric=self.metric)]

    def _pair(self, memory: Dust3rMemory, features: Tensor, grid: tuple[int, int]) -> tuple[Pointmap, Pointmap]:
        """Pointmaps of the reference and of another frame, in the reference's camera and the pair's scale."""
        assert memory.features is not None and memory.grid is not None
        layers1, layers2 = self.network.decode(memory.features, features, memory.grid, grid)
        return self.network.pointmap(1, layers1, memory.grid), self.network.pointmap(2, layers2, grid)

    def _into_world(self, prediction: Prediction, reference: Pointmap, memory: Dust3rMemory) -> Prediction:
        """The prediction moved by the similarity that maps the pair's reference pointmap onto the world's."""
        assert memory.world is not None and memory.weight is not None
        weights = memory.weight * (1.0 - 1.0 / reference.confidence[0]).cpu().numpy()
        # A sixteenth of the pixels determines seven numbers as well as all of them.
        here, there = reference.points[0].cpu().numpy()[::4, ::4], memory.world[::4, ::4]
        world_from_pair = umeyama(here.reshape(-1, 3), there.reshape(-1, 3), weights=weights[::4, ::4].ravel())
        points = world_from_pair.apply(prediction.points).astype(np.float32)
        return dataclasses.replace(prediction, points=points)

    def _choose_reference(
        self, prediction: Prediction, features: Tensor, grid: tuple[int, int], memory: Dust3rMemory
    ) -> None:
        """Make a frame the reference once the old one explains it badly, if the parameters ask for keyframes."""
        settings = self.config.dust3r
        if settings.reference == "keyframe" and prediction.confidence.mean() < settings.keyframe_confidence:
            memory.features, memory.grid = features, grid
            memory.world, memory.weight = prediction.points, prediction.confidence
            memory.references += 1

"""A stream of any model of pairs: every frame is matched against a reference frame.

Each pair is in a unit of its own. The first pair makes the submap's frame. A later pair is brought into it by the
similarity that maps its pointmap of the reference frame onto the one that the submap has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spann3r_ros.errors import AnswerError, ImageSizeError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.memory.snapshot import KeptMemory, MemorySnapshot, memory_file, read_snapshot
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.base import PairModel, PairSettings
from spann3r_ros.models.pointmap import EncodedView, View
from spann3r_ros.prediction import Prediction
from spann3r_ros.streaming.placing import placed

STRIDE = 4
"""Every so many pixels in both directions align a pair: a sixteenth determines seven numbers as well as all."""


@dataclass(eq=False)
class PairwiseMemory(KeptMemory):
    """The reference frame; owned by the caller, changed only by ``Pairwise.step``.

    Attributes:
        owner: fingerprint of the model that made it.
        features: (1, P, E) of the reference frame; None before the first frame.
        grid: its rows and columns of tokens.
        points: (H, W, 3) float32, the reference frame's pointmap in the submap; None before the second frame.
        weight: (H, W) float32, its confidence in [0, 1].
        reference: the reference frame's image.
        offered, references: frames seen, and how many of them became the reference.
    """

    owner: str
    features: Tensor | None = None
    grid: tuple[int, int] | None = None
    points: NDArray[np.float32] | None = None
    weight: NDArray[np.float32] | None = None
    reference: View | None = None
    offered: int = 0
    references: int = 0

    def status(self) -> MemoryStatus:
        """Counters for a status message: the reference frame is all there is."""
        if self.features is None:
            return MemoryStatus()
        tokens = self.features.shape[1]
        maps = [array for array in (self.points, self.weight) if array is not None]
        return MemoryStatus(
            tokens=tokens,
            capacity=tokens,
            bytes=self.features.numel() * self.features.element_size() + sum(array.nbytes for array in maps),
            offered=self.offered,
            inserted=self.references,
            rejected=self.offered - self.references,
        )

    def snapshot(self) -> MemorySnapshot:
        """Everything, so that a run resumed from it continues bit for bit."""
        tensors: dict[str, Tensor] = {}
        state: dict[str, Any] = {"grid": self.grid, "offered": self.offered, "references": self.references}
        if self.features is not None:
            tensors["features"] = self.features
        if self.points is not None and self.weight is not None:
            tensors |= {"world": torch.from_numpy(self.points), "weight": torch.from_numpy(self.weight)}
        if self.reference is not None:
            state["first"] = self.reference.save(tensors)
        return MemorySnapshot(self.owner, tensors, state)


class Pairwise:
    """A model of pairs with fixed weights; see ``StreamingModel``.

    Args:
        model: the model of pairs.
        settings: may change between steps.
    """

    def __init__(self, model: PairModel, settings: PairSettings) -> None:
        self.pairs, self.settings = model, settings
        self.name, self.metric, self.weights, self.device = model.name, model.metric, model.weights, model.device
        self.fingerprint = model.fingerprint

    def new_memory(self) -> PairwiseMemory:
        """An empty memory."""
        return PairwiseMemory(self.fingerprint)

    def load_memory(self, path: Path) -> PairwiseMemory:
        """A memory written by ``PairwiseMemory.save`` with the same weights and precision."""
        tensors, state = read_snapshot(path, self.fingerprint)
        with memory_file(path):
            memory = PairwiseMemory(self.fingerprint, offered=state["offered"], references=state["references"])
            if "features" in tensors:
                memory.features = tensors["features"].to(self.device)
                memory.grid = (state["grid"][0], state["grid"][1])
            if "world" in tensors:
                memory.points, memory.weight = tensors["world"].numpy(), tensors["weight"].numpy()
            if "first" in state:
                memory.reference = View.load(tensors, state["first"])
        return memory

    def step(self, frame: Frame, memory: PairwiseMemory) -> list[Prediction]:
        """Match a frame against the reference. The first two frames are answered together, by the second.

        Raises:
            GeometryError: a pair from which no similarity to the submap follows.
        """
        self._check(memory)
        current = self.pairs.encode(frame)
        reference = self._reference(memory)
        if reference is None:
            self._refer(memory, current)
            memory.offered = memory.references = 1
            return []
        if current.grid != reference.grid and not self.pairs.mixed_sizes:
            patch = reference.view.colors.shape[0] // reference.grid[0]
            raise ImageSizeError(
                (current.grid[0] * patch, current.grid[1] * patch),
                (reference.grid[0] * patch, reference.grid[1] * patch),
            )
        of_reference, answer = self.pairs.infer(reference, current)
        if not (np.isfinite(of_reference.points).all() and np.isfinite(answer.points).all()):
            raise AnswerError("the network's answer is not finite", next_step="The frame is lost, the reference stays")
        answers = [of_reference, answer]
        if memory.points is not None:
            answers = [self._into_submap(answer, of_reference, memory)]
        else:
            memory.points, memory.weight = of_reference.points, of_reference.confidence
        memory.offered += 1
        if self.settings.reference == "keyframe" and answer.confidence.mean() < self.settings.keyframe_confidence:
            self._refer(memory, current)
            memory.points, memory.weight = answers[-1].points, answers[-1].confidence
            memory.references += 1
        return answers

    def flush(self, memory: PairwiseMemory) -> list[Prediction]:
        """A single frame is paired with itself, and that pair makes the submap; nothing else is ever owed."""
        self._check(memory)
        reference = self._reference(memory)
        if reference is None or memory.points is not None:
            return []
        answer, _ = self.pairs.infer(reference, reference)
        memory.points, memory.weight = answer.points, answer.confidence
        return [answer]

    def _check(self, memory: PairwiseMemory) -> None:
        if memory.owner != self.fingerprint:
            raise MemoryMismatchError(
                "memory of another model", got=memory.owner, expected=self.fingerprint, next_step="Use new_memory()"
            )

    def _reference(self, memory: PairwiseMemory) -> EncodedView | None:
        if memory.features is None or memory.grid is None or memory.reference is None:
            return None
        return EncodedView(memory.features, memory.grid, memory.reference)

    def _refer(self, memory: PairwiseMemory, encoded: EncodedView) -> None:
        """Match what follows against this frame."""
        memory.features, memory.grid, memory.reference = encoded.features, encoded.grid, encoded.view

    def _into_submap(self, answer: Prediction, of_reference: Prediction, memory: PairwiseMemory) -> Prediction:
        """The answer moved by the similarity that maps the pair's pointmap of the reference onto the submap's."""
        assert memory.points is not None and memory.weight is not None
        weights = (memory.weight * of_reference.confidence)[::STRIDE, ::STRIDE]
        here, there = of_reference.points[::STRIDE, ::STRIDE], memory.points[::STRIDE, ::STRIDE]
        submap_from_pair = umeyama(here.reshape(-1, 3), there.reshape(-1, 3), weights=weights.ravel())
        return placed(answer, submap_from_pair, 0)

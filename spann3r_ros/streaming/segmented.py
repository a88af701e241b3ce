"""A streaming model whose memory begins anew: every so many frames, or when it is lost; each time as a new submap."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor

from spann3r_ros.errors import ConfigError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.memory.snapshot import memory_file, read_snapshot, write_snapshot
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.base import M, StreamingModel
from spann3r_ros.prediction import Prediction
from spann3r_ros.streaming.saved_frames import load_frame, save_frame


@dataclass(frozen=True)
class Segments:
    """When a memory begins anew.

    Attributes:
        frames: frames of a segment, the shared ones included.
        overlap: frames that a new memory is given of the segment before; less than ``frames``.
        lost_confidence: a final answer of a lower mean confidence counts as lost; 0: none does.
        lost_answers: after so many lost answers in a row the memory begins anew.

    Raises:
        ConfigError: numbers that contradict each other.
    """

    frames: int = 200
    overlap: int = 4
    lost_confidence: float = 0.0
    lost_answers: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.frames:
            raise ConfigError("overlap of segments", got=self.overlap, expected=f"0 .. {self.frames - 1}")
        if self.lost_answers < 1:
            raise ConfigError("lost_answers", got=self.lost_answers, expected=">= 1")


@dataclass(eq=False)
class SegmentedMemory(Generic[M]):
    """The memory of the segment at hand; owned by the caller, changed only by ``Segmented``.

    Attributes:
        owner: fingerprint of the model that made it.
        inner: the model's own memory.
        recent: the last frames, which the next segment will share.
        submap: number of the segment.
        frames: frames in it so far.
        lost: lost answers in a row.
    """

    owner: str
    inner: M
    recent: list[Frame] = field(default_factory=list)
    submap: int = 0
    frames: int = 0
    lost: int = 0

    def status(self) -> MemoryStatus:
        """That of the model's own memory, and which segment it is."""
        inner = self.inner.status()
        held = inner.bytes + sum(frame.image.nbytes for frame in self.recent)
        counters = {**inner.counters, "segment": self.submap, "segment_frames": self.frames}
        return dataclasses.replace(inner, bytes=held, counters=counters)

    def save(self, path: Path) -> None:
        """Write everything as safetensors; a run resumed from the file continues bit for bit."""
        tensors: dict[str, Tensor] = {}
        state: dict[str, Any] = {name: getattr(self, name) for name in ("submap", "frames", "lost")}
        state["recent"] = [save_frame(frame, f"recent.{i}", tensors) for i, frame in enumerate(self.recent)]
        with tempfile.TemporaryDirectory(prefix="spann3r_ros_") as folder:
            inner = Path(folder) / "inner.safetensors"
            self.inner.save(inner)
            tensors["inner"] = torch.from_numpy(np.fromfile(inner, np.uint8))
        write_snapshot(path, self.owner, tensors, state)


class Segmented(Generic[M]):
    """A streaming model in segments; see ``StreamingModel``.

    Args:
        model: the model whose memory begins anew.
        segments: when.
    """

    def __init__(self, model: StreamingModel[M], segments: Segments) -> None:
        self.segment, self.segments = model, segments
        self.name, self.metric, self.weights, self.device = model.name, model.metric, model.weights, model.device
        self.fingerprint = model.fingerprint

    def new_memory(self) -> SegmentedMemory[M]:
        """An empty memory."""
        return SegmentedMemory(self.fingerprint, self.segment.new_memory())

    def load_memory(self, path: Path) -> SegmentedMemory[M]:
        """A memory written by ``SegmentedMemory.save`` with the same weights and precision."""
        tensors, state = read_snapshot(path, self.fingerprint)
        with memory_file(path):
            with tempfile.TemporaryDirectory(prefix="spann3r_ros_") as folder:
                inner = Path(folder) / "inner.safetensors"
                tensors["inner"].numpy().tofile(inner)
                memory = SegmentedMemory(self.fingerprint, self.segment.load_memory(inner))
            memory.recent = [load_frame(f"recent.{i}", tensors, entry) for i, entry in enumerate(state["recent"])]
            memory.submap, memory.frames, memory.lost = state["submap"], state["frames"], state["lost"]
        return memory

    def step(self, frame: Frame, memory: SegmentedMemory[M]) -> list[Prediction]:
        """Take one frame, after the memory began anew when it was time.

        The answers that the old memory owes come first; those about shared frames come again, in the new submap.
        """
        self._check(memory)
        if memory.frames >= self.segments.frames or memory.lost >= self.segments.lost_answers:
            return self._begin_segment(frame, memory)
        answers = self._numbered(self.segment.step(frame, memory.inner), memory.submap)
        self._note(frame, answers, memory)
        return answers

    def flush(self, memory: SegmentedMemory[M]) -> list[Prediction]:
        """The answers still owed in the segment at hand."""
        self._check(memory)
        return self._numbered(self.segment.flush(memory.inner), memory.submap)

    def _begin_segment(self, frame: Frame, memory: SegmentedMemory[M]) -> list[Prediction]:
        inner, shared = self.segment.new_memory(), list(memory.recent)
        answers = [answer for known in (*shared, frame) for answer in self.segment.step(known, inner)]
        owed = self._numbered(self.segment.flush(memory.inner), memory.submap)
        answers = self._numbered(answers, memory.submap + 1)
        memory.inner, memory.submap, memory.frames, memory.lost = inner, memory.submap + 1, len(shared), 0
        self._note(frame, answers, memory)
        return owed + answers

    def _note(self, frame: Frame, answers: Sequence[Prediction], memory: SegmentedMemory[M]) -> None:
        """Count, and remember the frame for the next segment."""
        memory.frames += 1
        memory.recent.append(frame)
        del memory.recent[: len(memory.recent) - self.segments.overlap]
        for answer in answers:
            if answer.final:
                is_lost = float(answer.confidence.mean()) < self.segments.lost_confidence
                memory.lost = memory.lost + 1 if is_lost else 0

    def _numbered(self, answers: Sequence[Prediction], submap: int) -> list[Prediction]:
        return [dataclasses.replace(answer, submap=submap) for answer in answers]

    def _check(self, memory: SegmentedMemory[M]) -> None:
        if memory.owner != self.fingerprint:
            raise MemoryMismatchError(
                "memory of another model", got=memory.owner, expected=self.fingerprint, next_step="Use new_memory()"
            )

"""A stream of any model of windows: so many frames at once, each window joined to the one before.

Every window is in a frame and a unit of its own. The frames that two windows share are seen in both, pixel by pixel, so
a robust similarity on those pixels tells how the windows lie to each other.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spann3r_ros.errors import ConfigError, GeometryError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.alignment import align_pointmaps
from spann3r_ros.memory.snapshot import memory_file, read_snapshot, write_snapshot
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.base import WindowModel, WindowSettings
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.saved_frames import load_frame, save_frame

logger = logging.getLogger(__name__)

JOINS = ("frame", "submaps")


@dataclass(frozen=True, eq=False)
class Anchor:
    """What the window before said of a shared frame: its pointmap in the submap (h, w, 3), and confidence (h, w)."""

    points: NDArray[np.float32]
    confidence: NDArray[np.float32]


@dataclass(eq=False)
class WindowedMemory:
    """The window that is being filled; owned by the caller, changed only by ``Windowed``.

    Attributes:
        owner: fingerprint of the model that made it.
        waiting: its frames so far; the first ones, one for each anchor, were answered in the window before.
        anchors: of the shared frames.
        submap: which submap the last window spoke in; -1 before the first.
        offered, windows, unjoined: frames seen, windows inferred, and those that could not be joined to the one before.
    """

    owner: str
    waiting: list[Frame] = field(default_factory=list)
    anchors: list[Anchor] = field(default_factory=list)
    submap: int = -1
    offered: int = 0
    windows: int = 0
    unjoined: int = 0

    def status(self) -> MemoryStatus:
        """Frames that wait; a window model has no tokens."""
        held = sum(frame.image.nbytes for frame in self.waiting)
        held += sum(anchor.points.nbytes + anchor.confidence.nbytes for anchor in self.anchors)
        counters = {"waiting_frames": len(self.waiting), "windows": self.windows, "unjoined": self.unjoined}
        return MemoryStatus(bytes=held, offered=self.offered, inserted=self.offered, counters=counters)

    def save(self, path: Path) -> None:
        """Write everything as safetensors; a run resumed from the file continues bit for bit."""
        tensors: dict[str, Tensor] = {}
        state: dict[str, Any] = {name: getattr(self, name) for name in ("submap", "offered", "windows", "unjoined")}
        state["waiting"] = [save_frame(frame, f"waiting.{i}", tensors) for i, frame in enumerate(self.waiting)]
        for number, anchor in enumerate(self.anchors):
            tensors[f"anchor.{number}.points"] = torch.from_numpy(anchor.points)
            tensors[f"anchor.{number}.confidence"] = torch.from_numpy(anchor.confidence)
        state["anchors"] = len(self.anchors)
        write_snapshot(path, self.owner, tensors, state)


class Windowed:
    """A model of windows with fixed weights; see ``StreamingModel``.

    Args:
        model: the model of windows.
        settings: how many frames at once and shared, and how windows are joined.

    Raises:
        ConfigError: settings that contradict each other.
    """

    def __init__(self, model: WindowModel, settings: WindowSettings) -> None:
        if not 1 <= settings.overlap < settings.window:
            raise ConfigError(
                "overlap of windows", got=settings.overlap, expected=f"1 .. {settings.window - 1} of {settings.window}"
            )
        if settings.join not in JOINS:
            raise ConfigError("joining of windows", got=repr(settings.join), expected=" | ".join(JOINS))
        self.windows, self.settings = model, settings
        self.name, self.metric, self.weights, self.device = model.name, model.metric, model.weights, model.device
        self.fingerprint = model.fingerprint

    def new_memory(self) -> WindowedMemory:
        """An empty memory."""
        return WindowedMemory(self.fingerprint)

    def load_memory(self, path: Path) -> WindowedMemory:
        """A memory written by ``WindowedMemory.save`` with the same weights and precision."""
        tensors, state = read_snapshot(path, self.fingerprint)
        with memory_file(path):
            return WindowedMemory(
                self.fingerprint,
                [load_frame(f"waiting.{i}", tensors, entry) for i, entry in enumerate(state["waiting"])],
                [
                    Anchor(tensors[f"anchor.{i}.points"].numpy(), tensors[f"anchor.{i}.confidence"].numpy())
                    for i in range(state["anchors"])
                ],
                *(state[name] for name in ("submap", "offered", "windows", "unjoined")),
            )

    def step(self, frame: Frame, memory: WindowedMemory) -> list[Prediction]:
        """Take one frame; when it fills the window, all frames of the window that are not answered yet are."""
        self._check(memory)
        self.windows.check(frame)
        if len(memory.waiting) + 1 < self.settings.window:
            memory.waiting.append(frame)
            memory.offered += 1
            return []
        answers = self._infer([*memory.waiting, frame], memory)
        memory.offered += 1
        return answers

    def flush(self, memory: WindowedMemory) -> list[Prediction]:
        """A short window of the frames that wait; they count as answered then."""
        self._check(memory)
        return self._infer(memory.waiting, memory) if len(memory.waiting) > len(memory.anchors) else []

    def _infer(self, frames: Sequence[Frame], memory: WindowedMemory) -> list[Prediction]:
        """Answers of one window; the memory is changed last of all."""
        answers = self.windows.infer(frames)
        shared, submap, joined = len(memory.anchors), memory.submap, True
        if shared and answers[0].points.shape != memory.anchors[0].points.shape:
            raise MemoryMismatchError(
                "image size (H, W) differs from the memory's",
                got=answers[0].points.shape[:2],
                expected=memory.anchors[0].points.shape[:2],
                next_step="Use new_memory() for another size",
            )
        submap_from_window = Sim3()
        if shared == 0 or self.settings.join == "submaps":
            submap += 1
        else:
            try:
                submap_from_window = self._join(answers[:shared], memory.anchors)
            except GeometryError as error:
                logger.warning("a window could not be joined to the one before, a new submap begins: %s", error)
                submap, joined = submap + 1, False
        # In a submap of its own a window speaks of the shared frames, too: they tell how the submaps lie.
        opened = submap != memory.submap
        placed = [_moved(answer, submap_from_window, submap) for answer in answers]
        kept = placed[-min(self.settings.overlap, len(placed)) :]
        memory.anchors = [Anchor(answer.points, answer.confidence) for answer in kept]
        memory.waiting = list(frames[-len(kept) :])
        memory.submap = submap
        memory.windows += 1
        memory.unjoined += not joined
        return placed if opened else placed[shared:]

    def _join(self, answers: Sequence[Prediction], anchors: Sequence[Anchor]) -> Sim3:
        """``submap_from_window`` by the shared frames."""
        return align_pointmaps(
            np.stack([answer.points for answer in answers]),
            np.stack([anchor.points for anchor in anchors]),
            np.stack([answer.confidence for answer in answers]),
            np.stack([anchor.confidence for anchor in anchors]),
        ).target_from_source

    def _check(self, memory: WindowedMemory) -> None:
        if memory.owner != self.fingerprint:
            raise MemoryMismatchError(
                "memory of another model", got=memory.owner, expected=self.fingerprint, next_step="Use new_memory()"
            )


def _moved(answer: Prediction, submap_from_window: Sim3, submap: int) -> Prediction:
    """An answer in the submap's frame."""
    if submap_from_window.is_identity():
        return dataclasses.replace(answer, submap=submap)
    pose = answer.submap_from_camera
    return dataclasses.replace(
        answer,
        points=np.asarray(submap_from_window.apply(answer.points), dtype=np.float32),
        submap_from_camera=None if pose is None else submap_from_window.carry(pose),
        submap=submap,
    )

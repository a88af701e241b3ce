"""Models that answer from geometry: a wavy surface, and a camera on a known path in front of it.

A network is wrong in ways that a test cannot foresee. These are wrong only as they are told to be: by a scale of each
call's own, by noise, outliers, calls that see something else, or calls that fail. What a frame shows follows from its
index, and everything that is random from the frames of the call, so the same frames always give the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import FrameError, MemoryMismatchError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.memory.snapshot import KeptMemory, MemorySnapshot, read_snapshot
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.base import Memory, Stream
from spann3r_ros.models.pointmap import EncodedView, View
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

CAMERA = Intrinsics(36.0, 36.0, 23.5, 15.5, 48, 32)

CPU = torch.device("cpu")


def true_pose(index: int) -> Sim3:
    """``truth_from_camera`` of a frame: along the surface, swaying."""
    angles = [0.06 * np.sin(0.5 * index), 0.1 * np.sin(0.3 * index), 0.04 * np.cos(0.4 * index)]
    position = [0.1 * index, 0.2 * np.sin(0.2 * index), 0.1 * np.cos(0.3 * index)]
    return Sim3.rigid(Rotation.from_rotvec(angles).as_matrix(), np.array(position))


@lru_cache(maxsize=512)
def true_points(index: int, camera: Intrinsics = CAMERA) -> NDArray[np.float64]:
    """(h, w, 3) of a frame, by Newton's method along each pixel's ray."""
    v, u = np.mgrid[: camera.height, : camera.width].astype(np.float64)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)
    pose = true_pose(index)
    rays, length = rays @ pose.rotation.T, np.full(u.shape, 4.0)
    for _ in range(30):
        x, y, z = np.moveaxis(pose.translation + length[..., None] * rays, -1, 0)
        surface = 4.0 + 0.3 * np.sin(1.7 * x) + 0.25 * np.cos(1.3 * y + 0.4 * x)
        length = length + (surface - z) / rays[..., 2]
    return np.asarray(pose.translation + length[..., None] * rays)


def frames_of_the_path(count: int, start: int = 0, size: tuple[int, int] = (48, 32)) -> list[Frame]:
    """Frames of (width, height); their pixels mean nothing, the index says what they show."""
    width, height = size
    generator = np.random.default_rng(start)
    return [
        Frame(i, i * 10**8, "camera", generator.integers(0, 256, (height, width, 3), np.uint8))
        for i in range(start, start + count)
    ]


@dataclass
class Errors:
    """What is wrong with the answers.

    Attributes:
        noise: standard deviation of every coordinate, over the depth.
        outliers: share of the pixels that are anywhere.
        poses: whether the model gives poses and intrinsics.
        scales: whether each call has a unit of its own.
        elsewhere: calls whose first new frame (or window's last) is one of these see another scene in every frame.
        unsure: frames whose confidence is low.
        failing: frames on which the network fails.
    """

    noise: float = 0.0
    outliers: float = 0.0
    poses: bool = True
    scales: bool = True
    elsewhere: set[int] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)
    failing: set[int] = field(default_factory=set)


class _Geometric:
    """What the three models have in common."""

    metric, weights, device = False, "geometry", CPU

    def __init__(self, **errors: Any) -> None:
        self.errors, self.calls = Errors(**errors), 0

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def fingerprint(self) -> str:
        return self.name

    def answer_size(self, frame: Frame) -> tuple[int, int]:
        height, width = frame.image.shape[:2]
        if height % 16 or width % 16:
            raise FrameError("image size", got=(height, width), expected="multiples of 16")
        return height, width

    def answers(self, frames: Sequence[Frame], first: int) -> list[Prediction]:
        """About each frame, in the axes of the camera of frame ``first``."""
        self.calls += 1
        if any(frame.index in self.errors.failing for frame in frames):
            raise RuntimeError("the network failed")
        rng = np.random.default_rng([first, frames[-1].index, len(frames)])
        scale = float(np.exp(rng.uniform(-1, 1))) if self.errors.scales else 1.0
        answer_from_truth = Sim3(scale) @ true_pose(first).inverse()
        return [self._answer(frame, frames[-1].index, answer_from_truth, rng) for frame in frames]

    def _answer(self, frame: Frame, last: int, answer_from_truth: Sim3, rng: np.random.Generator) -> Prediction:
        height, width = self.answer_size(frame)
        camera = Intrinsics(0.75 * width, 0.75 * width, (width - 1) / 2, (height - 1) / 2, width, height)
        points = answer_from_truth.apply(true_points(frame.index, camera))
        if last in self.errors.elsewhere:
            points = rng.normal(0, 1, points.shape)
        depth = 4.0 * answer_from_truth.scale
        if self.errors.noise:
            points = points + rng.normal(0, self.errors.noise * depth, points.shape)
        if self.errors.outliers:
            wrong = rng.random(points.shape[:2]) < self.errors.outliers
            points[wrong] = rng.uniform(-depth, depth, (int(wrong.sum()), 3))
        sure = 0.1 if frame.index in self.errors.unsure else 0.9
        confidence = np.full(points.shape[:2], sure, np.float32)
        answer = Prediction(frame, points.astype(np.float32), confidence, frame.image)
        if not self.errors.poses:
            return answer
        return Prediction(
            frame,
            answer.points,
            confidence,
            frame.image,
            submap_from_camera=answer_from_truth.carry(true_pose(frame.index)),
            pose_source="model",
            intrinsics=camera,
            intrinsics_source="model",
        )


class FakeWindowModel(_Geometric):
    """See ``WindowModel``."""

    def infer(self, frames: Sequence[Frame]) -> list[Prediction]:
        return self.answers(frames, frames[0].index)


class FakePairModel(_Geometric):
    """See ``PairModel``."""

    mixed_sizes = False

    def encode(self, frame: Frame) -> EncodedView:
        height, width = self.answer_size(frame)
        return EncodedView(torch.zeros(1, 1, 1), (height // 16, width // 16), View(frame, frame.image, None))

    def infer(self, a: EncodedView, b: EncodedView) -> tuple[Prediction, Prediction]:
        first, second = self.answers([a.view.frame, b.view.frame], a.view.frame.index)
        return first, second


@dataclass
class FakeMemory(KeptMemory):
    """The first frame, and the newest, whose answer is owed."""

    owner: str
    first: int = -1
    seen: int = 0
    pending: View | None = None

    def status(self) -> MemoryStatus:
        held = 0 if self.pending is None else self.pending.frame.image.nbytes
        return MemoryStatus(tokens=self.seen, bytes=held, offered=self.seen, inserted=self.seen)

    def snapshot(self) -> MemorySnapshot:
        tensors: dict[str, torch.Tensor] = {"none": torch.zeros(1)}
        state: dict[str, Any] = {"first": self.first, "seen": self.seen}
        if self.pending is not None:
            state["pending"] = self.pending.save(tensors)
        return MemorySnapshot(self.owner, tensors, state)


class FakeStreamingModel(_Geometric):
    """See ``StreamingModel``: in the first frame's axes, each answer one frame late."""

    def new_memory(self) -> FakeMemory:
        return FakeMemory(self.fingerprint)

    def load_memory(self, path: Path) -> FakeMemory:
        tensors, state = read_snapshot(path, self.fingerprint)
        pending = View.load(tensors, state["pending"]) if "pending" in state else None
        return FakeMemory(self.fingerprint, state["first"], state["seen"], pending)

    def step(self, frame: Frame, memory: FakeMemory) -> list[Prediction]:
        size = self.answer_size(frame)
        if memory.pending is not None and size != memory.pending.frame.image.shape[:2]:
            raise MemoryMismatchError("image size", got=size, expected=memory.pending.frame.image.shape[:2])
        if frame.index in self.errors.failing:
            raise RuntimeError("the network failed")
        answers = self.flush(memory)
        memory.first = frame.index if memory.first < 0 else memory.first
        memory.pending, memory.seen = View(frame, frame.image, None), memory.seen + 1
        return answers

    def flush(self, memory: FakeMemory) -> list[Prediction]:
        if memory.pending is None:
            return []
        rng = np.random.default_rng(memory.first)
        scale = float(np.exp(rng.uniform(-1, 1))) if self.errors.scales else 1.0
        answer_from_truth = Sim3(scale) @ true_pose(memory.first).inverse()
        frame, memory.pending = memory.pending.frame, None
        return [self._answer(frame, frame.index, answer_from_truth, np.random.default_rng([memory.first, frame.index]))]


def truth_of(answers: Sequence[Prediction]) -> Sim3:
    """``truth_from_submap`` that fits the clean share of the pointmaps best; of answers in one submap."""
    points = np.concatenate([answer.points.reshape(-1, 3) for answer in answers])
    truth = np.concatenate([true_points(answer.frame.index).reshape(-1, 3) for answer in answers])
    return umeyama(points[::7], truth[::7])


def path_error(answers: Sequence[Prediction]) -> float:
    """Largest error of a camera's place after one similarity, over the length of the path."""
    poses = [answer.submap_from_camera for answer in answers]
    found = np.array([pose.translation for pose in poses if pose is not None])
    truth = np.array([true_pose(answer.frame.index).translation for answer in answers])
    assert len(found) == len(truth)
    errors = np.linalg.norm(umeyama(found, truth).apply(found) - truth, axis=1)
    return float(errors.max() / np.linalg.norm(truth[-1] - truth[0]))


def surface_error(answers: Sequence[Prediction]) -> float:
    """Largest error of a point after one similarity, over the mean depth; without outliers only."""
    truth_from_submap = truth_of(answers)
    return max(
        float(np.abs(truth_from_submap.apply(answer.points) - true_points(answer.frame.index)).max()) / 4.0
        for answer in answers
    )


def same_answers(one: Sequence[Prediction], other: Sequence[Prediction]) -> bool:
    """Whether two lists are the same bit for bit."""
    return len(one) == len(other) and all(map(_same, one, other))


def _same(one: Prediction, other: Prediction) -> bool:
    poses = [answer.submap_from_camera and answer.submap_from_camera.matrix().tobytes() for answer in (one, other)]
    return (
        (one.frame.index, one.frame.stamp, one.final, one.submap)
        == (other.frame.index, other.frame.stamp, other.final, other.submap)
        and one.points.tobytes() == other.points.tobytes()
        and one.confidence.tobytes() == other.confidence.tobytes()
        and one.frame.image.tobytes() == other.frame.image.tobytes()
        and poses[0] == poses[1]
    )


def content(memory: Memory | Stream, folder: Path) -> dict[str, object]:
    """All that a memory holds: bytes of its tensors, and the rest. (Equal memories may give unequal files.)"""
    path = folder / "content.safetensors"
    memory.save(path)
    return _file_content(path)


def _file_content(path: Path) -> dict[str, object]:
    with safe_open(path, framework="pt") as file:
        found: dict[str, object] = dict(file.metadata())
        tensors = {name: file.get_tensor(name).view(torch.uint8).numpy() for name in file.keys()}  # noqa: SIM118
    for name, tensor in tensors.items():
        found[name] = tensor.tobytes()
        if name == "inner":  # a memory within a memory
            tensor.tofile(path.with_suffix(f".{name}"))
            found[name] = _file_content(path.with_suffix(f".{name}"))
    return found

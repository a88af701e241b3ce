"""Batches for training: rendered on the fly or read from a dataset, prepared in the background.

Every random draw of a batch comes from (seed, step), so that a resumed training sees what an uninterrupted one sees.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spann3r_ros.training.schedule import Curriculum, Plan

PLACES = 4
"""Parts of a patch in each direction whose places are learned by the auxiliary task."""


@dataclass(frozen=True, eq=False)
class Singles:
    """S single images of a fixed world; see ``Single``.

    Attributes:
        images: (S, 3, H, W) float32 in [-1, 1], RGB.
        places: (S, P, 3 * PLACES**2) float32.
        cameras: (S, 12) float32.
    """

    images: Tensor
    places: Tensor
    cameras: Tensor

    def to(self, device: torch.device) -> Singles:
        """The same on another device."""
        return Singles(self.images.to(device), self.places.to(device), self.cameras.to(device))


@dataclass(frozen=True, eq=False)
class Sequences:
    """B sequences of T frames; none at all where a step sees single images only.

    Attributes:
        images: (B, T, 3, H, W) float32 in [-1, 1], RGB.
        points: (B, T, H, W, 3) float32 in the optical frame of the first camera of each sequence, meters.
        valid: (B, T, H, W) bool, where ``points`` are known.
        places: (B, T, P, 3 * PLACES**2) float32 mean points of the parts of each patch in the world of a fixed scene,
            or None where sequences do not share a world.
        origins: (B, 12) float32 position (meters) and rotation, row by row, of the first camera in the world of a fixed
            scene, or None likewise.
        singles: further images, or None.
    """

    images: Tensor
    points: Tensor
    valid: Tensor
    places: Tensor | None = None
    origins: Tensor | None = None
    singles: Singles | None = None


@dataclass(frozen=True, eq=False)
class Clip:
    """One sequence as a source gives it, before it becomes tensors.

    Attributes:
        images: (T, H, W, 3) uint8 RGB.
        points: (T, H, W, 3) float32, meters, in the world of the source.
        valid: (T, H, W) bool.
        camera_from_world: (4, 4) float64 of the frame that the sequence is expressed in.
        fixed_world: whether all clips of the source have one world.
    """

    images: NDArray[np.uint8]
    points: NDArray[np.float32]
    valid: NDArray[np.bool_]
    camera_from_world: NDArray[np.float64]
    fixed_world: bool


@dataclass(frozen=True, eq=False)
class Single:
    """One image of a fixed world, which is only asked where it looks.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        places: (P, 3 * PLACES**2) float32 mean points of the parts of each patch, meters, in the world.
        camera: (12,) float32 position (meters) and rotation, row by row, of the camera in the world.
    """

    image: NDArray[np.uint8]
    places: NDArray[np.float32]
    camera: NDArray[np.float32]


class Source(Protocol):
    """Where sequences come from; deterministic in its arguments.

    Attributes:
        description: what it is, for the record.
    """

    description: str

    def clip(self, rng: np.random.Generator, frames: int, gap: float) -> Clip:
        """A sequence of its own; at most ``gap`` trajectory frames between neighbors."""
        ...

    def single(self, rng: np.random.Generator, patch: int) -> Single:
        """An image for the place task; a source without a fixed world raises ConfigError."""
        ...

    def walk(self, rng: np.random.Generator, frames: int, first: int, count: int, origin: int) -> Clip:
        """Frames first..first+count of the walk of ``frames`` frames that ``rng`` names, seen from frame ``origin``."""
        ...


def sequences_from(clips: list[Clip], patch: int) -> Sequences:
    """Stack clips of equal size and bring their points into the first cameras."""
    images = torch.from_numpy(np.stack([clip.images for clip in clips])).permute(0, 1, 4, 2, 3)
    points = []
    for clip in clips:
        rotation = clip.camera_from_world[:3, :3].astype(np.float32)
        points.append(clip.points @ rotation.T + clip.camera_from_world[:3, 3].astype(np.float32))
    places = origins = None
    if all(clip.fixed_world for clip in clips):
        places = torch.from_numpy(np.stack([places_of(clip.points, patch) for clip in clips]))
        origins = torch.from_numpy(np.stack([pose_vector(np.linalg.inv(clip.camera_from_world)) for clip in clips]))
    return Sequences(
        _normalized(images),
        torch.from_numpy(np.stack(points)),
        torch.from_numpy(np.stack([clip.valid for clip in clips])),
        places,
        origins,
    )


def places_of(world: NDArray[np.float32], patch: int) -> NDArray[np.float32]:
    """Mean points (T, P, 3 * PLACES**2) of the parts of each patch, from world points (T, H, W, 3)."""
    frames, height, width, _ = world.shape
    part = patch // PLACES
    shape = (frames, height // patch, PLACES, part, width // patch, PLACES, part, 3)
    means = world.reshape(shape).mean(axis=(3, 6))
    places: NDArray[np.float32] = means.transpose(0, 1, 3, 2, 4, 5).reshape(frames, -1, 3 * PLACES**2)
    return places


def pose_vector(world_from_camera: NDArray[Any]) -> NDArray[np.float32]:
    """Position and rotation, row by row, (12,) of a pose (4, 4)."""
    return np.append(world_from_camera[:3, 3], world_from_camera[:3, :3]).astype(np.float32)


def _normalized(images: Tensor) -> Tensor:
    """uint8 to [-1, 1]."""
    return images.float().div_(127.5).sub_(1.0)


def batch_of(source: Source, plan: Plan, seed: int, patch: int, rank: int = 0) -> Sequences:
    """The batch of one step, or of several processes the share of the one of this rank.

    Sequences are counted through all processes, so that N of them see together what one with N times the batch sees.
    """
    stage, window = plan.stage, plan.window
    if stage.frames == 1:
        singles = _singles(source, [seed, 0, plan.step], stage.batch, patch, rank)
        nothing = torch.empty(0, 1, *singles.images.shape[2:], 3)
        return Sequences(nothing.permute(0, 1, 4, 2, 3), nothing, nothing[..., 0].bool(), singles=singles)
    clips = []
    for index in range(rank * stage.batch, (rank + 1) * stage.batch):
        if window is None:
            rng = np.random.default_rng([seed, 0, plan.step, index])
            clips.append(source.clip(rng, stage.frames, plan.gap))
        else:
            rng = np.random.default_rng([seed, 1, plan.stage_index, window.group, window.walk, index])
            clips.append(source.walk(rng, stage.walk_frames, window.first, stage.frames, window.origin))
    batch = sequences_from(clips, patch)
    if not stage.singles:
        return batch
    return dataclasses.replace(batch, singles=_singles(source, [seed, 2, plan.step], stage.singles, patch, rank))


def _singles(source: Source, seed: list[int], count: int, patch: int, rank: int) -> Singles:
    """Single images drawn by a seed."""
    numbers = range(rank * count, (rank + 1) * count)
    singles = [source.single(np.random.default_rng([*seed, number]), patch) for number in numbers]
    images = torch.from_numpy(np.stack([single.image for single in singles])).permute(0, 3, 1, 2)
    places, cameras = (np.stack([getattr(single, name) for single in singles]) for name in ("places", "camera"))
    return Singles(_normalized(images), torch.from_numpy(places), torch.from_numpy(cameras))


class Prefetch:
    """Batches of the steps ``start``.. of a curriculum, made by threads while the network works.

    Use as a context manager; iterate for (plan, batch). An error of the source is raised where the batch is awaited.
    """

    def __init__(
        self,
        source: Source,
        curriculum: Curriculum,
        *,
        seed: int,
        patch: int,
        start: int = 0,
        depth: int = 3,
        rank: int = 0,
    ) -> None:
        self._arguments = (source, curriculum, seed, patch, start, rank)
        self._queue: queue.Queue[Any] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="training-data", daemon=True)

    def __enter__(self) -> Prefetch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._thread.join()

    def __iter__(self) -> Iterator[tuple[Plan, Sequences]]:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _work(self) -> None:
        source, curriculum, seed, patch, start, rank = self._arguments
        try:
            for step in range(start, curriculum.steps):
                plan = curriculum.plan(step)
                if not self._put((plan, batch_of(source, plan, seed, patch, rank))):
                    return
            self._put(None)
        except Exception as error:  # handed over to the thread that waits
            self._put(error)

    def _put(self, item: object) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

"""What is kept of a few frames of every submap, so that their places are recognized and looked at again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import FrameError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3


@dataclass(frozen=True, eq=False)
class Keyframe:
    """A frame and its answer in half of the bytes: 10 a pixel.

    Attributes:
        order: which frame of the run it was; grows with time.
        submap: that it was answered in.
        descriptor: (D,) float32 of unit length; empty when the model gave none.
        points: (h, w, 3) float16 in its camera's axes, over ``depth``: good to a thousandth.
        depth: the median depth, in the submap's unit.
        confidence: (h, w) uint8, 255 for 1.
        colors: (h, w, 3) uint8 RGB.
        submap_from_camera: rigid.
        intrinsics: of the grid.
        frame_index, stamp, camera: of the frame.
    """

    order: int
    submap: int
    descriptor: NDArray[np.float32]
    points: NDArray[np.float16]
    depth: float
    confidence: NDArray[np.uint8]
    colors: NDArray[np.uint8]
    submap_from_camera: Sim3
    intrinsics: Intrinsics
    frame_index: int
    stamp: int
    camera: str

    @classmethod
    def of(cls, prediction: Prediction, order: int) -> Keyframe | None:
        """What is kept of an answer; None for one without pose or calibration, or without a point before the camera."""
        pose, intrinsics = prediction.submap_from_camera, prediction.intrinsics
        if pose is None or intrinsics is None:
            return None
        points = pose.inverse().apply(prediction.points)
        ahead = points[..., 2][(prediction.confidence > 0) & (points[..., 2] > 0)]
        if not len(ahead):
            return None
        depth = float(np.median(ahead))
        usable = np.isfinite(points).all(axis=-1) & (np.abs(points).max(axis=-1) < 6e4 * depth)
        confidence = np.where(usable, np.clip(prediction.confidence, 0, 1), 0)
        frame = prediction.frame
        return cls(
            order,
            prediction.submap,
            np.zeros(0, np.float32) if prediction.descriptor is None else prediction.descriptor,
            np.where(usable[..., None], points / depth, 0).astype(np.float16),
            depth,
            np.rint(255 * confidence).astype(np.uint8),
            prediction.colors,
            pose,
            intrinsics,
            frame.index,
            frame.stamp,
            frame.camera,
        )

    @property
    def nbytes(self) -> int:
        """Its size."""
        return self.points.nbytes + self.confidence.nbytes + self.colors.nbytes + self.descriptor.nbytes

    def prediction(self) -> Prediction:
        """The answer again; its image is the one on the answer's grid, as the network saw it."""
        points = self.submap_from_camera.apply(self.points.astype(np.float32) * np.float32(self.depth))
        frame = Frame(self.frame_index, self.stamp, self.camera, self.colors, self.intrinsics)
        return Prediction(
            frame,
            points,
            self.confidence.astype(np.float32) / np.float32(255),
            self.colors,
            self.submap_from_camera,
            "model",
            intrinsics=self.intrinsics,
            intrinsics_source="estimated",
            submap=self.submap,
            descriptor=self.descriptor,
        )

    def saved(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays by name."""
        camera = self.intrinsics
        return {
            "counts": np.array([self.order, self.submap, self.frame_index, self.stamp], np.int64),
            "numbers": np.array([self.depth, camera.fx, camera.fy, camera.cx, camera.cy]),
            "pose": self.submap_from_camera.matrix(),
            "descriptor": self.descriptor,
            "points": self.points,
            "confidence": self.confidence,
            "colors": self.colors,
            "camera": np.frombuffer(self.camera.encode(), np.uint8),
        }

    @classmethod
    def load(cls, state: Mapping[str, NDArray[Any]]) -> Keyframe:
        """What ``saved`` gave; raises ValueError or KeyError for other arrays."""
        confidence, points, colors = state["confidence"], state["points"], state["colors"]
        kinds = (confidence.dtype, points.dtype, colors.dtype, state["descriptor"].dtype, state["counts"].dtype)
        expected = tuple(map(np.dtype, ("uint8", "float16", "uint8", "float32", "int64")))
        is_whole = confidence.ndim == 2 and points.shape == colors.shape == (*confidence.shape, 3)
        if kinds != expected or not is_whole or state["descriptor"].ndim != 1:
            raise ValueError(f"a keyframe of {kinds}, {points.shape}")
        if not (np.isfinite(points).all() and np.isfinite(state["descriptor"]).all()):
            raise ValueError("a keyframe with values that are not finite")
        order, submap, index, stamp = state["counts"].tolist()
        depth, fx, fy, cx, cy = state["numbers"].tolist()
        height, width = confidence.shape
        try:
            camera = Intrinsics(fx, fy, cx, cy, width, height)
        except FrameError as error:
            raise ValueError(f"calibration of a keyframe: {error}") from error
        pose, name = Sim3.from_matrix(state["pose"]), state["camera"].tobytes().decode()
        return cls(
            order, submap, state["descriptor"], points, depth, confidence, colors, pose, camera, index, stamp, name
        )


def nearest(keyframes: Sequence[Keyframe], to: Keyframe, count: int) -> list[Keyframe]:
    """At most so many of a keyframe's submap that are nearest to it in time, itself included, in order of time."""
    same = sorted((each for each in keyframes if each.submap == to.submap), key=lambda each: abs(each.order - to.order))
    return sorted(same[:count], key=lambda each: each.order)


class Keyframes:
    """A few keyframes of every submap, spread over it. Not thread-safe; what it gives out does not change.

    Args:
        most: keyframes of a submap; beyond it every other one is dropped, and from then on half as many are taken.
        most_bytes: of all; beyond it every other one of the submap that has most is dropped, of the oldest such.

    Attributes:
        dropped: how many made room for others.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self.most, self.most_bytes = most, most_bytes
        self.clear()

    def __len__(self) -> int:
        return sum(map(len, self._by_submap.values()))

    def clear(self) -> None:
        """Forget all."""
        self._by_submap: dict[int, list[Keyframe]] = {}
        self._stride: dict[int, int] = {}
        self._seen: dict[int, int] = {}
        self.dropped = self.nbytes = 0

    def all(self) -> list[Keyframe]:
        """All, submap by submap."""
        return [keyframe for kept in self._by_submap.values() for keyframe in kept]

    def add(self, submap: int, make: Callable[[], Keyframe | None]) -> Keyframe | None:
        """Take a frame of a submap when it is its turn.

        Args:
            submap: that the frame was answered in.
            make: makes the keyframe; it is called only then.
        """
        seen = self._seen.get(submap, 0)
        if seen % self._stride.get(submap, 1):
            self._seen[submap] = seen + 1
            return None
        keyframe = make()
        if keyframe is None:
            return None
        self._seen[submap] = seen + 1
        self._put(keyframe)
        return keyframe

    def restore(self, keyframes: Sequence[Keyframe]) -> None:
        """Replace all."""
        self.clear()
        for keyframe in keyframes:
            self._put(keyframe)
            self._seen[keyframe.submap] = 0

    def _put(self, keyframe: Keyframe) -> None:
        kept = self._by_submap.setdefault(keyframe.submap, [])
        kept.append(keyframe)
        self.nbytes += keyframe.nbytes
        if len(kept) > self.most:
            self._thin(keyframe.submap)
        while self.nbytes > self.most_bytes and max(map(len, self._by_submap.values())) > 1:
            self._thin(max(self._by_submap, key=lambda submap: len(self._by_submap[submap])))
        while self.nbytes > self.most_bytes and len(self) > 1:
            self._drop(next(iter(self._by_submap)), [])

    def _thin(self, submap: int) -> None:
        self._drop(submap, self._by_submap[submap][::2])
        self._stride[submap] = 2 * self._stride.get(submap, 1)

    def _drop(self, submap: int, kept: list[Keyframe]) -> None:
        before = self._by_submap[submap]
        self.dropped += len(before) - len(kept)
        self.nbytes -= sum(keyframe.nbytes for keyframe in before) - sum(keyframe.nbytes for keyframe in kept)
        if kept:
            self._by_submap[submap] = kept
        else:
            del self._by_submap[submap]

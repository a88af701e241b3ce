"""What the robot's odometry told about the cameras whose poses are in the map."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.path_scale import PathSamples
from spann3r_ros.mapping.scale_estimate import unit_of
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

MOST_SAMPLES = 2000
"""Samples that are kept, the newest: a hundred meters and more."""

PATIENCE = 8
"""Frames for whose odometry is waited: it often comes after the network's answer."""

STEP, TURN, SHARE = 0.02, np.radians(3.0), 0.01
"""A camera that moved less than this (meters by odometry, radians, share of the depth) since its last sample gives no
further one."""

PriorLookup = Callable[[str, int], "Sim3 | None"]
"""``odom_from_camera`` of a camera at a stamp (ns), as far as it is known now."""


@dataclass(frozen=True, eq=False)
class PathSample:
    """One camera at one moment.

    Attributes:
        chain: number of the series of samples of one camera in one submap.
        submap: in which it was seen.
        stamp: nanoseconds.
        seen: submap_from_camera.
        told: odom_from_camera, in meters.
        depth: median depth of what it sees, in the submap's unit.
    """

    chain: int
    submap: int
    stamp: int
    seen: Sim3
    told: Sim3
    depth: float

    def moved_from(self, other: PathSample) -> bool:
        """Whether the camera moved since another sample, as odometry or as the network has it."""
        told = other.told.inverse() @ self.told
        seen = float(np.linalg.norm(self.seen.translation - other.seen.translation))
        far = float(np.linalg.norm(told.translation)) >= STEP or seen >= SHARE * self.depth
        return far or told.rotation_angle() >= TURN


class OdometryTrack:
    """Pairs of poses, in the order of their frames.

    Attributes:
        lookup: asked for the odometry of frames that came without; None: nobody, because the robot has none, or all
            that there is of it came with the frames.
        samples: oldest first.
        added: samples since the world began.
        found, lacking: frames with and without odometry.
    """

    def __init__(self) -> None:
        self.lookup: PriorLookup | None = None
        self.samples: deque[PathSample] = deque(maxlen=MOST_SAMPLES)
        self.added = self.found = self.lacking = 0
        self._chains = 0
        self._last: dict[tuple[int, str], PathSample] = {}  # of each chain
        self._waiting: deque[tuple[int, str, int, Sim3, Sim3 | None, float]] = deque()

    def observe(self, prediction: Prediction) -> list[PathSample]:
        """Take a final answer with a pose; what is new of the path by it, or by frames before it."""
        pose = prediction.submap_from_camera
        if not prediction.final or pose is None:
            return []
        frame, depth = prediction.frame, median_depth(prediction)
        if not depth > 0:
            return []
        self._waiting.append((prediction.submap, frame.camera, frame.stamp, pose, frame.prior, depth))
        new: list[PathSample] = []
        while self._waiting:
            submap, camera, stamp, seen, told, depth = self._waiting[0]
            if told is None and self.lookup is not None:
                told = self.lookup(camera, stamp)
                if told is None and len(self._waiting) <= PATIENCE:
                    break
            self._waiting.popleft()
            self.found += told is not None
            self.lacking += told is None
            if told is not None:
                new += self._add(submap, camera, stamp, seen, told, depth)
        return new

    def _add(self, submap: int, camera: str, stamp: int, seen: Sim3, told: Sim3, depth: float) -> list[PathSample]:
        last = self._last.get((submap, camera))
        if last is None:
            self._chains += 1
            # Late answers about an older submap are possible; those of long ago are not.
            self._last = {key: sample for key, sample in self._last.items() if key[0] >= submap - 1}
        sample = PathSample(self._chains if last is None else last.chain, submap, stamp, seen, told, depth)
        if last is not None and not sample.moved_from(last):
            return []
        self._last[submap, camera] = sample
        self.samples.append(sample)
        self.added += 1
        return [sample]

    def arrays(self, world: Map) -> PathSamples:
        """All samples, chain by chain, in units of the first submap."""
        samples = sorted(self.samples, key=lambda sample: sample.chain)
        units = {number: unit_of(world, number) for number in {sample.submap for sample in samples}}
        unit = np.array([units[sample.submap] for sample in samples])
        return PathSamples(
            np.array([sample.chain for sample in samples], np.int64),
            _stacked([sample.seen.translation for sample in samples], (3,)) * unit[:, None],
            _stacked([sample.told.translation for sample in samples], (3,)),
            _stacked([sample.seen.rotation for sample in samples], (3, 3)),
            _stacked([sample.told.rotation for sample in samples], (3, 3)),
            np.array([sample.depth for sample in samples]) * unit,
        )

    def clear(self) -> None:
        """Forget everything; a new world begins."""
        self.samples.clear()
        self._last.clear()
        self._waiting.clear()
        self.added = self.found = self.lacking = self._chains = 0

    def saved(self) -> dict[str, NDArray[Any]]:
        """As arrays; empty without samples."""
        if not self.samples:
            return {}
        numbers = [(sample.chain, sample.submap, sample.stamp) for sample in self.samples]
        return {
            "numbers": np.array(numbers, np.int64),
            "seen": np.stack([sample.seen.matrix() for sample in self.samples]),
            "told": np.stack([sample.told.matrix() for sample in self.samples]),
            "depths": np.array([sample.depth for sample in self.samples]),
            "counts": np.array([self.added, self.found, self.lacking], np.int64),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """What ``saved`` gave; new chains begin, for odometry may have begun anew meanwhile.

        Raises:
            ValueError, KeyError: other arrays; nothing has changed then.
        """
        samples: list[PathSample] = []
        counts = [0, 0, 0]
        if "numbers" in state:
            numbers, seen, told, depths = (state[name] for name in ("numbers", "seen", "told", "depths"))
            n = len(numbers)
            shapes = (numbers.shape, seen.shape, told.shape, depths.shape, state["counts"].shape)
            if shapes != ((n, 3), (n, 4, 4), (n, 4, 4), (n,), (3,)) or numbers.dtype.kind != "i":
                raise ValueError(f"samples of odometry of shapes {shapes}")
            if not (depths > 0).all() or not np.isfinite(depths).all():
                raise ValueError("depths of samples of odometry that are none")
            for (chain, submap, stamp), here, there, depth in zip(numbers, seen, told, depths, strict=True):
                own, told_pose = (Sim3.rigid(pose[:3, :3], pose[:3, 3]) for pose in (here, there))
                samples.append(PathSample(int(chain), int(submap), int(stamp), own, told_pose, float(depth)))
            counts = [int(count) for count in state["counts"]]
        self.clear()
        self.samples.extend(samples)
        self._chains = max((sample.chain for sample in samples), default=0)
        self.added, self.found, self.lacking = counts


def median_depth(prediction: Prediction) -> float:
    """Median depth of the surer half of a final answer, in its submap's unit; 0 where there is none."""
    pose = prediction.submap_from_camera
    if pose is None:
        raise GeometryError("depth of an answer", got="no pose", expected="one whose pose is known")
    points, confidence = prediction.points[::4, ::4], prediction.confidence[::4, ::4]
    depths = ((points - pose.translation) @ pose.rotation[:, 2])[confidence >= np.median(confidence)]
    depths = depths[np.isfinite(depths) & (depths > 0)]
    return float(np.median(depths)) if len(depths) else 0.0


def _stacked(arrays: list[NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.stack(arrays) if arrays else np.zeros((0, *shape))

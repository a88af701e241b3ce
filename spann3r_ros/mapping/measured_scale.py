"""Sources of the map's scale that measure it in single frames: depth images, and two cameras a known way apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.odometry_track import median_depth
from spann3r_ros.mapping.path_scale import APART, PARALLAX
from spann3r_ros.mapping.scale_estimate import ScaleEstimate, median_and_spread, series_mean, unit_of
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

MOST_RATIOS = 600
"""Measurements that are kept, the newest."""

LEAST_RATIOS = 12
"""Measurements before anything is said."""

MOST_PIXELS, LEAST_PIXELS = 10_000, 30
"""Pixels of a depth image that are looked at; and that must be known both by the sensor and by the network."""

WIDEST = 0.4
"""Spread of the logarithm of measured over predicted depth in one frame beyond which the two have nothing in common."""

NEAREST, FARTHEST = 0.02, 200.0
"""Meters: a median depth out of this range is one in another unit."""

SAME_MOMENT = 10_000_000
"""Nanoseconds within which two cameras took their images at one moment."""

RigLookup = Callable[[str, str, int], "Sim3 | None"]
"""``first_from_second`` of two cameras at a stamp (ns), or None while it is not known."""


@dataclass(frozen=True)
class _Ratio:
    """One measurement: meters a unit of ``submap`` (or its inverse), as ``value`` with a deviation."""

    submap: int
    stamp: int
    value: float
    deviation: float


class _Ratios:
    """Measurements in the order of their frames."""

    def __init__(self) -> None:
        self.kept: deque[_Ratio] = deque(maxlen=MOST_RATIOS)

    def saved(self) -> dict[str, NDArray[Any]]:
        if not self.kept:
            return {}
        return {
            "numbers": np.array([(ratio.submap, ratio.stamp) for ratio in self.kept], np.int64),
            "values": np.array([(ratio.value, ratio.deviation) for ratio in self.kept]),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Raises ValueError or KeyError for other arrays; nothing has changed then."""
        found: list[_Ratio] = []
        if "numbers" in state:
            numbers, values = state["numbers"], state["values"]
            if numbers.dtype.kind != "i" or numbers.shape != values.shape or values.shape[1:] != (2,):
                raise ValueError(f"measurements of the scale of shapes {numbers.shape}, {values.shape}")
            if not np.isfinite(values).all() or not (values[:, 1] > 0).all():
                raise ValueError("measurements of the scale that are none")
            found = [
                _Ratio(int(submap), int(stamp), float(value), float(deviation))
                for (submap, stamp), (value, deviation) in zip(numbers, values, strict=True)
            ]
        self.kept.clear()
        self.kept.extend(found)


class DepthScale:
    """The scale by measured depth: the median ratio of measured and predicted depth of each frame.

    Attributes:
        name: in parameters and status.
        trouble: what is wrong with the depth, for people; empty when nothing is.
    """

    name = "depth"

    def __init__(self) -> None:
        self.trouble = ""
        self._ratios = _Ratios()

    def observe(self, prediction: Prediction) -> None:
        """Compare a final answer with the depth of its frame, where it has some."""
        frame, pose = prediction.frame, prediction.submap_from_camera
        if frame.depth is None or pose is None or not prediction.final:
            return
        rows, columns = known_pixels(frame.depth)
        if len(rows) < LEAST_PIXELS:
            self.trouble = f"a depth image has {len(rows)} known pixels: {LEAST_PIXELS} are needed"
            return
        measured = frame.depth[rows, columns].astype(np.float64)
        middle = float(np.median(measured))
        if not NEAREST <= middle <= FARTHEST:
            self.trouble = (
                f"measured depth has a median of {middle:.4g} m: it is in another unit. A 32FC1 image holds meters, a "
                "16UC1 image millimeters; convert it"
            )
            return
        points, sure = on_the_grid(prediction, rows, columns)
        predicted = (points - pose.translation) @ pose.rotation[:, 2]
        usable = (predicted > 0) & (sure >= np.median(prediction.confidence))
        if int(usable.sum()) < LEAST_PIXELS:
            return
        ratio, spread = median_and_spread(np.log(measured[usable] / predicted[usable]))
        if spread > WIDEST:
            self.trouble = (
                f"measured and predicted depth have nothing in common (spread {100 * spread:.0f} %): is the depth "
                "registered to the camera?"
            )
            return
        self.trouble = ""
        deviation = max(spread, 1e-3) / np.sqrt(min(int(usable.sum()), 100))
        self._ratios.kept.append(_Ratio(prediction.submap, frame.stamp, ratio, deviation))

    def estimate(self, world: Map) -> ScaleEstimate | None:
        """Of all measurements; None before there are ``LEAST_RATIOS``."""
        kept = self._ratios.kept
        if len(kept) < LEAST_RATIOS:
            return None
        units = np.log([unit_of(world, ratio.submap) for ratio in kept])
        found = series_mean(
            np.array([ratio.value for ratio in kept]) - units, np.array([ratio.deviation for ratio in kept])
        )
        return None if found is None else ScaleEstimate(float(np.exp(found[0])), found[1], kept[-1].stamp, len(kept))

    def clear(self) -> None:
        """Forget all measurements."""
        self._ratios.kept.clear()
        self.trouble = ""

    def saved(self) -> dict[str, NDArray[Any]]:
        """The measurements."""
        return self._ratios.saved()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """What ``saved`` gave; raises ValueError or KeyError for other arrays, and nothing has changed then."""
        self._ratios.restore(state)
        self.trouble = ""


@dataclass(frozen=True, eq=False)
class _SeenCamera:
    """Where a camera was last seen: submap_from_camera, and odom_from_camera where that is known."""

    submap: int
    camera: str
    stamp: int
    pose: Sim3
    prior: Sim3 | None


class BaselineScale:
    """The scale by two cameras in one memory whose places on the robot are known.

    Args:
        asked: whether this very source was asked for; else it is no trouble that cameras are too near to each other.

    Attributes:
        name: in parameters and status.
        lookup: how two cameras lie to each other; nobody knows, by default.
        trouble: what is wrong, for people; empty when nothing is.
    """

    name = "baseline"

    def __init__(self, asked: bool = True) -> None:
        self._asked = asked
        self.lookup: RigLookup = _unknown
        self.trouble = ""
        self._seen: dict[str, _SeenCamera] = {}
        self._ratios = _Ratios()

    def observe(self, prediction: Prediction) -> None:
        """Compare the camera of a final answer with the other cameras of the same moment."""
        frame, pose = prediction.frame, prediction.submap_from_camera
        if pose is None or not prediction.final:
            return
        here = _SeenCamera(prediction.submap, frame.camera, frame.stamp, pose, frame.prior)
        self._seen[frame.camera] = here
        for other in self._seen.values():
            if other is here or other.submap != here.submap:
                continue
            told = self._told(other, here)
            if told is not None:
                self._compare(other.pose.inverse() @ pose, told, prediction)

    def _told(self, first: _SeenCamera, second: _SeenCamera) -> Sim3 | None:
        """``first_from_second`` in meters: by odometry and TF at the stamp of each, else by TF at one moment."""
        if abs(second.stamp - first.stamp) <= SAME_MOMENT:
            return self.lookup(first.camera, second.camera, second.stamp)
        if first.prior is not None and second.prior is not None and abs(second.stamp - first.stamp) < 20 * SAME_MOMENT:
            return first.prior.inverse() @ second.prior
        return None

    def _compare(self, seen: Sim3, told: Sim3, prediction: Prediction) -> None:
        way, length = seen.translation, float(np.linalg.norm(told.translation))
        depth = median_depth(prediction)
        if length < 1e-3 or not depth > 0:
            self._too_near(f"the cameras are {length:.3f} m apart by TF, which tells no scale")
            return
        if (told.inverse() @ seen).rotation_angle() > APART:
            self.trouble = "the cameras do not look as TF says: look at the transform between them"
            return
        if float(np.linalg.norm(way)) < PARALLAX * depth:
            self._too_near(f"the cameras are {length:.3f} m apart by TF, too little beside what they see")
            return
        self.trouble = ""
        value = float(way @ told.translation) / length**2
        error = float(np.linalg.norm(way - value * told.translation)) / length
        ratio = _Ratio(prediction.submap, prediction.frame.stamp, value, max(error, 1e-3 * abs(value), 1e-9))
        self._ratios.kept.append(ratio)

    def _too_near(self, text: str) -> None:
        self.trouble = text if self._asked else ""

    def estimate(self, world: Map) -> ScaleEstimate | None:
        """Of all measurements; None before there are ``LEAST_RATIOS``."""
        kept = self._ratios.kept
        if len(kept) < LEAST_RATIOS:
            return None
        units = np.array([unit_of(world, ratio.submap) for ratio in kept])
        found = series_mean(
            np.array([ratio.value for ratio in kept]) * units, np.array([ratio.deviation for ratio in kept]) * units
        )
        if found is None or found[0] <= 0:
            return None
        return ScaleEstimate(1.0 / found[0], found[1] / found[0], kept[-1].stamp, len(kept))

    def clear(self) -> None:
        """Forget all measurements."""
        self._ratios.kept.clear()
        self._seen.clear()
        self.trouble = ""

    def saved(self) -> dict[str, NDArray[Any]]:
        """The measurements."""
        return self._ratios.saved()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """What ``saved`` gave; raises ValueError or KeyError for other arrays, and nothing has changed then."""
        self._ratios.restore(state)
        self._seen.clear()
        self.trouble = ""


def known_pixels(depth: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of at most ``MOST_PIXELS`` known pixels of a depth image, evenly among them."""
    known = np.flatnonzero(depth > 0)
    known = known[:: max(1, -(-len(known) // MOST_PIXELS))]
    rows, columns = np.divmod(known, depth.shape[1])
    return rows, columns


def on_the_grid(
    prediction: Prediction, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Points (N, 3) and confidence (N,) that a prediction has at pixels of its image; NaN and 0 outside of its grid.

    By the calibrations of image and grid, where the grid's was made from the image's; else the grid is taken for the
    middle of the image, at the largest size that covers it, as most networks cut it.
    """
    height, width = prediction.confidence.shape
    image, grid = prediction.frame.intrinsics, prediction.intrinsics
    if image is not None and grid is not None and prediction.intrinsics_source == "camera_info":
        x = (columns - image.cx) / image.fx * grid.fx + grid.cx
        y = (rows - image.cy) / image.fy * grid.fy + grid.cy
    else:
        tall, wide = prediction.frame.image.shape[:2]
        factor = max(width / wide, height / tall)
        x = (columns - (wide - 1) / 2) * factor + (width - 1) / 2
        y = (rows - (tall - 1) / 2) * factor + (height - 1) / 2
    u, v = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    points = np.full((len(rows), 3), np.nan)
    sure = np.zeros(len(rows), np.float32)
    points[inside] = prediction.points[v[inside], u[inside]]
    sure[inside] = prediction.confidence[v[inside], u[inside]]
    return points, sure


def _unknown(_first: str, _second: str, _stamp: int) -> Sim3 | None:
    return None

"""Odometry as a source of the map's scale, and as what holds submaps that nothing else joins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.complaints import Complaints
from spann3r_ros.mapping.corrections import Correction
from spann3r_ros.mapping.graph_solver import has_gtsam
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.odometry_track import OdometryTrack, PathSample
from spann3r_ros.mapping.path_scale import DIFFERS, STANDING, STILL, PathSamples, PathScale, mean_rotation, path_scale
from spann3r_ros.mapping.pose_graph import ODOMETRY, EdgeNoise, PoseGraph, SubmapEdge
from spann3r_ros.mapping.scale_estimate import ScaleEstimate
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

TROUBLES = {
    STANDING: f"{STANDING}: look whether its topic or TF is alive",
    STILL: f"{STILL}: look whether odometry is of this robot, and whether wheels slip",
    DIFFERS: f"{DIFFERS}: look at the transform from base to camera, and at the clocks of odometry and camera",
}
"""What to say of pieces of path that tell no scale, by their reason."""

NEVER = 30
"""Images without odometry after which a robot that has some is told so."""

DRIFT = 0.01
"""Noise of odometry that is taken for its factors, as a share of the way and of the turn."""

PLACE_NOISE, TURN_NOISE = 0.02, np.radians(1.0)
"""Noise of a camera's pose in its submap, in meters and radians, besides."""

ENDS = 10
"""Samples at the end of a submap, and at the beginning of the next, that say how both lie in odometry's frame."""

SETTLED = 40
"""Samples after which a submap that odometry placed stays where it is."""

UNIT_SAMPLES = 24
"""Samples of a submap from which its own unit may be known."""

UNIT_DEVIATION = 0.05
"""Relative deviation of a submap's own unit from which on odometry sets it."""

TOLD = (1, ENDS, UNIT_SAMPLES, SETTLED)
"""Samples of a submap with which its edge is put into the graph, which is solved each time."""

UNKNOWN_UNIT = 0.5
"""Deviation of the logarithm of a scale that nobody measured."""


class ScaleByOdometry:
    """The scale by the robot's path; see ``ScaleSource``. Its track is fed by ``OdometryAnchor``."""

    name = "odometry"

    def __init__(self, track: OdometryTrack) -> None:
        self.track = track
        self.trouble = ""
        self._looked = -1
        self._found: ScaleEstimate | None = None

    def observe(self, prediction: Prediction) -> None:
        """Nothing: the track is fed already."""

    def estimate(self, world: Map) -> ScaleEstimate | None:
        """From all samples, looked at anew when some were added."""
        track = self.track
        if not track.found:
            self.trouble = _trouble(PathScale(None, np.inf, "", 0, 0), track)
            return None
        if track.added - self._looked < max(5, len(track.samples) // 15) and self._looked >= 0:
            return self._found
        self._looked = track.added
        found = path_scale(track.arrays(world))
        self.trouble = _trouble(found, track)
        if found.value is None:
            self._found = None
        else:
            newest = max(sample.stamp for sample in track.samples)
            self._found = ScaleEstimate(found.value, found.deviation, newest, found.used)
        return self._found

    def clear(self) -> None:
        """Forget what was found."""
        self._looked, self._found, self.trouble = -1, None, ""

    def saved(self) -> dict[str, NDArray[Any]]:
        """Nothing: the track is saved by ``OdometryAnchor``."""
        return {}

    def restore(self, _state: Mapping[str, NDArray[Any]], /) -> None:
        """Look anew."""
        self.clear()


def _trouble(found: PathScale, track: OdometryTrack) -> str:
    """What is wrong with odometry, for people; nothing while it may only be too early."""
    if track.lookup is not None and not track.found and track.lacking >= NEVER:
        return (
            f"none of {track.lacking} images had odometry at its stamp: look whether its TF or topic is alive, leads "
            "to the camera, and has the clock of the images"
        )
    if found.reason in TROUBLES:
        return TROUBLES[found.reason]
    if found.jumps:
        return f"odometry jumped {found.jumps} times while the camera went on: the path is cut there"
    if found.value is not None and len(track.samples) >= 100 and found.deviation > 0.1:
        return (
            f"odometry and camera disagree about the way by {100 * found.deviation:.0f} %: look at the clocks of both, "
            "and at the transform from base to camera"
        )
    return ""


class OdometryAnchor:
    """Puts a new submap where odometry says, unless it is joined by what both saw; see ``Corrector``.

    Args:
        track: of odometry; it is fed here.
        scale: the scale by odometry, which tells meters while the world is not metric yet.
        graph: which odometry becomes edges of, where it can be solved; submaps that it knows more about than odometry
            are left to it.
        complaints: where a submap is reported that could not be placed.

    Attributes:
        edges: how successive submaps lie to each other, by the second's id, as known best.
    """

    name = "odometry"

    def __init__(self, track: OdometryTrack, scale: ScaleByOdometry, graph: PoseGraph, complaints: Complaints) -> None:
        self.track, self._scale, self._graph, self._complaints = track, scale, graph, complaints
        self.edges: dict[int, SubmapEdge] = {}
        self._is_solvable = has_gtsam()
        self._parts: dict[int, list[PathSample]] = {}  # samples of the newest submap and the one before

    def observe(self, prediction: Prediction, world: Map) -> Sequence[Correction]:  # noqa: D102
        corrections: list[Correction] = []
        for sample in self.track.observe(prediction):
            newest = max(self._parts, default=-1)
            if sample.submap < newest:
                continue
            if sample.submap > newest:
                kept = {newest: self._parts[newest]} if newest >= 0 else {}
                self._parts = {**kept, sample.submap: []}
            part = self._parts[sample.submap]
            part.append(sample)
            is_first = len(self._parts) == 1
            if is_first:
                del part[:-ENDS]
            elif len(part) <= SETTLED:
                corrections = self._placed(sample.submap, world)
            else:
                del part[: -SETTLED - 1]
        return corrections

    def clear(self) -> None:  # noqa: D102
        self.track.clear()
        self.edges.clear()
        self._parts.clear()

    def saved(self) -> dict[str, NDArray[Any]]:  # noqa: D102
        return self.track.saved()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:  # noqa: D102
        self.track.restore(state)
        self.edges.clear()
        self._parts.clear()

    def _placed(self, number: int, world: Map) -> list[Correction]:
        """Where a submap lies by odometry and the submap before."""
        before, after = (self._parts[key] for key in sorted(self._parts))
        first = world.submap(before[-1].submap).world_from_submap
        meters = self._meters(before[-1].submap, world)
        if meters is None:
            return []
        gap = after[0].told.translation - before[-1].told.translation
        way, seconds = float(np.linalg.norm(gap)), (after[0].stamp - before[-1].stamp) / 1e9
        kind = "unplaced submap"
        if way > 0.5 + 3.0 * _speed([*before, *after]) * max(0.0, seconds):
            text = (
                f"submap {number} is not placed by odometry, which jumped {way:.1f} m in {seconds:.1f} s: it lies "
                "where it begins until it is joined"
            )
            self._complaints.report(kind, text)
            return []
        self._complaints.settle(kind)
        # Without a better knowledge both submaps are in one unit.
        own = meters * world.submap(number).world_from_submap.scale / first.scale
        deviation = UNKNOWN_UNIT
        measured = _own_unit(after, own)
        if measured is not None:
            own, deviation = measured
        odom_from_first = _odom_from_submap(before[-ENDS:], meters)
        odom_from_second = _odom_from_submap(after[:ENDS], own)
        first_from_second = odom_from_first.inverse() @ odom_from_second
        turn = (before[-1].told.inverse() @ after[0].told).rotation_angle()
        noise = EdgeNoise(DRIFT * turn + TURN_NOISE, (DRIFT * way + PLACE_NOISE) / own, deviation, after[0].seen)
        edge = SubmapEdge(before[-1].submap, number, first_from_second, noise, ODOMETRY)
        self.edges[number] = edge
        if self._is_solvable and len(after) in TOLD:
            self._graph.put(edge)
        if self._graph.is_joined(edge.first, edge.second) or not self._graph.is_leaf(number):
            return []
        reason = f"submap {number} placed by odometry, {way:.2f} m from submap {before[-1].submap}"
        return [Correction(number, first @ first_from_second, reason)]

    def _meters(self, number: int, world: Map) -> float | None:
        """Meters of one unit of a submap, or None while nobody can tell."""
        submap = world.submap(number).world_from_submap
        if world.metric:
            return submap.scale
        found = self._scale.estimate(world)
        if found is None or found.deviation > 0.2:
            return None
        return found.value * submap.scale / world.submaps[0].world_from_submap.scale


def _own_unit(part: Sequence[PathSample], unit: float) -> tuple[float, float] | None:
    """Meters of one unit of a submap by its own samples, and their relative deviation; None when not known well."""
    if len(part) < UNIT_SAMPLES:
        return None
    count = len(part)
    found = path_scale(
        PathSamples(
            np.array([sample.chain for sample in part], np.int64),
            unit * np.stack([sample.seen.translation for sample in part]),
            np.stack([sample.told.translation for sample in part]),
            np.stack([sample.seen.rotation for sample in part]),
            np.stack([sample.told.rotation for sample in part]),
            unit * np.array([sample.depth for sample in part]).reshape(count),
        )
    )
    if found.value is None or found.deviation > UNIT_DEVIATION:
        return None
    return found.value * unit, found.deviation


def _odom_from_submap(part: Sequence[PathSample], unit: float) -> Sim3:
    """How a submap lies in odometry's frame by samples of it, its unit given."""
    seen = np.stack([sample.seen.rotation for sample in part])
    turn = mean_rotation(np.stack([sample.told.rotation for sample in part]), seen)
    middle = np.mean([sample.told.translation for sample in part], axis=0)
    own_middle = np.mean([sample.seen.translation for sample in part], axis=0)
    return Sim3(unit, turn, middle - unit * turn @ own_middle)


def _speed(part: Sequence[PathSample]) -> float:
    """Meters a second, the upper quartile of the steps within submaps."""
    speeds = [
        float(np.linalg.norm(b.told.translation - a.told.translation)) / max(1e-3, (b.stamp - a.stamp) / 1e9)
        for a, b in pairwise(part)
        if a.chain == b.chain
    ]
    return float(np.quantile(speeds, 0.75)) if speeds else 0.0

"""Odometry as a source of the map's scale, and as what holds submaps that nothing else joins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.complaints import Complaints
from spann3r_ros.mapping.corrections import Correction
from spann3r_ros.mapping.graph_solver import has_gtsam
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.odometry_alignment import (
    SPAN,
    UNIT_SAMPLES,
    OdometryAlignment,
    own_unit,
    samples_after,
    samples_before,
    usual_speed,
)
from spann3r_ros.mapping.odometry_track import OdometryTrack, PathSample
from spann3r_ros.mapping.path_scale import DIFFERS, STANDING, STILL, PathScale, path_scale
from spann3r_ros.mapping.pose_graph import ODOMETRY, EdgeNoise, PoseGraph, SubmapEdge
from spann3r_ros.mapping.scale_estimate import ScaleEstimate
from spann3r_ros.prediction import Prediction

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
"""Noise of where a submap lies by a few samples, in meters and radians, besides."""

FEW = 10
"""How many those are: more samples tell its turn better, down to ``LEAST_TURN_NOISE``."""

LEAST_TURN_NOISE = np.radians(0.3)

SETTLED = 40
"""Samples after which a submap that odometry placed moves seldom."""

TOLD = (1, FEW, UNIT_SAMPLES, SETTLED, 2 * SETTLED, SPAN)
"""Samples of a submap with which its edge is put into the graph, which is solved each time; and once more at its
end."""

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
        self._units: dict[int, float] = {}  # of these, in meters, as guessed when each was opened
        self._before: OdometryAlignment | None = None  # the one before, which gets no more samples

    def observe(self, prediction: Prediction, world: Map) -> Sequence[Correction]:  # noqa: D102
        corrections: list[Correction] = []
        for sample in self.track.observe(prediction):
            newest = max(self._parts, default=-1)
            if sample.submap < newest:
                continue
            if sample.submap > newest:
                corrections += self._placed(world, is_last=True)
                kept = {newest: self._parts[newest]} if newest >= 0 else {}
                self._parts = {**kept, sample.submap: []}
                self._units = {number: unit for number, unit in self._units.items() if number in self._parts}
                self._before = None
            part = self._parts[sample.submap]
            part.append(sample)
            del part[SPAN:-SPAN]
            corrections += self._placed(world)
        return corrections

    def clear(self) -> None:  # noqa: D102
        self.track.clear()
        self.edges.clear()
        self._parts.clear()
        self._units.clear()
        self._before = None

    def saved(self) -> dict[str, NDArray[Any]]:  # noqa: D102
        return self.track.saved()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:  # noqa: D102
        self.track.restore(state)
        self.edges.clear()
        self._parts.clear()
        self._units.clear()
        self._before = None

    def _placed(self, world: Map, is_last: bool = False) -> list[Correction]:
        """Where the newest submap lies by odometry and the submap before, looked at seldom once it is settled."""
        if len(self._parts) < 2:
            return []
        before, after = (self._parts[key] for key in sorted(self._parts))
        is_told = is_last or len(after) in TOLD
        if len(after) > SETTLED and not is_told:
            return []
        number, older = after[0].submap, before[0].submap
        if not self._guess_units(older, number, world):
            return []
        gap = before[-1].told.inverse() @ after[0].told
        way, seconds = float(np.linalg.norm(gap.translation)), abs(after[0].stamp - before[-1].stamp) / 1e9
        kind = "unplaced submap"
        if way > 0.5 + 3.0 * usual_speed([*before[-FEW:], *after]) * seconds:
            text = (
                f"submap {number} is not placed by odometry, which jumped {way:.1f} m in {seconds:.1f} s: it lies "
                "where it begins until it is joined"
            )
            self._complaints.report(kind, text)
            return []
        self._complaints.settle(kind)
        if self._before is None:
            self._before = self._aligned(older, samples_before(before))
        one, other = self._before, self._aligned(number, samples_after(after))
        edge = SubmapEdge(
            older, number, one.odom_from_submap.inverse() @ other.odom_from_submap, _noise(one, other), ODOMETRY
        )
        self.edges[number] = edge
        if self._is_solvable and is_told:
            self._graph.put(edge)
        if self._graph.is_joined(edge.first, edge.second) or not self._graph.is_leaf(number):
            return []
        reason = f"submap {number} placed by odometry, {way:.2f} m from submap {older}"
        first = world.submap(older).world_from_submap
        return [Correction(number, first @ edge.first_from_second, reason)]

    def _guess_units(self, older: int, number: int, world: Map) -> bool:
        """Guess the units of two submaps, unless that was done; False while nobody can tell them.

        Only once: what odometry says of a submap may change its scale in the world, and that would count again.
        """
        if older not in self._units:
            meters = self._meters(older, world)
            if meters is None:
                return False
            self._units[older] = meters
        if number not in self._units:
            first, second = (world.submap(each).world_from_submap for each in (older, number))
            self._units[number] = self._units[older] * second.scale / first.scale
        return True

    def _aligned(self, number: int, part: Sequence[PathSample]) -> OdometryAlignment:
        """A submap in odometry's frame, in the unit that its samples tell, else in the one that was guessed."""
        guessed = self._units[number]
        return OdometryAlignment.of(part, *(own_unit(part, guessed) or (guessed, UNKNOWN_UNIT)))

    def _meters(self, number: int, world: Map) -> float | None:
        """Meters of one unit of a submap, or None while nobody can tell."""
        submap = world.submap(number).world_from_submap
        if world.metric:
            return submap.scale
        found = self._scale.estimate(world)
        if found is None or found.deviation > 0.2:
            return None
        return found.value * submap.scale / world.submaps[0].world_from_submap.scale


def _noise(one: OdometryAlignment, other: OdometryAlignment) -> EdgeNoise:
    """Of how two submaps lie to each other, in the second one's frame: what odometry drifts between their middles."""
    between = one.told.inverse() @ other.told
    turn_noise = max(LEAST_TURN_NOISE, TURN_NOISE * np.sqrt(FEW / min(one.samples, other.samples)))
    return EdgeNoise(
        float(DRIFT * between.rotation_angle() + turn_noise),
        (DRIFT * float(np.linalg.norm(between.translation)) + PLACE_NOISE) / other.odom_from_submap.scale,
        float(np.hypot(one.deviation, other.deviation)),
        other.middle,
    )

"""Time and memory of the pose graph on streets, and how it compares with the published graph of VGGT-Long.

Streets are a grid of blocks of 100 m that are driven with random turns, a submap every 10 m; a loop is a place that was
passed before.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.geometry.sim3_algebra import sim3_exp
from spann3r_ros.mapping.graph_solver import GraphPlaces, solve
from spann3r_ros.mapping.pose_graph import JOINT, LOOP, EdgeNoise, Measurement, SubmapEdge
from spann3r_ros.mapping.sim3_graph import GraphEdge, accumulated, optimized
from spann3r_ros.sim3 import Sim3

SPACING, BLOCK, BLOCKS = 10.0, 10, 8
"""Meters between submaps, submaps of a block, and blocks of the town in both directions."""

JOINT_NOISE = EdgeNoise(np.radians(0.5), 0.1, 0.01)
LOOP_NOISE = EdgeNoise(np.radians(1.0), 0.2, 0.02)

HEADINGS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])


@dataclass(frozen=True, eq=False)
class Streets:
    """A drive.

    Attributes:
        truth: ``world_from_submap``, meters.
        places: the same by the joints alone.
        joints, loops: as measured.
        wrong: how many of the loops, the first ones, are of another place.
    """

    truth: list[Sim3]
    places: dict[int, Sim3]
    joints: list[SubmapEdge]
    loops: list[SubmapEdge]
    wrong: int

    def error(self, places: dict[int, Sim3]) -> float:
        """Root mean square error of the submaps' places in meters, after the similarity that fits best."""
        found = np.stack([places[number].translation for number in range(len(self.truth))])
        truth = np.stack([place.translation for place in self.truth])
        return float(np.sqrt((np.linalg.norm(umeyama(found, truth).apply(found) - truth, axis=1) ** 2).mean()))


def streets(submaps: int, loops: int, wrong: int = 0, seed: int = 0) -> Streets:
    """A drive of so many submaps with so many loops, of which some are wrong by half a radian and 20 m or so."""
    rng = np.random.default_rng(seed)
    truth = list(_drive(rng, submaps))
    joints = [_measured(rng, truth, n, n + 1, JOINT_NOISE, JOINT) for n in range(submaps - 1)]
    places = dict(enumerate(accumulated([joint.first_from_second for joint in joints])))
    position = np.stack([place.translation for place in truth])
    near = KDTree(position).query_pairs(SPACING / 2, output_type="ndarray")
    near = rng.permutation(near[np.abs(near[:, 1] - near[:, 0]) > 2 * BLOCK])[:loops]
    found = [_measured(rng, truth, first, second, LOOP_NOISE, LOOP) for first, second in np.sort(near).tolist()]
    for number in range(min(wrong, len(found))):
        edge = found[number]
        elsewhere = Sim3.rigid(Rotation.from_rotvec(rng.normal(0, 0.5, 3)).as_matrix(), rng.normal(0, 20, 3))
        found[number] = SubmapEdge(edge.first, edge.second, edge.first_from_second @ elsewhere, edge.noise, LOOP)
    return Streets(truth, places, joints, found, min(wrong, len(found)))


def _drive(rng: np.random.Generator, submaps: int) -> Iterator[Sim3]:
    at, heading, limit = np.zeros(2), 0, BLOCKS * BLOCK / 2
    for number in range(submaps):
        if number % BLOCK == 0 and number:
            ways = [way for way in (-1, 0, 1) if (np.abs(at + BLOCK * HEADINGS[(heading + way) % 4]) <= limit).all()]
            heading = (heading + int(rng.choice(ways or [2]))) % 4
        yield Sim3.rigid(Rotation.from_euler("z", 90 * heading, degrees=True).as_matrix(), SPACING * np.array([*at, 0]))
        at = at + HEADINGS[heading]


def _measured(
    rng: np.random.Generator, truth: list[Sim3], first: int, second: int, noise: EdgeNoise, kind: str
) -> SubmapEdge:
    deviations = np.array([noise.translation] * 3 + [noise.rotation] * 3 + [noise.scale])
    error = sim3_exp(rng.normal(0, 1, 7) * deviations)
    return SubmapEdge(first, second, truth[first].inverse() @ truth[second] @ error, noise, kind)


def published(drive: Streets) -> dict[int, Sim3]:
    """The same drive by the graph of VGGT-Long: all edges weigh alike, and none is rejected."""
    loops = [GraphEdge(edge.second, edge.first, edge.first_from_second) for edge in drive.loops]
    return dict(enumerate(accumulated(optimized([joint.first_from_second for joint in drive.joints], loops).steps)))


def measure_pose_graph(submaps: int, loops: int, drives: int) -> Iterator[str]:
    """Lines of a table in Markdown: processor time over all threads, what was rejected, and errors; means of drives."""
    solve({0: Sim3()}, [])  # imports GTSAM
    yield f"{submaps} submaps, {loops} loops, mean of {drives} drives"
    yield ""
    yield "| wrong loops | first solution [s] | again [s] | rejected: wrong, right | RMSE before, after [m] |"
    yield "|---|---|---|---|---|"
    for wrong in (0, loops // 10, loops // 2, loops):
        rows = [_timed(streets(submaps, loops, wrong, seed)) for seed in range(drives)]
        first, again, bad, good, before, after = np.mean(rows, axis=0)
        yield f"| {wrong} | {first:.2f} | {again:.2f} | {bad:.1f}, {good:.1f} | {before:.1f}, {after:.1f} |"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    yield ""
    yield f"peak memory of the whole process: {peak:.0f} MB"


def compare_with_published(submaps: int, drives: int) -> Iterator[str]:
    """Lines of a table in Markdown: ours and the published graph on the same drives; means."""
    yield f"{submaps} submaps, mean of {drives} drives"
    yield ""
    yield "| loops, wrong ones | RMSE by joints [m] | published graph [m], [s] | ours [m], [s] |"
    yield "|---|---|---|---|"
    for loops, wrong in ((5, 0), (20, 0), (20, 1), (20, 5), (20, 10)):
        rows = []
        for seed in range(drives):
            drive = streets(submaps, loops, wrong, seed)
            begin = time.process_time()
            theirs = drive.error(published(drive))
            middle = time.process_time()
            ours = drive.error(solve(drive.places, [*drive.joints, *drive.loops]).world_from_submap)
            rows.append((drive.error(drive.places), theirs, middle - begin, ours, time.process_time() - middle))
        before, theirs, their_time, ours, our_time = np.mean(rows, axis=0)
        yield f"| {loops}, {wrong} | {before:.1f} | {theirs:.1f}, {their_time:.2f} | {ours:.1f}, {our_time:.2f} |"


def _timed(drive: Streets) -> NDArray[np.float64]:
    measurements: list[Measurement] = [*drive.joints, *drive.loops]
    begin = time.process_time()
    found = solve(drive.places, measurements)
    middle = time.process_time()
    settled = {each.key for each in measurements} - found.rejected
    again = solve(found.world_from_submap, measurements, settled, found.rejected)
    end = time.process_time()
    bad, good = _rejected(drive, again)
    errors = drive.error(drive.places), drive.error(again.world_from_submap)
    return np.array([middle - begin, end - middle, bad, good, *errors])


def _rejected(drive: Streets, found: GraphPlaces) -> tuple[int, int]:
    wrong = {edge.key for edge in drive.loops[: drive.wrong]}
    return len(wrong & found.rejected), len(found.rejected - wrong)

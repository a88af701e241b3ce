"""Smooth, collision-free camera motion through a scene.

Training draws its clips and walks from seeds below EVALUATION_SEED, evaluation from EVALUATION_SEED on: the motions
that a figure is about were never seen in training, the scene was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from spann3r_ros.errors import DataError
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.floor_plan import CELL, FloorPlan
from spann3r_ros.synthetic.scene import Scene

EVALUATION_SEED = 1_000_000
"""Seeds from here on are for evaluation only."""

SPACING = 0.02
"""Meters between the points of a path."""
TICK = 0.02
"""Seconds between the instants at which a walk is planned."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Style:
    """How the camera is carried.

    Attributes:
        height: range in meters from which a walk draws its mean height.
        speed: m/s on a straight line.
        turn: rad/s, the fastest turn of the heading.
        pan: rad, how far the camera looks off the direction of travel.
        tilt: rad, range from which a walk draws its mean pitch (positive: up).
        wobble: rad, of pitch; half of it of roll.
        bob: meters, up and down.
    """

    height: tuple[float, float]
    speed: float
    turn: float
    pan: float
    tilt: tuple[float, float]
    wobble: float
    bob: float


STYLES = {
    "robot": Style((0.3, 1.2), 0.5, 0.9, 0.25, (-0.1, 0.05), 0.0, 0.0),
    "handheld": Style((1.2, 1.7), 0.7, 1.1, 0.55, (-0.3, 0.0), 0.08, 0.025),
}
"""A camera on a level robot, and one in a hand."""


class Trajectories:
    """Draws walks and clips in one scene; deterministic in the seed or generator.

    Args:
        scene: to walk in.
        clearance: meters that the camera keeps from everything.
    """

    def __init__(self, scene: Scene, clearance: float = 0.3) -> None:
        self.scene, self.clearance = scene, clearance
        self.plan = FloorPlan.of(scene)
        cells = np.argwhere(self.plan.clearance > clearance + 0.02)
        if len(cells) == 0:
            raise DataError(f"free space of scene '{scene.name}'", got=f"none with {clearance} m around it")
        self._centers = self.plan.centers(cells)
        self._graph = _graph(self.plan, cells)
        self._room = self.plan.room[cells[:, 0], cells[:, 1]]
        # A walk ends where there is room to turn; only what can be reached from the largest free area counts.
        reach = dijkstra(self._graph, indices=int(self.plan.clearance[cells[:, 0], cells[:, 1]].argmax()))
        wide = self.plan.clearance[cells[:, 0], cells[:, 1]] > clearance + 0.1
        self._goals = np.flatnonzero(np.isfinite(reach) & wide & (self._room < len(scene.rooms)))
        self._reachable = np.flatnonzero(np.isfinite(reach))

    def walk(self, seed: int, n_frames: int, fps: float = 5.0, style: str = "robot") -> list[Sim3]:
        """A walk from room to room.

        Args:
            seed: the walk depends on nothing else; see EVALUATION_SEED.
            n_frames: number of poses, 1/fps seconds apart.
            fps: poses per second.
            style: one of STYLES.

        Returns:
            world_from_camera of each frame: optical axes to the world of the scene, meters.
        """
        manner = _style(style)
        if n_frames < 1 or not fps > 0:
            raise DataError("frames and rate of a walk", got=(n_frames, fps), expected=">= 1 and > 0")
        rng = np.random.default_rng((seed, 77))
        times = np.arange(n_frames) / fps
        at, yaw = self._travel(rng, manner, times)
        return _carried(rng, manner, times, at, yaw)

    def rounds(self, seed: int, n_frames: int, count: int = 3, style: str = "robot") -> list[Sim3]:
        """The same way through all rooms and back to where it began, ``count`` times.

        Args:
            seed: the way depends on nothing else.
            n_frames: number of poses, evenly in time; the longer the way, the farther they are apart.
            count: rounds.
            style: one of STYLES.

        Returns:
            world_from_camera of each frame, as ``walk``.
        """
        manner = _style(style)
        if n_frames < 2 or count < 1:
            raise DataError("frames and rounds of a walk", got=(n_frames, count), expected=">= 2 and >= 1")
        rng = np.random.default_rng((seed, 78))
        rooms = [room for room in range(len(self.scene.rooms)) if (self._room[self._goals] == room).any()]
        stops = [int(rng.choice(self._goals[self._room[self._goals] == room])) for room in rooms]
        if len(stops) == 1:  # a way needs another end
            stops.append(int(rng.choice(self._goals[self._goals != stops[0]])))
        ways = [self._way(here, there) for here, there in zip(stops, stops[1:] + stops[:1], strict=True)]
        path = np.concatenate([ways[0][:1], *[way[1:] for _ in range(count) for way in ways]])
        clock, at, heading = _schedule(self._smoothed(path), manner)
        times = np.linspace(0.0, float(clock[-1]), n_frames)
        return _carried(rng, manner, times, _interpolated(times, clock, at), np.interp(times, clock, heading))

    def _way(self, here: int, there: int) -> Array:
        """(N, 2) the shortest path between two free cells."""
        _, before = dijkstra(self._graph, indices=here, return_predecessors=True)
        nodes = [there]
        while nodes[-1] != here:
            nodes.append(int(before[nodes[-1]]))
        return self._centers[nodes[::-1]]

    def sample_clip(
        self,
        rng: np.random.Generator,
        n_frames: int,
        step: tuple[float, float] = (0.03, 0.3),
        turn: tuple[float, float] = (0.0, 0.2),
    ) -> list[Sim3]:
        """A short motion anywhere in the scene, for training: more varied than any walk, of both styles.

        Args:
            rng: source of everything random.
            n_frames: number of poses.
            step: range in meters from which the clip draws the distance between neighboring frames.
            turn: range in radians from which it draws the turn between neighboring frames (either way).

        Returns:
            world_from_camera of each frame, as ``walk``.
        """
        tries, order = 32, np.arange(n_frames, dtype=np.float64)
        for _ in range(100):
            start = self._centers[rng.choice(self._reachable, tries)] + rng.uniform(-0.5, 0.5, (tries, 2)) * CELL
            stride = rng.uniform(*step, (tries, 1)) * rng.uniform(0.7, 1.3, (tries, n_frames))
            rate = rng.uniform(*turn, (tries, 1)) * rng.choice((-1.0, 1.0), (tries, 1))
            course = rng.uniform(0, 2 * math.pi, (tries, 1)) + rng.uniform(-0.15, 0.15, (tries, 1)) * order
            moves = stride[..., None] * np.stack([np.cos(course), np.sin(course)], -1)
            at = start[:, None] + np.cumsum(moves, 1) - moves
            # Most look where they go, some aside or back; all turn while they go.
            aside = np.where(
                rng.random((tries, 1)) < 0.6, rng.normal(0, 0.3, (tries, 1)), rng.uniform(-math.pi, math.pi)
            )
            yaw = course[:, :1] + aside + rate * order * rng.uniform(0.6, 1.4, (tries, n_frames))
            between = np.concatenate([at, (at[:, 1:] + at[:, :-1]) / 2], 1)
            ahead = at + 0.45 * np.stack([np.cos(yaw), np.sin(yaw)], -1)
            free = (self.plan.clearance_at(between) > self.clearance).all(1) & (self.plan.clearance_at(ahead) > 0).all(
                1
            )
            if free.any():
                chosen = int(free.argmax())
                return self._carry(rng, at[chosen], yaw[chosen])
        raise DataError("clip", got=f"{n_frames} frames, step {step}", expected="a motion that fits into a room")

    def _carry(self, rng: np.random.Generator, at: Array, yaw: Array) -> list[Sim3]:
        """Height, pitch and roll for a clip: level like a robot or wobbling like a hand."""
        n = len(at)
        manner = STYLES["robot" if rng.random() < 0.5 else "handheld"]
        height = rng.uniform(*manner.height) + manner.bob * rng.uniform(-1, 1, n)
        pitch = rng.uniform(*manner.tilt) + manner.wobble * rng.uniform(-1, 1, n)
        roll = 0.5 * manner.wobble * rng.uniform(-1, 1, n)
        return [camera_pose(at[i, 0], at[i, 1], height[i], yaw[i], pitch[i], roll[i]) for i in range(n)]

    def _travel(self, rng: np.random.Generator, manner: Style, times: Array) -> tuple[Array, Array]:
        """Position (N, 2) and unwrapped heading (N,) at the times (seconds)."""
        legs = self._legs(rng)
        path = next(legs)
        while True:
            path = np.concatenate([path, next(legs)[1:]])
            clock, at, heading = _schedule(self._smoothed(path), manner)
            if clock[-1] > times[-1] + 2.0:
                return _interpolated(times, clock, at), np.interp(times, clock, heading)

    def _legs(self, rng: np.random.Generator) -> Iterator[Array]:
        """Shortest paths from a random point to another, in the same room or in another one, and on without end."""
        here = int(rng.choice(self._goals))
        while True:
            same_room = self._room[self._goals] == self._room[here]
            far = np.linalg.norm(self._centers[self._goals] - self._centers[here], axis=1) > 1.0
            goals = self._goals[(same_room & far) if rng.random() < 0.4 else ~same_room]
            there = int(rng.choice(goals if len(goals) else self._goals))
            way = self._way(here, there)
            if len(way) > 1:
                yield way
            here = there

    def _smoothed(self, path: Array) -> Array:
        """The path without corners, as smooth as the clearance allows at each place."""
        path = _resampled(path, SPACING)
        for deviation in (0.3, 0.2, 0.1, 0.05):
            smooth = _blurred(path, deviation / SPACING)
            # Where that comes too near to something, and half a meter around, the path stays as it was.
            tight = maximum_filter1d((self.plan.clearance_at(smooth) < self.clearance).astype(float), int(1 / SPACING))
            share = _blurred(tight, 0.2 / SPACING)[:, None]
            smooth = smooth * (1 - share) + path * share
            if (self.plan.clearance_at(smooth) >= self.clearance - 0.03).all():
                return smooth
        return path


def _style(name: str) -> Style:
    """One of STYLES; raises DataError for another."""
    if name not in STYLES:
        raise DataError("style of a walk", got=name, expected=f"one of {', '.join(STYLES)}")
    return STYLES[name]


def _carried(rng: np.random.Generator, manner: Style, times: Array, at: Array, heading: Array) -> list[Sim3]:
    """Poses of a camera that is carried along positions (N, 2) with headings (N,), at times in seconds."""
    yaw = heading + manner.pan * _sway(rng, times, 0.1, 0.3)
    pitch = rng.uniform(*manner.tilt) + manner.wobble * _sway(rng, times, 0.2, 0.9)
    roll = 0.5 * manner.wobble * _sway(rng, times, 0.2, 0.9)
    height = rng.uniform(*manner.height) + manner.bob * _sway(rng, times, 0.5, 1.8)
    return [camera_pose(at[i, 0], at[i, 1], height[i], yaw[i], pitch[i], roll[i]) for i in range(len(times))]


def _schedule(path: Array, manner: Style) -> tuple[Array, Array, Array]:
    """Clock (seconds, evenly spaced), positions and headings along a path: slow where it bends, turning on the spot
    where it goes back."""
    path = _resampled(path, SPACING)
    tangent = np.gradient(path, axis=0)
    heading = _blurred(np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0])), 0.25 / SPACING)
    bend = np.abs(np.gradient(heading)) / SPACING
    slow = np.minimum(manner.speed, 0.8 * manner.turn / np.maximum(bend, 1e-6))
    speed = _blurred(minimum_filter1d(slow, int(0.4 / SPACING)), 0.1 / SPACING)
    reached = np.concatenate([[0.0], np.cumsum(SPACING * 2 / (speed[1:] + speed[:-1]))])
    clock = np.arange(0.0, reached[-1], TICK)
    # Blurring over time bounds the acceleration where the path has a cusp.
    at = _blurred(_interpolated(clock, reached, path), 0.25 / TICK)
    return clock, at, _blurred(np.interp(clock, reached, heading), 0.25 / TICK)


def _blurred(values: Array, deviation: float) -> Array:
    """Gaussian filter along the first axis."""
    blurred: Array = gaussian_filter1d(values, deviation, axis=0, mode="nearest")
    return blurred


def _interpolated(at: Array, along: Array, points: Array) -> Array:
    """(N, 2) points at other places of a piecewise linear curve."""
    return np.stack([np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1])], 1)


def _graph(plan: FloorPlan, cells: NDArray[np.int64]) -> coo_array:
    """Free cells and their eight neighbors; the way through the middle of a passage is the shorter one."""
    index = np.full(plan.clearance.shape, -1, np.int64)
    index[cells[:, 0], cells[:, 1]] = np.arange(len(cells))
    cost = 1.0 + 0.15 / plan.clearance[cells[:, 0], cells[:, 1]].astype(np.float64)
    rows, columns, weights = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        neighbor = index[cells[:, 0] + down, cells[:, 1] + right]
        here = np.flatnonzero(neighbor >= 0)
        there = neighbor[here]
        rows.append(here)
        columns.append(there)
        weights.append(CELL * math.hypot(down, right) * (cost[here] + cost[there]) / 2)
    shape = (len(cells), len(cells))
    half = coo_array((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    return (half + half.T).tocsr()


def _resampled(path: Array, spacing: float) -> Array:
    """The same polyline with points at equal distances (meters)."""
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    path = path[np.concatenate([[True], lengths > 1e-9])]
    along = np.concatenate([[0.0], np.cumsum(lengths[lengths > 1e-9])])
    count = max(2, round(along[-1] / spacing) + 1)
    return _interpolated(np.linspace(0.0, along[-1], count), along, path)


def _sway(rng: np.random.Generator, times: Array, slow: float, fast: float) -> Array:
    """Smooth random function of time within -1..1 whose frequencies are slow..fast (Hz)."""
    frequency, phase = rng.uniform(slow, fast, 3), rng.uniform(0, 2 * math.pi, 3)
    sway: Array = np.sin(2 * math.pi * frequency * times[:, None] + phase).mean(axis=1)
    return sway


def camera_pose(x: float, y: float, z: float, yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Sim3:
    """world_from_camera with optical axes; yaw 0 looks along x, pitch > 0 up, roll > 0 leans right. Radians."""
    forward = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)])
    level = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
    below = np.cross(forward, level)
    right = math.cos(roll) * level + math.sin(roll) * below
    return Sim3.rigid(np.stack([right, np.cross(forward, right), forward], axis=1), np.array([x, y, z]))

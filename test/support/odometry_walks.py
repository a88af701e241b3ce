"""Camera paths with the odometry that a robot would tell, cheap enough for many seeds: no image, no network.

A network's answer is made from the truth: its own unit, noise of the pose, a wavy surface in front of the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from spann3r_ros.complaints import Complaints
from spann3r_ros.config import Config, MapConfig
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.mapping.corrections import Corrector
from spann3r_ros.mapping.correctors import UsualCorrectors
from spann3r_ros.mapping.loop_search import Sight
from spann3r_ros.mapping.map import Map
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

CAMERA = Intrinsics(18.0, 18.0, 11.5, 7.5, 24, 16)
IMAGE = np.zeros((16, 24, 3), np.uint8)
DEPTH = 3.0
"""Meters to what the camera sees."""
RATE = 10.0
CAMERA_FROM_BASE = Sim3.rigid(
    Rotation.from_euler("xyz", [90, 0, 90], degrees=True).as_matrix().T, np.array([0.0, -0.3, -0.2])
)


def walk(count: int, length: float, rng: np.random.Generator, turning: float = 0.6) -> list[Sim3]:
    """World_from_camera of a walk of a length in meters, that turns left and right about the vertical (y, down)."""
    heading = np.cumsum(rng.normal(0, turning / np.sqrt(count), count)) + 0.5 * np.sin(np.linspace(0, 6, count))
    step = length / max(1, count - 1)
    directions = np.stack([np.sin(heading), np.zeros(count), np.cos(heading)], axis=1)
    places = np.concatenate([np.zeros((1, 3)), np.cumsum(step * directions[:-1], axis=0)])
    places[:, 1] += 0.02 * np.sin(np.arange(count) / 3)
    turns = Rotation.from_rotvec(heading[:, None] * [0.0, 1.0, 0.0]).as_matrix()
    return [Sim3.rigid(turn, place) for turn, place in zip(turns, places, strict=True)]


def turning_in_place(count: int, rng: np.random.Generator) -> list[Sim3]:
    """World_from_camera of a camera that turns about itself."""
    angles = np.linspace(0, 2 * np.pi, count) + rng.normal(0, 0.01, count)
    return [
        Sim3.rigid(turn, np.zeros(3)) for turn in Rotation.from_rotvec(angles[:, None] * [0.0, 1.0, 0.0]).as_matrix()
    ]


def odometry(truth: Sequence[Sim3], rng: np.random.Generator, noise: float = 0.01, jitter: float = 0.0) -> list[Sim3]:
    """Odom_from_camera: every step of the base is wrong by a share of its length and of its angle, and that adds up.

    Args:
        truth: world_from_camera.
        rng: of the noise.
        noise: share.
        jitter: standard deviation of each position in meters, besides.
    """
    bases = [pose @ CAMERA_FROM_BASE for pose in truth]
    told = [Sim3.rigid(Rotation.from_euler("z", 40, degrees=True).as_matrix(), np.array([5.0, -2.0, 0.1]))]
    for before, after in pairwise(bases):
        step = before.inverse() @ after
        far, angle = float(np.linalg.norm(step.translation)), step.rotation_angle()
        turn = Rotation.from_rotvec(rng.normal(0, noise * angle, 3)).as_matrix()
        wrong = Sim3.rigid(turn @ step.rotation, step.translation + rng.normal(0, noise * far, 3))
        told.append(told[-1] @ wrong)
    shaken = [Sim3.rigid(pose.rotation, pose.translation + rng.normal(0, jitter, 3)) for pose in told]
    return [pose @ CAMERA_FROM_BASE.inverse() for pose in shaken]


def answers(
    truth: Sequence[Sim3],
    told: Sequence[Sim3 | None],
    unit: float,
    rng: np.random.Generator,
    *,
    place_noise: float = 0.01,
    turn_noise: float = 0.005,
    submap: int = 0,
    start: int = 0,
    camera: str = "camera",
    depth: float | NDArray[np.float32] | None = None,
) -> list[Prediction]:
    """What a network would say.

    Args:
        truth: world_from_camera.
        told: odom_from_camera, or None.
        unit: meters of one unit of the network.
        rng: of the noise.
        place_noise, turn_noise: of the camera's pose, as a share of the depth and in radians.
        submap, start: number of the submap, and of the first frame.
        camera: its name.
        depth: meters that a sensor says of every pixel for each meter of the truth; None: there is none.
    """
    found = []
    rows, columns = np.mgrid[:16, :24]
    for index, (pose, prior) in enumerate(zip(truth, told, strict=True), start):
        own = truth[0].inverse() @ pose
        turn = Rotation.from_rotvec(rng.normal(0, turn_noise, 3)).as_matrix()
        place = (own.translation + rng.normal(0, place_noise * DEPTH, 3)) / unit
        seen = Sim3.rigid(turn @ own.rotation, place)
        meters = (DEPTH + 0.4 * np.sin(rows / 3 + index / 5) + 0.3 * np.cos(columns / 4)).astype(np.float32)
        points = seen.apply(backproject(meters / unit, CAMERA)).astype(np.float32)
        measured = None if depth is None else (meters * np.float32(depth)).astype(np.float32)
        frame = Frame(index, int(index / RATE * 1e9), camera, IMAGE, CAMERA, prior, measured)
        sure = np.full((16, 24), 0.9, np.float32)
        found.append(Prediction(frame, points, sure, IMAGE, seen, "model", None, CAMERA, "camera_info", submap=submap))
    return found


class World:
    """A map and the usual correctors, without a network."""

    def __init__(self, *, metric: bool = False, **scale: object) -> None:
        self.config = Config()
        for name, value in scale.items():
            setattr(self.config.scale, name, value)
        self.logged: list[str] = []
        self.complaints = Complaints(lambda _, text: self.logged.append(text))
        self.usual = UsualCorrectors.of(self.config, metric, self.complaints, Sight(lambda _a, _b: None))
        self.graph = self.usual.measurements
        self.correctors: list[Corrector] = [self.usual.joints, self.usual.anchor, self.usual.scale]
        self.map = Map(MapConfig(voxel_size=0.5, max_points=1000))
        self.map.scale_source = self.usual.scale.first_source
        self.metric_after = -1
        self.answers = 0

    def take(self, predictions: Sequence[Prediction]) -> World:
        """Let the correctors see answers, as a reconstruction does."""
        for prediction in predictions:
            self.map.insert_pose(prediction)
            for corrector in self.correctors:
                for each in corrector.observe(prediction, self.map):
                    self.map.move(each.submap, each.world_from_submap, each.reason, each.scale_source)
            if self.map.metric and self.metric_after < 0:
                self.metric_after = self.answers
            self.answers += 1
        return self

    @property
    def scale(self) -> float:
        """Units of the world in one unit of the first submap's network."""
        return self.map.submaps[0].world_from_submap.scale

    def complaint(self, kind: str) -> str:
        """What is complained about now, of one kind; empty when nothing is."""
        return next((each.text for each in self.complaints.current() if each.kind == kind), "")

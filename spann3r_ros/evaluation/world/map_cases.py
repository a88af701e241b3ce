"""The map itself, by the model that ships: how clean it is, whether the camera is found in it, what moving it costs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.spatial.transform import Rotation

from spann3r_ros.config import Config, MapConfig, from_mapping
from spann3r_ros.errors import FrameError
from spann3r_ros.evaluation.protocol import protocol
from spann3r_ros.evaluation.scores import evaluate_run
from spann3r_ros.evaluation.world.case import AIM, MISSED, MUST, Finding, spread_text
from spann3r_ros.evaluation.world.passes import run_pass
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.map_view import MapView
from spann3r_ros.prediction import Prediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.runs.chosen_model import groups_for, reconstruction_for
from spann3r_ros.runs.folder import OptionalFiles
from spann3r_ros.runs.offline import OfflineRun
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories

SIZE = (256, 192)
"""(width, height) of the images; the model scales them down itself."""

FAR, TURNED = 0.5, 20.0
"""Meters and degrees by which a camera that was found may be wrong: the map itself is off by a good part of that."""


@dataclass(frozen=True)
class DemoMap:
    """The published map of the demo's walk, scored as ``evaluate`` does.

    Attributes:
        frames: of the walk.
    """

    NAME: ClassVar[str] = "demo_map"
    MUST_TEXT: ClassVar[str] = ">= 0.45; <= 0.09; <= 0.09 m"
    AIM_TEXT: ClassVar[str] = "0.55; 0.07; 0.07 m"

    frames: int = 200

    def title(self) -> str:  # noqa: D102
        return f"the demo's published map ({self.frames} frames, without JPEG): F-score at 5 cm; accuracy; completion"

    def measure(self) -> Finding:  # noqa: D102
        scene = Scene.apartment()
        walk = RenderedWalk(scene, Trajectories(scene).walk(EVALUATION_SEED, self.frames, fps=10.0), 640, 480)
        with tempfile.TemporaryDirectory(prefix="spann3r_ros_") as folder:
            run = OfflineRun(walk, reconstruction_for(walk, Config()), Path(folder), OptionalFiles(pointmaps=True))
            run.run()
            found = evaluate_run(run.folder, walk.ground_truth(), protocol("every")).map_geometry
        if found is None:
            return Finding("no map to compare", MISSED)
        score, accuracy, completion = found.f_score, found.accuracy_mean, found.completion_mean
        worst = max(accuracy, completion)
        grade = AIM if score >= 0.55 and worst <= 0.07 else MUST if score >= 0.45 and worst <= 0.09 else MISSED
        return Finding(f"{score:.3f}; {accuracy:.3f} m; {completion:.3f} m", grade)


@dataclass(frozen=True)
class Restarts:
    """A walk is mapped and saved; a robot that knows nothing else begins beside it, there and back.

    Attributes:
        places: where it begins, spread over the walk.
        mapped: frames of the walk.
        frames: after which it must have been found.
        beside: most meters to each side, and the most degrees divided by fifty, by which its way differs.
    """

    NAME: ClassVar[str] = "restarts"
    MUST_TEXT: ClassVar[str] = ">= 90 %; 0"
    AIM_TEXT: ClassVar[str] = "97 %; 0"

    places: int = 30
    mapped: int = 300
    frames: int = 20
    beside: float = 0.2

    def title(self) -> str:  # noqa: D102
        return (
            f"shipped model, a walk of {self.mapped} frames saved, restart at {self.places} other places up to "
            f"{self.beside:g} m and {50 * self.beside:g} degrees beside it: found within {self.frames} frames; wrong"
        )

    def measure(self) -> Finding:  # noqa: D102
        scene = Scene.apartment()
        poses = Trajectories(scene).walk(EVALUATION_SEED, self.mapped)
        values = {"relocalizer": "retrieval"}
        mapped = run_pass(RenderedWalk(scene, poses, *SIZE), values).reconstruction
        known = sorted(mapped.trajectory, key=lambda pose: pose.index)
        positions = np.array([pose.target_from_camera.translation for pose in known])
        truth_from_world = umeyama(positions, np.array([poses[pose.index].translation for pose in known]))
        found = wrong = 0
        with tempfile.TemporaryDirectory(prefix="spann3r_ros_") as folder:
            saved = Path(folder) / "map"
            mapped.save_world(saved)
            for number in range(self.places):
                way = self._way(poses, number)
                walk = RenderedWalk(scene, way, *SIZE)
                again = reconstruction_for(walk, from_mapping(Config, values, groups_for(values)))
                again.relocalize(saved)
                last = _until_found(again, walk)
                if last is not None:
                    index, world_from_camera = last
                    error = way[index].inverse() @ truth_from_world.carry(world_from_camera)
                    shift, turn = float(np.linalg.norm(error.translation)), np.degrees(error.rotation_angle())
                    is_right = shift <= FAR and turn <= TURNED
                    found, wrong = found + is_right, wrong + (not is_right)
        share = found / self.places
        grade = AIM if share >= 0.97 else MUST if share >= 0.9 else MISSED
        return Finding(f"{found} of {self.places}; {wrong}", MISSED if wrong else grade)

    def _way(self, poses: Sequence[Sim3], number: int) -> list[Sim3]:
        """Part of the walk, every other one backwards, to the side of it."""
        rng = np.random.default_rng((number, 17))
        begin = round(number * (len(poses) - self.frames) / max(1, self.places - 1))
        part = list(poses[begin : begin + self.frames])[:: 1 if number % 2 else -1]
        shift = self.beside * rng.uniform(-1, 1, 3) * [1.0, 0.5, 1.0]
        turn = Rotation.from_euler("y", 50 * self.beside * rng.uniform(-1, 1), degrees=True).as_matrix()
        return [pose @ Sim3.rigid(turn, shift) for pose in part]


def _until_found(reconstruction: Reconstruction, walk: RenderedWalk) -> tuple[int, Sim3] | None:
    """The frame with which the camera was found, and where in the world it was then; None if it was not."""
    for frame in walk.frames():
        try:
            reconstruction.process(frame)
        except FrameError:
            continue
        new = [] if reconstruction.is_relocalizing else list(reconstruction.new_poses())
        if new:
            return new[-1].index, new[-1].target_from_camera
    return None


@dataclass(frozen=True)
class MovedMap:
    """All submaps of a large map are moved, and the map is asked for as ``~/map`` publishes it.

    Attributes:
        points, submaps: of the map.
        repetitions: corrections, of which the median and the worst count.
    """

    NAME: ClassVar[str] = "moved_map"
    MUST_TEXT: ClassVar[str] = "<= 1 s; <= 20 ms"
    AIM_TEXT: ClassVar[str] = ""

    points: int = 1_000_000
    submaps: int = 20
    repetitions: int = 10

    def title(self) -> str:  # noqa: D102
        return (
            f"correction of {self.submaps} submaps with {self.points:,} points, while frames come: time until the "
            "corrected cloud is there; that the stream is held up"
        )

    def measure(self) -> Finding:  # noqa: D102
        world, view = self._world(), MapView()
        view.copy(world)
        view.cloud(1)
        held, showing = [], []
        with ThreadPoolExecutor(1) as sender:  # as in the node
            for number in range(1, self.repetitions + 1):
                world.insert(self._prediction(self.submaps - 1, 5.0 + 0.02 * number))
                step = Sim3.rigid(Rotation.from_euler("z", 0.01 * number).as_matrix(), np.array([0.01, 0.0, 0.0]))
                begin = time.perf_counter()
                for submap in world.submaps:
                    world.move(submap.id, step @ submap.world_from_submap, "a measurement")
                view.copy(world)
                held.append(1e3 * (time.perf_counter() - begin))
                cloud = sender.submit(view.cloud, 1).result()
                showing.append(time.perf_counter() - begin)
                assert len(cloud) == len(world)
        is_good = max(showing) <= 1 and max(held) <= 20
        return Finding(
            f"{spread_text(showing, ' s')}; {spread_text(held, ' ms')} of {len(world):,} points",
            MUST if is_good else MISSED,
        )

    def _world(self) -> Map:
        """Every pixel of every frame is a voxel of its own."""
        world = Map(MapConfig(voxel_size=0.01, max_points=2 * self.points, min_observations=1, coarsening=1.0))
        world.config.max_slant, world.config.clear_margin = 90.0, 0.0
        for number in range(self.submaps):
            world.insert(self._prediction(number, 5.0))
        return world

    def _prediction(self, number: int, depth: float) -> Prediction:
        each = self.points // self.submaps
        height = max(1, int(np.sqrt(each)))
        width = -(-each // height)
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        points = np.stack([0.02 * columns, 0.02 * rows, np.full_like(rows, depth)], axis=-1)
        colors = np.full((height, width, 3), 99, np.uint8)
        frame = Frame(number, number, "camera", colors)
        confidence = np.ones((height, width), np.float32)
        return Prediction(frame, points, confidence, colors, Sim3(), "model", submap=number)

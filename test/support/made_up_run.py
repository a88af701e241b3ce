"""A run folder as a model would leave it, whose pointmaps and poses are the truth moved by a known similarity."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from miniature_datasets import HEIGHT, WIDTH
from scipy.spatial.transform import Rotation

from spann3r_ros.config import MapConfig
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.geometry.image_decoder import ImageDecoder
from spann3r_ros.mapping.map import Map
from spann3r_ros.prediction import Prediction
from spann3r_ros.recordings.sequence import DepthImage, GroundTruth, image_decoder
from spann3r_ros.runs.folder import OptionalFiles, RunFolder
from spann3r_ros.runs.record import RunRecord
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import CameraPath

CAMERA = Intrinsics(30.0, 30.0, 15.5, 11.5, WIDTH, HEIGHT)
FRAMES = 8
STEP = 100_000_000


def true_pose(index: int) -> Sim3:
    """A camera that swings around while it moves; optical axes."""
    rotation = Rotation.from_euler("xyz", [0.05 * index, 0.1 * index, 0.02 * index**2]).as_matrix()
    return Sim3.rigid(rotation, np.array([0.3 * index, 0.1 * np.sin(index), 0.05 * index**2]))


def true_depth(index: int) -> np.ndarray:
    """A wavy surface three meters away, with one unknown pixel."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    depth = 3.0 + 0.4 * np.sin(rows / 4 + index) + 0.3 * np.cos(columns / 5)
    depth[2, 3] = np.nan
    return depth.astype(np.float32)


def truth() -> GroundTruth:
    stamps = [index * STEP for index in range(FRAMES)]
    path = CameraPath.from_poses(stamps, [true_pose(index) for index in range(FRAMES)])
    read = lambda index: DepthImage(true_depth(index), CAMERA)  # noqa: E731
    return GroundTruth(path, np.array(stamps, dtype=np.int64), read, "made up")


@dataclasses.dataclass
class MadeUpSequence:
    """The recording that ``write_run`` pretends to come from."""

    truth: GroundTruth | None
    name: str = "made"
    layout: str = "folder"
    path: Path = Path("made")
    unit: str = "m"
    skipped: Counter[str] = dataclasses.field(default_factory=Counter)
    missing: Counter[str] = dataclasses.field(default_factory=Counter)
    decoder: ImageDecoder = dataclasses.field(default_factory=image_decoder)

    def count(self) -> int | None:
        return FRAMES

    def frames(self, every: int = 1) -> Iterator[Frame]:
        for index in range(0, FRAMES, every):
            image = np.full((HEIGHT, WIDTH, 3), 30 * index, np.uint8)
            yield Frame(index // every, index * STEP, "camera", image, CAMERA)

    def ground_truth(self) -> GroundTruth | None:
        return self.truth


def write_run(
    folder: Path, scale: float = 1.0, noise: float = 0.0, every: int = 1, finished: bool = True, name: str = "made"
) -> RunFolder:
    """Predictions around the first camera, ``scale`` times too large, with noise on the points."""
    rng = np.random.default_rng(0)
    source = {"path": str(folder), "layout": "folder", "name": name, "unit": "m"}
    parameters = {"device": "cpu", "map.voxel_size": 0.02 * (1 + noise)}
    record = RunRecord(name, "offline", source, every, parameters, {"file": "none"}, metric=scale == 1.0)
    record.finished, record.offered, record.started = finished, FRAMES, "2026-01-01T00:00:00+00:00"
    run = RunFolder(folder, OptionalFiles(pointmaps=True))
    run.create()
    world = Map(
        MapConfig(
            min_observations=1,
            max_slant=90.0,
            clear_margin=0.0,
        )
    )
    model_from_world = Sim3(scale) @ true_pose(0).inverse()
    for index in range(FRAMES):
        pose = model_from_world @ true_pose(index)
        points = pose.apply(backproject(np.nan_to_num(true_depth(index), nan=3.0), CAMERA))
        points = (points + rng.normal(0.0, noise, points.shape)).astype(np.float32)
        frame = Frame(index, index * STEP, "camera", np.full((HEIGHT, WIDTH, 3), 90, np.uint8), CAMERA)
        colors = np.full((HEIGHT, WIDTH, 3), [200, 20 * index, 50], np.uint8)
        confidence = np.full((HEIGHT, WIDTH), 0.5 + 0.05 * index, np.float32)
        rigid = Sim3.rigid(pose.rotation, pose.translation)
        prediction = Prediction(frame, points, confidence, colors, rigid, intrinsics=CAMERA)
        world.insert(prediction)
        run.add(world.in_world(prediction))
        record.frames.add(frame.stamp, 0.010 * (index + 1), 0, 12 * (index + 1), 10**8 + index)
        record.frames.confidence[-1], record.frames.posed[-1] = 0.5, True
    run.finish(world.cloud(), world.trajectory(), record)
    return run

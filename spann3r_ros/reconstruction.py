"""From frames to a map: the whole flow on one screen."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np

from spann3r_ros.config import Config
from spann3r_ros.errors import DataError, GeometryError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.geometry.camera import centerd
from spann3r_ros.geometry.focal import estimate_focal
from spann3r_ros.geometry.pnp import estimate_pose
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.storage import SavedMap, read_map, write_map
from spann3r_ros.memory_status import MemoryStatistics
from spann3r_ros.models.base import Memory, StreamingModel
from spann3r_ros.models.registry import load_model, release_device_memory
from spann3r_ros.prediction import Prediction
from spann3r_ros.trajectory import Trajectory

logger = logging.getLogger(__name__)

ESTIMATED_INTRINSICS = "estimated intrinsics"


class Reconstruction:
    """A model, what it remembers, and the map and trajectory that came of it.

    The world has ROS axes (x forward, y left, z up) and its origin in the first camera; cameras keep optical axes.

    Args:
        model: the network; its weights do not change.
        config: map and pose parameters; live ones may change between frames.
    """

    def __init__(self, model: StreamingModel, config: Config) -> None:
        self.model = model
        self.config = config
        self.map = Map(config.map)
        self.reset()

    @classmethod
    def from_config(cls, config: Config) -> Reconstruction:
        """Load the model that ``config`` asks for; raises ConfigError and CheckpointError as ``load_model`` does."""
        return cls(load_model(config), config)

    def close(self) -> None:
        """Let go of weights, memory and map, on the device too. The object is of no use afterwards."""
        del self.model, self.memory, self.map
        release_device_memory()

    def reset(self) -> None:
        """Begin a new world: an empty memory, map and trajectory."""
        self.memory: Memory = self.model.new_memory()
        self.map.clear()
        self.pose_failure = ""
        self._estimated: Intrinsics | None = None
        self._is_first_answer = True

    @property
    def trajectory(self) -> Trajectory:
        """One pose per frame whose camera could be found, in the world."""
        return self.map.trajectory()

    @property
    def metric(self) -> bool:
        """Whether the unit of the world is the meter."""
        return self.model.metric

    @property
    def scale_source(self) -> str:
        """What made the unit what it is."""
        return "model" if self.model.metric else "none: the unit of the first frames, not the meter"

    def process(self, frame: Frame) -> list[Prediction]:
        """Take one frame; return what is now known, in the world, with poses where they could be recovered.

        Raises:
            FrameError: a frame that the model cannot take; nothing has changed then.
        """
        return [self._integrate(answer) for answer in self.model.step(frame, self.memory)]

    def flush(self) -> list[Prediction]:
        """The answers still owed when no further frame will come."""
        return [self._integrate(answer, last=True) for answer in self.model.flush(self.memory)]

    def statistics(self) -> MemoryStatistics:
        """What the memory holds."""
        return self.memory.statistics()

    def save(self, path: Path) -> SavedMap:
        """Write map, trajectory and memory to a folder; ``load`` continues from it in the same world."""
        intrinsics = json.dumps(self._estimated and dataclasses.asdict(self._estimated))
        notes = {"model": self.model.name, "weights": self.model.weights, ESTIMATED_INTRINSICS: intrinsics}
        return write_map(path, self.map, save_memory=self.memory.save, notes=notes)

    def load(self, path: Path) -> SavedMap:
        """Replace everything by what ``save`` wrote; on an error all stays as it was."""
        world, saved = read_map(path, self.config.map)
        if saved.memory is None:
            raise DataError(f"{path} has no memory, so it cannot be continued", expected="what save_map wrote")
        memory = self.model.load_memory(saved.memory)
        intrinsics = json.loads(saved.notes.get(ESTIMATED_INTRINSICS, "null"))
        # The revision goes on growing, so that whoever has a copy of the old map sees that it is stale.
        world.revision = max(world.revision, self.map.revision + 1)
        self.memory, self.map = memory, world
        self._estimated = intrinsics and Intrinsics(**intrinsics)
        self._is_first_answer = len(world) == 0
        return saved

    def _integrate(self, answer: Prediction, last: bool = False) -> Prediction:
        """One answer of the model: recover its camera, turn it into world axes, add it to trajectory and map."""
        intrinsics = self._intrinsics(answer)
        prediction = dataclasses.replace(
            answer, points=ROS_FROM_OPTICAL.apply(answer.points).astype(np.float32), intrinsics=intrinsics
        )
        prediction = self._localize(prediction)
        # With both outputs each frame is answered twice; only its final answer enters the map.
        if prediction.refined or last or self.config.output != "both":
            self.map.insert(prediction)
        else:
            self.map.insert_pose(prediction)
        return prediction

    def _intrinsics(self, answer: Prediction) -> Intrinsics | None:
        """Calibration of the answer's grid: the camera's, or one estimated once, from the first frame.

        Only the first frame's points are in the axes of its own camera. Other uncalibrated cameras are taken to have
        the same focal length.
        """
        is_first, self._is_first_answer = self._is_first_answer, False
        if is_first:
            height, width = answer.confidence.shape
            try:
                self._estimated = centerd(estimate_focal(answer.points, answer.confidence), width, height)
            except GeometryError as error:
                self.pose_failure = f"no focal length from the first frame: {error}"
                logger.warning("%s", self.pose_failure)
        if answer.intrinsics is not None and self.config.pose.use_camera_info:
            return answer.intrinsics
        return self._estimated

    def _localize(self, prediction: Prediction) -> Prediction:
        """The prediction with the pose of its camera, or without one and ``pose_failure`` saying why."""
        if prediction.intrinsics is None:
            return prediction
        settings = self.config.pose
        estimate = estimate_pose(
            prediction.points,
            prediction.confidence,
            prediction.intrinsics,
            samples=settings.samples,
            reprojection_error=settings.reprojection_error,
            min_inliers=settings.min_inliers,
        )
        if estimate.world_from_camera is None:
            logger.info("frame %d: no pose: %s", prediction.frame.index, estimate.reason)
        self.pose_failure = estimate.reason
        return dataclasses.replace(prediction, world_from_camera=estimate.world_from_camera)

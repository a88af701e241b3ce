"""From frames to a map: the whole flow on one screen."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spann3r_ros.complaints import Complaints, through
from spann3r_ros.config import Config
from spann3r_ros.errors import DataError, FrameError, GeometryError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.camera import centered, resize
from spann3r_ros.geometry.focal import estimate_focal
from spann3r_ros.mapping.bound import BoundNotice
from spann3r_ros.mapping.camera_poses import CameraPoses
from spann3r_ros.mapping.corrections import Corrector
from spann3r_ros.mapping.joints import SubmapJoints
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.storage import SavedMap, read_map, write_map
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.base import Model, Stream
from spann3r_ros.models.loading import release_device_memory
from spann3r_ros.models.registry import is_told_depth, parameter_groups, takers_of_depth
from spann3r_ros.prediction import Prediction, WorldPrediction
from spann3r_ros.streaming.retreat import Retreat
from spann3r_ros.streaming.stream import load_stream
from spann3r_ros.tracking import LOST, Tracking
from spann3r_ros.trajectory import Trajectory

__all__ = ["Reconstruction", "is_told_depth", "parameter_groups", "takers_of_depth"]

logger = logging.getLogger(__name__)

ESTIMATED_INTRINSICS = "estimated intrinsics"


class Reconstruction:
    """A model, what it remembers, and the map and trajectory that came of it.

    A model speaks in the frames of its submaps; the map knows where those lie in the world, which has ROS axes
    (x forward, y left, z up) and its origin in the first camera. Cameras keep optical axes.

    Args:
        stream: the model with an empty memory; its weights do not change.
        config: map and pose parameters; live ones may change between frames.
        correctors: what moves submaps, in this order.
        complaints: where a loss of tracking is reported; by default it is only logged.
    """

    def __init__(
        self,
        stream: Stream,
        config: Config,
        correctors: Sequence[Corrector] = (),
        complaints: Complaints | None = None,
    ) -> None:
        self._use(stream)
        self.config = config
        self.correctors = list(correctors)
        self.complaints = complaints or Complaints(through(logger))
        self.map = Map(config.map)
        self.tracking = Tracking(config.tracking, self.complaints)
        self._bound = BoundNotice(self.complaints)
        self._poses = CameraPoses()
        self._estimated: Intrinsics | None = None
        self._begin()

    @classmethod
    def from_config(cls, config: Config, complaints: Complaints | None = None) -> Reconstruction:
        """Load the model that ``config`` asks for; raises ConfigError and CheckpointError as ``load_stream`` does."""
        return cls(load_stream(config), config, [SubmapJoints()], complaints)

    def close(self) -> None:
        """Let go of weights, memory and map, on the device too. The object is of no use afterwards."""
        del self._stream, self._retreat, self.map
        release_device_memory()

    def reset(self) -> None:
        """Begin a new world: an empty memory, map and trajectory."""
        self._clear()
        self.tracking.begin()

    @property
    def model(self) -> Model:
        """The network that runs."""
        return self._stream.model

    @property
    def trajectory(self) -> Trajectory:
        """One pose per frame whose camera could be found, in the world."""
        return self.map.trajectory()

    @property
    def metric(self) -> bool:
        """Whether the unit of the world is the meter."""
        return self.map.metric

    @property
    def scale_source(self) -> str:
        """What made the world metric; empty while nothing did."""
        return self.map.scale_source

    def process(self, frame: Frame) -> list[WorldPrediction]:
        """Take one frame; return what is now known, in the world, with poses where they could be recovered.

        Raises:
            FrameError: a frame that shows nothing, or that the model cannot take; memory and map are as they were.
        """
        self.tracking.check(frame)
        taken = self._take(self._stream.step(frame))
        if self.tracking.must_begin_anew:
            self._begin_anew()
            taken = [*map(_untrusted, taken), *self._take(self._stream.step(frame))]
        elif self._goes_back(taken):
            taken += self._take(self._stream.step(frame))
        if self.config.tracking.enabled:
            self._retreat.keep(frame.index)
        return taken

    def _goes_back(self, taken: Sequence[WorldPrediction]) -> bool:
        """Whether an answer was not trusted, and the memory could be brought back to before what it was about."""
        doubted = [answer.frame.index for answer in taken if answer.final and not answer.is_tracked]
        if doubted:
            return self.tracking.state == LOST and self._retreat.before(min(doubted))
        if taken:
            self._retreat.trust()
        return False

    def flush(self) -> list[WorldPrediction]:
        """The answers still owed when no further frame will come."""
        taken = self._take(self._stream.flush())
        if self.tracking.must_begin_anew:
            self._begin_anew()
            taken = [_untrusted(each) for each in taken]
        return taken

    def status(self) -> MemoryStatus:
        """What the memory holds."""
        return self._stream.status()

    def warm_up(self) -> None:
        """Two frames of noise through the network, with a memory of their own, so that its kernels are chosen."""
        noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
        trial = self._stream.fresh()
        for index in range(2):
            trial.step(Frame(index, index, "warm_up", noise))

    def save(self, path: Path) -> SavedMap:
        """Write map, trajectory and memory to a folder; ``load`` continues from it in the same world."""
        intrinsics = json.dumps(self._estimated and dataclasses.asdict(self._estimated))
        notes = {"model": self.model.name, "weights": self.model.weights, ESTIMATED_INTRINSICS: intrinsics}
        correctors = {corrector.name: corrector.saved() for corrector in self.correctors}
        return write_map(path, self.map, save_memory=self._stream.save, notes=notes, correctors=correctors)

    def load(self, path: Path) -> SavedMap:
        """Replace everything by what ``save`` wrote; on an error all stays as it was."""
        world, saved = read_map(path, self.config.map)
        if saved.memory is None:
            raise DataError(f"{path} has no memory, so it cannot be continued", expected="what save_map wrote")
        stream = self._stream.loaded(saved.memory)
        estimated = _intrinsics_from_note(saved.notes.get(ESTIMATED_INTRINSICS, "null"), path)
        # The revision goes on growing, so that whoever has a copy of the old map sees that it is stale.
        world.revision = max(world.revision, self.map.revision + 1)
        world.scale_source = world.scale_source or self._scale_source()
        self._restore_correctors(saved)
        self._use(stream)
        self.map = world
        self._estimated = estimated
        self._is_first_answer = len(world) == 0
        self._bound.clear()
        self._poses.clear()
        self.tracking.begin()
        if len(world):
            self.tracking.go_on()
        return saved

    def _scale_source(self) -> str:
        """What makes a new world metric: the model or nothing."""
        return "model" if self.model.metric else ""

    def _restore_correctors(self, saved: SavedMap) -> None:
        """Let each corrector go on where it was saved; raises DataError, and each is as it was then."""
        before = [corrector.saved() for corrector in self.correctors]
        try:
            for corrector in self.correctors:
                corrector.restore(saved.correctors.get(corrector.name, {}))
        except (ValueError, KeyError) as error:
            for corrector, state in zip(self.correctors, before, strict=True):
                corrector.restore(state)
            raise DataError(
                f"state of a corrector in the map {saved.path}",
                got=error,
                expected="what save_map wrote",
                next_step="The file was changed: take the map from a backup",
            ) from error

    def _use(self, stream: Stream) -> None:
        self._stream, self._retreat = stream, Retreat(stream)

    def _begin(self) -> None:
        self.map.scale_source = self._scale_source()
        self._estimated, self._no_focal_length = None, ""
        self._is_first_answer = True
        self._bound.clear()
        self._poses.clear()

    def _begin_anew(self) -> None:
        """The first answers did not agree: forget what the world began with."""
        self._clear()
        self.tracking.begin_anew()

    def _clear(self) -> None:
        self._use(self._stream.fresh())
        self.map.clear()
        for corrector in self.correctors:
            corrector.clear()
        self._begin()

    def _take(self, answers: Sequence[Prediction]) -> list[WorldPrediction]:
        """Answers of the model, oldest first: those that are trusted enter the map."""
        taken = []
        for answer in answers:
            prediction, no_pose = self._located(self._calibrated(answer))
            if self.tracking.trusts(prediction, no_pose):
                taken.append(self._integrate(prediction))
            else:
                self._poses.forget(prediction)
                prediction = dataclasses.replace(
                    prediction, submap_from_camera=None, pose_source="", pose_covariance=None
                )
                taken.append(dataclasses.replace(self.map.in_world(prediction), is_tracked=False))
        return taken

    def _integrate(self, prediction: Prediction) -> WorldPrediction:
        """Add an answer to map and trajectory, and let it correct them."""
        if prediction.final:
            self.map.insert(prediction)
            self._bound.tell(self.map)
        else:
            self.map.insert_pose(prediction)
        for corrector in self.correctors:
            for correction in corrector.observe(prediction, self.map):
                self.map.move(
                    correction.submap, correction.world_from_submap, correction.reason, correction.scale_source
                )
        return self.map.in_world(prediction)

    def _calibrated(self, answer: Prediction) -> Prediction:
        """With the calibration of the answer's grid: the camera's, the model's, or one estimated once.

        Only the first frame's points are in the axes of its own camera. Other uncalibrated cameras are taken to have
        the same focal length.
        """
        is_first, self._is_first_answer = self._is_first_answer, False
        unwanted = answer.intrinsics_source == "camera_info" and not self.config.pose.use_camera_info
        is_calibrated = answer.intrinsics is not None and not unwanted
        if is_first:
            height, width = answer.confidence.shape
            try:
                self._estimated = centered(estimate_focal(answer.points, answer.confidence), width, height)
            except GeometryError as error:
                self._no_focal_length = f"no focal length from the first frame: {error}"
        if is_calibrated:
            return answer
        if self._estimated is None:
            return dataclasses.replace(answer, intrinsics=None, intrinsics_source="")
        height, width = answer.confidence.shape
        intrinsics = self._estimated
        if (intrinsics.width, intrinsics.height) != (width, height):
            intrinsics = resize(intrinsics, width, height)
        return dataclasses.replace(answer, intrinsics=intrinsics, intrinsics_source="estimated")

    def _located(self, prediction: Prediction) -> tuple[Prediction, str]:
        """With the pose of its camera: the model's own, else one by PnP, else none and why."""
        if prediction.submap_from_camera is not None:
            return prediction, ""
        if prediction.intrinsics is None:
            return prediction, f"no pose: {self._no_focal_length}"
        return self._poses.locate(prediction, self.config.pose)


def _untrusted(answer: WorldPrediction) -> WorldPrediction:
    """An answer in a world that was given up: no pose, and not to be published."""
    return dataclasses.replace(answer, world_from_camera=None, pose_source="", pose_covariance=None, is_tracked=False)


def _intrinsics_from_note(note: str, path: Path) -> Intrinsics | None:
    """The calibration that was estimated for a saved map; raises DataError for a note that is none."""
    try:
        values: Any = json.loads(note)
        if values is None:
            return None
        fx, fy, cx, cy = (float(values[name]) for name in ("fx", "fy", "cx", "cy"))
        width, height = values["width"], values["height"]
        if type(width) is not int or type(height) is not int:
            raise TypeError(f"image size {width} x {height}")
        found = Intrinsics(fx, fy, cx, cy, width, height)
        if not 0.1 <= fx / width <= 100 or not 0.1 <= fy / height <= 100:
            raise ValueError(f"focal lengths {fx:g}, {fy:g} of an image {width} x {height}")
        return found
    except (ValueError, KeyError, TypeError, RecursionError, FrameError) as error:
        raise DataError(
            f"estimated intrinsics of the map {path}",
            got=error,
            expected="those of the first frame, as save_map writes them",
            next_step="The manifest was changed: take the map from a backup",
        ) from error

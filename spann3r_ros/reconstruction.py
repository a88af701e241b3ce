"""From frames to a map: the whole flow on one screen."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.complaints import EVENT, Complaints, through
from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError, DataError, GeometryError, MemoryMismatchError
from spann3r_ros.estimated_intrinsics import EstimatedIntrinsics
from spann3r_ros.frame import Frame
from spann3r_ros.mapping import voxel_grid
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.bound import BoundNotice
from spann3r_ros.mapping.camera_poses import CameraPoses
from spann3r_ros.mapping.corrections import Correction, Corrector, PatientCorrector
from spann3r_ros.mapping.correctors import UsualCorrectors
from spann3r_ros.mapping.graph_corrections import GraphView
from spann3r_ros.mapping.graph_solver import require_gtsam
from spann3r_ros.mapping.loop_closure import LoopStatus
from spann3r_ros.mapping.loop_search import Sight
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.map_state import MapState
from spann3r_ros.mapping.relocalizing import Relocalization, keyframes_from
from spann3r_ros.mapping.scale import AUTO, MODEL, ScaleStatus
from spann3r_ros.mapping.storage import SavedMap, read_map, write_map
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.base import AnyModel, Model, Stream
from spann3r_ros.models.loading import load_descriptor, load_relocalizer, release_device_memory
from spann3r_ros.models.registry import is_told_depth, parameter_groups, takers_of_depth
from spann3r_ros.prediction import Prediction, WorldPrediction
from spann3r_ros.saved_world import (
    ReconstructionCopy,
    first_submap_of,
    intrinsics_of,
    notes_of,
    places_of,
    require_network,
    require_places,
)
from spann3r_ros.streaming.relating import relating
from spann3r_ros.streaming.retreat import Retreat
from spann3r_ros.streaming.stream import load_stream, shared_frames, stream_of
from spann3r_ros.tracking import LOST, Tracking
from spann3r_ros.trajectory import Trajectory

__all__ = ["Reconstruction", "is_told_depth", "parameter_groups", "takers_of_depth"]

logger = logging.getLogger(__name__)

CAMERA_POSES = "camera_poses"
"""Under which the state of the poses lies in a saved map, beside those of correctors."""


class Reconstruction:
    """A model, what it remembers, and the map and trajectory that came of it.

    A model speaks in the frames of its submaps; the map knows where those lie in the world, which has ROS axes
    (x forward, y left, z up) and its origin in the first camera. Cameras keep optical axes.

    Args:
        stream: the model with an empty memory; its weights do not change.
        config: map and pose parameters; live ones may change between frames.
        correctors: what moves submaps, in this order.
        complaints: where a loss of tracking is reported; by default it is only logged.

    Attributes:
        usual: the correctors of ``from_config``; None where others were given.
        network_seconds: that the model took for the last frame, its image made ready included.
    """

    usual: UsualCorrectors | None = None

    def __init__(
        self,
        stream: Stream,
        config: Config,
        correctors: Sequence[Corrector] = (),
        complaints: Complaints | None = None,
    ) -> None:
        self._use(stream)
        self.config = config
        self.network_seconds = float("nan")
        self.correctors = list(correctors)
        self.complaints = complaints or Complaints(through(logger))
        self.map = Map(config.map)
        self.tracking = Tracking(config.tracking, self.complaints)
        self._bound = BoundNotice(self.complaints)
        self._poses = CameraPoses()
        self._intrinsics = EstimatedIntrinsics()
        self._begin()

    @classmethod
    def from_config(
        cls,
        config: Config,
        complaints: Complaints | None = None,
        model: AnyModel | None = None,
        is_live: bool = False,
    ) -> Reconstruction:
        """Load the model that ``config`` asks for, unless one is given, with all that corrects its map.

        Args:
            config: the parameters; live ones may change between frames.
            complaints: as of the class.
            model: used instead of the one that ``config`` asks for.
            is_live: whether images go on coming meanwhile: then loops are looked for beside the stream. For recorded
                data it is done between frames, so that every run gives the same.

        Raises:
            ConfigError, CheckpointError: as ``load_stream``; loops without GTSAM.
        """
        if config.loops.enabled:
            require_gtsam()
        complaints = complaints or Complaints(through(logger))
        stream = load_stream(config) if model is None else stream_of(model, config)
        weights = config.loops.descriptor
        describe = load_descriptor(Path(weights), config.device).describe if weights else None
        sight, background = Sight(relating(stream).relate, describe), Background(is_live)
        usual = UsualCorrectors.of(
            config, stream.model.metric, complaints, sight, background, shared_frames(stream.model)
        )
        correctors = usual.in_order()
        if config.relocalizer != "none":
            correctors.append(_relocalization(config, stream, background, complaints))
        made = cls(stream, config, correctors, complaints)
        made.usual = usual
        return made

    def close(self) -> None:
        """Let go of weights, memory and map, on the device too. The object is of no use afterwards."""
        for corrector in self._patient():
            corrector.close()
        self.correctors.clear()
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

    @property
    def scale(self) -> ScaleStatus:
        """How the scale of the world is known."""
        return ScaleStatus(self.scale_source) if self.usual is None else self.usual.scale.status

    def _step(self, frame: Frame) -> list[Prediction]:
        began = time.perf_counter()
        answers = self._stream.step(frame)
        self.network_seconds += time.perf_counter() - began
        return answers

    def process(self, frame: Frame) -> list[WorldPrediction]:
        """Take one frame; return what is now known, in the world, with poses where they could be recovered.

        Raises:
            FrameError: a frame that shows nothing, or that the model cannot take; memory and map are as they were.
        """
        self.network_seconds = 0.0
        self.tracking.check(frame)
        taken = self._take(self._step(frame))
        if self.tracking.must_begin_anew:
            self._begin_anew()
            taken = [*map(_untrusted, taken), *self._take(self._step(frame))]
        elif self._goes_back(taken):
            taken += self._take(self._step(frame))
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
        for corrector in self._patient():
            self._move(corrector.finish(self.map))
        return taken

    def loops(self) -> LoopStatus:
        """How many loops there are, and what became of the others."""
        return LoopStatus.of(self.usual.loops.counts, self.usual.graph) if self.usual is not None else LoopStatus()

    def pose_graph(self) -> GraphView:
        """The measurements that hold the submaps together, for pictures of them."""
        return self.usual.graph.view(self.map) if self.usual is not None else GraphView()

    def status(self) -> MemoryStatus:
        """What the memory holds."""
        return self._stream.status()

    def warm_up(self) -> None:
        """Two frames of noise through the network, with a memory of their own, so that its kernels are chosen.

        What the map has compiled is compiled, too.
        """
        voxel_grid.warm_up()
        noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
        trial = self._stream.fresh()
        for index in range(2):
            trial.step(Frame(index, index, "warm_up", noise))

    def save(self, path: Path) -> SavedMap:
        """Write map, trajectory and memory to a folder; ``load`` continues from it in the same world."""
        return write_map(path, self.map, save_memory=self._stream.save, notes=self._notes(), correctors=self._states())

    def copied(self, earlier: MapState | None = None) -> ReconstructionCopy:
        """What ``save`` would write, as a copy that takes little time; ``earlier`` as of ``MapState.of``."""
        return ReconstructionCopy(MapState.of(self.map, earlier), self._stream.copied(), self._notes(), self._states())

    def _states(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """What correctors and poses need to go on, by name."""
        return {**{each.name: each.saved() for each in self.correctors}, CAMERA_POSES: self._poses.saved()}

    def _notes(self) -> dict[str, str]:
        return notes_of(self.model, self._intrinsics, self._first_submap)

    def load(self, path: Path) -> SavedMap:
        """Replace everything by what ``save`` wrote; on an error all stays as it was."""
        world, saved = read_map(path, self.config.map)
        if saved.memory is None:
            raise DataError(
                f"{path} has no memory, so it cannot be continued",
                expected="what save_map wrote",
                next_step="With relocalizer: retrieval the camera is looked for in it",
            )
        stream = self._stream.loaded(saved.memory)
        intrinsics, first_submap = intrinsics_of(saved), first_submap_of(saved)
        self._take_over(world, saved, stream)
        self._intrinsics, self._first_submap = intrinsics, first_submap
        self._intrinsics.is_next_first = len(world) == 0
        if len(world):
            self.tracking.go_on()
        return saved

    def relocalize(self, path: Path) -> SavedMap:
        """Begin with a saved world and an empty memory; new frames lie apart until the camera is found in that world.

        Raises:
            DataError, MemoryMismatchError: a map that cannot be read, has no keyframes, or is of another network or
                unit; all stays as it was.
        """
        saved = self.begin_with(path)
        self.map.apart = self._first_new_submap
        for each in self.correctors:
            if isinstance(each, Relocalization):
                each.look_for_camera()
        return saved

    def begin_with(self, path: Path) -> SavedMap:
        """Replace everything by a saved world; the memory is empty. Raises as ``relocalize``."""
        world, saved = read_map(path, self.config.map)
        if not any(isinstance(each, Relocalization) for each in self.correctors):
            raise ConfigError(
                "parameter 'relocalizer'", got=self.config.relocalizer, expected="retrieval | posenet, from the start"
            )
        require_network(saved, world, self.model)
        require_places(saved)
        self._take_over(world, saved, self._stream.fresh())
        self._intrinsics = EstimatedIntrinsics()
        self._first_submap = self._first_new_submap = 1 + max(submap.id for submap in world.submaps)
        return saved

    def merge(self, path: Path) -> SavedMap:
        """Take in another saved map of the same network and unit, where both know the same place.

        Raises:
            DataError, MemoryMismatchError: as ``relocalize``, or a map of places that this one does not know; all stays
                as it was.
        """
        finder = next(each for each in self.correctors if isinstance(each, Relocalization))
        world, saved = read_map(path, self.config.map)
        require_network(saved, world, self.model)
        if world.metric != self.map.metric:
            units = {True: "meters", False: "a unit that nobody knows"}
            raise MemoryMismatchError(
                f"unit of the map {path}", got=units[world.metric], expected=f"{units[self.map.metric]}, as the first"
            )
        first = 1 + max(submap.id for submap in self.map.submaps)
        self.map.adopt(world.submaps, first)
        for keyframe in finder.adopt(keyframes_from(places_of(saved)), first):
            self._move(finder.look_for(keyframe, self.map))
            if not self.is_relocalizing:
                return saved
        counts = finder.counts
        finder.drop(first)
        self.map.drop_apart()
        self.map.join()
        raise DataError(
            f"the map {path} is not joined: no place that both know was found",
            got=f"{counts.candidates} candidates, {counts.accepted} that fit",
            expected="two views of a place in both maps that agree",
            next_step="Record a session that goes through both, or lower loops.similarity",
        )

    def save_world(self, path: Path) -> SavedMap:
        """Write map and keyframes without a memory: new frames have to be looked for in it (``relocalize``)."""
        correctors = {each.name: each.saved() for each in self.correctors if isinstance(each, Relocalization)}
        return write_map(path, self.map, notes=self._notes(), correctors=correctors)

    def new_poses(self) -> Trajectory:
        """Poses in the world of the frames that came since a map was loaded by ``relocalize``, once it is found."""
        new = [submap for submap in self.map.placed() if submap.id >= self._first_new_submap]
        return Trajectory.joined(submap.poses.seen_from(submap.world_from_submap) for submap in new)

    @property
    def is_relocalizing(self) -> bool:
        """Whether the camera is still looked for in a loaded map."""
        return self.map.apart is not None

    def _take_over(self, world: Map, saved: SavedMap, stream: Stream) -> None:
        """Go on with a world that was read; raises DataError, and all is as it was then."""
        # The revision goes on growing, so that whoever has a copy of the old map sees that it is stale.
        world.revision = max(world.revision, self.map.revision + 1)
        world.scale_source = world.scale_source or self._scale_source()
        self._restore_correctors(saved)
        self._use(stream)
        self.map = world
        self._bound.clear()
        self.tracking.begin()

    def _scale_source(self) -> str:
        """What makes a new world metric: the model or nothing."""
        return MODEL if self.model.metric and self.config.scale.source in (AUTO, MODEL) else ""

    def _restore_correctors(self, saved: SavedMap) -> None:
        """Let each corrector go on where it was saved; raises DataError, and each is as it was then."""
        before = [corrector.saved() for corrector in self.correctors]
        try:
            for corrector in self.correctors:
                is_places = isinstance(corrector, Relocalization)
                corrector.restore(places_of(saved) if is_places else saved.correctors.get(corrector.name, {}))
            self._poses = CameraPoses.restored(saved.correctors.get(CAMERA_POSES, {}))
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
        self._first_submap = self._first_new_submap = 0
        self._intrinsics = EstimatedIntrinsics()
        self._bound.clear()
        self._poses.clear()

    def _begin_anew(self) -> None:
        """The first answers did not agree: forget what the world, or what lies apart from it, began with."""
        if self.map.apart is None:
            self._clear()
        else:
            self._use(self._stream.fresh())
            for corrector in self.correctors:
                if isinstance(corrector, Relocalization):
                    corrector.drop(self.map.apart)
            self.map.drop_apart()
            self._intrinsics = EstimatedIntrinsics()
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
            if self._first_submap:  # the memory counts from 0, wherever in the world it began
                answer = dataclasses.replace(answer, submap=answer.submap + self._first_submap)
            prediction, no_pose = self._located(self._intrinsics.calibrated(answer, self.config.pose.use_camera_info))
            if self.tracking.trusts(prediction, no_pose):
                if self.tracking.is_elsewhere:
                    prediction = self._in_new_submap(prediction)
                taken.append(self._integrate(prediction))
            else:
                self._poses.forget(prediction)
                prediction = dataclasses.replace(
                    prediction, submap_from_camera=None, pose_source="", pose_covariance=None
                )
                taken.append(dataclasses.replace(self.map.in_world(prediction), is_tracked=False))
        return taken

    def _in_new_submap(self, prediction: Prediction) -> Prediction:
        """The first answer of a camera that was lost and is elsewhere now: no submap of before shall take it up.

        Until something joins them, the new one lies to the others as the memory of both says.
        """
        number = 1 + max(submap.id for submap in self.map.submaps)
        self._first_submap += number - prediction.submap
        self.tracking.go_on_in(number, prediction.frame.camera)
        return dataclasses.replace(prediction, submap=number)

    def _integrate(self, prediction: Prediction) -> WorldPrediction:
        """Add an answer to map and trajectory, and let it correct them."""
        if prediction.final:
            self.map.insert(prediction)
            self._bound.tell(self.map)
        else:
            self.map.insert_pose(prediction)
        for corrector in self.correctors:
            self._move(corrector.observe(prediction, self.map))
        return self.map.in_world(prediction)

    def _move(self, corrections: Sequence[Correction]) -> None:
        """Move submaps, all or none."""
        try:
            for correction in corrections:
                self.map.check_move(correction.submap, correction.world_from_submap)
        except GeometryError as error:
            reason = corrections[0].reason
            text = f"a correction of the map is not made ({reason}): {error}"
            self.complaints.report("correction", text, error=error, lasts=EVENT)
            return
        for each in corrections:
            self.map.move(each.submap, each.world_from_submap, each.reason, each.scale_source)

    def _patient(self) -> list[PatientCorrector]:
        return [corrector for corrector in self.correctors if isinstance(corrector, PatientCorrector)]

    def _located(self, prediction: Prediction) -> tuple[Prediction, str]:
        """With the pose of its camera: the model's own, else one by PnP, else none and why."""
        if prediction.submap_from_camera is not None:
            return prediction, ""
        if prediction.intrinsics is None:
            return prediction, f"no pose: {self._intrinsics.missing}"
        return self._poses.locate(prediction, self.config.pose)


def _relocalization(config: Config, stream: Stream, background: Background, complaints: Complaints) -> Relocalization:
    """What finds the camera in a loaded map; raises ConfigError and CheckpointError."""
    locate, weights = None, config.relocalizer_checkpoint
    if config.relocalizer == "posenet":
        if not weights:
            raise ConfigError("parameter 'relocalizer_checkpoint'", got="''", expected="weights of a relocalizer")
        locate = load_relocalizer(Path(weights), config.device).locate
    descriptor = config.loops.descriptor
    describe = load_descriptor(Path(descriptor), config.device).describe if descriptor else None
    return Relocalization(config.loops, relating(stream).relate, background, locate, describe, complaints)


def _untrusted(answer: WorldPrediction) -> WorldPrediction:
    """An answer in a world that was given up: no pose, and not to be published."""
    return dataclasses.replace(answer, world_from_camera=None, pose_source="", pose_covariance=None, is_tracked=False)

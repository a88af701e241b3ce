"""From frames to a map: the whole flow on one screen."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from spann3r_ros.complaints import EVENT, Complaints, through
from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError, GeometryError
from spann3r_ros.estimated_intrinsics import EstimatedIntrinsics
from spann3r_ros.frame import Frame
from spann3r_ros.mapping import voxel_grid
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.bound import BoundNotice
from spann3r_ros.mapping.camera_poses import CameraPoses
from spann3r_ros.mapping.corrections import Correction, Corrector, PatientCorrector, move_all
from spann3r_ros.mapping.correctors import UsualCorrectors
from spann3r_ros.mapping.graph_corrections import GraphView
from spann3r_ros.mapping.graph_solver import require_gtsam
from spann3r_ros.mapping.loop_closure import LoopStatus
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.map_state import MapState
from spann3r_ros.mapping.relocalizing import Relocalization
from spann3r_ros.mapping.scale import ScaleStatus, first_source
from spann3r_ros.mapping.storage import SavedMap, write_map
from spann3r_ros.memory_status import MemoryStatus
from spann3r_ros.models.base import AnyModel, Model, Stream
from spann3r_ros.models.loading import release_device_memory
from spann3r_ros.models.registry import is_told_depth, parameter_groups, takers_of_depth
from spann3r_ros.place_recognition import relocalization_of, sight_of
from spann3r_ros.prediction import Prediction, WorldPrediction
from spann3r_ros.saved_world import LoadedWorld, ReconstructionCopy, notes_of, states_of
from spann3r_ros.streaming.retreat import Retreat
from spann3r_ros.streaming.stream import load_stream, shared_frames, stream_of, warm_up
from spann3r_ros.tracking import LOST, Tracking
from spann3r_ros.trajectory import Trajectory

__all__ = ["Reconstruction", "is_told_depth", "parameter_groups", "takers_of_depth"]

logger = logging.getLogger(__name__)


class _Judged(NamedTuple):
    """An answer of the model, as it lies in the world before the map takes it up, if it does."""

    prediction: Prediction
    world: WorldPrediction
    is_trusted: bool

    def given_up(self) -> _Judged:
        """The same after the world in which it lay was given up."""
        return _Judged(self.prediction, self.world.untrusted(), False)


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
        on_answers: hears of the answers that are trusted before they enter the map, which takes a while; where this
            corrects the map, ``process`` returns them where they lie then.
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
        self.on_answers: Callable[[list[WorldPrediction]], None] = lambda _: None
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
        sight, background = sight_of(config, stream), Background(is_live)
        shared = shared_frames(stream.model)
        usual = UsualCorrectors.of(config, stream.model.metric, complaints, sight, background, shared)
        places = relocalization_of(config, sight, background, complaints)
        made = cls(stream, config, [*usual.in_order(), *places], complaints)
        made.usual = usual
        return made

    def process(self, frame: Frame) -> list[WorldPrediction]:
        """Take one frame; return what is now known, in the world, with poses where they could be recovered.

        Raises:
            FrameError: a frame that shows nothing, or that the model cannot take; memory and map are as they were.
        """
        self.network_seconds = 0.0
        self.tracking.check(frame)
        found = self._judged(self._step(frame))
        if self.tracking.must_begin_anew:
            self._begin_anew()
            found = [*map(_Judged.given_up, found), *self._judged(self._step(frame))]
        elif self._goes_back([each.world for each in found]):
            found += self._judged(self._step(frame))
        if self.config.tracking.enabled:
            self._retreat.keep(frame.index)
        return self._taken(found)

    def _step(self, frame: Frame) -> list[Prediction]:
        began = time.perf_counter()
        answers = self._stream.step(frame)
        self.network_seconds += time.perf_counter() - began
        return answers

    def _goes_back(self, found: Sequence[WorldPrediction]) -> bool:
        """Whether an answer was not trusted, and the memory could be brought back to before what it was about."""
        doubted = [answer.frame.index for answer in found if answer.final and not answer.is_tracked]
        if doubted:
            return self.tracking.state == LOST and self._retreat.before(min(doubted))
        if found:
            self._retreat.trust()
        return False

    def flush(self) -> list[WorldPrediction]:
        """The answers still owed when no further frame will come."""
        found = self._judged(self._stream.flush())
        if self.tracking.must_begin_anew:
            self._begin_anew()
            found = [*map(_Judged.given_up, found)]
        taken = self._taken(found)
        for corrector in self._patient():
            self.move(corrector.finish(self.map))
        return taken

    def _patient(self) -> list[PatientCorrector]:
        return [corrector for corrector in self.correctors if isinstance(corrector, PatientCorrector)]

    def _judged(self, answers: Sequence[Prediction]) -> list[_Judged]:
        """Answers of the model, oldest first, with the poses of their cameras, and whether they are trusted."""
        found = []
        for answer in answers:
            if self._first_submap:  # the memory counts from 0, wherever in the world it began
                answer = dataclasses.replace(answer, submap=answer.submap + self._first_submap)
            prediction, no_pose = self._located(self._intrinsics.calibrated(answer, self.config.pose.use_camera_info))
            if self.tracking.trusts(prediction, no_pose):
                if self.tracking.is_elsewhere:
                    prediction = self._in_new_submap(prediction)
                found.append(_Judged(prediction, self.map.in_world(prediction), True))
            else:
                self._poses.forget(prediction)
                found.append(_Judged(prediction, self.map.in_world(prediction).untrusted(), False))
        return found

    def _taken(self, found: Sequence[_Judged]) -> list[WorldPrediction]:
        """Those that are trusted enter the map, and lie afterwards where it then says."""
        trusted = [each.world for each in found if each.is_trusted]
        if trusted:
            self.on_answers(trusted)
        return [self._integrate(each) if each.is_trusted else each.world for each in found]

    def _located(self, prediction: Prediction) -> tuple[Prediction, str]:
        """With the pose of its camera: the model's own, else one by PnP, else none and why."""
        if prediction.submap_from_camera is None and prediction.intrinsics is None:
            return prediction, f"no pose: {self._intrinsics.missing}"
        return self._poses.locate(prediction, self.config.pose)

    def _in_new_submap(self, prediction: Prediction) -> Prediction:
        """The first answer of a camera that was lost and is elsewhere now: no submap of before shall take it up.

        Until something joins them, the new one lies to the others as the memory of both says.
        """
        number = 1 + max(submap.id for submap in self.map.submaps)
        self._first_submap += number - prediction.submap
        self.tracking.go_on_in(number, prediction.frame.camera)
        return dataclasses.replace(prediction, submap=number)

    def _integrate(self, judged: _Judged) -> WorldPrediction:
        """Add an answer to map and trajectory, and let it correct them."""
        prediction = judged.prediction
        if prediction.final:
            self.map.insert(prediction)
            self._bound.tell(self.map)
        else:
            self.map.insert_pose(prediction)
        for corrector in self.correctors:
            self.move(corrector.observe(prediction, self.map))
        return judged.world if self.map.holds_at(judged.world) else self.map.in_world(prediction)

    def move(self, corrections: Sequence[Correction]) -> None:
        """Move submaps, all or none: what cannot be moved is a complaint."""
        try:
            move_all(corrections, self.map)
        except GeometryError as error:
            text = f"a correction of the map is not made ({corrections[0].reason}): {error}"
            self.complaints.report("correction", text, error=error, lasts=EVENT)

    def reset(self) -> None:
        """Begin a new world: an empty memory, map and trajectory."""
        self._clear()
        self.tracking.begin()

    def _clear(self) -> None:
        self._use(self._stream.fresh())
        self.map.clear()
        for corrector in self.correctors:
            corrector.clear()
        self._begin()

    def _begin(self) -> None:
        self.map.scale_source = first_source(self.config.scale, self.model.metric)
        self._first_submap = self._first_new_submap = 0
        self._intrinsics = EstimatedIntrinsics()
        self._bound.clear()
        self._poses.clear()

    def _use(self, stream: Stream) -> None:
        self._stream, self._retreat = stream, Retreat(stream)

    def _begin_anew(self) -> None:
        """The first answers did not agree: forget what the world, or what lies apart from it, began with."""
        if self.map.apart is None:
            self._clear()
        else:
            self._use(self._stream.fresh())
            if self.finder is not None:
                self.finder.drop(self.map.apart)
            self.map.drop_apart()
            self._intrinsics = EstimatedIntrinsics()
        self.tracking.begin_anew()

    def warm_up(self) -> None:
        """Compile what the map needs, and choose the kernels of the network; world and memory stay as they are."""
        voxel_grid.warm_up()
        warm_up(self._stream)

    def close(self) -> None:
        """Let go of weights, memory and map, on the device too. The object is of no use afterwards."""
        for corrector in self._patient():
            corrector.close()
        self.correctors.clear()
        del self._stream, self._retreat, self.map
        release_device_memory()

    def save(self, path: Path) -> SavedMap:
        """Write map, trajectory and memory to a folder; ``load`` continues from it in the same world."""
        states = states_of(self.correctors, self._poses)
        return write_map(path, self.map, save_memory=self._stream.save, notes=self._notes(), correctors=states)

    def copied(self, earlier: MapState | None = None) -> ReconstructionCopy:
        """What ``save`` would write, as a copy that takes little time; ``earlier`` as of ``MapState.of``."""
        states = states_of(self.correctors, self._poses)
        return ReconstructionCopy(MapState.of(self.map, earlier), self._stream.copied(), self._notes(), states)

    def save_world(self, path: Path) -> SavedMap:
        """Write map and keyframes without a memory: new frames have to be looked for in it (``relocalize``)."""
        places = {} if self.finder is None else {self.finder.name: self.finder.saved()}
        return write_map(path, self.map, notes=self._notes(), correctors=places)

    def _notes(self) -> dict[str, str]:
        return notes_of(self.model, self._intrinsics, self._first_submap)

    def load(self, path: Path) -> SavedMap:
        """Replace everything by what ``save`` wrote; on an error all stays as it was."""
        loaded = LoadedWorld.with_memory(path, self.config.map, self._stream)
        self._take_over(loaded)
        if len(self.map):
            self.tracking.go_on()
        return loaded.saved

    def relocalize(self, path: Path) -> SavedMap:
        """Begin with a saved world and an empty memory; new frames lie apart until the camera is found in that world.

        Raises:
            ConfigError: no corrector finds the camera (``relocalizer``).
            DataError, MemoryMismatchError: a map that cannot be read, has no keyframes, or is of another network or
                unit; all stays as it was.
        """
        saved = self.begin_with(path)
        self.map.apart = self._first_new_submap
        if self.finder is not None:
            self.finder.look_for_camera()
        return saved

    def begin_with(self, path: Path) -> SavedMap:
        """Replace everything by a saved world; the memory is empty. Raises as ``relocalize``."""
        if self.finder is None:
            raise ConfigError(
                "parameter 'relocalizer'", got=self.config.relocalizer, expected="retrieval | posenet, from the start"
            )
        loaded = LoadedWorld.without_memory(path, self.config.map, self._stream)
        self._take_over(loaded)
        self._first_new_submap = loaded.first_submap
        return loaded.saved

    def _take_over(self, loaded: LoadedWorld) -> None:
        """Go on with a world that was read; raises DataError, and all is as it was then."""
        self._poses = loaded.restore(self.correctors)
        world = loaded.map
        # The revision goes on growing, so that whoever has a copy of the old map sees that it is stale.
        world.revision = max(world.revision, self.map.revision + 1)
        world.scale_source = world.scale_source or first_source(self.config.scale, self.model.metric)
        self._use(loaded.stream)
        self.map, self._intrinsics, self._first_submap = world, loaded.intrinsics, loaded.first_submap
        self._bound.clear()
        self.tracking.begin()

    @property
    def finder(self) -> Relocalization | None:
        """The corrector that finds the camera in a loaded map, if there is one."""
        return next((each for each in self.correctors if isinstance(each, Relocalization)), None)

    @property
    def is_relocalizing(self) -> bool:
        """Whether the camera is still looked for in a loaded map."""
        return self.map.apart is not None

    def new_poses(self) -> Trajectory:
        """Poses in the world of the frames that came since a map was loaded by ``relocalize``, once it is found."""
        new = [submap for submap in self.map.placed() if submap.id >= self._first_new_submap]
        return Trajectory.joined(submap.poses.seen_from(submap.world_from_submap) for submap in new)

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

    def loops(self) -> LoopStatus:
        """How many loops there are, and what became of the others."""
        return LoopStatus.of(self.usual.loops.counts, self.usual.graph) if self.usual is not None else LoopStatus()

    def pose_graph(self) -> GraphView:
        """The measurements that hold the submaps together, for pictures of them."""
        return self.usual.graph.view(self.map) if self.usual is not None else GraphView()

    def status(self) -> MemoryStatus:
        """What the memory holds."""
        return self._stream.status()

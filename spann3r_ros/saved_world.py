"""What a reconstruction leaves in a saved map besides points, and what it goes on with when it takes one over.

That is the network and its memory, the calibration, the state of correctors and cameras, and the places that are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from spann3r_ros.config import MapConfig
from spann3r_ros.errors import DataError, MemoryMismatchError
from spann3r_ros.estimated_intrinsics import EstimatedIntrinsics
from spann3r_ros.mapping.camera_poses import CameraPoses
from spann3r_ros.mapping.corrections import Corrector
from spann3r_ros.mapping.loop_closure import LoopClosure
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.map_state import MapState
from spann3r_ros.mapping.relocalizing import Relocalization
from spann3r_ros.mapping.storage import SavedMap, read_map, write_map
from spann3r_ros.models.base import Model, Stream
from spann3r_ros.streaming.stream import network_of

ESTIMATED_INTRINSICS, NETWORK, FIRST_SUBMAP = "estimated intrinsics", "network", "first submap"
"""Notes in a saved map."""

CAMERA_POSES = "camera_poses"
"""Under which the state of the poses lies in a saved map, beside those of correctors."""


@dataclass(frozen=True, eq=False)
class ReconstructionCopy:
    """What a reconstruction held at one moment, to be written later and from another thread.

    Attributes:
        map: the state of its map.
        save_memory: writes its memory.
        notes: short texts about model and calibration.
        correctors: state of each.
    """

    map: MapState
    save_memory: Callable[[Path], None]
    notes: Mapping[str, str]
    correctors: Mapping[str, Mapping[str, NDArray[Any]]]

    def write(self, path: Path) -> SavedMap:
        """What ``Reconstruction.save`` writes, without the cloud and the path for people."""
        return write_map(path, self.map, save_memory=self.save_memory, notes=self.notes, correctors=self.correctors)


@dataclass(frozen=True, eq=False)
class LoadedWorld:
    """What a reconstruction goes on with after it read a saved map.

    Attributes:
        map: the world.
        saved: what else lies in the folder.
        stream: the model with the memory that goes with it.
        intrinsics: the calibration that was estimated.
        first_submap: number of the submap with which the memory begins.
    """

    map: Map
    saved: SavedMap
    stream: Stream
    intrinsics: EstimatedIntrinsics
    first_submap: int

    @classmethod
    def with_memory(cls, path: Path, config: MapConfig, stream: Stream) -> LoadedWorld:
        """To continue where it was saved, with the model of ``stream``.

        Raises:
            DataError: a map that cannot be read, or has no memory.
            MemoryMismatchError: the memory of another network.
        """
        world, saved = read_map(path, config)
        if saved.memory is None:
            raise DataError(
                f"{path} has no memory, so it cannot be continued",
                expected="what save_map wrote",
                next_step="With relocalizer: retrieval the camera is looked for in it",
            )
        remembering = stream.loaded(saved.memory)
        intrinsics, first_submap = intrinsics_of(saved), first_submap_of(saved)
        intrinsics.is_next_first = len(world) == 0
        return cls(world, saved, remembering, intrinsics, first_submap)

    @classmethod
    def without_memory(cls, path: Path, config: MapConfig, stream: Stream) -> LoadedWorld:
        """To begin with an empty memory, in a submap of its own; the model is that of ``stream``.

        Raises:
            DataError: a map that cannot be read, or has no keyframes.
            MemoryMismatchError: a map of another network or unit.
        """
        world, saved = read_map(path, config)
        require_network(saved, world, stream.model)
        require_places(saved)
        first_submap = 1 + max(submap.id for submap in world.submaps)
        return cls(world, saved, stream.fresh(), EstimatedIntrinsics(), first_submap)

    def restore(self, correctors: Sequence[Corrector]) -> CameraPoses:
        """Let each corrector go on where it was saved; returns where the cameras were.

        Raises:
            DataError: a state that no corrector wrote; each corrector is as it was then.
        """
        states, before = self.saved.correctors, [corrector.saved() for corrector in correctors]
        try:
            for corrector in correctors:
                is_places = isinstance(corrector, Relocalization)
                corrector.restore(places_of(self.saved) if is_places else states.get(corrector.name, {}))
            return CameraPoses.restored(states.get(CAMERA_POSES, {}))
        except (ValueError, KeyError) as error:
            for corrector, state in zip(correctors, before, strict=True):
                corrector.restore(state)
            raise DataError(
                f"state of a corrector in the map {self.saved.path}",
                got=error,
                expected="what save_map wrote",
                next_step="The file was changed: take the map from a backup",
            ) from error


def states_of(correctors: Sequence[Corrector], poses: CameraPoses) -> dict[str, Mapping[str, NDArray[Any]]]:
    """What correctors and poses need to go on, by name; ``LoadedWorld.restore`` gives it back to them."""
    return {**{each.name: each.saved() for each in correctors}, CAMERA_POSES: poses.saved()}


def notes_of(model: Model, intrinsics: EstimatedIntrinsics, first_submap: int) -> dict[str, str]:
    """The notes of a map: its network, its calibration, and the number of the submap with which its memory began."""
    return {
        "model": model.name,
        "weights": model.weights,
        NETWORK: network_of(model),
        FIRST_SUBMAP: str(first_submap),
        ESTIMATED_INTRINSICS: intrinsics.note(),
    }


def intrinsics_of(saved: SavedMap) -> EstimatedIntrinsics:
    """The calibration that was estimated for a map; raises DataError for a note that is none."""
    return EstimatedIntrinsics.from_note(saved.notes.get(ESTIMATED_INTRINSICS, "null"), saved.path)


def first_submap_of(saved: SavedMap) -> int:
    """The number of the submap with which the map's memory began; raises DataError for a note that is none."""
    note = saved.notes.get(FIRST_SUBMAP, "0")
    if not note.isdecimal() or len(note) > 9:
        raise DataError(f"first submap of the map {saved.path}", got=note, expected="a number, as save_map writes it")
    return int(note)


def places_of(saved: SavedMap) -> Mapping[str, NDArray[Any]]:
    """The keyframes of a map: its own, or those that loops were looked for with."""
    found = saved.correctors
    return found.get(Relocalization.name) or found.get(LoopClosure.name, {})


def require_places(saved: SavedMap) -> None:
    """Raise DataError for a map in which no camera can be found."""
    if not any(key.endswith(".counts") for key in places_of(saved)):
        raise DataError(
            f"the map {saved.path} has no keyframes, so the camera cannot be found in it",
            next_step="Save it from a run with relocalizer: retrieval, or load it with relocalizer: none, with the "
            "camera where it was",
        )


def require_network(saved: SavedMap, world: Map, model: Model) -> None:
    """Raise MemoryMismatchError for a map of another network than ``model``, or in another unit."""
    wanted, network = network_of(model), saved.notes.get(NETWORK, "")
    if network != wanted:
        raise MemoryMismatchError(
            f"the map {saved.path} was made by another network",
            got=f"{saved.notes.get('model', 'unknown')}, {saved.notes.get('weights', 'unknown')} ({network})",
            expected=f"{model.name}, {model.weights} ({wanted})",
            next_step="Load it with the model, weights and precision that it was made with",
        )
    if model.metric and not world.metric:
        raise MemoryMismatchError(
            f"the map {saved.path} has a unit that nobody knows",
            expected="meters, in which this model speaks",
            next_step="Load it with the weights that it was made with",
        )

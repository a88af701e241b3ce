"""What a saved map tells besides its points: which network made it, with what calibration, and the places it knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from spann3r_ros.errors import DataError, MemoryMismatchError
from spann3r_ros.estimated_intrinsics import EstimatedIntrinsics
from spann3r_ros.mapping.loop_closure import LoopClosure
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.map_state import MapState
from spann3r_ros.mapping.relocalizing import Relocalization
from spann3r_ros.mapping.storage import SavedMap, write_map
from spann3r_ros.models.base import Model
from spann3r_ros.streaming.stream import network_of

ESTIMATED_INTRINSICS, NETWORK, FIRST_SUBMAP = "estimated intrinsics", "network", "first submap"
"""Notes in a saved map."""


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

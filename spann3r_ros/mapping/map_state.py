"""Everything that a map knows at one moment, apart from the map, and as arrays for a file.

The submaps' columns lie one after another, so that a map of thousands of submaps has as many arrays as one of one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.config import MapConfig
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.mapping.grid_copy import GridCopy
from spann3r_ros.mapping.map import Map, Submap
from spann3r_ros.mapping.voxel_grid import VoxelGrid
from spann3r_ros.mapping.voxels import Voxels, moved_voxels
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import Trajectory

Arrays = Mapping[str, NDArray[Any]]

VERSION = 3
READABLE = (1, 2, 3)
"""Version 1 kept one submap, whose points and poses were in ROS axes; 2 had arrays of its own for each submap, and its
voxels did not know how many frames agree on them."""

TRUSTED_FRAMES = 8
"""Frames that voxels of an older version count for: what was published stays so, until later frames look through it."""

MOST_REVISIONS = 2**30
"""Largest count in a saved map: a year at thirty frames a second, and room to go on counting in 32 bits."""

VOXELS = ("keys", "mean", "weight", "count", "seen", "frames", "misses")
POSES = ("index", "stamp", "camera", "refined", "rotation", "translation")
PLACES = ("id", "scale", "rotation", "translation", "voxel_size", "voxel_revision")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SubmapState:
    """A submap at one moment.

    Attributes:
        id, world_from_submap: as of the ``Submap``.
        voxel_size, voxel_revision: of its grid.
        grid: its voxels.
        poses: of its cameras.
    """

    id: int
    world_from_submap: Sim3
    voxel_size: float
    voxel_revision: int
    grid: GridCopy
    poses: Trajectory


@dataclass(frozen=True, eq=False)
class MapState:
    """A map at one moment; nothing of it changes when the map does.

    Attributes:
        submaps: oldest first.
        revision, voxel_size, asked_size, scale_source, apart: as of the ``Map``.
    """

    submaps: Sequence[SubmapState]
    revision: int
    voxel_size: float
    asked_size: float
    scale_source: str
    apart: int | None = None

    @classmethod
    def of(cls, world: Map, earlier: MapState | None = None) -> MapState:
        """The state of a map now.

        Args:
            world: the map.
            earlier: an older state; voxels that did not change since are shared with it, not copied.
        """
        known = {} if earlier is None else {submap.id: submap.grid for submap in earlier.submaps}
        submaps = [
            SubmapState(
                submap.id,
                submap.world_from_submap,
                submap.voxels.voxel_size,
                submap.voxels.revision,
                submap.voxels.copied(known.get(submap.id)),
                submap.poses.copied(),
            )
            for submap in world.submaps
        ]
        return cls(submaps, world.revision, world.voxel_size, world.asked_size, world.scale_source, world.apart)

    def placed(self) -> list[SubmapState]:
        """The submaps of which it is known where they lie."""
        return [submap for submap in self.submaps if self.apart is None or submap.id < self.apart]

    @property
    def points(self) -> int:
        """Points in all submaps."""
        return sum(len(submap.grid.voxels()) for submap in self.submaps)

    @property
    def frames(self) -> int:
        """Frames whose pose is known; one that several submaps know counts once."""
        poses = [submap.poses for submap in self.submaps]
        return len(Trajectory.joined(poses, max(1, sum(map(len, poses)))))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it by name, as ``map_from_arrays`` takes it."""
        submaps = self.submaps
        voxels = [submap.grid.voxels().by_key() for submap in submaps]
        places = [submap.world_from_submap for submap in submaps]
        poses = zip(*(submap.poses.columns() for submap in submaps), strict=True)
        return {
            "revision": np.array(self.revision),
            "world_voxel_size": np.array(self.voxel_size),
            "asked_voxel_size": np.array(self.asked_size),
            "scale_source": np.array(self.scale_source),
            "apart": np.array(-1 if self.apart is None else self.apart),
            "submap.id": np.array([submap.id for submap in submaps], np.int64),
            "submap.scale": np.array([place.scale for place in places], np.float64),
            "submap.rotation": np.array([place.rotation for place in places]).reshape(-1, 3, 3),
            "submap.translation": np.array([place.translation for place in places]).reshape(-1, 3),
            "submap.voxel_size": np.array([submap.voxel_size for submap in submaps], np.float64),
            "submap.voxel_revision": np.array([submap.voxel_revision for submap in submaps], np.int64),
            "submap.voxels": np.array([len(held) for held in voxels], np.int64),
            "submap.poses": np.array([len(submap.poses) for submap in submaps], np.int64),
            **{f"voxel.{name}": np.concatenate([getattr(held, name) for held in voxels]) for name in VOXELS},
            **{f"pose.{name}": np.concatenate(column) for name, column in zip(POSES, poses, strict=True)},
        }


def map_from_arrays(state: Arrays, config: MapConfig, version: int) -> Map:
    """A map with the saved content, in the sizes of ``config``.

    Raises:
        KeyError, ValueError, GeometryError: arrays that are none of ours.
    """
    each = list(_by_submap(state) if version >= 3 else _by_prefix(state))
    if not each:
        raise ValueError("no submap")
    world, last = Map(config), len(each) - 1
    submaps = [_submap(entries, config, version, place == last) for place, entries in enumerate(each)]
    if len({submap.id for submap in submaps}) < len(submaps):
        raise ValueError("two submaps of one number")
    saved_size = _positive(state, "world_voxel_size") if version > 1 else submaps[0].voxels.voxel_size
    asked_size = _positive(state, "asked_voxel_size") if "asked_voxel_size" in state else saved_size
    if asked_size != config.voxel_size:
        logger.info("the saved map has voxels of %g, sorted anew into %g", saved_size, config.voxel_size)
    world.restore(submaps, saved_size, asked_size, _count(state, "revision"))
    world.scale_source = str(state["scale_source"]) if "scale_source" in state else ""
    apart = int(state["apart"]) if "apart" in state else -1
    world.apart = apart if apart >= 0 else None
    return world


def _by_submap(state: Arrays) -> Iterator[dict[str, NDArray[Any]]]:
    """The entries of each submap, cut out of the columns."""
    places = {name: state[f"submap.{name}"] for name in PLACES}
    number = len(np.atleast_1d(places["id"]))
    if any(column.ndim < 1 or len(column) != number for column in places.values()):
        raise ValueError(f"places of {number} submaps: {[column.shape for column in places.values()]}")
    voxels = {name: state[f"voxel.{name}"] for name in VOXELS}
    poses = {name: state[f"pose.{name}"] for name in POSES}
    of_voxels, of_poses = (_cuts(state, f"submap.{kind}", number) for kind in ("voxels", "poses"))
    if any(len(column) != of_voxels[-1] for column in voxels.values()):
        raise ValueError("columns of voxels that differ in length")
    if any(len(column) != of_poses[-1] for column in poses.values()):
        raise ValueError("columns of poses that differ in length")
    for place in range(number):
        its_voxels, its_poses = (slice(cuts[place], cuts[place + 1]) for cuts in (of_voxels, of_poses))
        yield {
            **{name: column[place] for name, column in places.items()},
            **{name: column[its_voxels] for name, column in voxels.items()},
            **{f"pose_{name}": column[its_poses] for name, column in poses.items()},
        }


def _cuts(state: Arrays, name: str, number: int) -> NDArray[np.int64]:
    """(number + 1,) where each submap's part of the columns begins, and the end of the last; raises ValueError."""
    counts = state[name]
    if counts.shape != (number,) or counts.dtype.kind not in "iu" or (counts < 0).any() or (counts > 2**40).any():
        raise ValueError(f"'{name}' is {counts.dtype} {counts.shape}")
    return np.concatenate([[0], np.cumsum(counts.astype(np.int64))])


def _by_prefix(state: Arrays) -> Iterator[dict[str, NDArray[Any]]]:
    """The entries of each submap as versions 1 and 2 had them: ``3.keys`` are the keys of the fourth."""
    each: dict[str, dict[str, NDArray[Any]]] = {}
    for entry in state:
        number, _, name = entry.partition(".")
        if number.isdecimal():
            each.setdefault(number, {})[name] = state[entry]
    number_of_submaps = _count(state, "submaps")
    if set(each) != {str(number) for number in range(min(number_of_submaps, len(each) + 1))}:
        raise ValueError(f"{len(each)} of {number_of_submaps} submaps")
    return (each[str(number)] for number in range(number_of_submaps))


def _submap(entries: Arrays, config: MapConfig, version: int, is_newest: bool) -> Submap:
    place = Sim3(float(entries["scale"]), entries["rotation"], entries["translation"])
    voxels, voxel_size = _voxels(entries, version), _positive(entries, "voxel_size")
    voxels.check(voxel_size)
    poses = Trajectory.of_columns(*(entries[f"pose_{name}"] for name in POSES))
    if version == 1:
        # A model's own frame has optical axes; what comes next speaks in it.
        optical_from_ros = ROS_FROM_OPTICAL.inverse()
        voxels = moved_voxels(voxels, optical_from_ros, voxel_size)
        poses = poses.seen_from(optical_from_ros)
        place = place @ ROS_FROM_OPTICAL
    voxel_revision = _count(entries, "voxel_revision")
    if len(voxels) and voxels.seen.max() > voxel_revision:
        raise ValueError(f"voxels seen at revision {voxels.seen.max()} of {voxel_revision}")
    # Only the newest still grows: buffers of the full size for each would be more than any machine has.
    room = config.max_points if is_newest else max(1, min(len(voxels), config.max_points))
    grid = VoxelGrid.restore(voxels, voxel_size, room, voxel_revision)
    if len(grid) < len(voxels):
        logger.warning("the saved map has %d points, max_points keeps the newest %d", len(voxels), len(grid))
    return Submap(int(entries["id"]), place, grid, poses)


def _count(entries: Arrays, name: str) -> int:
    """A whole number that fits a counter; raises ValueError."""
    value = entries[name]
    if value.shape != () or value.dtype.kind not in "iu" or not 0 <= int(value) <= MOST_REVISIONS:
        raise ValueError(f"'{name}' is {value}, not a whole number in 0 .. {MOST_REVISIONS}")
    return int(value)


def _positive(entries: Arrays, name: str) -> float:
    """A length; raises ValueError."""
    value = float(entries[name])
    if not 0 < value < np.inf:
        raise ValueError(f"'{name}' is {value}")
    return value


def _voxels(entries: Arrays, version: int) -> Voxels:
    if version < 3:
        frames = np.maximum(entries["count"], TRUSTED_FRAMES).astype(entries["count"].dtype)
        entries = {**entries, "frames": frames, "misses": np.zeros_like(entries["count"])}
    number = len(entries["keys"])
    shapes = {"keys": ((number,), "i8"), "mean": ((number, 6), "f4"), "weight": ((number,), "f4")}
    shapes |= dict.fromkeys(("count", "seen", "frames", "misses"), ((number,), "i4"))
    for name, (shape, kind) in shapes.items():
        if entries[name].shape != shape or entries[name].dtype != np.dtype(kind):
            raise ValueError(f"array '{name}' is {entries[name].dtype} {entries[name].shape}")
    return Voxels.of(**{name: entries[name] for name in shapes})

"""The world as reconstructed so far: submaps, each with its points and camera poses in a frame of its own."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spann3r_ros.config import MapConfig
from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.geometry.pose_covariance import turned_covariance
from spann3r_ros.mapping.filters import cloud_from_prediction, confident
from spann3r_ros.mapping.voxel_grid import VoxelGrid, VoxelUpdate
from spann3r_ros.mapping.voxel_view import VoxelView
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.prediction import Prediction, WorldPrediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import StampedPose, Trajectory

COARSENESS = 1.25
"""How far a correction may change the size of a submap's voxels in the world before its points are sorted anew."""

GROWTH = 1.5
"""By how much voxels grow at a time when the map is full."""

HEADROOM = 0.1
"""Share of a submap's voxels that one frame is expected to add at most."""

RATE_FRAMES = 20
"""Frames over which the rate of forgetting is taken."""

LEAST_SHARE = 0.25
"""Share of ``max_points`` that a new submap gets at least; the oldest points of the others make room."""


@dataclass(eq=False)
class Submap:
    """A part of the world that is rigid in itself; a correction moves it as a whole.

    Attributes:
        id: its number, as the model counts its frames.
        world_from_submap: where it lies: axes, unit and correction in one.
        voxels: its points, in its own frame.
        poses: of the cameras that saw it, ``submap_from_camera``.
    """

    id: int
    world_from_submap: Sim3
    voxels: VoxelGrid
    poses: Trajectory

    def cloud(self, min_observations: int = 1) -> PointCloud:
        """Its points in the world, those on which so many frames agree; see ``VoxelGrid.cloud``."""
        return self.voxels.cloud(min_observations).transformed(self.world_from_submap)


class Map:
    """All submaps. Not thread-safe: it belongs to whoever runs the reconstruction.

    Points and poses are kept as the model gave them. Where a submap lies is one similarity, so a correction carries
    what is in the submap and what is still to enter it alike. The first submap begins at ROS axes; a later one where
    the one before it lies, until a correction knows better.

    Args:
        config: sizes and thresholds. The live ones are read at every insertion, so changing them in place is enough.

    Attributes:
        submaps: the parts of the world, oldest first.
        revision: grows with every change, so that a reader knows whether its copy is stale.
        forgotten: points that made room for others since the map was empty.
        cleared: points that later frames looked through.
        refused: points for which there was no room, or that lay outside of the addressable space.
        scale_source: what made the unit of the world the meter; empty while nothing did.
        reason: that of the last correction; empty before the first.
        apart: number from which on submaps are not placed yet, because nobody knows where in this world they lie; None
            when all are. They are neither in the cloud nor on the path.
    """

    def __init__(self, config: MapConfig) -> None:
        self.config = config
        self.submaps: list[Submap] = []
        self.revision = 0
        self.scale_source = ""
        self.reason = ""
        self.apart: int | None = None
        self.forgotten = self.refused = self.cleared = 0
        self._forgotten_before = deque([0], RATE_FRAMES + 1)
        self._voxel_size = self._asked_size = config.voxel_size
        self._trajectory: Trajectory | None = Trajectory()
        self.open_submap(0)
        self.revision = 0

    def __len__(self) -> int:
        """Points in all submaps."""
        return sum(len(submap.voxels) for submap in self.submaps)

    def placed(self) -> list[Submap]:
        """The submaps of which it is known where they lie; see ``apart``."""
        return [submap for submap in self.submaps if self._is_placed(submap.id)]

    def join(self) -> None:
        """All submaps are placed now."""
        self.apart, self._trajectory = None, None
        self.revision += 1

    def adopt(self, submaps: Sequence[Submap], first: int) -> None:
        """Take in the submaps of another world, which lie apart.

        Args:
            submaps: of the other world, in voxels of the same size.
            first: number that its submap 0 gets; above all that are here.
        """
        self.apart = first
        self.submaps += [Submap(first + each.id, each.world_from_submap, each.voxels, each.poses) for each in submaps]
        self._keep_bound()
        self.revision += 1

    def drop_apart(self) -> None:
        """Forget the submaps that are not placed; the others are as they were."""
        self.submaps = self.placed()
        self.revision += 1

    def _is_placed(self, number: int) -> bool:
        return self.apart is None or number < self.apart

    def submap(self, number: int) -> Submap:
        """The submap of an id; raises GeometryError for one that was never opened."""
        for submap in reversed(self.submaps):
            if submap.id == number:
                return submap
        raise GeometryError("submap", got=number, expected=f"one of {[submap.id for submap in self.submaps]}")

    def open_submap(self, number: int, world_from_submap: Sim3 | None = None) -> Submap:
        """Begin a part of the world; without a place it begins where the newest one lies, the first at ROS axes."""
        if any(submap.id == number for submap in self.submaps):
            raise GeometryError("number of a new submap", got=number, expected="one that no submap has")
        if world_from_submap is None:
            world_from_submap = self.submaps[-1].world_from_submap if self.submaps else ROS_FROM_OPTICAL
        room = self._make_room()
        grid = VoxelGrid(self.config.voxel_size / world_from_submap.scale, room)
        submap = Submap(number, world_from_submap, grid, Trajectory())
        self.submaps.append(submap)
        self.revision += 1
        return submap

    def insert(self, prediction: Prediction) -> VoxelUpdate:
        """Take up what a model says about one frame: its usable points and, when known, its pose.

        A frame that is answered twice is inserted once, with its final answer; ``insert_pose`` takes the other.
        A prediction that speaks in a frame of which the map knows nothing opens a submap.

        Raises:
            GeometryError: the voxel size was set too small for the extent of the map; nothing has changed then.
        """
        submap = self._of(prediction)
        self._resize_voxels()
        self.insert_pose(prediction)
        max_range = self.config.max_range / submap.world_from_submap.scale
        view = VoxelView.of(prediction)
        slanted = view.slanted(self.config.max_slant) if view is not None and self.config.max_slant < 90.0 else None
        cloud = cloud_from_prediction(prediction, self.config.min_confidence, max_range, slanted)
        self.revision += 1
        grid = submap.voxels
        while len(grid) + min(len(cloud), int(HEADROOM * grid.max_points)) > grid.max_points and self._may_grow():
            self._grow_voxels()
        update = grid.insert(cloud)
        if view is not None and self.config.clear_margin > 0:
            sure = confident(prediction.points, prediction.confidence, self.config.min_confidence)
            known = dataclasses.replace(view, depth=np.where(sure, view.depth, np.float32(0)))
            self.cleared += grid.look(known, self.config.clear_margin)
        self.forgotten += update.forgotten
        self.refused += update.refused + update.refused_points
        self._forgotten_before.append(self.forgotten)
        return update

    def insert_pose(self, prediction: Prediction) -> None:
        """Take up the pose alone, when it is known."""
        submap = self._of(prediction)
        if prediction.submap_from_camera is None:
            return
        pose = StampedPose.of(prediction)
        submap.poses.insert(pose)
        if not self._is_placed(submap.id):
            pass
        elif submap is not self.submaps[-1]:
            self._trajectory = None  # its place is in the middle
        elif self._trajectory is not None:
            (seen,) = Trajectory([pose]).seen_from(submap.world_from_submap)
            self._trajectory.insert(seen)
        self.revision += 1

    @property
    def forgetting_rate(self) -> float:
        """Points forgotten a frame, mean of the last ``RATE_FRAMES`` frames that were inserted; 0 before the first."""
        before = self._forgotten_before
        return (self.forgotten - before[0]) / max(1, len(before) - 1)

    @property
    def metric(self) -> bool:
        """Whether the unit of the world is the meter."""
        return bool(self.scale_source)

    def move(self, number: int, world_from_submap: Sim3, reason: str = "", scale_source: str | None = None) -> None:
        """Put a submap elsewhere, with all that is in it and all that will enter it.

        Args:
            number: its id.
            world_from_submap: its new place.
            reason: what was found, for people.
            scale_source: what makes the unit of the world the meter, empty for nothing; None leaves it as it is.

        Raises:
            GeometryError: no such submap, or a scale so small that its points leave the addressable space; nothing has
                changed then.
        """
        self.check_move(number, world_from_submap)
        submap = self.submap(number)
        submap.world_from_submap = world_from_submap
        self._fit_voxels(submap)
        self._trajectory = None
        self.reason = reason
        if scale_source is not None:
            self.scale_source = scale_source
        self.revision += 1

    def check_move(self, number: int, world_from_submap: Sim3) -> None:
        """Raise what ``move`` would raise, and change nothing: for moves that must be made together or not at all."""
        submap, wanted = self.submap(number), self._voxel_size / world_from_submap.scale
        if not fits(submap.voxels.voxel_size, wanted):
            submap.voxels.check_size(wanted)

    def in_world(self, prediction: Prediction) -> WorldPrediction:
        """A prediction as it lies in the world now; the only place where a submap's frame becomes the world's.

        One that opens a submap once it is inserted lies where that will.
        """
        number = prediction.submap
        submap = next((each for each in reversed(self.submaps) if each.id == number), self.submaps[-1])
        place, is_placed = submap.world_from_submap, self._is_placed(number)
        pose, covariance = prediction.submap_from_camera, prediction.pose_covariance
        if not is_placed:
            pose = covariance = None
        return WorldPrediction(
            frame=prediction.frame,
            points=np.asarray(place.apply(prediction.points), dtype=np.float32),
            confidence=prediction.confidence,
            colors=prediction.colors,
            world_from_camera=None if pose is None else place.carry(pose),
            pose_source="" if pose is None else prediction.pose_source,
            pose_covariance=None if covariance is None else turned_covariance(covariance, place),
            intrinsics=prediction.intrinsics,
            intrinsics_source=prediction.intrinsics_source,
            final=prediction.final,
            metric=self.metric,
            submap=number,
            world_from_submap=place,
            is_tracked=is_placed,
        )

    def holds_at(self, answer: WorldPrediction) -> bool:
        """Whether ``in_world`` would say the same again of an answer that was inserted since."""
        is_there = self.submap(answer.submap).world_from_submap is answer.world_from_submap
        return is_there and self._is_placed(answer.submap) == answer.is_tracked and self.metric == answer.metric

    def cloud(self) -> PointCloud:
        """The points in the world that people get (``map.min_observations``). Reads the whole map."""
        return PointCloud.joined([submap.cloud(self.config.min_observations) for submap in self.placed()])

    def trajectory(self) -> Trajectory:
        """All poses in the world, in the order of the submaps. Not to be changed.

        A frame that several submaps know has the pose of the newest of them.
        """
        if self._trajectory is None:
            self._trajectory = Trajectory.joined(
                submap.poses.seen_from(submap.world_from_submap) for submap in self.placed()
            )
        return self._trajectory

    def restore(self, submaps: Sequence[Submap], voxel_size: float, asked_size: float, revision: int) -> None:
        """Replace everything by what was saved, newest last; the parameters decide on sizes.

        Args:
            submaps: at least one.
            voxel_size: side of their voxels in the world, as they were saved.
            asked_size: what the parameter was then; while it is the same, voxels that grew stay as they are.
            revision: of the map when it was saved.
        """
        self.submaps = list(submaps)
        self._voxel_size, self._asked_size, self.revision, self._trajectory = voxel_size, asked_size, revision, None
        self._resize_voxels()
        self._keep_bound()

    def _keep_bound(self) -> None:
        """Make room when the submaps hold too many points together, or have buffers for more than they hold."""
        while len(self) > self.config.max_points and self._may_grow():
            self._grow_voxels()
        *older, newest = self.submaps
        room = self._room(sum(len(submap.voxels) for submap in older))
        if newest.voxels.max_points != room:
            newest.voxels = newest.voxels.resized(room)
        self._shrink(older, sum(len(submap.voxels) for submap in older) + room - self.config.max_points)
        for submap in older:  # nothing but late answers enters them any more
            if submap.voxels.max_points > len(submap.voxels) > 0:
                submap.voxels = submap.voxels.resized(len(submap.voxels))

    @property
    def voxel_size(self) -> float:
        """Side of a voxel in the unit of the world; larger than was asked for when the map had to grow coarser."""
        return self._voxel_size

    @property
    def asked_size(self) -> float:
        """The parameter ``voxel_size`` that this follows."""
        return self._asked_size

    def clear(self) -> None:
        """Begin a new world. The revision goes on growing."""
        del self.submaps[1:]
        submap = self.submaps[0]
        if submap.voxels.max_points == self.config.max_points and submap.id == 0:
            submap.voxels.clear()  # what was taken for it once is not taken anew
            submap.poses.clear()
            submap.world_from_submap = ROS_FROM_OPTICAL
            submap.voxels.resize(self.config.voxel_size)
        else:
            self.submaps.clear()
            self.open_submap(0)
        self._trajectory, self.reason, self.scale_source, self.apart = Trajectory(), "", "", None
        self._voxel_size = self._asked_size = self.config.voxel_size
        self.forgotten = self.refused = self.cleared = 0
        self._forgotten_before = deque([0], RATE_FRAMES + 1)
        self.revision += 1

    def _of(self, prediction: Prediction) -> Submap:
        """The submap that a prediction speaks in."""
        number = prediction.submap
        for submap in reversed(self.submaps):
            if submap.id == number:
                return submap
        return self.open_submap(number)

    def _make_room(self) -> int:
        """Most points of a submap that is about to be opened, after the others gave way where they must."""
        budget = self.config.max_points
        while len(self) > budget - int(budget * LEAST_SHARE) and self._may_grow():
            self._grow_voxels()
        held = len(self)
        room = self._room(held)
        self._shrink(self.submaps, held + room - budget)
        return room

    def _room(self, held: int) -> int:
        """Most points of a submap beside others that hold so many."""
        budget = self.config.max_points
        return max(budget - held, int(budget * LEAST_SHARE), 1)

    def _shrink(self, submaps: Sequence[Submap], surplus: int) -> None:
        """Forget points, oldest submaps first, until there are ``surplus`` fewer; each keeps one at least."""
        newest = self.submaps[-1] if self.submaps else None
        for submap in submaps:
            held = len(submap.voxels)
            # The newest may still get late answers; the buffers of an older one shrink to its content.
            taken = held if submap is newest else submap.voxels.max_points
            if surplus <= 0 and taken <= max(1, held):
                continue
            keep = max(1, held - max(0, surplus))
            surplus -= held - keep
            self.forgotten += max(0, held - keep)
            if keep < taken:
                submap.voxels = submap.voxels.resized(keep)

    def _may_grow(self) -> bool:
        """Whether voxels may be coarser than they are."""
        return self._voxel_size < 0.999 * self.config.voxel_size * self.config.coarsening

    def _grow_voxels(self) -> None:
        """Make room by coarser voxels, in all submaps alike, rather than by forgetting."""
        self._voxel_size = min(GROWTH * self._voxel_size, self.config.voxel_size * self.config.coarsening)
        for submap in self.submaps:
            submap.voxels.resize(self._voxel_size / submap.world_from_submap.scale)

    def _resize_voxels(self) -> None:
        """Follow a change of the parameter ``voxel_size``."""
        if self.config.voxel_size != self._asked_size:
            sizes = [self.config.voxel_size / submap.world_from_submap.scale for submap in self.submaps]
            for submap, size in zip(self.submaps, sizes, strict=True):
                submap.voxels.check_size(size)  # all or none
            for submap, size in zip(self.submaps, sizes, strict=True):
                submap.voxels.resize(size)
            self._voxel_size = self._asked_size = self.config.voxel_size

    def _fit_voxels(self, submap: Submap) -> None:
        """Sort a submap's points anew when a correction made its voxels much larger or smaller in the world."""
        wanted = self._voxel_size / submap.world_from_submap.scale
        if not fits(submap.voxels.voxel_size, wanted):
            submap.voxels.resize(wanted)


def fits(voxel_size: float, wanted: float) -> bool:
    """Whether points need not be sorted anew for a size of voxels that is wanted."""
    return 1 / COARSENESS <= voxel_size / wanted <= COARSENESS

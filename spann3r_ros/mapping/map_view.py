"""A map as people see it, put together from copies of it while the map goes on."""

from __future__ import annotations

from dataclasses import dataclass

from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.map_state import MapState, SubmapState
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class _KeptCloud:
    """A submap's points in its own frame and in the world, of which colors and confidences are the same arrays.

    Attributes:
        asked: state of the voxels, and frames that had to agree.
        place: ``world_from_submap`` of ``world``.
        local, world: the points.
    """

    asked: tuple[int, int]
    place: Sim3
    local: PointCloud
    world: PointCloud


class MapView:
    """Cloud and path of a map at the moment of its last copy; of what did not change, nothing is computed again.

    ``copy`` belongs to whoever runs the reconstruction, the rest to one other thread, one after the other.
    """

    def __init__(self) -> None:
        self._state: MapState | None = None
        self._kept: dict[int, _KeptCloud] = {}

    def copy(self, world: Map) -> None:
        """See this map from now on as it is now; takes the time that copying what changed takes."""
        self._state = MapState.of(world, self._state)

    def cloud(self, min_observations: int) -> PointCloud:
        """The points in the world on which so many frames agree, as of ``Map.cloud``."""
        submaps = [] if self._state is None else self._state.placed()
        self._kept = {submap.id: self._cloud(submap, min_observations) for submap in submaps}
        return PointCloud.joined([kept.world for kept in self._kept.values()])

    def trajectory(self) -> Trajectory:
        """All poses in the world, as of ``Map.trajectory``."""
        submaps = [] if self._state is None else self._state.placed()
        return Trajectory.joined(submap.poses.seen_from(submap.world_from_submap) for submap in submaps)

    def _cloud(self, submap: SubmapState, min_observations: int) -> _KeptCloud:
        known, asked, place = (
            self._kept.get(submap.id),
            (submap.grid.moment.change, min_observations),
            submap.world_from_submap,
        )
        if known is None or known.asked != asked:
            local = submap.grid.voxels().cloud(min_observations)
        elif known.place is place:
            return known
        else:
            local = known.local
        return _KeptCloud(asked, place, local, local.transformed(place))

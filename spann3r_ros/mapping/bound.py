"""Telling people that the map is full: once when its voxels grow, once when points are forgotten."""

from __future__ import annotations

from spann3r_ros.complaints import EVENT, Complaints, Severity
from spann3r_ros.mapping.map import Map

COARSER, FORGETS = "map grows coarser", "map forgets"


class BoundNotice:
    """What has been said of a map's bound.

    Args:
        complaints: where it is said.
    """

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints
        self._said: set[str] = set()

    def tell(self, world: Map) -> None:
        """Say what is new since the last time."""
        settings = world.config
        full = f"the map holds its {settings.max_points} points (map.max_points)"
        if world.voxel_size > world.asked_size and COARSER not in self._said:
            self._said.add(COARSER)
            self._complaints.report(
                COARSER,
                f"{full}: its voxels grow, up to {settings.coarsening:g} times {settings.voxel_size:g} "
                "(map.coarsening, map.voxel_size), so that nothing is forgotten",
                Severity.INFO,
                lasts=EVENT,
            )
        if world.forgotten and FORGETS not in self._said:
            self._said.add(FORGETS)
            self._complaints.report(
                FORGETS,
                f"{full}: those seen longest ago are forgotten. Raise map.max_points, map.voxel_size or "
                "map.coarsening, or save the map and begin a new one",
            )

    def clear(self) -> None:
        """A new map begins."""
        self._said.clear()
        self._complaints.settle(FORGETS)

"""The scene from above: what is free to walk on, and how far it is to the next obstacle."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.synthetic.scene import Scene

CELL = 0.05
"""Edge of a cell of the floor plan in meters."""
MARGIN = 0.2
"""How far the plan reaches beyond the rooms, meters."""


@dataclass(frozen=True, eq=False)
class FloorPlan:
    """Grid over the floor; cell (0, 0) has its lower corner at ``origin``, rows are y, columns are x.

    Attributes:
        origin: (x, y) in meters.
        room: (rows, columns) int32, index of the room of each cell's center; in a doorway the number of rooms + its
            index; -1 in walls.
        clearance: (rows, columns) float32, meters from the cell's center to the next wall or piece of furniture; 0
            inside them.
    """

    origin: tuple[float, float]
    room: NDArray[np.int32]
    clearance: NDArray[np.float32]

    @classmethod
    def of(cls, scene: Scene, low: float = 0.06, high: float = 1.9) -> FloorPlan:
        """Of everything that stands between two heights in meters; a rug below and a lamp above are no obstacles."""
        origin, shape = _extent(scene)
        room = np.full(shape, -1, np.int32)
        areas = [(area.low, area.high) for area in scene.rooms]
        areas += [(opening.low[:2], opening.high[:2]) for opening in scene.openings()]
        x = origin[0] + CELL * (np.arange(shape[1]) + 0.5)
        y = origin[1] + CELL * (np.arange(shape[0]) + 0.5)
        for index, (first, last) in enumerate(areas):
            columns, rows = (first[0] < x) & (x < last[0]), (first[1] < y) & (y < last[1])
            room[np.ix_(rows, columns)] = index
        free = (room >= 0) & (footprints(scene, low, high) == 0)
        # Distance to the center of the next occupied cell, less half a cell's diagonal: never too large.
        distance = cv2.distanceTransform(free.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * CELL
        clearance = np.maximum(distance - 0.71 * CELL, 0.0).astype(np.float32)
        return cls(origin, room, clearance)

    def clearance_at(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """(...) meters to the next obstacle for (..., 2) positions; 0 outside of the plan."""
        rows, columns, inside = self._cells(points)
        return np.where(inside, self.clearance[rows, columns], np.float32(0.0))

    def room_at(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """(...) index as in ``room`` for (..., 2) positions; -1 outside of the plan."""
        rows, columns, inside = self._cells(points)
        return np.where(inside, self.room[rows, columns], np.int32(-1))

    def centers(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N, 2) positions in meters of (N, 2) cells (row, column)."""
        centers: NDArray[np.float64] = np.array(self.origin) + CELL * (cells[:, ::-1] + 0.5)
        return centers

    def _cells(self, points: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        cells = np.floor((np.asarray(points) - np.array(self.origin)) / CELL).astype(np.int64)
        rows, columns = cells[..., 1], cells[..., 0]
        inside = (rows >= 0) & (columns >= 0) & (rows < self.room.shape[0]) & (columns < self.room.shape[1])
        return np.where(inside, rows, 0), np.where(inside, columns, 0), inside


def footprints(scene: Scene, low: float, high: float) -> NDArray[np.uint8]:
    """(rows, columns) 1 where a solid stands that reaches into the heights low..high (meters)."""
    origin, shape = _extent(scene)
    grid = np.zeros(shape, np.uint8)
    for solid in scene.solids():
        if solid.at[2] >= high or solid.at[2] + solid.size[2] <= low:
            continue
        if solid.shape == "box":
            corners = (np.array(solid.corners()) - origin) / CELL - 0.5
            # Sixteenths of a cell keep the outline where it is.
            cv2.fillConvexPoly(grid, np.round(corners * 16).astype(np.int32), (1,), cv2.LINE_8, 4)
        else:
            center = (np.array(solid.at[:2]) - origin) / CELL - 0.5
            radius = solid.size[0] / 2 / CELL
            cv2.circle(grid, np.round(center * 16).astype(int).tolist(), round(radius * 16), (1,), -1, cv2.LINE_8, 4)
    return grid


def floor_shade(scene: Scene) -> tuple[NDArray[np.float64], float, float, float]:
    """Brightness (rows, columns) of the floor under and beside furniture, with its origin x, y and cell in meters."""
    (x, y), _ = _extent(scene)
    low = footprints(scene, 0.05, 0.3).astype(np.float64)
    high = footprints(scene, 0.3, 1.2).astype(np.float64)
    shade = 1.0 - 0.4 * cv2.GaussianBlur(low, (0, 0), 0.1 / CELL) - 0.3 * cv2.GaussianBlur(high, (0, 0), 0.2 / CELL)
    return np.ascontiguousarray(shade), x, y, CELL


def _extent(scene: Scene) -> tuple[tuple[float, float], tuple[int, int]]:
    """Origin in meters and (rows, columns) of the plan."""
    x = min(room.low[0] for room in scene.rooms) - MARGIN
    y = min(room.low[1] for room in scene.rooms) - MARGIN
    columns = int(np.ceil((max(room.high[0] for room in scene.rooms) + MARGIN - x) / CELL))
    rows = int(np.ceil((max(room.high[1] for room in scene.rooms) + MARGIN - y) / CELL))
    return (x, y), (rows, columns)

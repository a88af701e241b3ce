"""Pictures of a scene with exact depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic import ray_casting, textures
from spann3r_ros.synthetic.floor_plan import floor_shade
from spann3r_ros.synthetic.furniture import PATTERNS, SHAPES, Look, rgb_of
from spann3r_ros.synthetic.scene import Scene


@dataclass(frozen=True, eq=False)
class Rendering:
    """What a camera sees. With a batch of N cameras every array has N as its first dimension.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32, meters along the optical axis; every pixel has one.
        points: (H, W, 3) float32, the same in the world of the scene, meters.
        surface: (H, W) int32, which wall or solid was hit (an index of the scene; equal means the same surface).
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    points: NDArray[np.float32]
    surface: NDArray[np.int32]


class Renderer:
    """Ray caster for one scene; deterministic, usable from several threads at once."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        looks: dict[Look, int] = {}
        surfaces: list[int] = []

        def look(value: Look) -> None:
            surfaces.append(looks.setdefault(value, len(looks)))

        self._bounds, doors, portals = _cells(scene)
        for room in scene.rooms:
            for value in (*room.walls, room.floor, room.ceiling):
                look(value)
        for doorway in scene.doorways:
            for _ in range(ray_casting.FACES):
                look(doorway.look)
        for solid in scene.solids():
            look(solid.look)
        shade, x, y, step = floor_shade(scene)
        self._scene = (self._bounds, doors, portals, _solids(scene), shade, (x, y, step))
        self._look_of = np.array(surfaces, np.int64)
        self._looks, self._colors = _pack(list(looks))

    def render(self, world_from_camera: Sim3, intrinsics: Intrinsics, supersample: int = 1) -> Rendering:
        """What one camera sees.

        Args:
            world_from_camera: of scale 1; optical axes (x right, y down, z forward) to the world of the scene, meters.
            intrinsics: of the picture.
            supersample: rays per pixel in each direction where surfaces meet, for smooth outlines (elsewhere the
                patterns are filtered as they are); depth is always that of the pixel's center.

        Raises:
            GeometryError: a camera that is in no room, or a scale other than 1.
        """
        batch = self.render_batch([world_from_camera], intrinsics, supersample)
        return Rendering(batch.image[0], batch.depth[0], batch.points[0], batch.surface[0])

    def render_batch(self, cameras: Sequence[Sim3], intrinsics: Intrinsics, supersample: int = 1) -> Rendering:
        """What N cameras see; arrays with a leading N. Other threads run meanwhile (no global lock is held).

        Raises:
            GeometryError: as ``render``.
        """
        poses = np.array([camera.matrix()[:3] for camera in cameras], np.float64).reshape(-1, 3, 4)
        starts = np.array([self._cell_of(camera) for camera in cameras], np.int64)
        size = (intrinsics.height, intrinsics.width)
        depth = np.empty((len(cameras), *size), np.float32)
        surface = np.empty((len(cameras), *size), np.int32)
        image = np.empty((len(cameras), *size, 3), np.uint8)
        chart = np.empty((1, *size, ray_casting.CHART), np.float32)
        everywhere, edges = np.ones((1, *size), np.bool_), np.empty((1, *size), np.bool_)
        fine_size = (1, supersample * size[0], supersample * size[1])
        fine_depth, fine_surface = np.empty(fine_size, np.float32), np.empty(fine_size, np.int32)
        fine_chart = np.empty((*fine_size, ray_casting.CHART), np.float32)
        for n in range(len(cameras)):  # one at a time: what is between the kernels stays in the cache
            only = slice(n, n + 1)
            camera = (poses[only], starts[only], intrinsics)
            self._cast(*camera, 1, everywhere, depth[only], surface[only], chart)
            self._paint(surface[only], chart, 1, everywhere, image[only])
            if supersample > 1:
                ray_casting.edges(surface[only], chart, edges)
                self._cast(*camera, supersample, edges, fine_depth, fine_surface, fine_chart)
                self._paint(fine_surface, fine_chart, supersample, edges, image[only])
        return Rendering(image, depth, _unproject(depth, poses, intrinsics), surface)

    def _cast(
        self,
        poses: NDArray[np.float64],
        starts: NDArray[np.int64],
        intrinsics: Intrinsics,
        samples: int,
        wanted: NDArray[np.bool_],
        depth: NDArray[np.float32],
        surface: NDArray[np.int32],
        chart: NDArray[np.float32],
    ) -> None:
        # (0, 0) is the center of the first pixel, so a finer grid has its center elsewhere.
        offset = (samples - 1) / 2
        camera = (
            float(intrinsics.fx * samples),
            float(intrinsics.fy * samples),
            float(intrinsics.cx * samples + offset),
            float(intrinsics.cy * samples + offset),
        )
        ray_casting.cast(poses, starts, camera, *self._scene, samples, wanted, depth, surface, chart)

    def _paint(
        self,
        surface: NDArray[np.int32],
        chart: NDArray[np.float32],
        samples: int,
        wanted: NDArray[np.bool_],
        image: NDArray[np.uint8],
    ) -> None:
        textures.paint(surface, chart, self._look_of, self._looks, self._colors, samples, wanted, image)

    def _cell_of(self, world_from_camera: Sim3) -> int:
        at = world_from_camera.translation
        if abs(world_from_camera.scale - 1.0) > 1e-6:
            raise GeometryError("scale of a camera's pose", got=world_from_camera.scale, expected="1 (meters)")
        inside = ((self._bounds[:, 0] < at) & (at < self._bounds[:, 1])).all(axis=1)
        if not inside.any():
            raise GeometryError(
                f"camera position in scene '{self.scene.name}'", got=at.tolist(), expected="a point inside a room"
            )
        return int(inside.argmax())


def _cells(scene: Scene) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.void]]:
    """Bounds (C, 2, 3) of rooms and passages, portals of each face (C, 6, 2), and all portals."""
    openings = scene.openings()
    bounds = [((*room.low, 0.0), (*room.high, room.height)) for room in scene.rooms]
    bounds += [(opening.low, opening.high) for opening in openings]
    portals: dict[tuple[int, int], list[tuple[float, float, float, float, int]]] = {}
    for i, opening in enumerate(openings):
        passage, across = len(scene.rooms) + i, 1 - opening.axis
        rectangle = (opening.low[across], opening.high[across], opening.low[2], opening.high[2])
        for side, room in enumerate(opening.rooms):
            # A passage fills its portals: its two ends are open as a whole.
            everywhere = (-np.inf, np.inf, -np.inf, np.inf)
            portals.setdefault((passage, 2 * opening.axis + side), []).append((*everywhere, room))
            portals.setdefault((room, 2 * opening.axis + 1 - side), []).append((*rectangle, passage))
    doors = np.zeros((len(bounds), ray_casting.FACES, 2), np.int64)
    rows: list[tuple[float, float, float, float, int]] = []
    for (cell, face), entries in sorted(portals.items()):
        doors[cell, face] = len(rows), len(rows) + len(entries)
        rows += entries
    return np.array(bounds, np.float64), doors, np.array(rows, ray_casting.PORTAL)


def _solids(scene: Scene) -> NDArray[np.void]:
    """Furniture and boards for the compiled code."""
    rows = []
    for solid in scene.solids():
        half = tuple(extent / 2 for extent in solid.size)
        across = math.hypot(half[0], half[1]) if solid.shape == "box" else half[0]
        radius = half[0] if solid.shape == "sphere" else math.hypot(across, half[2])
        yaw = math.radians(solid.yaw)
        rows.append((*solid.center, *half, math.cos(yaw), math.sin(yaw), radius, SHAPES.index(solid.shape)))
    return np.array(rows, ray_casting.SOLID)


def _pack(looks: list[Look]) -> tuple[NDArray[np.void], NDArray[np.float64]]:
    """Looks and their colors (L, 4, 3) for the compiled code."""
    colors = np.zeros((len(looks), 4, 3))
    rows = []
    for i, look in enumerate(looks):
        colors[i, : len(look.colors)] = np.array([rgb_of(color) for color in look.colors]) / 255.0
        angle = math.radians(look.angle)
        rows.append((PATTERNS.index(look.pattern), len(look.colors), look.size, math.cos(angle), math.sin(angle)))
    return np.array(rows, textures.LOOK), colors


def _unproject(depth: NDArray[np.float32], poses: NDArray[np.float64], camera: Intrinsics) -> NDArray[np.float32]:
    """(N, H, W, 3) world points of (N, H, W) depths."""
    x = ((np.arange(camera.width) - camera.cx) / camera.fx).astype(np.float32)
    y = ((np.arange(camera.height) - camera.cy) / camera.fy).astype(np.float32)
    points = np.empty((*depth.shape, 3), np.float32)
    rotations = poses[:, :, :3].astype(np.float32)
    for n in range(len(poses)):
        for axis in range(3):
            a, b, c = rotations[n, axis]
            points[n, ..., axis] = depth[n] * (a * x[None, :] + (b * y + c)[:, None]) + np.float32(poses[n, axis, 3])
    return points

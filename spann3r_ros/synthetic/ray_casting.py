"""Where the rays of a camera meet the scene, in compiled code.

Rooms and the passages of doorways are axis-aligned cells joined by portals: a ray leaves its cell through one of six
faces, and goes on in the next cell where it meets a portal. Solids are tested per tile of the image, only those whose
bounding sphere meets the tile's cone. The cost of a pixel therefore depends on what is before it, not on the size of
the scene. The kernels hold no lock, so that a thread can render while another one computes.
"""

# Numba's decorator has no types.
# mypy: disable-error-code="untyped-decorator, misc, no-any-return"

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.compiler import njit, require_compiler

require_compiler("rendering synthetic scenes")

FACES = 6
"""Of a cell: west, east, south, north, floor, ceiling (-x, +x, -y, +y, -z, +z)."""
CHART = 6
"""What is known of a hit beside its depth: u, v on the surface (meters), u, v relative to the face (0..1), width of
the pixel's footprint on the surface (meters), brightness (0..1)."""
SOLID = np.dtype(
    [(name, np.float64) for name in ("x", "y", "z", "half_x", "half_y", "half_z", "cosine", "sine", "radius")]
    + [("kind", np.int64)]
)
"""A solid: center, half extents, turn about the vertical, radius of the bounding sphere, index in scene.SHAPES."""
PORTAL = np.dtype([(name, np.float64) for name in ("left", "right", "bottom", "top")] + [("target", np.int64)])
"""An opening in a face of a cell, and the cell behind it."""
FACE_OFFSET = 16.0
"""Meters between the patterns of the faces of a solid: they differ, and u and v from the middle can be told."""
TILE = 16
MAXIMUM_CELLS = 64
CREASE = 0.03
"""Brightness changes by less between neighboring pixels of one face."""
NEAR = 1e-6


@njit
def _slab(o: float, d: float, half: float) -> Any:
    """Depths at which a ray enters and leaves the slab -half..half, and whether it enters from above."""
    if d == 0.0:
        return (-math.inf, math.inf, 0) if abs(o) <= half else (math.inf, -math.inf, 0)
    inverse = 1.0 / d
    low, high = (-half - o) * inverse, (half - o) * inverse
    return (low, high, 0) if low <= high else (high, low, 1)


@njit
def _box(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, hx: float, hy: float, hz: float) -> Any:
    """Depth at which a ray enters a centered box (infinite: never), and through which face."""
    near, far, side = _slab(ox, dx, hx)
    face = side
    a, b, side = _slab(oy, dy, hy)
    if a > near:
        near, face = a, 2 + side
    far = min(far, b)
    a, b, side = _slab(oz, dz, hz)
    if a > near:
        near, face = a, 4 + side
    far = min(far, b)
    if near > far or near < NEAR:
        return math.inf, 0
    return near, face


@njit
def _cylinder(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, radius: float, half: float) -> Any:
    """Depth at which a ray enters a centered upright cylinder; face 0 the mantle, 4 the bottom, 5 the top."""
    a = dx * dx + dy * dy
    b = ox * dx + oy * dy
    c = ox * ox + oy * oy - radius * radius
    near, far, face = -math.inf, math.inf, 0
    if a > 0.0:
        root = b * b - a * c
        if root <= 0.0:
            return math.inf, 0
        root = math.sqrt(root)
        near, far = (-b - root) / a, (-b + root) / a
    elif c > 0.0:
        return math.inf, 0
    if dz != 0.0:
        low, high = (-half - oz) / dz, (half - oz) / dz
        entered = 4
        if low > high:
            low, high = high, low
            entered = 5
        if low > near:
            near, face = low, entered
        far = min(far, high)
    elif abs(oz) > half:
        return math.inf, 0
    if near > far or near < NEAR:
        return math.inf, 0
    return near, face


@njit
def _sphere(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, radius: float) -> Any:
    """Depth at which a ray enters a centered sphere."""
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    root = b * b - a * (ox * ox + oy * oy + oz * oz - radius * radius)
    if root <= 0.0:
        return math.inf
    t = (-b - math.sqrt(root)) / a
    return t if t > NEAR else math.inf


@njit
def _walls(
    cell: int, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, bounds: Any, doors: Any, portals: Any
) -> Any:
    """Depth, cell and face where a ray meets a wall, floor or ceiling, having passed through portals."""
    side_x, side_y, side_z = int(dx > 0.0), int(dy > 0.0), int(dz > 0.0)
    inverse_x, inverse_y, inverse_z = 1.0 / dx, 1.0 / dy, 1.0 / dz
    t, face = math.inf, 0
    for _ in range(MAXIMUM_CELLS):
        t, face = math.inf, 0
        if dx != 0.0:
            t, face = (bounds[cell, side_x, 0] - ox) * inverse_x, side_x
        if dy != 0.0:
            ty = (bounds[cell, side_y, 1] - oy) * inverse_y
            if ty < t:
                t, face = ty, 2 + side_y
        if dz != 0.0:
            tz = (bounds[cell, side_z, 2] - oz) * inverse_z
            if tz < t:
                t, face = tz, 4 + side_z
        through = -1
        if doors[cell, face, 0] < doors[cell, face, 1]:
            a = oy + t * dy if face < 2 else ox + t * dx
            b = oz + t * dz if face < 4 else oy + t * dy
            for k in range(doors[cell, face, 0], doors[cell, face, 1]):
                portal = portals[k]
                if portal.left <= a <= portal.right and portal.bottom <= b <= portal.top:
                    through = portal.target
                    break
        if through < 0:
            break
        cell = through
    return t, cell, face


@njit
def _candidates(camera: Any, row: int, column: int, rows: int, columns: int, near: Any, kept: Any) -> int:
    """Solids whose bounding sphere meets the cone around a tile; their indices go to the front of ``kept``."""
    fx, fy, cx, cy = camera
    middle_x = (column + 0.5 * (columns - 1) - cx) / fx
    middle_y = (row + 0.5 * (rows - 1) - cy) / fy
    length = math.sqrt(middle_x * middle_x + middle_y * middle_y + 1.0)
    half = 0.0
    for corner in range(4):
        x = (column - 0.5 + (corner % 2) * columns - cx) / fx
        y = (row - 0.5 + (corner // 2) * rows - cy) / fy
        cosine = (x * middle_x + y * middle_y + 1.0) / (length * math.sqrt(x * x + y * y + 1.0))
        half = max(half, math.acos(min(1.0, cosine)))
    number = 0
    for s in range(near.shape[0]):
        x, y, z, distance, angle = near[s, 0], near[s, 1], near[s, 2], near[s, 3], near[s, 4]
        if angle < 0.0:  # the camera is inside the bounding sphere
            kept[number] = s
            number += 1
            continue
        limit = half + angle
        cosine = (x * middle_x + y * middle_y + z) / (length * distance)
        if limit >= math.pi or cosine >= math.cos(limit):
            kept[number] = s
            number += 1
    return number


@njit
def _in_camera(pose: Any, solids: Any, near: Any, local: Any) -> None:
    """For each solid: center in the camera, distance, angular radius (negative: around the camera), and where the
    camera is in its frame."""
    for s in range(solids.shape[0]):
        solid = solids[s]
        x, y, z = solid.x - pose[0, 3], solid.y - pose[1, 3], solid.z - pose[2, 3]
        for axis in range(3):
            near[s, axis] = pose[0, axis] * x + pose[1, axis] * y + pose[2, axis] * z
        distance = math.sqrt(x * x + y * y + z * z)
        near[s, 3] = distance
        near[s, 4] = -1.0 if distance <= solid.radius else math.asin(solid.radius / distance)
        local[s, 0] = -solid.cosine * x - solid.sine * y
        local[s, 1] = -solid.cosine * y + solid.sine * x
        local[s, 2] = -z


@njit
def _brightness(nx: float, ny: float, nz: float) -> float:
    """Mild daylight from above the south-west: no face is black, no two directions of a box look alike."""
    return 0.78 + 0.13 * nz - 0.09 * nx - 0.05 * ny


@njit
def _floor_light(x: float, y: float, values: Any, x0: float, y0: float, step: float) -> float:
    """What stands on the floor darkens it."""
    i = min(max((y - y0) / step - 0.5, 0.0), values.shape[0] - 1.001)
    j = min(max((x - x0) / step - 0.5, 0.0), values.shape[1] - 1.001)
    i0, j0 = int(i), int(j)
    f, g = i - i0, j - j0
    top = values[i0, j0] * (1.0 - g) + values[i0, j0 + 1] * g
    bottom = values[i0 + 1, j0] * (1.0 - g) + values[i0 + 1, j0 + 1] * g
    return top * (1.0 - f) + bottom * f


@njit
def _on_wall(cell: int, face: int, x: float, y: float, z: float, bounds: Any) -> Any:
    """u, v, relative u, v and brightness of a hit on a wall, floor or ceiling; the edges of a room are darker."""
    axis, a, b, u, v = face // 2, 0, 2, x, z
    if axis == 0:
        a, u = 1, y
    elif axis == 2:
        b, v = 1, y
    low_u, high_u, low_v, high_v = bounds[cell, 0, a], bounds[cell, 1, a], bounds[cell, 0, b], bounds[cell, 1, b]
    edge = min(min(u - low_u, high_u - u), min(v - low_v, high_v - v))
    sign = -1.0 if face % 2 else 1.0
    light = _brightness(sign if axis == 0 else 0.0, sign if axis == 1 else 0.0, sign if axis == 2 else 0.0)
    light *= 1.0 - 0.22 / (1.0 + 60.0 * edge * edge)
    return u, v, (u - low_u) / (high_u - low_u), (v - low_v) / (high_v - low_v), light


@njit
def _on_flat(face: int, x: float, y: float, z: float, hx: float, hy: float, hz: float) -> Any:
    """u, v and relative u, v of a hit on a face of a box; the six faces show different parts of the pattern."""
    if face < 2:
        u, v, a, b = y, z, y / hy, z / hz
    elif face < 4:
        u, v, a, b = x, z, x / hx, z / hz
    else:
        u, v, a, b = x, y, x / hx, y / hy
    return u + FACE_OFFSET * face, v + FACE_OFFSET * face, 0.5 + 0.5 * a, 0.5 + 0.5 * b


@njit
def _on_solid(face: int, x: float, y: float, z: float, solid: Any) -> Any:
    """u, v, relative u, v and the normal of a hit at (x, y, z) in the frame of a solid."""
    nx, ny, nz = 0.0, 0.0, 0.0
    if solid.kind == 0 or (solid.kind == 1 and face >= 4):
        u, v, a, b = _on_flat(face, x, y, z, solid.half_x, solid.half_y, solid.half_z)
        sign = 1.0 if face % 2 else -1.0
        if face < 2:
            nx = sign
        elif face < 4:
            ny = sign
        else:
            nz = sign
        return u, v, a, b, nx, ny, nz
    radius = solid.half_x
    around = math.atan2(y, x)
    nx, ny, v = x / radius, y / radius, z
    if solid.kind == 2:
        nz = z / radius
        v = radius * math.asin(min(1.0, max(-1.0, nz)))
    return around * radius, v, 0.5 + around / (2.0 * math.pi), 0.5 + 0.5 * z / solid.half_z, nx, ny, nz


@njit
def _nearest_solid(t: float, dx: float, dy: float, dz: float, solids: Any, local: Any, kept: Any, number: int) -> Any:
    """Depth, index and face of the first of the kept solids before depth t; (t, -1, 0) when there is none."""
    hit, face = -1, 0
    for k in range(number):
        s = kept[k]
        solid = solids[s]
        x, y, z = local[s, 0], local[s, 1], local[s, 2]
        lx, ly = solid.cosine * dx + solid.sine * dy, solid.cosine * dy - solid.sine * dx
        entered = 0
        if solid.kind == 0:
            found, entered = _box(x, y, z, lx, ly, dz, solid.half_x, solid.half_y, solid.half_z)
        elif solid.kind == 1:
            found, entered = _cylinder(x, y, z, lx, ly, dz, solid.half_x, solid.half_z)
        else:
            found = _sphere(x, y, z, lx, ly, dz, solid.half_x)
        if found < t:
            t, hit, face = found, s, entered
    return t, hit, face


@njit
def cast(
    poses: NDArray[np.float64],
    starts: NDArray[np.int64],
    camera: tuple[float, float, float, float],
    bounds: NDArray[np.float64],
    doors: NDArray[np.int64],
    portals: NDArray[np.void],
    solids: NDArray[np.void],
    shade: NDArray[np.float64],
    shade_grid: tuple[float, float, float],
    samples: int,
    wanted: NDArray[np.bool_],
    depth: NDArray[np.float32],
    surface: NDArray[np.int32],
    chart: NDArray[np.float32],
) -> None:
    """Cast one ray through every wanted pixel of N cameras.

    Args:
        poses: (N, 3, 4) world_from_camera, optical axes, meters.
        starts: (N,) index of the cell in which each camera is.
        camera: fx, fy, cx, cy in pixels.
        bounds: (C, 2, 3) lowest and highest corner of each cell, meters.
        doors: (C, 6, 2) first and last + 1 portal of each face.
        portals: (P,) of PORTAL.
        solids: (S,) of SOLID.
        shade: (rows, columns) brightness of the floor.
        shade_grid: x, y and cell size of it in meters.
        samples: rays per pixel of ``wanted`` in each direction.
        wanted: (N, H / samples, W / samples); nothing is written where it is false.
        depth: (N, H, W) out, z-depth in meters.
        surface: (N, H, W) out; 6 * cell + face, or 6 * C + index of the solid.
        chart: (N, H, W, CHART) out.
    """
    fx, fy, cx, cy = camera
    height, width = depth.shape[1], depth.shape[2]
    near, local = np.empty((solids.shape[0], 5)), np.empty((solids.shape[0], 3))
    kept = np.empty(solids.shape[0], np.int64)
    for n in range(poses.shape[0]):
        pose = poses[n]
        ox, oy, oz = pose[0, 3], pose[1, 3], pose[2, 3]
        _in_camera(pose, solids, near, local)
        for row in range(0, height, TILE):
            rows = min(TILE, height - row)
            for column in range(0, width, TILE):
                columns = min(TILE, width - column)
                number = _candidates(camera, row, column, rows, columns, near, kept)
                for i in range(row, row + rows):
                    y = (i - cy) / fy
                    for j in range(column, column + columns):
                        if not wanted[n, i // samples, j // samples]:
                            continue
                        x = (j - cx) / fx
                        dx = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2]
                        dy = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2]
                        dz = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2]
                        t, cell, face = _walls(starts[n], ox, oy, oz, dx, dy, dz, bounds, doors, portals)
                        t, hit, hit_face = _nearest_solid(t, dx, dy, dz, solids, local, kept, number)
                        length = math.sqrt(dx * dx + dy * dy + dz * dz)
                        if hit < 0:
                            px, py = ox + t * dx, oy + t * dy
                            u, v, a, b, light = _on_wall(cell, face, px, py, oz + t * dz, bounds)
                            facing = abs(dx if face < 2 else (dy if face < 4 else dz))
                            if face == 4:
                                light *= _floor_light(px, py, shade, shade_grid[0], shade_grid[1], shade_grid[2])
                        else:
                            solid = solids[hit]
                            lx, ly = solid.cosine * dx + solid.sine * dy, solid.cosine * dy - solid.sine * dx
                            u, v, a, b, nx, ny, nz = _on_solid(
                                hit_face, local[hit, 0] + t * lx, local[hit, 1] + t * ly, local[hit, 2] + t * dz, solid
                            )
                            facing = abs(nx * lx + ny * ly + nz * dz)
                            light = _brightness(
                                solid.cosine * nx - solid.sine * ny, solid.sine * nx + solid.cosine * ny, nz
                            )
                        depth[n, i, j] = t
                        surface[n, i, j] = cell * FACES + face if hit < 0 else FACES * bounds.shape[0] + hit
                        chart[n, i, j, 0] = u
                        chart[n, i, j, 1] = v
                        chart[n, i, j, 2] = a
                        chart[n, i, j, 3] = b
                        chart[n, i, j, 4] = t * length / (fx * max(facing / length, 0.08))
                        chart[n, i, j, 5] = light


@njit
def edges(surface: NDArray[np.int32], chart: NDArray[np.float32], found: NDArray[np.bool_]) -> None:
    """Where one ray cannot stand for a pixel: two surfaces meet, or two faces of one.

    Args:
        surface: (N, H, W) of ``cast``.
        chart: (N, H, W, CHART) of ``cast``.
        found: (N, H, W) out.
    """
    found[:] = False
    height, width = surface.shape[1], surface.shape[2]
    for n in range(surface.shape[0]):
        for i in range(height):
            for j in range(width):
                for down, right in ((0, 1), (1, 0)):
                    k, m = min(i + down, height - 1), min(j + right, width - 1)
                    if surface[n, i, j] != surface[n, k, m] or abs(chart[n, i, j, 5] - chart[n, k, m, 5]) > CREASE:
                        found[n, i, j] = True
                        found[n, k, m] = True

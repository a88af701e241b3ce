"""Colors of surfaces from their coordinates, in compiled code.

Every pattern is a function of meters on the surface, so it stays in place when the camera moves, and is filtered by the
width of the pixel: edges are as soft as the pixel is wide, and what is finer than two pixels fades to its mean. Value
noise at four scales (1.1 m to 4 cm), seeded by the surface, lies over every pattern: no two places look alike.
"""

# Numba's decorator has no types.
# mypy: disable-error-code="untyped-decorator, misc, no-any-return"

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.compiler import njit
from spann3r_ros.synthetic.furniture import PATTERNS
from spann3r_ros.synthetic.ray_casting import FACE_OFFSET

STRIPES = PATTERNS.index("stripes")
WAVES = PATTERNS.index("waves")
CHECKER = PATTERNS.index("checker")
DOTS = PATTERNS.index("dots")
BLOBS = PATTERNS.index("blobs")
BRICKS = PATTERNS.index("bricks")
PLANKS = PATTERNS.index("planks")
TILES = PATTERNS.index("tiles")
BOOKS = PATTERNS.index("books")
PICTURE = PATTERNS.index("picture")
WINDOW = PATTERNS.index("window")

LOOK = np.dtype(
    [("pattern", np.int64), ("count", np.int64)] + [(name, np.float64) for name in ("size", "cosine", "sine")]
)
"""A look: index in scene.PATTERNS, number of colors, period in meters, turn on the surface."""
MASK = 0xFFFFFFFF


@njit
def _hash(i: int, j: int, seed: int) -> float:
    """Evenly distributed number in [0, 1) of an integer lattice point."""
    h = (i * 0x27D4EB2F + j * 0x165667B1 + seed * 0x1B873593) & MASK
    h = ((h ^ (h >> 15)) * 0x2C1B3C6D) & MASK
    h = ((h ^ (h >> 12)) * 0x297A2D39) & MASK
    return ((h ^ (h >> 15)) & 0xFFFFFF) / 16777216.0


@njit
def _noise(u: float, v: float, seed: int) -> float:
    """Smooth value noise of period 1, in [0, 1]."""
    fu, fv = math.floor(u), math.floor(v)
    i, j = int(fu), int(fv)
    a, b = u - fu, v - fv
    a, b = a * a * (3.0 - 2.0 * a), b * b * (3.0 - 2.0 * b)
    low = _hash(i, j, seed) * (1.0 - a) + _hash(i + 1, j, seed) * a
    high = _hash(i, j + 1, seed) * (1.0 - a) + _hash(i + 1, j + 1, seed) * a
    return low * (1.0 - b) + high * b


@njit
def _shown(period: float, footprint: float) -> float:
    """How much of a detail of this period a pixel of this width can show: all above 3 pixels, none below 1.5."""
    return min(1.0, max(0.0, (period / footprint - 1.5) / 1.5))


@njit
def _detail(u: float, v: float, period: float, footprint: float, seed: int) -> float:
    """Noise about 0, as far as a pixel can show it."""
    share = _shown(period, footprint)
    return (_noise(u / period, v / period, seed) - 0.5) * share if share > 0.0 else 0.0


@njit
def _edge(distance: float, footprint: float) -> float:
    """0 to 1 across an edge, as wide as the pixel (at least 4 mm)."""
    return min(1.0, max(0.0, 0.5 + distance / max(footprint, 0.004)))


@njit
def _wave(x: float, period: float, footprint: float) -> float:
    """Bands of 0 and 1 in turn, each half a period wide."""
    phase = x / period - math.floor(x / period)
    inside = (0.25 - abs(phase - 0.5)) * period
    return 0.5 + (_edge(inside, footprint) - 0.5) * _shown(period, footprint)


@njit
def _joint(u: float, v: float, wide: float, high: float, joint: float, footprint: float) -> float:
    """1 on the joints between cells of a grid, 0 inside; u and v within the cell."""
    inside = min(min(u, wide - u), min(v, high - v)) - 0.5 * joint
    visible = min(1.0, joint / footprint)
    return (1.0 - _edge(inside, footprint)) * visible


@njit
def _mix(target: Any, colors: Any, k: int, a: int, b: int, share: float) -> None:
    """Put color a of look k, with a share of color b."""
    for c in range(3):
        target[c] = colors[k, a, c] * (1.0 - share) + colors[k, b, c] * share


@njit
def _cover(target: Any, colors: Any, k: int, a: int, share: float) -> None:
    """Lay color a of look k over what is there."""
    for c in range(3):
        target[c] += (colors[k, a, c] - target[c]) * share


@njit
def _cells(
    target: Any, colors: Any, k: int, count: int, pattern: int, size: float, u: float, v: float, seed: int, w: float
) -> None:
    """Bricks, planks, tiles and books: a color per cell of a grid, and joints."""
    high, wide, joint = size, size, 0.02
    if pattern == BRICKS:
        wide = 2.2 * size
    elif pattern == PLANKS:
        wide, joint = 6.0 * size, 0.008
    elif pattern == BOOKS:
        high, wide, joint = size, 0.16 * size, 0.035
    row = math.floor(v / high)
    if pattern == BRICKS:
        u += 0.5 * wide * (row % 2)
    elif pattern == PLANKS:
        u += wide * _hash(int(row), 7, seed)
    column = math.floor(u / wide)
    inner_u, inner_v = u - column * wide, v - row * high
    chance = _hash(int(column), int(row), seed)
    seen = _shown(min(high, wide), w)
    last = count - 1
    if pattern in (BRICKS, PLANKS):
        _mix(target, colors, k, 0, min(1, last), 0.5 + (chance - 0.5) * seen)
        share = _joint(inner_u, inner_v, wide, high, joint, w)
    elif pattern == TILES:
        kinds = max(1, last)
        _mix(target, colors, k, int(chance * kinds), 0, (1.0 - seen) * 0.5)
        share = _joint(inner_u, inner_v, wide, high, joint, w)
    else:
        _mix(target, colors, k, int(chance * count) % count, 0, (1.0 - seen) * 0.5)
        tall = high * (0.72 + 0.2 * _hash(int(column), int(row), seed + 5))
        gap = min(inner_u, wide - inner_u) - 0.004
        share = max(1.0 - _edge(tall - inner_v, w), (1.0 - _edge(gap, w)) * min(1.0, 0.012 / w))
        share = max(share, 1.0 - _edge(inner_v - joint, w))
        for c in range(3):  # the dark inside of the shelf
            target[c] *= 1.0 - 0.75 * share
        return
    _cover(target, colors, k, last, share)


@njit
def _framed(
    target: Any,
    colors: Any,
    k: int,
    count: int,
    pattern: int,
    a: float,
    b: float,
    u: float,
    v: float,
    seed: int,
    w: float,
) -> None:
    """A painting or a window, laid out on the face (a, b in 0..1), behind a frame of the last color."""
    last = count - 1
    # From the coordinates in meters about the middle follow the meters per relative unit.
    u, v = u - FACE_OFFSET * round(u / FACE_OFFSET), v - FACE_OFFSET * round(v / FACE_OFFSET)
    scale_a, scale_b = (u + 1e-6) / (a - 0.5 + 1e-6), (v + 1e-6) / (b - 0.5 + 1e-6)
    if pattern == WINDOW:
        hills = 0.38 + 0.16 * (_noise(3.0 * a, 0.5, seed) - 0.5)
        _mix(target, colors, k, min(1, last), 0, _edge((b - hills) * scale_b, w))
        bright = 1.0 + 0.18 * (b - 0.5) + 0.1 * (_noise(4.0 * a, 6.0 * b, seed + 3) - 0.5)
        for c in range(3):
            target[c] *= bright
        bar = min(abs(a - 0.5) * scale_a, abs(b - 0.62) * scale_b) - 0.025
    else:
        first = _noise(2.3 * a + 0.7 * b, 1.9 * b, seed)
        second = _noise(3.7 * a, 3.1 * b + a, seed + 11)
        _mix(target, colors, k, 0, min(1, last), _edge((first - 0.5) * 0.4, w))
        share = _edge((second - 0.62) * 0.3, w) if count > 2 else 0.0
        _cover(target, colors, k, min(2, last), share)
        bar = 1.0
    border = min(min(a, 1.0 - a) * scale_a, min(b, 1.0 - b) * scale_b) - 0.04
    _cover(target, colors, k, last, 1.0 - _edge(min(border, bar), w))


@njit
def _color(
    target: Any, colors: Any, k: int, look: Any, u0: float, v0: float, a: float, b: float, w: float, seed: int
) -> None:
    """RGB in 0..1 of one hit, before light."""
    pattern, count, size = look.pattern, look.count, look.size
    u, v = look.cosine * u0 + look.sine * v0, look.cosine * v0 - look.sine * u0
    if pattern in (BRICKS, PLANKS, TILES, BOOKS):
        _cells(target, colors, k, count, pattern, size, u, v, seed, w)
    elif pattern in (PICTURE, WINDOW):
        _framed(target, colors, k, count, pattern, a, b, u0, v0, seed, w)
    else:
        share = 0.0
        if pattern == STRIPES:
            share = _wave(u, size, w)
        elif pattern == WAVES:
            share = _wave(u + 0.35 * size * math.sin(2.5 * v / size), size, w)
        elif pattern == CHECKER:
            first, second = _wave(u, 2.0 * size, w), _wave(v, 2.0 * size, w)
            share = first + second - 2.0 * first * second
        elif pattern == DOTS:
            row = math.floor(v / size)
            x = (u + 0.5 * size * (row % 2)) / size
            x, y = (x - math.floor(x) - 0.5) * size, v - (row + 0.5) * size
            share = 0.22 + (_edge(0.27 * size - math.sqrt(x * x + y * y), w) - 0.22) * _shown(size, w)
        elif pattern == BLOBS:
            value = _noise(u / size, v / size, seed + 1) + 0.35 * (
                _noise(2.6 * u / size, 2.6 * v / size, seed + 2) - 0.5
            )
            share = _edge((value - 0.52) * 0.8 * size, w + 0.01)
        _mix(target, colors, k, 0, min(1, count - 1), share)


@njit
def paint(
    surface: NDArray[np.int32],
    chart: NDArray[np.float32],
    look_of: NDArray[np.int64],
    looks: NDArray[np.void],
    colors: NDArray[np.float64],
    samples: int,
    wanted: NDArray[np.bool_],
    image: NDArray[np.uint8],
) -> None:
    """Color N images.

    Args:
        surface: (N, samples * H, samples * W) from ``ray_casting.cast``.
        chart: (N, samples * H, samples * W, CHART) of the same.
        look_of: index of the look of each surface.
        looks: (L,) of LOOK.
        colors: (L, 4, 3) RGB in 0..1.
        samples: rays per pixel in each direction, averaged.
        wanted: (N, H, W); the others stay as they are.
        image: (N, H, W, 3) out, RGB.
    """
    color, total = np.empty(3), np.empty(3)
    for n in range(image.shape[0]):
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                if not wanted[n, row, column]:
                    continue
                total[:] = 0.0
                for i in range(row * samples, (row + 1) * samples):
                    for j in range(column * samples, (column + 1) * samples):
                        hit = surface[n, i, j]
                        k = look_of[hit]
                        u, v = float(chart[n, i, j, 0]), float(chart[n, i, j, 1])
                        a, b = float(chart[n, i, j, 2]), float(chart[n, i, j, 3])
                        w, light = float(chart[n, i, j, 4]) + 1e-6, float(chart[n, i, j, 5])
                        _color(color, colors, k, looks[k], u, v, a, b, w, hit)
                        coarse = _noise(u / 1.1, v / 1.1, 4 * hit + 101) - 0.5
                        middle = _detail(u, v, 0.37, w, 4 * hit + 102)
                        fine = _detail(u, v, 0.12, w, 4 * hit + 103) + 0.7 * _detail(u, v, 0.045, w, 4 * hit + 104)
                        light *= 1.0 + 0.36 * coarse + 0.28 * middle + 0.22 * fine
                        tint = 0.16 * coarse - 0.12 * middle
                        total[0] += color[0] * light * (1.0 + tint)
                        total[1] += color[1] * light
                        total[2] += color[2] * light * (1.0 - tint)
                for c in range(3):
                    value = total[c] / (samples * samples) * 255.0 + 0.5
                    image[n, row, column, c] = np.uint8(min(255.0, max(0.0, value)))

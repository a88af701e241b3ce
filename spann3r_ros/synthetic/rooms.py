"""Random apartments, for judging a model in rooms that it never saw."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from spann3r_ros.synthetic.furniture import Furniture, Look, Solid
from spann3r_ros.synthetic.scene import SIDES, Board, Doorway, Room, Scene

WALL = 0.15
DOOR_WIDTH, DOOR_HEIGHT = 1.0, 2.1
TWIN_DISTANCE = 8.0
"""Meters between two rooms that look the same; a multiple of twice the size of all their patterns."""


def random_scene(seed: int) -> Scene:
    """Two to four rooms in a row, each with its own looks and furniture along its walls; depends on the seed only."""
    rng = np.random.default_rng((seed, 4711))
    depth = rng.uniform(3.2, 4.4)
    widths = rng.uniform(3.0, 4.6, rng.integers(2, 5))
    doors = [float(rng.uniform(1.2, depth - 1.2)) for _ in widths[1:]]
    rooms, west = [], 0.0
    for i, width in enumerate(widths):
        low, high = (west, 0.0), (west + float(width), float(depth))
        rooms.append(_room(rng, f"room {i + 1}", low, high, doors[max(0, i - 1) : i + 1]))
        west = high[0] + WALL
    doorways = tuple(
        Doorway((rooms[i].name, rooms[i + 1].name), along, DOOR_WIDTH, DOOR_HEIGHT, _look(rng, ("plain", "planks")))
        for i, along in enumerate(doors)
    )
    return Scene(f"random {seed}", tuple(rooms), doorways)


def look_alike_scene(seed: int) -> Scene:
    """A room, a hall and the same room once more: two places that no image tells apart; depends on the seed only."""
    rng = np.random.default_rng((seed, 4712))
    depth, width = float(rng.uniform(3.2, 4.4)), float(rng.uniform(3.4, 4.6))
    hall = TWIN_DISTANCE - width - 2 * WALL
    door = float(rng.uniform(1.2, depth - 1.2))
    first = _repeating(rng, _room(rng, "room 1", (0.0, 0.0), (width, depth), [door]))
    between = _room(rng, "hall", (width + WALL, 0.0), (width + WALL + hall, depth), [door])
    twin = _moved_east(first, "room 2", TWIN_DISTANCE)
    look = _look(rng, ("plain", "planks"))
    doorways = tuple(
        Doorway((one, other), door, DOOR_WIDTH, DOOR_HEIGHT, look)
        for one, other in (("room 1", "hall"), ("hall", "room 2"))
    )
    return Scene(f"look-alike {seed}", (first, between, twin), doorways)


def _repeating(rng: np.random.Generator, room: Room) -> Room:
    """The room with patterns that are the same ``TWIN_DISTANCE`` farther: surfaces have theirs from the world's x."""

    def look(old: Look) -> Look:
        pattern, size = str(rng.choice(("stripes", "checker", "dots"))), float(rng.choice((0.2, 0.25, 0.4, 0.5)))
        return Look(pattern, old.colors[:2], size)

    west, east, south, north = (look(old) for old in room.walls)
    return replace(room, walls=(west, east, south, north), floor=look(room.floor), ceiling=look(room.ceiling))


def _moved_east(room: Room, name: str, by: float) -> Room:
    """The room with all that is in it, elsewhere."""
    boards = [replace(board, along=board.along + by) if board.wall in SIDES[2:] else board for board in room.boards]
    furniture = [replace(piece, at=(piece.at[0] + by, piece.at[1])) for piece in room.furniture]
    low, high = (room.low[0] + by, room.low[1]), (room.high[0] + by, room.high[1])
    return replace(room, name=name, low=low, high=high, boards=tuple(boards), furniture=tuple(furniture))


def _room(
    rng: np.random.Generator, name: str, low: tuple[float, float], high: tuple[float, float], doors: list[float]
) -> Room:
    on_walls = ("stripes", "waves", "checker", "dots", "blobs", "bricks", "tiles")
    walls = tuple(_look(rng, on_walls) for _ in SIDES)
    boards = tuple(board for side in ("south", "north") for board in _boards(rng, side, low[0], high[0]))
    return Room(
        name,
        low,
        high,
        float(rng.uniform(2.4, 2.9)),
        (walls[0], walls[1], walls[2], walls[3]),
        _look(rng, ("planks", "tiles", "checker", "blobs")),
        _look(rng, ("plain", "waves", "blobs", "stripes"), light=True),
        boards,
        tuple(_furniture(rng, low, high, doors)),
    )


def _boards(rng: np.random.Generator, side: str, west: float, east: float) -> list[Board]:
    """One or two boards side by side on a wall."""
    boards = []
    count = int(rng.integers(1, 3))
    share = (east - west) / count
    for k in range(count):
        width, height = rng.uniform(0.6, 1.3), rng.uniform(0.5, 1.1)
        along = west + k * share + rng.uniform(width / 2 + 0.05, share - width / 2 - 0.05)
        look = Look("window", ("#9fd0f5", "#5f9a4a", "#f4f1e8"))
        if rng.random() < 0.7:
            look = _look(rng, ("picture",), colors=4)
        boards.append(Board(side, float(along), float(rng.uniform(1.35, 1.65)), (float(width), float(height)), look))
    return boards


def _furniture(
    rng: np.random.Generator, low: tuple[float, float], high: tuple[float, float], doors: list[float]
) -> list[Furniture]:
    """Up to six pieces that neither overlap nor stand in the way from door to door."""
    makers: tuple[Callable[[np.random.Generator], tuple[str, tuple[Solid, ...], float]], ...]
    makers = (_cabinet, _table, _ball, _plant, _column, _bed)
    placed: list[tuple[float, float, float]] = []
    furniture: list[Furniture] = []
    for _ in range(40):
        if len(furniture) == 6:
            break
        name, parts, radius = makers[rng.integers(len(makers))](rng)
        inset = radius + 0.05
        x, y = rng.uniform(low[0] + inset, high[0] - inset), rng.uniform(low[1] + inset, high[1] - inset)
        if rng.random() < 0.7:  # most furniture stands against a wall
            y = low[1] + inset if rng.random() < 0.5 else high[1] - inset
        near = [gap for gap in placed if np.hypot(gap[0] - x, gap[1] - y) < gap[2] + radius + 0.1]
        in_the_way = any(abs(y - door) < radius + DOOR_WIDTH / 2 + 0.1 for door in doors)
        if near or in_the_way:
            continue
        placed.append((x, y, radius))
        furniture.append(Furniture(name, (float(x), float(y)), parts, float(rng.uniform(-180, 180))))
    return furniture


def _cabinet(rng: np.random.Generator) -> tuple[str, tuple[Solid, ...], float]:
    size = (float(rng.uniform(0.5, 1.0)), float(rng.uniform(0.3, 0.5)), float(rng.uniform(0.6, 1.9)))
    look = _look(rng, ("books", "planks", "stripes", "tiles"), colors=4)
    return "cabinet", (Solid("box", (0, 0, 0), size, look),), float(np.hypot(size[0], size[1]) / 2)


def _table(rng: np.random.Generator) -> tuple[str, tuple[Solid, ...], float]:
    radius, height = float(rng.uniform(0.3, 0.5)), float(rng.uniform(0.4, 0.75))
    wood = _look(rng, ("planks",))
    top = Solid("cylinder", (0, 0, height), (2 * radius, 2 * radius, 0.05), wood)
    leg = Solid("cylinder", (0, 0, 0), (0.12, 0.12, height), wood)
    fruit = Solid("sphere", (0.1, 0, height + 0.05), (0.2, 0.2, 0.2), _look(rng, ("stripes", "blobs")))
    return "table", (top, leg, fruit), radius


def _ball(rng: np.random.Generator) -> tuple[str, tuple[Solid, ...], float]:
    size = float(rng.uniform(0.3, 0.7))
    return (
        "ball",
        (Solid("sphere", (0, 0, 0), (size, size, size), _look(rng, ("stripes", "checker", "blobs"))),),
        size / 2,
    )


def _plant(rng: np.random.Generator) -> tuple[str, tuple[Solid, ...], float]:
    crown, height = float(rng.uniform(0.4, 0.7)), float(rng.uniform(0.5, 1.0))
    pot = Solid("cylinder", (0, 0, 0), (0.32, 0.32, 0.35), _look(rng, ("stripes", "waves")))
    stem = Solid("cylinder", (0, 0, 0.35), (0.06, 0.06, height), Look("plain", ("#5a3d23",)))
    leaves = Solid("sphere", (0, 0, height), (crown, crown, crown), Look("blobs", ("#2f7a34", "#7fb83d"), 0.12))
    return "plant", (pot, stem, leaves), max(0.16, crown / 2)


def _column(rng: np.random.Generator) -> tuple[str, tuple[Solid, ...], float]:
    radius, height = float(rng.uniform(0.12, 0.25)), float(rng.uniform(0.5, 1.6))
    solid = Solid("cylinder", (0, 0, 0), (2 * radius, 2 * radius, height), _look(rng, ("checker", "waves", "dots")))
    return "column", (solid,), radius


def _bed(rng: np.random.Generator) -> tuple[str, tuple[Solid, ...], float]:
    width, length = float(rng.uniform(0.7, 1.0)), float(rng.uniform(1.0, 1.6))
    frame = Solid("box", (0, 0, 0), (width, length, 0.3), _look(rng, ("planks",)))
    cover = Solid("box", (0, 0, 0.3), (width - 0.04, length - 0.04, 0.15), _look(rng, ("checker", "stripes", "dots")))
    return "bed", (frame, cover), float(np.hypot(width, length) / 2)


def _look(rng: np.random.Generator, patterns: tuple[str, ...], colors: int = 3, light: bool = False) -> Look:
    """A random pattern in related colors."""
    hue, saturation = rng.random(), rng.uniform(0.05, 0.2) if light else rng.uniform(0.25, 0.75)
    shades = []
    for _ in range(colors):
        value = rng.uniform(0.85, 1.0) if light else rng.uniform(0.3, 0.95)
        rgb = colorsys.hsv_to_rgb((hue + rng.normal(0, 0.12)) % 1.0, saturation, value)
        shades.append("#" + "".join(f"{round(255 * channel):02x}" for channel in rgb))
    pattern = str(rng.choice(patterns))
    smallest, largest = (0.1, 0.2) if pattern in ("planks", "bricks") else (0.15, 0.5)
    angle = 0.0 if pattern in ("planks", "bricks", "books", "tiles") else float(rng.choice((0.0, 30.0, 45.0, 90.0)))
    return Look(pattern, tuple(shades), float(rng.uniform(smallest, largest)), angle)

"""The rooms of the synthetic world, joined by doorways, read from a scene file.

The world of a scene has ROS axes: x east, y north, z up, meters, with the floor at z = 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from spann3r_ros.errors import DataError
from spann3r_ros.synthetic.furniture import SHAPES, Furniture, Look, Solid

SIDES = ("west", "east", "south", "north")
"""Walls of a room in the order of its faces: -x, +x, -y, +y; the floor and the ceiling follow."""


@dataclass(frozen=True)
class Board:
    """A thin panel on a wall: a picture, a window, a notice board.

    Attributes:
        wall: one of SIDES.
        along: coordinate of its middle along the wall (x or y of the world), meters.
        height: of its middle over the floor, meters.
        size: width and height in meters.
        look: usually a picture or a window.
    """

    wall: str
    along: float
    height: float
    size: tuple[float, float]
    look: Look

    THICKNESS = 0.03


@dataclass(frozen=True)
class Room:
    """A rectangular room.

    Attributes:
        name: unique in the scene.
        low, high: (x, y) of its south-west and north-east corner, meters.
        height: of the ceiling, meters.
        walls: looks of the walls in the order of SIDES.
        floor, ceiling: their looks.
        boards: panels on its walls.
        furniture: what stands in it.
    """

    name: str
    low: tuple[float, float]
    high: tuple[float, float]
    height: float
    walls: tuple[Look, Look, Look, Look]
    floor: Look
    ceiling: Look
    boards: tuple[Board, ...] = ()
    furniture: tuple[Furniture, ...] = ()

    def __post_init__(self) -> None:
        if not (self.low[0] < self.high[0] and self.low[1] < self.high[1] and self.height > 0):
            raise DataError(f"extent of room '{self.name}'", got=(self.low, self.high, self.height), expected="> 0")

    def solids(self) -> Iterator[Solid]:
        """Furniture and boards in the world."""
        for furniture in self.furniture:
            yield from furniture.solids()
        for board in self.boards:
            side = SIDES.index(board.wall)
            inset = Board.THICKNESS / 2
            surface = (self.low[0] + inset, self.high[0] - inset, self.low[1] + inset, self.high[1] - inset)[side]
            x, y = (surface, board.along) if side < 2 else (board.along, surface)
            size = (board.size[0], Board.THICKNESS, board.size[1])
            at = (x, y, board.height - board.size[1] / 2)
            yield Solid("box", at, size, board.look, 90.0 if side < 2 else 0.0)


@dataclass(frozen=True)
class Doorway:
    """An opening in the wall between two rooms that lie side by side.

    Attributes:
        between: names of the rooms.
        along: coordinate of its middle along the wall (x or y of the world), meters.
        width, height: of the opening, meters.
        look: of the door frame.
    """

    between: tuple[str, str]
    along: float
    width: float
    height: float
    look: Look


@dataclass(frozen=True)
class Opening:
    """Where a doorway is: a short passage through the thickness of the wall.

    Attributes:
        rooms: indices of the rooms on its low and on its high side.
        axis: 0 when it leads along x, 1 along y.
        low, high: (x, y, z) of the passage, meters.
    """

    rooms: tuple[int, int]
    axis: int
    low: tuple[float, float, float]
    high: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """Rooms joined by doorways.

    Attributes:
        name: for the reader.
        rooms: do not overlap.
        doorways: join neighboring rooms.

    Raises:
        DataError: names that are not unique, or a doorway that does not fit between its rooms.
    """

    name: str
    rooms: tuple[Room, ...]
    doorways: tuple[Doorway, ...] = ()

    def __post_init__(self) -> None:
        names = [room.name for room in self.rooms]
        if not names or len(set(names)) != len(names):
            raise DataError("names of the rooms", got=names, expected="at least one, each once")
        self.openings()

    @classmethod
    def apartment(cls) -> Scene:
        """The apartment that ships with the package: four rooms along a hall, about 8 m by 9 m."""
        return cls.read(resources.files("spann3r_ros.synthetic") / "apartment.yaml")

    @classmethod
    def read(cls, path: Path | Any) -> Scene:
        """From a scene file (YAML; ``apartment.yaml`` explains the format in comments).

        Raises:
            DataError: a missing or unknown key, an unknown look, or a value out of range.
        """
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise DataError(f"scene file {path}", got=str(error)) from error
        return _SceneFile(content).scene()

    def solids(self) -> list[Solid]:
        """Every solid of every room, in the world."""
        return [solid for room in self.rooms for solid in room.solids()]

    def openings(self) -> list[Opening]:
        """The passages of the doorways, in their order."""
        return [self._opening(doorway) for doorway in self.doorways]

    def _opening(self, doorway: Doorway) -> Opening:
        index = {room.name: i for i, room in enumerate(self.rooms)}
        unknown = [name for name in doorway.between if name not in index]
        if unknown:
            raise DataError("room of a doorway", got=unknown, expected=f"one of {', '.join(index)}")
        first, second = index[doorway.between[0]], index[doorway.between[1]]
        for a, b in ((first, second), (second, first)):
            low, high = self.rooms[a], self.rooms[b]
            for axis in (0, 1):
                across = 1 - axis
                start, end = low.high[axis], high.low[axis]
                left, right = doorway.along - doorway.width / 2, doorway.along + doorway.width / 2
                fits = left > max(low.low[across], high.low[across]) and right < min(
                    low.high[across], high.high[across]
                )
                if 0 < end - start < 0.5 and fits and 0 < doorway.height < min(low.height, high.height):
                    corners = ((start, left), (end, right)) if axis == 0 else ((left, start), (right, end))
                    return Opening((a, b), axis, (*corners[0], 0.0), (*corners[1], doorway.height))
        raise DataError(
            f"doorway between {' and '.join(doorway.between)}",
            got=(doorway.along, doorway.width, doorway.height),
            expected="an opening inside a wall (thinner than 0.5 m) that both rooms share",
        )


class _SceneFile:
    """Reads the mappings of a scene file and refuses what it does not know."""

    def __init__(self, content: Any) -> None:
        fields = self._fields(content, "the scene file", ("name", "looks", "rooms", "doorways"))
        self._content = fields
        self._looks: dict[str, Look] = {}
        for name, value in fields["looks"].items():
            self._looks[name] = self._look(value, f"look '{name}'")

    def scene(self) -> Scene:
        rooms = tuple(self._room(room) for room in self._content["rooms"])
        return Scene(self._content["name"], rooms, tuple(self._doorway(item) for item in self._content["doorways"]))

    @staticmethod
    def _fields(content: Any, where: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
        if not isinstance(content, Mapping):
            raise DataError(where, got=content, expected=f"a mapping with {', '.join(needed)}")
        missing = [key for key in needed if key not in content]
        unknown = [str(key) for key in content if key not in needed + optional]
        if missing or unknown:
            raise DataError(
                f"keys of {where}",
                got=f"missing {missing}, unknown {unknown}",
                expected=", ".join(needed) + (f" and maybe {', '.join(optional)}" if optional else ""),
            )
        return dict(content)

    def _look(self, content: Any, where: str) -> Look:
        if isinstance(content, str):
            if content not in self._looks:
                raise DataError(f"look of {where}", got=content, expected=f"one of {', '.join(self._looks)}")
            return self._looks[content]
        fields = self._fields(content, where, ("pattern", "colors"), ("size", "angle"))
        return Look(
            fields["pattern"],
            tuple(fields["colors"]),
            float(fields.get("size", Look.size)),
            float(fields.get("angle", Look.angle)),
        )

    def _room(self, content: Any) -> Room:
        needed = ("name", "low", "high", "height", "walls", "floor", "ceiling", "boards", "furniture")
        fields = self._fields(content, "a room", needed)
        name = fields["name"]
        walls = self._fields(fields["walls"], f"the walls of {name}", SIDES)
        west, east, south, north = (self._look(walls[side], f"the {side} wall of {name}") for side in SIDES)
        return Room(
            name,
            _numbers2(fields["low"], f"low of {name}"),
            _numbers2(fields["high"], f"high of {name}"),
            float(fields["height"]),
            (west, east, south, north),
            self._look(fields["floor"], f"the floor of {name}"),
            self._look(fields["ceiling"], f"the ceiling of {name}"),
            tuple(self._board(board) for board in fields["boards"]),
            tuple(self._furniture(item) for item in fields["furniture"]),
        )

    def _board(self, content: Any) -> Board:
        fields = self._fields(content, "a board", ("wall", "along", "height", "size", "look"))
        if fields["wall"] not in SIDES:
            raise DataError("wall of a board", got=fields["wall"], expected=f"one of {', '.join(SIDES)}")
        size = _numbers2(fields["size"], "size of a board")
        look = self._look(fields["look"], "a board")
        return Board(fields["wall"], float(fields["along"]), float(fields["height"]), size, look)

    def _furniture(self, content: Any) -> Furniture:
        fields = self._fields(content, "a piece of furniture", ("name", "at", "parts"), ("yaw",))
        name = fields["name"]
        parts = tuple(self._solid(part, name) for part in fields["parts"])
        return Furniture(name, _numbers2(fields["at"], f"at of {name}"), parts, float(fields.get("yaw", 0.0)))

    def _solid(self, content: Any, owner: str) -> Solid:
        shapes = [shape for shape in SHAPES if isinstance(content, Mapping) and shape in content]
        if len(shapes) != 1:
            raise DataError(f"part of {owner}", got=content, expected=f"exactly one of {', '.join(SHAPES)}")
        shape = shapes[0]
        fields = self._fields(content, f"a part of {owner}", (shape, "look"), ("at", "yaw"))
        if shape == "sphere":
            size = (2.0 * float(fields[shape]),) * 3
        elif shape == "cylinder":
            radius, height = _numbers2(fields[shape], f"cylinder of {owner}")
            size = (2 * radius, 2 * radius, height)
        else:
            size = _numbers3(fields[shape], f"box of {owner}")
        at = _numbers3(fields.get("at", (0, 0, 0)), f"at of a part of {owner}")
        return Solid(shape, at, size, self._look(fields["look"], owner), float(fields.get("yaw", 0.0)))

    def _doorway(self, content: Any) -> Doorway:
        fields = self._fields(content, "a doorway", ("between", "along", "width", "height", "look"))
        first, second = fields["between"]
        look = self._look(fields["look"], "a doorway")
        return Doorway((first, second), float(fields["along"]), float(fields["width"]), float(fields["height"]), look)


def _numbers2(value: Any, where: str) -> tuple[float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise DataError(where, got=value, expected="two numbers")
    return float(value[0]), float(value[1])


def _numbers3(value: Any, where: str) -> tuple[float, float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise DataError(where, got=value, expected="three numbers")
    return float(value[0]), float(value[1]), float(value[2])

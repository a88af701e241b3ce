"""What stands in the rooms of the synthetic world: solids, how they look, and furniture made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from spann3r_ros.errors import DataError

PATTERNS = (
    "plain",  # one color
    "stripes",  # two colors in turn along u
    "waves",  # stripes that meander
    "checker",  # two colors
    "dots",  # discs of the second color on the first
    "blobs",  # irregular patches of the second color on the first
    "bricks",  # staggered, each of its own mixture of the first two colors; joints of the last color
    "planks",  # long staggered boards, colored like bricks
    "tiles",  # a grid, each tile of any of the colors but the last, which is the joint
    "books",  # shelves of upright books of all colors
    "picture",  # an abstract painting in a frame of the last color
    "window",  # sky (first color) over land (second) behind a cross of the last color
)
"""Names of the patterns that a surface can carry."""

SHAPES = ("box", "cylinder", "sphere")
"""Names of the solids."""


@dataclass(frozen=True)
class Look:
    """How a surface looks; anchored to the surface in meters, so that it stays in place when the camera moves.

    Attributes:
        pattern: one of PATTERNS.
        colors: one to four colors ``#rrggbb``.
        size: period of the pattern in meters.
        angle: rotation of the pattern on the surface in degrees.
    """

    pattern: str
    colors: tuple[str, ...]
    size: float = 0.4
    angle: float = 0.0

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise DataError("pattern of a look", got=self.pattern, expected=f"one of {', '.join(PATTERNS)}")
        if not 1 <= len(self.colors) <= 4:
            raise DataError("colors of a look", got=self.colors, expected="one to four")
        for color in self.colors:
            rgb_of(color)
        if not self.size > 0:
            raise DataError("size of a pattern", got=self.size, expected="meters > 0")


@dataclass(frozen=True)
class Solid:
    """A box, an upright cylinder or a sphere.

    Attributes:
        shape: one of SHAPES.
        at: (x, y, z) of the middle of its underside; in the frame of its owner.
        size: full extent in meters before the turn by yaw (a cylinder: diameter, diameter, height).
        yaw: turn about the vertical in degrees.
        look: of all its faces.
    """

    shape: str
    at: tuple[float, float, float]
    size: tuple[float, float, float]
    look: Look
    yaw: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise DataError("shape of a solid", got=self.shape, expected=f"one of {', '.join(SHAPES)}")
        if min(self.size) <= 0:
            raise DataError(f"size of a {self.shape}", got=self.size, expected="meters > 0")

    @property
    def center(self) -> tuple[float, float, float]:
        """Center of the bounding box."""
        return self.at[0], self.at[1], self.at[2] + self.size[2] / 2

    def corners(self) -> list[tuple[float, float]]:
        """Outline of a box (or of the square around a round solid) on the floor plan, counter-clockwise."""
        yaw = math.radians(self.yaw) if self.shape == "box" else 0.0
        cosine, sine = math.cos(yaw), math.sin(yaw)
        half_x, half_y = self.size[0] / 2, self.size[1] / 2
        local = ((-half_x, -half_y), (half_x, -half_y), (half_x, half_y), (-half_x, half_y))
        return [(self.at[0] + cosine * x - sine * y, self.at[1] + sine * x + cosine * y) for x, y in local]


@dataclass(frozen=True)
class Furniture:
    """Solids that are placed together.

    Attributes:
        name: for the reader.
        at: (x, y) on the floor, meters.
        yaw: degrees.
        parts: solids in the frame of the furniture.
    """

    name: str
    at: tuple[float, float]
    parts: tuple[Solid, ...]
    yaw: float = 0.0

    def solids(self) -> Iterator[Solid]:
        """The parts in the world."""
        cosine, sine = math.cos(math.radians(self.yaw)), math.sin(math.radians(self.yaw))
        for part in self.parts:
            x, y, z = part.at
            at = (self.at[0] + cosine * x - sine * y, self.at[1] + sine * x + cosine * y, z)
            yield Solid(part.shape, at, part.size, part.look, part.yaw + self.yaw)


def rgb_of(color: str) -> tuple[int, int, int]:
    """Red, green, blue in 0..255 of ``#rrggbb``."""
    try:
        if len(color) != 7 or color[0] != "#":
            raise ValueError
        return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
    except (ValueError, TypeError) as error:
        raise DataError("color", got=color, expected="'#rrggbb'") from error

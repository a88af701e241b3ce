"""How many pixels the authors of pi^3 give an image: about so many, whatever its shape."""

from __future__ import annotations

import math


def size_under(width: float, height: float, pixel_limit: int, patch: int) -> tuple[int, int]:
    """(width, height), multiples of the patch, with the most pixels up to the limit and nearly the image's shape.

    Section 1 of the specification: a small image is enlarged, too. Of an image narrower than a patch would be, the
    short side is a patch, whatever the limit.
    """
    scale = math.sqrt(pixel_limit / (width * height))
    wanted_width, wanted_height = width * scale, height * scale
    columns, rows = round(wanted_width / patch), round(wanted_height / patch)
    while columns * patch * rows * patch > pixel_limit:
        if columns / rows > wanted_width / wanted_height:
            columns -= 1
        else:
            rows -= 1
    return patch * max(1, columns), patch * max(1, rows)

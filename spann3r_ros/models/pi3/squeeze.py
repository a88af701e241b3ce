"""How the authors of pi^3 bring images to the network's size: nothing is cut off, sides may be squeezed a little."""

from __future__ import annotations

from spann3r_ros.frame import Intrinsics
from spann3r_ros.models.pi3.image_size import size_under
from spann3r_ros.models.preprocess import LANCZOS, Box, CropPlan, Planner


def squeezed(width: int, height: int, size: tuple[int, int]) -> CropPlan:
    """The whole image at exactly ``size`` (width, height), whatever that does to its shape."""
    return CropPlan(Box(0, 0, width, height), size, Box(0, 0, *size), LANCZOS)


def whole_image(pixel_limit: int, patch: int) -> Planner:
    """A plan for images of any shape: the whole of it, at the size that ``size_under`` gives."""

    def plan(width: int, height: int, _camera: Intrinsics | None) -> CropPlan:
        return squeezed(width, height, size_under(width, height, pixel_limit, patch))

    return plan

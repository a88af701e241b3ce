"""How DUSt3R's authors cut and resize images, pixel for pixel."""

from __future__ import annotations

from spann3r_ros.config import ModelConfig
from spann3r_ros.errors import FrameError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.models.family import Architecture
from spann3r_ros.models.pixels import target_size
from spann3r_ros.models.preprocess import BICUBIC, LANCZOS, Box, CropPlan, Planner


def published_size(config: ModelConfig, architecture: Architecture) -> tuple[int, int] | Planner:
    """The size that was asked for, else the published preprocessing of the official sizes: 512 follows the aspect."""
    size = target_size(config, architecture)
    asked = config.image_height or config.image_width
    if asked:
        return size
    return {(384, 512): long_edge, (224, 224): central_square}.get(size, size)


def central_square(width: int, height: int, _camera: Intrinsics | None) -> CropPlan:
    """The central square at 224 x 224."""
    return published_plan(width, height, 224)


def long_edge(width: int, height: int, _camera: Intrinsics | None) -> CropPlan:
    """A long edge of 512, the short one as the aspect gives, rounded down to 16 (a square becomes 512 x 384)."""
    return published_plan(width, height, 512)


def published_plan(width: int, height: int, edge: int, square_ok: bool = False) -> CropPlan:
    """``edge`` 224 gives 224 x 224, any other number is the long edge.

    Args:
        width, height: of the camera image.
        edge: as above, in pixels.
        square_ok: keep a square image square instead of cutting it to 4:3.

    Raises:
        FrameError: an image so narrow that less than a patch of its short side would be left.
    """
    long_side = max(width, height)
    long_edge = round(edge * max(width / height, height / width)) if edge == 224 else edge
    new_width, new_height = (round(side * long_edge / long_side) for side in (width, height))
    cx, cy = new_width // 2, new_height // 2
    if edge == 224:
        half_width = half_height = min(cx, cy)
    else:
        half_width, half_height = 2 * cx // 16 * 8, 2 * cy // 16 * 8
        if new_width == new_height and not square_ok:
            half_height = 3 * half_width // 4
    if min(half_width, half_height) < 8:
        raise FrameError(
            "image too narrow for DUSt3R's crop",
            got=f"{width} x {height}, {new_width} x {new_height} after resizing",
            expected="at least 16 px on the short side after resizing",
        )
    return CropPlan(
        crop=Box(0, 0, width, height),
        size=(new_width, new_height),
        window=Box(cx - half_width, cy - half_height, cx + half_width, cy + half_height),
        resampling=LANCZOS if long_side > long_edge else BICUBIC,
    )

"""Points that another camera looks through do not count: they would hang before what it sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

DEPTH_TOLERANCE = 1e-3


def cleaned(
    confidences: Sequence[Tensor],
    points: Sequence[Tensor],
    depths: Sequence[Tensor],
    intrinsics: Tensor,
    world_from_camera: Tensor,
    tolerance: float = DEPTH_TOLERANCE,
) -> list[Tensor]:
    """Confidences with zero where a point lies before what a surer pixel of another image sees there.

    Args:
        confidences: (h, w) of each image.
        points: (h, w, 3) of each image in the world.
        depths: (h, w) of each image.
        intrinsics: (n, 3, 3).
        world_from_camera: (n, 4, 4), rigid.
        tolerance: how far before, as a share of the depth, is still the same.

    Returns:
        New confidences; images are looked at in their order, and what was taken out no longer counts.
    """
    result = [confidence.clone() for confidence in confidences]
    camera_from_world = torch.linalg.inv(world_from_camera)
    for i, own in enumerate(points):
        for j, depth in enumerate(depths):
            if i == j:
                continue
            camera = own @ camera_from_world[j, :3, :3].T + camera_from_world[j, :3, 3]
            z = camera[..., 2]
            pixel = (camera @ intrinsics[j].T)[..., :2] / z[..., None]
            u, v = pixel.round().unbind(-1)
            height, width = depth.shape
            visible = (z > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
            at = v[visible].long(), u[visible].long()
            before = z[visible] < (1 - tolerance) * depth[at]
            before &= result[i][visible] < result[j][at]
            bad = visible.clone()
            bad[visible] = before
            result[i][bad] = result[i][bad].clamp(max=0.0)
    return result

"""What is known of views before the network sees them (section 8.3 of the specification of pi^3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spann3r_ros.models.pi3.camera_head import rigid_inverse

SHORTEST_PATH = 0.02
"""Poses whose views all lie nearer to the first one than this have no scale of their own."""

_LEAST = 1e-8


@dataclass(frozen=True, eq=False)
class Conditions:
    """What is known of N views each of B scenes; None where it is known of no view.

    Attributes:
        rays: (B, N, 2, H, W) float32, x/z and y/z of each pixel's ray.
        depths: (B, N, H, W) float32 along the optical axis, 0 where unknown; all of a scene in one unit.
        poses: (B, N, 4, 4) float32 ``scene_from_camera``, rigid, in that unit; of views without one, any.
        has_rays, has_depth, has_pose: (B, N) bool, the views that have it; None: all of them.
    """

    rays: Tensor | None = None
    depths: Tensor | None = None
    poses: Tensor | None = None
    has_rays: Tensor | None = None
    has_depth: Tensor | None = None
    has_pose: Tensor | None = None

    def prepared(self) -> Conditions:
        """In the first view's frame and a unit that does not depend on the scene's size; float32.

        The unit is the mean depth; where no view of a scene has depth, the mean distance from the first camera. A
        scene of which one pose is known has none.
        """
        depths, unit = self.depths, None
        if depths is not None:
            known = depths > 0
            count = known.flatten(1).sum(dim=1)
            unit = torch.where(count > 0, (depths * known).flatten(1).sum(dim=1) / count.clamp(min=1), 1.0)
            depths = depths / (unit[:, None, None, None] + _LEAST)
        if self.poses is None or self.poses.shape[1] < 2:
            return replace(self, depths=depths, poses=None)
        poses = rigid_inverse(self.poses[:, :1]) @ self.poses
        if unit is not None:
            poses[..., :3, 3] /= unit[:, None, None]
        length = poses[:, 1:, :3, 3].norm(dim=-1)
        path = torch.where((length.amax(dim=1) >= SHORTEST_PATH) & self._is_flat(), length.mean(dim=1) + _LEAST, 1.0)
        poses[..., :3, 3] /= path[:, None, None]
        if depths is not None:
            depths = depths / path[:, None, None, None]
        has_pose = self.has_pose
        if has_pose is not None:
            has_pose = has_pose & (has_pose.sum(dim=1, keepdim=True) > 1)
        return replace(self, depths=depths, poses=poses, has_pose=has_pose)

    def _is_flat(self) -> Tensor:
        """(B,) bool, whether no view of a scene has depth."""
        assert self.poses is not None
        if self.depths is not None and self.has_depth is not None:
            return ~self.has_depth.any(dim=1)
        return torch.full(self.poses.shape[:1], self.depths is None, device=self.poses.device)


def rays_of(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Rays (..., 2, H, W) of cameras K (..., 3, 3) in pixels of which (0, 0) is the image's upper left corner."""
    u = torch.arange(width, device=intrinsics.device) + 0.5
    v = torch.arange(height, device=intrinsics.device) + 0.5
    pixels = torch.stack([u.expand(height, -1), v[:, None].expand(-1, width), torch.ones_like(u).expand(height, -1)])
    rays = torch.linalg.inv_ex(intrinsics).inverse[..., :2, :] @ pixels.flatten(1)
    shaped: Tensor = rays.reshape(*intrinsics.shape[:-2], 2, height, width)
    return shaped

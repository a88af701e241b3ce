from __future__ import annotations

import torch

from spann3r_ros.alignment.cleaning import cleaned


def test_a_point_before_what_a_surer_camera_sees_does_not_count() -> None:
    """Two cameras in one place see a wall at depth 2; one of them also a wrong point before it."""
    matrix = torch.tensor([[10.0, 0.0, 4.0], [0.0, 10.0, 3.0], [0.0, 0.0, 1.0]])
    v, u = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    rays = torch.stack([(u - 4) / 10, (v - 3) / 10, torch.ones_like(u)], dim=-1)
    depths = [torch.full((6, 8), 2.0), torch.full((6, 8), 2.0)]
    depths[0][2, 5] = 1.0
    points = [depth[..., None] * rays for depth in depths]
    poses, intrinsics = torch.eye(4).expand(2, 4, 4), matrix.expand(2, 3, 3)
    unsure, sure = torch.full((6, 8), 2.0), torch.full((6, 8), 5.0)
    found = cleaned([unsure, sure], points, depths, intrinsics, poses)
    assert found[0][2, 5] == 0 and (found[0] == 0).sum() == 1 and torch.equal(found[1], sure)
    assert (unsure == 2.0).all()  # what was given is as it was
    # The surer one keeps its point, and what hangs behind it stays too.
    found = cleaned([sure, unsure], points, depths, intrinsics, poses)
    assert torch.equal(found[0], sure) and torch.equal(found[1], unsure)

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from spann3r_ros.models.pi3.camera_head import rigid_inverse
from spann3r_ros.models.pi3x.pose_injection import CameraPlacing, PoseInjection


def random_poses(count: int) -> torch.Tensor:
    poses = torch.eye(4).repeat(1, count, 1, 1)
    poses[0, :, :3, :3] = torch.from_numpy(Rotation.random(count, random_state=1).as_matrix())
    poses[0, :, :3, 3] = torch.from_numpy(np.random.default_rng(0).normal(size=(count, 3)))
    return poses


def block() -> PoseInjection:
    torch.manual_seed(0)
    made = PoseInjection(32, 2, 2.0).eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    return made


def test_only_how_cameras_lie_to_each_other_matters() -> None:
    x, poses = torch.randn(1, 3 * 6, 32), random_poses(3)
    elsewhere = random_poses(1)[:, :1] @ poses
    one, other = (block()(x, CameraPlacing.of(given, (2, 3), 16, 100.0), None) for given in (poses, elsewhere))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    apart = poses.clone()
    apart[0, 1, 0, 3] += 1
    assert not torch.allclose(one, block()(x, CameraPlacing.of(apart, (2, 3), 16, 100.0), None), atol=1e-2)


def test_moving_there_and_back_changes_nothing() -> None:
    poses = random_poses(2)
    placing = CameraPlacing.of(poses, (2, 3), 16, 100.0)
    heads = torch.randn(1, 4, 12, 16)
    there = placing.moved(heads, placing.scene_from_camera, placing.there)
    torch.testing.assert_close(placing.moved(there, rigid_inverse(poses), placing.back), heads, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(there, heads, atol=0.1)


def test_columns_turn_before_rows_and_in_the_other_sense_than_the_decoder() -> None:
    placing = CameraPlacing.of(torch.eye(4).repeat(1, 1, 1, 1), (2, 3), 16, 100.0)
    heads = torch.zeros(1, 1, 6, 16)
    heads[..., 8] = heads[..., 12] = 1.0
    moved = placing.moved(heads, placing.scene_from_camera, placing.there)[0, 0]
    for place in range(6):
        row, column = divmod(place, 3)
        for first, angle in ((8, column), (12, row)):
            # cos a_j + sin a_{j + m/2}; - sin a_j + cos a_{j + m/2}, of (1, 0)
            assert abs(moved[place, first] - np.cos(angle)) < 1e-6
            assert abs(moved[place, first + 2] + np.sin(angle)) < 1e-6


def test_a_view_without_a_pose_is_not_looked_at() -> None:
    x, placing = torch.randn(1, 3 * 6, 32), CameraPlacing.of(random_poses(3), (2, 3), 16, 100.0)
    mask = torch.tensor([[True, True, False]]).repeat_interleave(6, dim=1)[:, None, None]
    other = x.clone()
    other[:, 12:] = torch.randn(1, 6, 32)
    assert torch.equal(block()(x, placing, mask)[:, :12], block()(other, placing, mask)[:, :12])
    assert not torch.allclose(block()(x, placing, None)[:, :12], block()(other, placing, None)[:, :12], atol=1e-3)

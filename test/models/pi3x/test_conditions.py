from __future__ import annotations

import dataclasses

import pytest
import torch

from spann3r_ros.models.pi3x.conditions import Conditions, rays_of


def poses(*positions: tuple[float, float, float]) -> torch.Tensor:
    made = torch.eye(4).repeat(1, len(positions), 1, 1)
    made[0, :, :3, 3] = torch.tensor(positions)
    return made


def prepared_positions(known: Conditions) -> torch.Tensor:
    made = known.prepared().poses
    assert made is not None
    return made[0, :, :3, 3]


FAR = poses((1, 0, 0), (3, 0, 0), (1, 4, 0))


def test_rays_go_through_the_centers_of_pixels() -> None:
    intrinsics = torch.tensor([[50.0, 0.0, 30.0], [0.0, 40.0, 20.0], [0.0, 0.0, 1.0]])
    rays = rays_of(intrinsics, 4, 6)
    assert rays.shape == (2, 4, 6)
    assert rays[0, 3, 5].item() == pytest.approx((5.5 - 30) / 50)
    assert rays[1, 3, 5].item() == pytest.approx((3.5 - 20) / 40)


def test_without_depth_the_unit_is_the_mean_distance_from_the_first_camera() -> None:
    expected = torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [0, 4.0, 0]]) / 3
    torch.testing.assert_close(prepared_positions(Conditions(poses=FAR)), expected)
    farther = poses((100, 0, 0), (300, 0, 0), (100, 400, 0))
    torch.testing.assert_close(prepared_positions(Conditions(poses=farther)), expected, rtol=1e-5, atol=1e-6)


def test_cameras_that_hardly_move_have_no_unit_of_their_own() -> None:
    near = poses((0, 0, 0), (0.01, 0, 0), (0, 0.019, 0))
    torch.testing.assert_close(prepared_positions(Conditions(poses=near)), near[0, :, :3, 3])


def test_with_depth_the_unit_is_the_mean_known_depth() -> None:
    depths = torch.zeros(1, 3, 2, 2)
    depths[0, 0, 0, 0], depths[0, 2, 1, 1] = 2.0, 6.0
    known = Conditions(poses=FAR, depths=depths)
    torch.testing.assert_close(prepared_positions(known), torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0, 1.0, 0]]))
    made = known.prepared().depths
    assert made is not None
    torch.testing.assert_close(made, depths / 4)


def test_depth_that_no_view_uses_decides_no_unit() -> None:
    known = Conditions(poses=FAR, depths=torch.full((1, 3, 2, 2), 5.0), has_depth=torch.zeros(1, 3, dtype=torch.bool))
    expected = torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [0, 4.0, 0]]) / 3
    torch.testing.assert_close(prepared_positions(known), expected)


def test_a_depth_image_without_depth_divides_by_nothing() -> None:
    made = Conditions(depths=torch.zeros(1, 2, 3, 3)).prepared().depths
    assert made is not None and not made.any()


def test_one_pose_alone_is_none() -> None:
    alone = Conditions(poses=FAR, has_pose=torch.tensor([[False, True, False]])).prepared()
    assert alone.has_pose is not None and not alone.has_pose.any()
    two = Conditions(poses=FAR, has_pose=torch.tensor([[True, True, False]])).prepared()
    assert two.has_pose is not None and two.has_pose.sum() == 2
    assert Conditions(poses=FAR[:, :1]).prepared().poses is None


def test_the_callers_tensors_stay_as_they_are() -> None:
    known = Conditions(poses=FAR.clone(), depths=torch.ones(1, 3, 2, 2), has_pose=torch.tensor([[True, False, False]]))
    before = dataclasses.replace(known, poses=FAR.clone(), has_pose=torch.tensor([[True, False, False]]))
    known.prepared()
    assert known.poses is not None and before.poses is not None and torch.equal(known.poses, before.poses)
    assert known.has_pose is not None and known.has_pose[0, 0]

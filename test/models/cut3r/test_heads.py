from __future__ import annotations

import dataclasses

import pytest
import torch
from scipy.spatial.transform import Rotation

from spann3r_ros.models.cut3r.architecture import TINY
from spann3r_ros.models.cut3r.heads import Cut3rHeads, placed_points, rotation_matrices


def make(**fields: object) -> Cut3rHeads:
    torch.manual_seed(0)
    return Cut3rHeads(dataclasses.replace(TINY, **fields)).eval().requires_grad_(False)  # type: ignore[arg-type]


def test_a_pose_is_a_translation_and_a_unit_quaternion() -> None:
    poses = make().pose(torch.randn(50, 1, 24))
    assert poses.shape == (50, 7) and (poses[:, 3] >= 0).all()
    torch.testing.assert_close(poses[:, 3:].norm(dim=-1), torch.ones(50))
    head = make()
    head.pose_head.mlp.fc2.weight.zero_()
    head.pose_head.mlp.fc2.bias.copy_(torch.tensor([0.0, 0.0, 2.0, -3.0, 0.0, 0.0, 4.0]))
    expected = torch.tensor([[0.0, 0.0, torch.expm1(torch.tensor(2.0)), 0.6, 0.0, 0.0, -0.8]])
    torch.testing.assert_close(head.pose(torch.randn(1, 1, 24)), expected)


def test_rotations_are_those_of_scipy() -> None:
    quaternions = torch.nn.functional.normalize(torch.randn(20, 4, dtype=torch.float64), dim=-1)
    expected = Rotation.from_quat(quaternions[:, [1, 2, 3, 0]].numpy()).as_matrix()
    torch.testing.assert_close(rotation_matrices(quaternions), torch.from_numpy(expected))


def test_points_are_placed_by_the_pose() -> None:
    half = 0.5**0.5
    pose = torch.tensor([[1.0, 2.0, 3.0, half, 0.0, 0.0, half]])  # a quarter turn about z
    points = torch.tensor([1.0, 0.0, 5.0]).expand(1, 2, 2, 3)
    torch.testing.assert_close(placed_points(points, pose), torch.tensor([1.0, 3.0, 8.0]).expand(1, 2, 2, 3))


@pytest.mark.parametrize("head", ["linear", "dpt"])
def test_only_linear_heads_look_ahead(head: str) -> None:
    sizes = {"decoder_depth": 4, "dpt_width": 8, "dpt_last_width": 6, "dpt_layer_widths": (4, 6, 8, 10)}
    heads = make(head=head, **sizes)
    layers = {n: torch.randn(1, 12, 64 if n == 0 else 24) for n in (0, 2, 3, 4)}
    own = heads.self_map(layers, (3, 4))
    assert own.points.shape == (1, 48, 64, 3) and (own.confidence >= 1).all()
    assert bool((own.points[..., 2] >= 0).all()) == (head == "linear")
    colors = heads.colors(layers, (3, 4))
    assert colors.shape == (1, 48, 64, 3) and colors.abs().max() < 1


def test_the_world_map_depends_on_the_pose_token_and_the_own_map_does_not() -> None:
    heads, layers = make(), {3: torch.randn(1, 12, 24)}
    from spann3r_ros.blocks.rope import rotary_table

    table = rotary_table((3, 4), 12, 100.0)
    one, other = (heads.cross_map(layers, torch.randn(1, 1, 24), (3, 4), table).points for _ in range(2))
    assert (one - other).abs().max() > 1e-4

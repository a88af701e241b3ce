from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from spann3r_ros.errors import ConfigError
from spann3r_ros.models.loading import empty_network
from spann3r_ros.models.pi3.architecture import Pi3Architecture
from spann3r_ros.models.pi3.network import Pi3Network
from spann3r_ros.models.pi3x.architecture import TINY, Pi3xArchitecture
from spann3r_ros.models.pi3x.conditions import Conditions, rays_of
from spann3r_ros.models.pi3x.network import Pi3xNetwork

Shape = tuple[int, ...]


def pair(name: str, *shape: int, bias: int | None = None) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", (shape[0] if bias is None else bias,)


def additions() -> Iterator[tuple[str, Shape]]:
    """Section 10.2 of the specification."""
    for head, outputs in (("point_head", (2, 1)), ("conf_head", (1,))):
        for stage, (before, after) in enumerate(((1026, 256), (258, 128), (130, 64))):
            name = f"{head}.upsample_blocks.{stage}"
            yield from pair(f"{name}.0.0", before, after, 2, 2, bias=after)
            yield from pair(f"{name}.0.1", after, after, 3, 3)
            for unit in (1, 2):
                yield from pair(f"{name}.{unit}.layers.0", after)
                yield from pair(f"{name}.{unit}.layers.2", 2 * after, after, 3, 3)
                yield from pair(f"{name}.{unit}.layers.3", 2 * after)
                yield from pair(f"{name}.{unit}.layers.5", after, 2 * after, 3, 3)
        for number, channels in enumerate(outputs):
            yield from pair(f"{head}.output_block.{number}.0", 32, 66, 3, 3)
            yield from pair(f"{head}.output_block.{number}.2", channels, 32, 1, 1)
    yield "metric_token", (1, 1, 2048)
    yield from pair("metric_decoder.projects_x", 512, 2048)
    yield from pair("metric_decoder.projects_y", 512, 2048)
    for block in range(5):
        name = f"metric_decoder.blocks.{block}"
        for norm in ("norm2", "norm_y", "norm3"):
            yield from pair(f"{name}.{norm}", 512)
        for part in ("q_proj", "k_proj", "v_proj", "proj"):
            yield from pair(f"{name}.cross_attn.{part}", 512, 512)
        yield from pair(f"{name}.mlp.fc1", 2048, 512)
        yield from pair(f"{name}.mlp.fc2", 512, 2048)
    yield from pair("metric_decoder.linear_out", 512, 512)
    yield from pair("metric_head", 1, 512)
    yield "depth_emb", (1, 1, 1024)
    yield from pair("ray_embed.proj", 1024, 2, 14, 14)


def shapes_of(network: torch.nn.Module) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def tiny(**fields: Any) -> Pi3xNetwork:
    torch.manual_seed(0)
    network = Pi3xNetwork(dataclasses.replace(TINY, **fields)).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
    return network


def views(count: int = 3) -> torch.Tensor:
    return torch.rand(1, count, 3, 42, 56, generator=torch.Generator().manual_seed(1))


def conditions(count: int = 3) -> Conditions:
    generator = torch.Generator().manual_seed(2)
    intrinsics = torch.tensor([[60.0, 0.0, 28.0], [0.0, 60.0, 21.0], [0.0, 0.0, 1.0]]).expand(1, count, 3, 3)
    poses = torch.eye(4).repeat(1, count, 1, 1)
    poses[..., :3, 3] = torch.randn(1, count, 3, generator=generator)
    depths = 1 + torch.rand(1, count, 42, 56, generator=generator)
    return Conditions(rays_of(intrinsics, 42, 56), depths, poses)


def test_the_official_network_has_the_published_tensors() -> None:
    expected = {
        name: shape
        for name, shape in shapes_of(empty_network(Pi3Architecture())).items()
        if not name.startswith(("point_head.", "conf_head."))
    }
    for name, shape in list(expected.items()):
        if name.startswith("encoder."):
            channels = (1024, 2, 14, 14) if name.endswith("patch_embed.proj.weight") else shape
            expected[f"depth_{name}"] = channels
        if name.startswith("decoder.") and int(name.split(".")[1]) < 5:
            expected[f"pose_inject_blk.{name.removeprefix('decoder.')}"] = shape
    expected.update(additions())
    assert len(expected) == 1873
    assert shapes_of(empty_network(Pi3xArchitecture())) == expected


def test_weights_without_the_parts_for_conditions_are_the_same_network() -> None:
    whole, plain = tiny(), tiny(conditioned=False)
    plain.load_state_dict({name: t for name, t in whole.state_dict().items() if name in plain.state_dict()})
    one, other = whole(views()), plain(views(), conditions())
    assert torch.equal(one.logits, other.logits) and torch.equal(one.local_points, other.local_points)


def test_other_orders_of_the_views_give_the_same_answers_in_that_order() -> None:
    network, images, order = tiny(), views(), [2, 0, 1]
    straight, turned = network(images), network(images[:, order])
    torch.testing.assert_close(straight.local_points[:, order], turned.local_points, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(straight.scene_from_camera[:, order], turned.scene_from_camera, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(straight.metric, turned.metric, rtol=1e-5, atol=0)


def test_the_scale_is_in_points_and_poses_alike() -> None:
    network = tiny()
    before = network(views())
    network.metric_head.bias += torch.log(torch.tensor(2.0))
    after = network(views())
    assert before.metric is not None
    torch.testing.assert_close(after.metric, 2 * before.metric)
    torch.testing.assert_close(after.local_points, 2 * before.local_points)
    moved = 2 * before.scene_from_camera[..., :3, 3]
    torch.testing.assert_close(after.scene_from_camera[..., :3, 3], moved, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(after.scene_from_camera[..., :3, :3], before.scene_from_camera[..., :3, :3])


@pytest.mark.parametrize("part", ["rays", "depths", "poses"])
def test_each_condition_changes_the_answer_and_a_mask_takes_it_back(part: str) -> None:
    network, images = tiny(), views()
    plain = network(images)
    known = Conditions(**{part: getattr(conditions(), part)})
    told = network(images, known)
    assert not torch.allclose(told.logits, plain.logits, atol=1e-4)
    mask = {"rays": "has_rays", "depths": "has_depth", "poses": "has_pose"}[part]
    masked = network(images, dataclasses.replace(known, **{mask: torch.zeros(1, 3, dtype=torch.bool)}))
    torch.testing.assert_close(masked.logits, plain.logits, rtol=1e-4, atol=1e-5)


def test_masks_that_say_all_are_as_none() -> None:
    network, images, known, every = tiny(), views(), conditions(), torch.ones(1, 3, dtype=torch.bool)
    one = network(images, known)
    other = network(images, dataclasses.replace(known, has_rays=every, has_depth=every, has_pose=every))
    torch.testing.assert_close(one.logits, other.logits, rtol=1e-4, atol=1e-5)


def test_what_a_view_without_a_pose_is_given_as_one_does_not_matter_with_depth() -> None:
    network, images, known = tiny(), views(), conditions()
    assert known.poses is not None
    partial = dataclasses.replace(known, has_pose=torch.tensor([[True, True, False]]))
    elsewhere = known.poses.clone()
    elsewhere[0, 2, :3, 3] += 5
    one, other = network(images, partial), network(images, dataclasses.replace(partial, poses=elsewhere))
    torch.testing.assert_close(one.logits, other.logits, rtol=1e-4, atol=1e-5)


def test_heads_and_the_scale_are_float32_in_every_precision() -> None:
    network, images, known = tiny(), views(), conditions()
    before = network(images, known)
    network.set_precision(torch.bfloat16)
    assert network.metric_head.weight.dtype == network.point_head.output_block[0][0].weight.dtype == torch.float32
    assert network.metric_token.dtype == network.depth_emb.dtype == torch.bfloat16
    after = network(images, known)
    assert after.metric is not None and after.metric.dtype == after.local_points.dtype == torch.float32
    assert (after.logits - before.logits).abs().max() / before.logits.abs().max() < 0.1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"inject_after": (1, 4)}, r"inject_after\[1\] of a Pi3X network: got 4; expected 0 .. 3"),
        ({"inject_after": (1, 1)}, "different blocks"),
        ({"upsample": (16, 24, 16)}, "multiples of 16"),
        ({"depth_encoder": TINY.trunk.encoder}, "depth encoder"),
        ({"metric_width": 20}, "metric decoder width"),
    ],
)
def test_impossible_sizes_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **fields)


def test_it_is_no_pi3() -> None:
    assert not isinstance(tiny(), Pi3Network)

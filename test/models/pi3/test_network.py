from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from spann3r_ros.models.loading import empty_network
from spann3r_ros.models.pi3.architecture import TINY, Pi3Architecture
from spann3r_ros.models.pi3.network import Pi3Network

Shape = tuple[int, ...]


def linear(name: str, out: int, into: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, into)
    yield f"{name}.bias", (out,)


def norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def block(name: str, scale: bool = True, head_norm: bool = False) -> Iterator[tuple[str, Shape]]:
    yield from norm(f"{name}.norm1", 1024)
    yield from norm(f"{name}.norm2", 1024)
    yield from linear(f"{name}.attn.qkv", 3072, 1024)
    yield from linear(f"{name}.attn.proj", 1024, 1024)
    yield from linear(f"{name}.mlp.fc1", 4096, 1024)
    yield from linear(f"{name}.mlp.fc2", 1024, 4096)
    if scale:
        yield from ((f"{name}.ls{number}.gamma", (1024,)) for number in (1, 2))
    if head_norm:
        yield from norm(f"{name}.attn.q_norm", 64)
        yield from norm(f"{name}.attn.k_norm", 64)


def encoder(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.cls_token", (1, 1, 1024)
    yield f"{name}.register_tokens", (1, 4, 1024)
    yield f"{name}.pos_embed", (1, 1370, 1024)
    yield f"{name}.patch_embed.proj.weight", (1024, channels, 14, 14)
    yield f"{name}.patch_embed.proj.bias", (1024,)
    for number in range(24):
        yield from block(f"{name}.blocks.{number}")
    yield from norm(f"{name}.norm", 1024)


def trunk() -> Iterator[tuple[str, Shape]]:
    """Section 10.1 of the specification, without the heads for points and confidences."""
    yield "register_token", (1, 1, 5, 1024)
    yield from ((f"image_{name}", (1, 3, 1, 1)) for name in ("mean", "std"))
    yield from encoder("encoder", 3)
    for number in range(36):
        yield from block(f"decoder.{number}", head_norm=True)
    for name, out in (("point", 1024), ("conf", 1024), ("camera", 512)):
        yield from linear(f"{name}_decoder.projects", 1024, 2048)
        for number in range(5):
            yield from block(f"{name}_decoder.blocks.{number}", scale=False)
        yield from linear(f"{name}_decoder.linear_out", out, 1024)
    for unit in range(2):
        for layer in (1, 2, 3):
            yield from linear(f"camera_head.res_conv.{unit}.res_conv{layer}", 512, 512)
    for layer in (0, 2):
        yield from linear(f"camera_head.more_mlps.{layer}", 512, 512)
    yield from linear("camera_head.fc_t", 3, 512)
    yield from linear("camera_head.fc_rot", 9, 512)


def shapes_of(network: torch.nn.Module) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def tiny(seed: int = 0) -> Pi3Network:
    torch.manual_seed(seed)
    network = Pi3Network(TINY).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
    return network


def views(count: int = 4, height: int = 42, width: int = 56) -> torch.Tensor:
    return torch.rand(1, count, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_the_official_network_has_the_published_tensors() -> None:
    expected = dict(trunk())
    expected.update(linear("point_head.proj", 588, 1024))
    expected.update(linear("conf_head.proj", 196, 1024))
    assert len(expected) == 1210
    assert shapes_of(empty_network(Pi3Architecture())) == expected


def test_other_orders_of_the_views_give_the_same_answers_in_that_order() -> None:
    network, images, order = tiny(), views(), [2, 0, 3, 1]
    straight, turned = network(images), network(images[:, order])
    for name in ("local_points", "logits", "scene_from_camera"):
        one, other = getattr(straight, name), getattr(turned, name)
        torch.testing.assert_close(one[:, order], other, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(one, other, rtol=1e-2)


def test_views_see_each_other_and_scenes_do_not() -> None:
    network, images = tiny(), views()
    alone, together = network(images[:, :1]), network(images)
    assert not torch.allclose(alone.logits[:, 0], together.logits[:, 0], atol=1e-3)
    both = network(torch.cat([images, images.flip(1)]))
    torch.testing.assert_close(both.logits[:1], together.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.local_points[:1], together.local_points, rtol=1e-4, atol=1e-5)


def test_two_equal_views_get_equal_answers() -> None:
    images = views(1).expand(-1, 2, -1, -1, -1)
    answer = tiny()(images)
    torch.testing.assert_close(answer.scene_from_camera[:, 0], answer.scene_from_camera[:, 1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(answer.local_points[:, 0], answer.local_points[:, 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_heads_are_float32_in_every_precision_and_keep_their_weights(dtype: torch.dtype) -> None:
    network, images = tiny(), views()
    before, weight = network(images), network.camera_head.fc_t.weight.clone()
    network.set_precision(dtype)
    for name, parameter in network.named_parameters():
        head = name.split(".")[0].endswith("_head")
        assert parameter.dtype == (torch.float32 if head else dtype), name
    assert torch.equal(network.camera_head.fc_t.weight, weight) and network.image_mean.dtype == torch.float32
    after = network(images)
    assert (after.local_points.dtype, after.logits.dtype) == (torch.float32, torch.float32)
    assert after.scene_from_camera.dtype == torch.float64
    error = (after.logits - before.logits).abs().max() / before.logits.abs().max()
    assert error < 0.1, "rounding of the trunk, not another network"


def test_points_are_before_the_camera_and_poses_are_rigid() -> None:
    answer = tiny()(views())
    assert (answer.local_points[..., 2] > 0).all()
    rotation = answer.scene_from_camera[..., :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).double().expand_as(rotation), rtol=0, atol=1e-12)
    moved = answer.points_in(answer.scene_from_camera)
    expected = answer.local_points[0, 2, 5, 7].double() @ rotation[0, 2].T + answer.scene_from_camera[0, 2, :3, 3]
    torch.testing.assert_close(moved[0, 2, 5, 7].double(), expected, rtol=1e-5, atol=1e-6)

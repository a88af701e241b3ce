from __future__ import annotations

import dataclasses

import pytest
import torch

from spann3r_ros.models.vggt import network as vggt
from spann3r_ros.models.vggt.architecture import TINY, VggtArchitecture
from spann3r_ros.models.vggt.network import VggtNetwork


def make(**fields: object) -> VggtNetwork:
    torch.manual_seed(0)
    network = VggtNetwork(dataclasses.replace(TINY, **fields)).eval().requires_grad_(False)  # type: ignore[arg-type]
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def published_shapes() -> dict[str, tuple[int, ...]]:
    """The table of the published names and shapes, without the head that tracks points and the mask token."""
    c, d, f, r = 1024, 2048, 256, 4
    table: dict[str, tuple[int, ...]] = {
        "aggregator.camera_token": (1, 2, 1, c),
        "aggregator.register_token": (1, 2, r, c),
        "aggregator.patch_embed.cls_token": (1, 1, c),
        "aggregator.patch_embed.pos_embed": (1, 1 + 37 * 37, c),
        "aggregator.patch_embed.register_tokens": (1, r, c),
        "aggregator.patch_embed.patch_embed.proj.weight": (c, 3, 14, 14),
        "aggregator.patch_embed.patch_embed.proj.bias": (c,),
        "camera_head.empty_pose_tokens": (1, 1, 9),
    }

    def layer(name: str, weight: tuple[int, ...], bias: int | None = -1) -> None:
        table[f"{name}.weight"] = weight
        if bias is not None:
            table[f"{name}.bias"] = (weight[0] if bias < 0 else bias,)

    def block(name: str, width: int, head_norm: bool = False) -> None:
        for norm in ("norm1", "norm2"):
            layer(f"{name}.{norm}", (width,))
        layer(f"{name}.attn.qkv", (3 * width, width))
        layer(f"{name}.attn.proj", (width, width))
        layer(f"{name}.mlp.fc1", (4 * width, width))
        layer(f"{name}.mlp.fc2", (width, 4 * width))
        table[f"{name}.ls1.gamma"] = table[f"{name}.ls2.gamma"] = (width,)
        if head_norm:
            layer(f"{name}.attn.q_norm", (64,))
            layer(f"{name}.attn.k_norm", (64,))

    for number in range(24):
        block(f"aggregator.patch_embed.blocks.{number}", c)
        block(f"aggregator.frame_blocks.{number}", c, head_norm=True)
        block(f"aggregator.global_blocks.{number}", c, head_norm=True)
    layer("aggregator.patch_embed.norm", (c,))
    for number in range(4):
        block(f"camera_head.trunk.{number}", d)
    layer("camera_head.token_norm", (d,))
    layer("camera_head.trunk_norm", (d,))
    layer("camera_head.embed_pose", (d, 9))
    layer("camera_head.poseLN_modulation.1", (3 * d, d))
    layer("camera_head.pose_branch.fc1", (d // 2, d))
    layer("camera_head.pose_branch.fc2", (9, d // 2))
    widths = (256, 512, 1024, 1024)
    for head, channels in (("depth_head", 2), ("point_head", 4)):
        layer(f"{head}.norm", (d,))
        for number, width in enumerate(widths):
            layer(f"{head}.projects.{number}", (width, d, 1, 1))
            layer(f"{head}.scratch.layer{number + 1}_rn", (f, width, 3, 3), bias=None)
            layer(f"{head}.scratch.refinenet{number + 1}.out_conv", (f, f, 1, 1))
            for unit in ("resConfUnit1", "resConfUnit2") if number < 3 else ("resConfUnit2",):
                for convolution in ("conv1", "conv2"):
                    layer(f"{head}.scratch.refinenet{number + 1}.{unit}.{convolution}", (f, f, 3, 3))
        layer(f"{head}.resize_layers.0", (256, 256, 4, 4))
        layer(f"{head}.resize_layers.1", (512, 512, 2, 2))
        layer(f"{head}.resize_layers.3", (1024, 1024, 3, 3))
        layer(f"{head}.scratch.output_conv1", (f // 2, f, 3, 3))
        layer(f"{head}.scratch.output_conv2.0", (32, f // 2, 3, 3))
        layer(f"{head}.scratch.output_conv2.2", (channels, 32, 1, 1))
    return table


def test_the_official_network_has_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        network = VggtNetwork(VggtArchitecture())
    found = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert found == published_shapes()
    # 1797 in the file: 394 of the head that tracks points and the mask token are not needed.
    assert len(found) == 1797 - 394 - 1
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert millions == pytest.approx(1256.54 - 65.94, abs=0.01)


def test_only_the_first_frame_is_special() -> None:
    network, images = make(), torch.rand(1, 4, 3, 42, 56)
    order = [0, 3, 1, 2]
    cameras = network.cameras(network.aggregator(images))
    turned = network.cameras(network.aggregator(images[:, order]))
    torch.testing.assert_close(turned, cameras[:, :, order], rtol=1e-4, atol=1e-5)
    other = network.cameras(network.aggregator(images[:, [1, 0, 2, 3]]))
    assert not torch.allclose(other[:, :, 2:], cameras[:, :, 2:], atol=1e-3)


def test_two_frames_of_one_image_differ_by_being_first_alone() -> None:
    network, image = make(), torch.rand(1, 1, 3, 42, 42)
    encodings = network.cameras(network.aggregator(image.expand(-1, 3, -1, -1, -1)))[-1, 0]
    torch.testing.assert_close(encodings[1], encodings[2])
    assert not torch.allclose(encodings[0], encodings[1], atol=1e-3)


def test_scenes_of_a_batch_do_not_mix_and_chunks_of_frames_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = make(), torch.rand(2, 3, 3, 28, 42)
    together = network.aggregator(images)
    alone = network.aggregator(images[1:])
    torch.testing.assert_close(together.camera[1:], alone.camera, rtol=1e-4, atol=1e-5)
    depth, confidence = network.depths(together)
    assert depth.shape == confidence.shape == (2, 3, 28, 42) and (confidence >= 1).all() and (depth > 0).all()
    torch.testing.assert_close(depth[1:], network.depths(alone)[0], rtol=1e-4, atol=1e-5)
    points = network.points(together).points
    assert points.shape == (2, 3, 28, 42, 3)
    monkeypatch.setattr(vggt, "HEAD_FRAMES", 6)
    torch.testing.assert_close(network.points(together).points, points, rtol=1e-4, atol=1e-5)


def test_only_the_layers_that_heads_read_are_kept() -> None:
    features = make(layers=(0, 1, 1, 2)).aggregator(torch.rand(1, 2, 3, 28, 28))
    assert len(features.patches) == 3 and features.patches[0].shape == (2, 4, 48)
    assert features.camera.shape == (1, 2, 48)


def test_precision_is_of_the_aggregator_and_heads_stay_fp32() -> None:
    network, images = make(), torch.rand(1, 2, 3, 42, 56)
    exact = network.cameras(network.aggregator(images))
    network.set_precision(torch.bfloat16)
    assert network.dtype == torch.bfloat16
    for name, parameter in network.named_parameters():
        assert parameter.dtype == (torch.bfloat16 if name.startswith("aggregator.") else torch.float32), name
    features = network.aggregator(images)
    assert features.camera.dtype == torch.bfloat16
    encodings, (depth, _) = network.cameras(features), network.depths(features)
    assert encodings.dtype == depth.dtype == torch.float32
    torch.testing.assert_close(encodings, exact, rtol=0.1, atol=0.1)

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from spann3r_ros.errors import FrameError
from spann3r_ros.models.posenet.architecture import TINY, PosenetArchitecture, scaled
from spann3r_ros.models.posenet.network import PosenetNetwork


def make(seed: int = 0, **fields: object) -> PosenetNetwork:
    torch.manual_seed(seed)
    return PosenetNetwork(scaled(16, mean_size=(1, 1), **fields)).eval().requires_grad_(False)


def test_the_official_network_has_the_published_tensors() -> None:
    with torch.device("meta"):
        full, alone = PosenetNetwork(PosenetArchitecture()), PosenetNetwork(PosenetArchitecture(auxiliary=False))
    shapes = {name: tuple(tensor.shape) for name, tensor in full.named_parameters()}
    assert len(shapes) == 136 and len(dict(alone.named_parameters())) == 120
    millions = [sum(p.numel() for p in network.parameters()) / 1e6 for network in (full, alone)]
    assert millions == pytest.approx([12.43, 8.09], abs=0.005)
    assert shapes["conv1.weight"] == (64, 3, 7, 7) and shapes["conv2.weight"] == (64, 64, 1, 1)
    assert shapes["conv3.weight"] == (192, 64, 3, 3)
    assert shapes["inception4d.branch2.1.weight"] == (288, 144, 3, 3)
    assert shapes["inception5b.branch3.1.weight"] == (128, 48, 5, 5)
    assert shapes["inception3a.branch4.1.weight"] == (32, 192, 1, 1)
    assert shapes["pose1.conv.weight"] == (128, 512, 1, 1) and shapes["pose2.conv.weight"] == (128, 528, 1, 1)
    assert shapes["pose1.fc.weight"] == (1024, 2048) and shapes["pose3.fc.weight"] == (2048, 1024)
    assert shapes["pose2.fc_wpqr.weight"] == (4, 1024) and shapes["pose3.fc_xyz.weight"] == (3, 2048)


def test_the_two_ways_to_pool_and_the_two_orders_of_colors_differ() -> None:
    pixels = 60 * torch.randn(1, 3, 224, 224)
    answers = [
        make(pool=pool, channels=channels)(pixels).position
        for pool in ("ceil", "padded")
        for channels in ("bgr", "rgb")
    ]
    for number, one in enumerate(answers):
        assert all(not torch.equal(one, other) for other in answers[number + 1 :])
    swapped = make(channels="rgb")(pixels.flip(1)).position
    torch.testing.assert_close(swapped, make(channels="bgr")(pixels).position)


def test_responses_are_normalized_across_five_channels() -> None:
    stages = make().stages(600 * torch.randn(1, 3, 224, 224))
    x = stages["pool1"]
    squares = functional.pad(x.square(), (0, 0, 0, 0, 2, 2))
    total = sum(squares[:, shift : shift + x.shape[1]] for shift in range(5))
    torch.testing.assert_close(stages["norm1"], x / (1 + 1e-4 / 5 * total) ** 0.75)


def test_a_unit_quaternion_is_one_of_length_one() -> None:
    pixels = 60 * torch.randn(2, 3, 224, 224)
    free, unit = make()(pixels).quaternion, make(unit_quaternion=True)(pixels).quaternion
    torch.testing.assert_close(unit, free / free.norm(dim=1, keepdim=True))
    assert not torch.allclose(free.norm(dim=1), torch.ones(2))


def test_images_of_a_batch_do_not_mix() -> None:
    network, pixels = make(), 60 * torch.randn(3, 3, 224, 224)
    together, alone = network(pixels), network(pixels[1:2])
    torch.testing.assert_close(together.position[1:2], alone.position, rtol=1e-4, atol=1e-5)


def test_dropout_is_for_training_only() -> None:
    network, pixels = make(), 60 * torch.randn(1, 3, 224, 224)
    assert torch.equal(network(pixels).position, network(pixels).position)
    network.train()
    assert not torch.equal(network(pixels).position, network(pixels).position)


def test_half_precision_is_of_the_trunk_alone() -> None:
    network, pixels = make(), 60 * torch.randn(1, 3, 224, 224)
    exact = network(pixels)
    network.set_precision(torch.bfloat16)
    assert network.conv1.weight.dtype == torch.bfloat16 and network.pose3.fc.weight.dtype == torch.float32
    rough = network(pixels)
    assert rough.position.dtype == torch.float32
    torch.testing.assert_close(rough.position, exact.position, rtol=0.1, atol=0.05 * float(exact.position.abs().max()))


@pytest.mark.parametrize("shape", [(1, 3, 224, 256), (3, 224, 224), (1, 1, 224, 224)])
def test_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FrameError, match=r"shape of PoseNet's input: got .*; expected \(B, 3, 224, 224\)"):
        make()(torch.zeros(shape))


def test_tiny_is_the_published_one_in_small() -> None:
    assert TINY.stem == (4, 4, 12) and TINY.outputs(8) == 64

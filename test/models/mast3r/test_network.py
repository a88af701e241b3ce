from __future__ import annotations

import dataclasses

import pytest
import torch

from spann3r_ros.errors import ConfigError
from spann3r_ros.models.mast3r.architecture import TINY, Mast3rArchitecture
from spann3r_ros.models.mast3r.network import CatMlpDptHead, Mast3rNetwork


def make(**fields: object) -> Mast3rNetwork:
    torch.manual_seed(0)
    return Mast3rNetwork(dataclasses.replace(TINY, **fields)).eval().requires_grad_(False)  # type: ignore[arg-type]


def test_the_official_network_has_the_published_tensors() -> None:
    with torch.device("meta"):
        network = Mast3rNetwork(Mast3rArchitecture())
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for head in ("downstream_head1", "downstream_head2"):
        assert shapes[f"{head}.head_local_features.fc1.weight"] == (7168, 1792)
        assert shapes[f"{head}.head_local_features.fc1.bias"] == (7168,)
        assert shapes[f"{head}.head_local_features.fc2.weight"] == (6400, 7168)
        assert shapes[f"{head}.head_local_features.fc2.bias"] == (6400,)
        assert shapes[f"{head}.dpt.head.4.weight"] == (4, 128, 1, 1)
        assert shapes[f"{head}.dpt.head.0.weight"] == (128, 256, 3, 3)
    # 1017 entries in the file: less the mask token, four doubled tensors and the unused unit (two convolutions) a head.
    assert len(shapes) == 1017 - 1 - 2 * 4 - 2 * 4
    unused = 768 + 2 * 2 * (256 * 256 * 9 + 256)
    assert sum(parameter.numel() for parameter in network.parameters()) == 688_638_856 - unused


def test_descriptors_have_unit_length_and_a_positive_confidence() -> None:
    network = make()
    images = torch.rand(2, 1, 3, 48, 64) * 2 - 1
    features = [network.encode(image) for image in images]
    layers, _ = network.decode(features[0], features[1], (3, 4), (3, 4))
    vectors, confidence = network.descriptors(1, layers, (3, 4))
    assert vectors.shape == (1, 48, 64, TINY.descriptor_width) and confidence.shape == (1, 48, 64)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(1, 48, 64))
    assert (confidence > 0).all() and (confidence < 1).any()


def test_a_descriptor_without_length_is_zero_and_not_nan() -> None:
    network = make()
    head = network.downstream_head1
    assert isinstance(head, CatMlpDptHead)
    torch.nn.init.zeros_(head.head_local_features.fc2.weight)
    torch.nn.init.zeros_(head.head_local_features.fc2.bias)
    features = network.encode(torch.rand(1, 3, 48, 64))
    layers, _ = network.decode(features, features, (3, 4), (3, 4))
    assert torch.equal(network.descriptors(1, layers, (3, 4)).vectors, torch.zeros(1, 48, 64, TINY.descriptor_width))


def test_without_a_confidence_of_its_own_a_descriptor_has_that_of_its_point() -> None:
    network = make(descriptor_confidence=False)
    features = network.encode(torch.rand(1, 3, 48, 64))
    layers, _ = network.decode(features, features, (3, 4), (3, 4))
    pointmap, descriptors = network.described(2, layers, (3, 4))[0], network.descriptors(2, *_second(network, features))
    assert descriptors.vectors.shape[-1] == TINY.descriptor_width
    own = network.described(1, layers, (3, 4))
    assert torch.equal(own[0].confidence, own[1].confidence)
    assert torch.equal(own[1].confidence, network.descriptors(1, layers, (3, 4)).confidence)
    assert pointmap.confidence.shape == descriptors.confidence.shape


def _second(network: Mast3rNetwork, features: torch.Tensor) -> tuple[dict[int, torch.Tensor], tuple[int, int]]:
    return network.decode(features, features, (3, 4), (3, 4))[1], (3, 4)


def test_in_half_precision_the_heads_stay_in_float32() -> None:
    network = make()
    network.set_precision(torch.bfloat16)
    features = network.encode(torch.rand(1, 3, 48, 64).bfloat16())
    layers, _ = network.decode(features, features, (3, 4), (3, 4))
    pointmap, descriptors = network.described(1, layers, (3, 4))
    assert features.dtype == torch.bfloat16
    assert {pointmap.points.dtype, descriptors.vectors.dtype, descriptors.confidence.dtype} == {torch.float32}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head": "linear"}, "head of a MASt3R network: got linear; expected dpt"),
        ({"descriptor_width": 0}, "descriptor_width of a MASt3R network: got 0"),
        ({"descriptor_mlp_ratio": 1e9}, "descriptor_mlp_ratio"),
    ],
)
def test_impossible_sizes_are_refused(fields: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **fields)

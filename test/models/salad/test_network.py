from __future__ import annotations

import pytest
import torch

from spann3r_ros.errors import FrameError
from spann3r_ros.models.salad.architecture import TINY, SaladArchitecture
from spann3r_ros.models.salad.network import SaladNetwork, transport


def make(seed: int = 0) -> SaladNetwork:
    torch.manual_seed(seed)
    return SaladNetwork(TINY).eval().requires_grad_(False)


def test_the_official_network_has_the_published_tensors() -> None:
    with torch.device("meta"):
        network = SaladNetwork(SaladArchitecture())
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes["backbone.model.pos_embed"] == (1, 1370, 768)
    assert shapes["backbone.model.blocks.11.attn.qkv.weight"] == (2304, 768)
    assert shapes["backbone.model.blocks.0.mlp.fc2.weight"] == (768, 3072)
    assert shapes["backbone.model.blocks.0.ls1.gamma"] == (768,)
    assert shapes["aggregator.dust_bin"] == ()
    assert shapes["aggregator.token_features.2.weight"] == (256, 512)
    assert shapes["aggregator.cluster_features.3.weight"] == (128, 512, 1, 1)
    assert shapes["aggregator.score.0.weight"] == (512, 768, 1, 1) and shapes["aggregator.score.3.bias"] == (64,)
    # cls, positions, patch embedding, 14 tensors a block, norm; dust bin and three perceptrons.
    assert len(shapes) == 2 + 2 + 14 * 12 + 2 + 1 + 12
    assert not any("mask_token" in name for name in shapes)


def test_transport_gives_every_patch_away_and_every_cluster_its_share() -> None:
    score = torch.randn(2, 6, 30)
    found = transport(score, torch.tensor(0.5), 50)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, 30))
    torch.testing.assert_close(found[:, :-1].sum(dim=2), torch.ones(2, 6), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[:, -1].sum(dim=1), torch.full((2,), 24.0), atol=1e-2, rtol=0)


def test_more_clusters_than_patches_are_refused() -> None:
    with pytest.raises(FrameError, match="patches of an image: got 6; expected more than the 6 clusters"):
        transport(torch.zeros(1, 6, 6), torch.tensor(1.0), 3)
    with pytest.raises(FrameError, match="patches of an image"):
        make()(torch.zeros(1, 3, 28, 42))


def test_descriptors_have_length_one_and_images_do_not_mix() -> None:
    network, images = make(), torch.randn(3, 3, 56, 42)
    together = network(images)
    assert together.shape == (3, TINY.descriptor_width)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(network(images[1:2]), together[1:2], rtol=1e-4, atol=1e-6)
    assert float((together[0] - together[1]).norm()) > 1e-3


def test_half_precision_is_of_the_encoder_alone() -> None:
    network, images = make(), torch.randn(1, 3, 56, 56)
    exact = network(images)
    network.set_precision(torch.bfloat16)
    assert network.backbone["model"].norm.weight.dtype == torch.bfloat16
    assert network.aggregator.dust_bin.dtype == torch.float32
    rough = network(images)
    assert rough.dtype == torch.float32 and float(rough @ exact.T) > 0.99

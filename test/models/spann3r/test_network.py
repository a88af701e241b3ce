from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_models import tiny_network

from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.network import Spann3rNetwork


def test_the_official_network_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = Spann3rNetwork(Spann3rArchitecture())
    unused = 768 + 2 * 2 * (256 * 256 * 9 + 256)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(658.69e6 - unused, abs=0.01e6)
    assert network.norm_q.eps == network.norm_k.eps == network.norm_v.eps == 1e-5
    assert network.value_norm.eps == network.dust3r.enc_norm.eps == 1e-6


def test_values_have_no_order_unless_the_architecture_says_so() -> None:
    network = tiny_network()
    points = torch.randn(1, 48, 64, 3)
    turned = points.flip(1)  # whole rows of patches change places, and rows within a patch: use one patch row instead
    points[:, 16:], turned[:, 16:] = points[:, :16].repeat(1, 2, 1, 1), turned[:, :16].repeat(1, 2, 1, 1)
    value = network.value(points, torch.zeros(1, 12, 32), (3, 4)).view(3, 4, -1)
    torch.testing.assert_close(value[0], value[1])
    torch.manual_seed(0)
    ordered = Spann3rNetwork(dataclasses.replace(network.architecture, value_rope=True)).eval()
    with torch.no_grad():
        value = ordered.value(points, torch.zeros(1, 12, 32), (3, 4)).view(3, 4, -1)
    assert not torch.allclose(value[0], value[1], atol=1e-4)


def test_values_see_features_only_if_the_architecture_says_so() -> None:
    points, features = torch.randn(1, 48, 64, 3), torch.randn(1, 12, 32)
    for sees in (False, True):
        torch.manual_seed(0)
        network = Spann3rNetwork(dataclasses.replace(tiny_network().architecture, value_features=sees)).eval()
        with torch.no_grad():
            same = torch.equal(network.value(points, features, (3, 4)), network.value(points, -features, (3, 4)))
        assert same is not sees
        assert ("value_feature.weight" in network.state_dict()) is sees


def test_key_and_query_are_two_heads() -> None:
    network = tiny_network()
    features, layers = torch.randn(1, 12, 32), {0: torch.randn(1, 12, 32), 3: torch.randn(1, 12, 24)}
    expected = network.attn_head_1(torch.cat([features, layers[3]], dim=-1))
    assert torch.equal(network.key(features, layers), expected)
    assert not torch.allclose(network.query(features, layers), expected)

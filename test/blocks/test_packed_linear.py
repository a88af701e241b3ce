"""Packed layers give what plain ones give."""

from __future__ import annotations

import weakref

import pytest
import torch
from tiny_models import OFFICIAL_TRUNK_IN_SMALL
from torch import nn

from spann3r_ros.blocks import packed_linear
from spann3r_ros.blocks.packed_linear import PackedLinear, can_pack, pack_linears
from spann3r_ros.blocks.transformer import Mlp

needs_packing = pytest.mark.skipif(not can_pack(), reason="this PyTorch or this processor packs no linear layers")
needs_half_packing = pytest.mark.skipif(
    not can_pack(torch.bfloat16), reason="this PyTorch or this processor packs no linear layers in bf16"
)


@needs_packing
@pytest.mark.parametrize("shape", [(1, 196, 64), (2, 7, 64), (3, 64), (1, 1, 64)])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_a_layer_gives_the_same_for_any_number_of_tokens(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 48, bias=bias), torch.randn(shape)
    torch.testing.assert_close(PackedLinear(layer)(x), layer(x), rtol=0, atol=1e-5)
    expected = nn.functional.gelu(layer(x))
    torch.testing.assert_close(PackedLinear(layer, gelu=True)(x), expected, rtol=0, atol=1e-5)
    turned = torch.randn(*shape[:-2], shape[-1], shape[-2]).transpose(-1, -2)
    torch.testing.assert_close(PackedLinear(layer)(turned), layer(turned), rtol=0, atol=1e-5)


@needs_half_packing
@pytest.mark.parametrize("shape", [(1, 196, 64), (2, 7, 64), (1, 1400, 64)])
@torch.inference_mode()
def test_a_layer_in_half_the_precision_gives_the_same(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 48, dtype=torch.bfloat16), torch.randn(shape, dtype=torch.bfloat16)
    torch.testing.assert_close(PackedLinear(layer)(x), layer(x), rtol=2**-7, atol=2**-8)
    # The product is not rounded before the GELU.
    exact = nn.functional.gelu(layer.float()(x.float()))
    torch.testing.assert_close(PackedLinear(layer.bfloat16(), gelu=True)(x).float(), exact, rtol=2**-7, atol=2**-8)


@pytest.fixture
def small_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers from 256 x 256 on count as large."""
    monkeypatch.setattr(packed_linear, "LEAST_WEIGHTS", {torch.float32: 2**16, torch.bfloat16: 2**16})


@needs_packing
def test_no_more_than_one_layer_is_held_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.ModuleList(Mlp(512, 1024) for _ in range(3)).requires_grad_(False)
    plain = [weakref.ref(layer.weight) for layer in network.modules() if isinstance(layer, nn.Linear)]
    alive: list[int] = []

    class Watched(PackedLinear):
        def __init__(self, linear: nn.Linear, gelu: bool = False) -> None:
            super().__init__(linear, gelu)
            alive.append(sum(weight() is not None for weight in plain))

    monkeypatch.setattr(packed_linear, "can_pack", lambda _: True)
    monkeypatch.setattr(packed_linear, "PackedLinear", Watched)
    assert pack_linears(network) == 6
    assert all(count <= 7 - packed for packed, count in enumerate(alive, start=1)), alive
    assert [weight() for weight in plain] == 6 * [None]
    assert not any(parameter.ndim > 1 for parameter in network.parameters())


@needs_packing
@pytest.mark.usefixtures("small_layers")
@torch.inference_mode()
def test_large_layers_are_packed_and_take_the_gelu_with_them() -> None:
    torch.manual_seed(0)
    network = nn.ModuleDict(
        {
            "mlp": Mlp(256, 256),
            "other": nn.Sequential(nn.Linear(256, 256), nn.GELU(approximate="tanh"), nn.Linear(256, 4)),
            "alone": nn.Linear(256, 512),
        }
    )
    x = torch.randn(1, 5, 256)
    expected = {name: module(x) for name, module in network.items()}
    assert pack_linears(network) == 4  # not the one of 1024 weights
    assert isinstance(network["mlp"].act, nn.Identity) and isinstance(network["other"][1], nn.GELU)
    assert not any(parameter.ndim > 1 and parameter.numel() >= 2**16 for parameter in network.parameters())
    for name, module in network.items():
        torch.testing.assert_close(module(x), expected[name], rtol=0, atol=1e-5)


@pytest.mark.usefixtures("small_layers")
def test_only_layers_of_the_asked_precision_on_the_cpu_are_packed() -> None:
    half, other = nn.Linear(256, 256, dtype=torch.bfloat16), nn.Linear(256, 256, dtype=torch.float16)
    network = nn.Sequential(half, other, nn.Linear(256, 256, device="meta"))
    assert pack_linears(network, dtypes=[torch.float32]) == 0 and network[0] is half
    assert pack_linears(network) == can_pack(torch.bfloat16) and network[1] is other


@pytest.mark.usefixtures("small_layers")
def test_where_packing_is_impossible_or_wrong_the_layers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for how in (
        lambda *_: (_ for _ in ()).throw(RuntimeError("no such operator")),
        lambda _, x: x @ torch.ones(32, 48),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(PackedLinear, "forward", how)
            assert not can_pack() and not can_pack(torch.bfloat16)
            assert pack_linears(nn.Sequential(nn.Linear(256, 256))) == 0


@needs_packing
@torch.inference_mode()
def test_a_whole_network_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from spann3r_ros.models.dust3r.network import Dust3rNetwork

    monkeypatch.setattr(packed_linear, "LEAST_WEIGHTS", {torch.float32: 1, torch.bfloat16: 1})
    torch.manual_seed(0)
    network = Dust3rNetwork(OFFICIAL_TRUNK_IN_SMALL).eval().requires_grad_(False)
    images = torch.rand(2, 1, 3, 48, 64) * 2 - 1
    plain = network(*images)
    assert pack_linears(network) > 50
    for found, expected in zip(network(*images), plain, strict=True):
        torch.testing.assert_close(found.points, expected.points, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.confidence, expected.confidence, rtol=1e-5, atol=1e-5)

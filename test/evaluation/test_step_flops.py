"""Operations are those that the sizes say; how fast a machine multiplies asserts nothing."""

from __future__ import annotations

import pytest
import torch

from spann3r_ros.evaluation.step_flops import LAYERS, GemmRate, gflop_of_step
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture
from spann3r_ros.models.spann3r.network import Spann3rNetwork

FULL = Spann3rArchitecture()


def test_the_counted_operations_are_those_of_the_sizes() -> None:
    tokens = 196
    with torch.device("meta"):
        network = Spann3rNetwork(FULL)
    linears = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    products = 2e-9 * tokens * sum(linear.weight.numel() for linear in linears)
    products += 2e-9 * tokens * FULL.trunk.decoder_width * FULL.trunk.encoder_width  # both branches are embedded
    counted = gflop_of_step(FULL, (224, 224), 0)
    # Attention, two patch embeddings and one head of convolutions come on top.
    assert products == pytest.approx(241, rel=0.01) and 1.15 < counted / products < 1.3
    read = gflop_of_step(FULL, (224, 224), 1000) - counted
    assert read == pytest.approx(2 * 2e-9 * tokens * 1000 * 1024)
    second_head = gflop_of_step(FULL, (224, 224), 0, heads=2) - counted
    assert 40 < second_head < 50
    assert gflop_of_step(FULL, (448, 448), 0) > 4 * counted, "attention grows with the square"


def test_the_layers_of_the_rate_are_those_of_the_network() -> None:
    with torch.device("meta"):
        network = Spann3rNetwork(FULL)
    found: dict[tuple[int, int], int] = {}
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            shape = module.in_features, module.out_features
            found[shape] = found.get(shape, 0) + 1
    assert {shape: found[shape] for shape in LAYERS} == LAYERS
    left_out = sum(a * b * count for (a, b), count in found.items() if (a, b) not in LAYERS)
    assert left_out < 0.05 * sum(a * b * count for (a, b), count in LAYERS.items())


def test_a_rate_is_measured() -> None:
    assert GemmRate(7, {(64, 32): 2, (32, 64): 1}).measure(1) > 0

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_models import TINY_TRUNK

from spann3r_ros.errors import ConfigError
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.dust3r.network import Dust3rNetwork


def make(**fields: object) -> Dust3rNetwork:
    torch.manual_seed(0)
    return Dust3rNetwork(dataclasses.replace(TINY_TRUNK, **fields)).eval().requires_grad_(False)  # type: ignore[arg-type]


def test_the_official_network_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = Dust3rNetwork(Dust3rArchitecture())
    # 571.17 M in the file, less the mask token and one unit per head that inference does not use.
    unused = 768 + 2 * 2 * (256 * 256 * 9 + 256)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(571.17e6 - unused, abs=0.01e6)


def test_views_of_different_shapes_may_be_paired() -> None:
    first, second = make()(torch.rand(1, 3, 48, 64), torch.rand(1, 3, 64, 48))
    assert first.points.shape == (1, 48, 64, 3) and second.confidence.shape == (1, 64, 48)
    assert (first.confidence >= 1).all()


def test_pairs_of_a_batch_do_not_mix() -> None:
    network = make()
    images = torch.rand(2, 2, 3, 48, 64)
    together = network(images[0], images[1])
    alone = network(images[0, 1:], images[1, 1:])
    torch.testing.assert_close(together[1].points[1:], alone[1].points, rtol=1e-4, atol=1e-5)


def test_absolute_positions_tell_places_apart() -> None:
    gray = torch.zeros(1, 3, 48, 64)
    plain, placed = make(), make(absolute_position=True)
    assert plain.encode(gray).std(dim=1).max() < 1e-5
    assert placed.encode(gray).std(dim=1).max() > 0.1


def test_only_hooked_layers_are_kept() -> None:
    dpt = make(head="dpt", decoder_depth=12, dpt_width=8, dpt_last_width=8)
    features = dpt.encode(torch.rand(1, 3, 48, 64))
    assert sorted(dpt.decode(features, features, (3, 4), (3, 4))[0]) == [0, 6, 9, 12]
    assert sorted(make().decode(features, features, (3, 4), (3, 4))[0]) == [0, 3]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder_width": 36, "encoder_heads": 4}, "encoder width: got 36 with 4 heads"),
        ({"head": "mlp"}, "got mlp; expected dpt or linear"),
        ({"head": "dpt", "decoder_depth": 9}, "decoder depth with a DPT head: got 9; expected > 9"),
        ({"image_size": (48, 60)}, "multiples of the patch, 16"),
    ],
)
def test_impossible_sizes_are_refused(fields: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY_TRUNK, **fields)

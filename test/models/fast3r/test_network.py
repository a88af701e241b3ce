from __future__ import annotations

import dataclasses

import pytest
import torch
from published_tables import convolution, dpt, encoder_block, linear, norm

from spann3r_ros.errors import ConfigError
from spann3r_ros.models.fast3r.architecture import TINY, Fast3rArchitecture
from spann3r_ros.models.fast3r.image_ids import image_ids
from spann3r_ros.models.fast3r.network import GLOBAL, LOCAL, Fast3rNetwork


def make(**fields: object) -> Fast3rNetwork:
    torch.manual_seed(0)
    return Fast3rNetwork(dataclasses.replace(TINY, **fields)).eval().requires_grad_(False)  # type: ignore[arg-type]


def test_the_official_network_has_the_published_tensors() -> None:
    with torch.device("meta"):
        network = Fast3rNetwork(Fast3rArchitecture())
    expected = {
        **convolution("encoder.patch_embed.proj", 1024, 3, 16),
        **norm("encoder.enc_norm", 1024),
        **linear("decoder.decoder_embed", 1024, 1024),
        **norm("decoder.dec_norm", 1024),
        **dpt("downstream_head.dpt", 1024, 1024),
        **dpt("downstream_head_local.dpt", 1024, 1024),
    }
    for i in range(24):
        expected |= encoder_block(f"encoder.enc_blocks.{i}", 1024) | encoder_block(f"decoder.dec_blocks.{i}", 1024)
    found = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert found == expected
    # 720 in the file: each head holds four tensors twice, and four that inference does not use.
    assert len(found) == 720 - 2 * (4 + 4)


def test_views_of_different_sizes_go_together() -> None:
    network = make()
    images = [torch.rand(1, 3, 48, 64), torch.rand(1, 3, 64, 48), torch.rand(1, 3, 48, 64)]
    found = network(images, image_ids(3, 0))
    for head in (GLOBAL, LOCAL):
        assert [tuple(p.points.shape) for p in found[head]] == [(1, 48, 64, 3), (1, 64, 48, 3), (1, 48, 64, 3)]
        assert all((p.confidence >= 1).all() for p in found[head])
    assert list(network(images, image_ids(3, 0), (GLOBAL,))) == [GLOBAL]


def test_all_views_matter_to_each_and_ids_tell_them_apart() -> None:
    network, images = make(), [torch.rand(1, 3, 48, 64) for _ in range(3)]
    points = network(images, image_ids(3, 0))[GLOBAL][0].points
    changed = network([*images[:2], images[2].flip(-1)], image_ids(3, 0))[GLOBAL][0].points
    assert (points - changed).abs().max() > 1e-4
    same = network(3 * images[:1], image_ids(3, 0))[GLOBAL]
    assert (same[1].points - same[2].points).abs().max() > 1e-4


def test_sets_of_a_batch_do_not_mix() -> None:
    network, images = make(), [torch.rand(2, 3, 48, 64) for _ in range(2)]
    ids = torch.tensor([[0, 7], [0, 400]])
    together = network(images, ids)[LOCAL][1].points
    alone = network([image[1:] for image in images], ids[1:])[LOCAL][1].points
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


def test_more_views_than_a_head_sees_at_once() -> None:
    network, images = make(), [torch.rand(1, 3, 32, 48) for _ in range(6)]
    layers = network.fuse([network.encode(image) for image in images], image_ids(6, 0))
    found = network(images, image_ids(6, 0))[GLOBAL]
    for view in (0, 4, 5):
        torch.testing.assert_close(found[view].points, network.pointmap(GLOBAL, layers[view], (2, 3)).points)


def test_sharper_attention_is_another_network() -> None:
    images = [torch.rand(1, 3, 32, 48)]
    plain, sharp = make(), make(sharp_attention=True)
    sharp.load_state_dict(plain.state_dict())
    found = [network(images, image_ids(1, 0))[GLOBAL][0].points for network in (plain, sharp)]
    assert (found[0] - found[1]).abs().max() > 1e-5


def test_precision_is_of_encoder_and_fusion() -> None:
    network = make()
    network.set_precision(torch.bfloat16)
    assert {p.dtype for n, p in network.named_parameters() if n.startswith("downstream")} == {torch.float32}
    assert {p.dtype for n, p in network.named_parameters() if not n.startswith("downstream")} == {torch.bfloat16}
    pointmap = network([torch.rand(1, 3, 48, 64)], image_ids(1, 0))[GLOBAL][0]
    assert pointmap.points.dtype == torch.float32 and torch.isfinite(pointmap.points).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder_width": 36, "encoder_heads": 4}, "encoder width: got 36 with 4 heads"),
        ({"decoder_width": 25, "decoder_heads": 5}, "fusion width: got 25; expected even"),
        ({"decoder_depth": 9}, "decoder_depth of a Fast3R network: got 9; expected 10"),
        ({"patch_size": 8}, "patch size with a DPT head: got 8"),
        ({"image_size": (48, 60)}, "multiples of the patch, 16"),
    ],
)
def test_impossible_sizes_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **fields)  # type: ignore[arg-type]

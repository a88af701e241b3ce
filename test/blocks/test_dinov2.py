from __future__ import annotations

import pytest
import torch

from spann3r_ros.blocks.dinov2 import Dinov2
from spann3r_ros.blocks.sizes import DinoSizes

SIZES = DinoSizes(patch_size=4, width=16, depth=2, heads=2, registers=2, native_grid=3)


def encoder(**values: object) -> Dinov2:
    torch.manual_seed(0)
    network = Dinov2(SIZES if not values else DinoSizes(**{**vars(SIZES), **values}))  # type: ignore[arg-type]
    for parameter in network.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return network.eval().requires_grad_(False)


def cubic(distance: torch.Tensor, a: float) -> torch.Tensor:
    """Keys's kernel."""
    d = distance.abs()
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))


def antialiased(count: int, stored: int) -> torch.Tensor:
    """Weights (count, stored) of a resize whose kernel widens as the grid shrinks, normalized at the border."""
    scale = stored / count
    centers = (torch.arange(count) + 0.5) * scale - 0.5
    weights = cubic((torch.arange(stored) - centers[:, None]) / max(scale, 1.0), a=-0.5)
    return weights / weights.sum(dim=1, keepdim=True)


def by_factor(count: int, stored: int) -> torch.Tensor:
    """Weights (count, stored) of plain bicubic sampling at steps of stored / (count + 0.1), border repeated."""
    centers = (torch.arange(count) + 0.5) * stored / (count + 0.1) - 0.5
    weights = torch.zeros(count, stored)
    for row, center in enumerate(centers):
        for place in range(int(center.floor()) - 1, int(center.floor()) + 3):
            weights[row, min(max(place, 0), stored - 1)] += cubic(center - place, a=-0.75)
    return weights


@pytest.mark.parametrize(("resize", "weights"), [("exact", antialiased), ("offset", by_factor)])
@pytest.mark.parametrize("grid", [(2, 5), (5, 4), (1, 9), (2, 2)])
def test_positions_follow_the_grid(resize: str, weights, grid: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
    network = encoder(resize=resize)
    found = network.positions(grid)
    stored = network.pos_embed[0, 1:].view(3, 3, 16)
    expected = torch.einsum("yr,xc,rcw->yxw", weights(grid[0], 3), weights(grid[1], 3), stored)
    torch.testing.assert_close(found[0, 1:], expected.reshape(-1, 16), rtol=1e-4, atol=1e-5)
    assert torch.equal(found[:, 0], network.pos_embed[:, 0])


def test_the_native_grid_takes_positions_as_they_are_but_nine_patches_in_a_row_do_not() -> None:
    network = encoder()
    assert network.positions((3, 3)) is network.pos_embed
    assert not torch.allclose(network.positions((1, 9)), network.pos_embed, atol=1e-2)


def test_tokens_are_class_registers_patches_and_registers_have_no_position() -> None:
    network, images = encoder(), torch.randn(2, 3, 8, 12)
    tokens, positions = network.embed(images), network.positions((2, 3))
    assert tokens.shape == (2, 3 + 6, 16)
    torch.testing.assert_close(tokens[:, :1], (network.cls_token + positions[:, :1]).expand(2, -1, -1))
    assert torch.equal(tokens[:, 1:3], network.register_tokens.expand(2, -1, -1))
    torch.testing.assert_close(tokens[:, 3:], network.patch_embed(images) + positions[:, 1:])


def test_blocks_scale_their_residuals_and_the_last_norm_has_its_own_epsilon() -> None:
    network, images = encoder(), torch.randn(1, 3, 12, 12)
    tokens = network.embed(images)
    for block in network.blocks:
        tokens = tokens + block.ls1.gamma * block.attn(block.norm1(tokens), None)
        tokens = tokens + block.ls2.gamma * block.mlp(block.norm2(tokens))
        assert block.norm1.eps == block.norm2.eps == 1e-6
    torch.testing.assert_close(network(images), torch.layer_norm(tokens, (16,), *network.norm.parameters(), 1e-6))


def test_images_of_a_batch_are_encoded_by_themselves_and_other_channels_are_possible() -> None:
    network, images = encoder(registers=0, channels=2), torch.randn(3, 2, 8, 8)
    assert "register_tokens" not in dict(network.named_parameters())
    together = network(images)
    assert together.shape == (3, 1 + 4, 16)
    torch.testing.assert_close(together[1:2], network(images[1:2]), rtol=1e-4, atol=1e-5)


def test_the_large_one_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = Dinov2(DinoSizes())
    # 304.37 M with the mask token of the file, which is not built.
    assert sum(parameter.numel() for parameter in network.parameters()) + 1024 == 304_372_736
    assert len(network.state_dict()) + 1 == 344

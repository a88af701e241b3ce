from __future__ import annotations

import dataclasses

import pytest
import torch
from published_tables import convolution, decoder_block, dpt, encoder_block, linear, norm

from spann3r_ros.blocks.rope import grid_positions, table_at
from spann3r_ros.errors import ConfigError
from spann3r_ros.models.cut3r.architecture import TINY, Cut3rArchitecture
from spann3r_ros.models.cut3r.network import Cut3rNetwork, Interaction


def make(**fields: object) -> Cut3rNetwork:
    torch.manual_seed(0)
    return Cut3rNetwork(dataclasses.replace(TINY, **fields)).eval().requires_grad_(False)  # type: ignore[arg-type]


def interact(network: Cut3rNetwork, image: torch.Tensor, is_first: bool = True) -> Interaction:
    batch = len(image)
    state = network.initial_state().expand(batch, -1, -1)
    poses = network.pose_retriever.mem.expand(batch, -1, -1)
    features = network.encode(image)
    pose_in = network.pose_token.expand(batch, -1, -1) if is_first else network.recall(features, poses)
    return network.interact(features, network.grid(image), pose_in, state, poses)


@pytest.mark.parametrize(("head", "entries", "parameters"), [("dpt", 1248, 793_307_858), ("linear", 1056, 748_443_655)])
def test_the_official_networks_have_the_published_tensors(head: str, entries: int, parameters: int) -> None:
    with torch.device("meta"):
        network = Cut3rNetwork(Cut3rArchitecture(head=head))
    expected = {
        **convolution("patch_embed.proj", 1024, 3, 16),
        **convolution("patch_embed_ray_map.proj", 1024, 6, 16),
        **norm("enc_norm", 1024),
        **norm("enc_norm_ray_map", 1024),
        "register_tokens.weight": (768, 1024),
        "pose_token": (1, 1, 768),
        **linear("decoder_embed", 768, 1024),
        **linear("decoder_embed_state", 768, 1024),
        **norm("dec_norm", 768),
        **norm("dec_norm_state", 768),
        "pose_retriever.mem": (1, 256, 1536),
        "pose_retriever.masked_token": (1, 1, 768),
        **linear("pose_retriever.proj_q", 768, 1024),
        **linear("downstream_head.pose_head.mlp.fc1", 3072, 768),
        **linear("downstream_head.pose_head.mlp.fc2", 7, 3072),
    }
    for i in range(24):
        expected |= encoder_block(f"enc_blocks.{i}", 1024)
    for i in range(12):
        expected |= decoder_block(f"dec_blocks.{i}", 768) | decoder_block(f"dec_blocks_state.{i}", 768)
    for i in range(2):
        expected |= encoder_block(f"enc_blocks_ray_map.{i}", 1024)
        for which in ("write", "read"):
            expected |= decoder_block(f"pose_retriever.{which}_blocks.{i}", 1536)
        final = f"downstream_head.final_transform.{i}"
        block = {n: s for n, s in encoder_block(final, 768).items() if ".norm" not in n}
        for n in (1, 2):
            block |= norm(f"{final}.norm{n}.norm", 768) | linear(f"{final}.norm{n}.mlp.1", 1536, 768)
        expected |= block
    if head == "dpt":
        for which, channels in (("self", 4), ("cross", 4), ("rgb", 3)):
            expected |= dpt(f"downstream_head.dpt_{which}", 1024, 768, channels)
    else:
        for which, channels in (("proj", 4), ("cross_proj", 4), ("rgb_proj", 3)):
            expected |= linear(f"downstream_head.{which}.fc1", 3072, 768)
            expected |= linear(f"downstream_head.{which}.fc2", 256 * channels, 3072)
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == expected
    # Not here: two masked tokens; each DPT holds four tensors twice, and four that inference does not use.
    heads = 3 if head == "dpt" else 0
    assert len(expected) == entries - 2 - heads * (4 + 4)
    unused = 2 * 1024 + heads * 2 * (256 * 256 * 9 + 256)
    assert sum(p.numel() for p in network.parameters()) == parameters - unused


@pytest.mark.parametrize(("tokens", "columns"), [(768, 28), (10, 4), (16, 4), (9, 4), (1, 2)])
def test_the_states_tokens_stand_on_a_grid(tokens: int, columns: int) -> None:
    network = make(state_tokens=tokens)
    assert network.architecture.state_columns == columns
    places = network.state_places()
    assert places.shape == (tokens, 2) and places[-1].tolist() == [(tokens - 1) // columns, (tokens - 1) % columns]
    assert make(state_positions="1d", state_tokens=3).state_places().tolist() == [[0, 0], [1, 1], [2, 2]]


def test_positions_of_the_state_matter() -> None:
    image = torch.rand(1, 3, 48, 64)
    found = [interact(make(state_positions=kind), image).state for kind in ("2d", "1d", "none")]
    assert (found[0] - found[1]).abs().max() > 1e-5 and (found[1] - found[2]).abs().max() > 1e-5


def test_the_pose_token_stands_before_the_image() -> None:
    places = grid_positions((2, 3), specials=1, special_position=-1)
    assert places[0].tolist() == [-1.0, -1.0] and places[1].tolist() == [0.0, 0.0]
    table = table_at(places, 8, 100.0)
    torch.testing.assert_close(table.sin[0, [2, 6]], torch.tensor([-1.0, -1.0]).sin())  # of the row, of the column


def test_only_the_first_frame_does_not_ask_the_pose_memory() -> None:
    network, image = make(), torch.rand(1, 3, 48, 64)
    first, later = interact(network, image), interact(network, image, is_first=False)
    assert torch.equal(first.pose_in, network.pose_token) and not torch.equal(later.pose_in, first.pose_in)
    expected = network.pose_retriever.read(first.gist, network.pose_retriever.mem)
    torch.testing.assert_close(later.pose_in, expected)


def test_sequences_of_a_batch_do_not_mix() -> None:
    network, images = make(), torch.rand(2, 3, 48, 64)
    together, alone = interact(network, images), interact(network, images[1:])
    for name in ("state", "poses", "pose_out", "gist"):
        torch.testing.assert_close(getattr(together, name)[1:], getattr(alone, name), rtol=1e-4, atol=1e-5)


def test_rounded_rotation_moves_features_a_little() -> None:
    network, image = make(), torch.rand(1, 3, 48, 64)
    plain, rounded = network.encode(image), network.encode(image, rounded=True)
    assert 0 < (plain - rounded).abs().max() < 1e-2


def test_ray_maps_have_features_of_the_same_form() -> None:
    assert make().encode_rays(torch.rand(1, 6, 32, 48)).shape == (1, 6, 64)


def test_heads_and_pose_memory_are_fp32_in_any_precision() -> None:
    network = make()
    network.set_precision(torch.bfloat16)
    for name, parameter in network.named_parameters():
        is_full = name.startswith(("downstream_head.", "pose_retriever."))
        assert parameter.dtype == (torch.float32 if is_full else torch.bfloat16), name
    found = interact(network, torch.rand(1, 3, 48, 64), is_first=False)
    assert found.state.dtype == torch.bfloat16
    assert found.poses.dtype == found.pose_out.dtype == found.layers[3].dtype == torch.float32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder_width": 32, "encoder_heads": 2}, "ray map encoder width: got 32 with 16 heads"),
        ({"decoder_width": 28, "state_heads": 2}, "decoder width: got 28 with 2 heads"),
        ({"state_heads": 5}, "state decoder width: got 24 with 5 heads"),
        ({"head": "mlp"}, "got mlp; expected dpt or linear"),
        ({"head": "dpt", "patch_size": 8}, "patch size with a DPT head: got 8"),
        ({"state_positions": "3d"}, "positions of the state: got '3d'"),
        ({"image_size": (48, 60)}, "multiples of the patch, 16"),
    ],
)
def test_impossible_sizes_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **fields)  # type: ignore[arg-type]

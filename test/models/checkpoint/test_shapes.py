"""What shapes of tensors tell about a network."""

import pytest

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.shapes import depth, heads_of, mlp_ratio, shape_of


@pytest.mark.parametrize(("hidden", "width"), [(4096, 1024), (100, 49), (103, 77), (257, 61), (1, 3)])
def test_the_mlp_ratio_gives_the_hidden_width_back(hidden, width):
    ratio = mlp_ratio({"b.mlp.fc1.weight": (hidden, width)}, "b")
    assert int(width * ratio) == hidden


def test_blocks_are_counted_under_any_prefix():
    shapes = dict.fromkeys(["a.blocks.0.x", "a.blocks.10.x", "a.blocks.x", "b.blocks.12.x", "ya.blocks.30.x"], (1,))
    assert depth(shapes, "a.blocks.") == 11 and depth(shapes, "c.") == 0


def test_what_is_missing_is_named():
    with pytest.raises(CheckpointError, match=r"tensor x, which tells .* got nothing; expected 2 axes"):
        shape_of({}, "x", 2)
    with pytest.raises(CheckpointError, match=r"got shape \[3\]; expected 2 axes"):
        shape_of({"x": (3,)}, "x", 2)


def test_heads_have_64_channels():
    assert heads_of(1024, "decoder") == 16
    with pytest.raises(CheckpointError, match="heads of the decoder: got width 100"):
        heads_of(100, "decoder")

"""What shapes of tensors and files beside them tell about a network."""

import pytest

from spann3r_ros.models.dust3r.files import mlp_ratio


@pytest.mark.parametrize(("hidden", "width"), [(4096, 1024), (100, 49), (103, 77), (257, 61), (1, 3)])
def test_the_mlp_ratio_gives_the_hidden_width_back(hidden, width):
    ratio = mlp_ratio({"b.mlp.fc1.weight": (hidden, width)}, "b")
    assert int(width * ratio) == hidden

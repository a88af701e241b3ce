from __future__ import annotations

import numpy as np
import pytest
from tiny_models import random_frames, tiny_config, tiny_network

from spann3r_ros.errors import FrameError
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.models.spann3r.unordered import reconstruct_unordered


def test_every_image_is_answered_once_and_the_order_of_input_means_nothing() -> None:
    model, frames = Spann3r(tiny_network(), tiny_config(), "random"), random_frames(5)
    result = reconstruct_unordered(model, frames)
    assert sorted(result.order) == list(range(5))
    assert [p.frame for p in result.predictions] == [frames[index] for index in result.order]
    first, second = result.order[:2]
    assert result.pair_scores[first, second] == result.pair_scores.max() and not result.pair_scores.diagonal().any()
    turned = reconstruct_unordered(model, frames[::-1])
    assert [p.frame for p in turned.predictions] == [p.frame for p in result.predictions]
    for ours, theirs in zip(turned.predictions, result.predictions, strict=True):
        np.testing.assert_allclose(ours.points, theirs.points, rtol=1e-4, atol=1e-5)


def test_a_single_image_is_refused() -> None:
    model = Spann3r(tiny_network(), tiny_config(), "random")
    with pytest.raises(FrameError, match="got 1; expected >= 2"):
        reconstruct_unordered(model, random_frames(1))

from __future__ import annotations

import math

import pytest
import torch

from spann3r_ros.blocks.activation import confidence_from_raw, points_from_raw


@pytest.mark.parametrize(("mode", "length"), [("exp", math.expm1(5.0)), ("square", 25.0), ("linear", 5.0)])
def test_points_keep_their_direction(mode: str, length: float) -> None:
    points = points_from_raw(torch.tensor([3.0, 0.0, 4.0]), mode)
    torch.testing.assert_close(points, torch.tensor([0.6, 0.0, 0.8]) * length)


def test_a_raw_output_of_zero_is_the_origin() -> None:
    assert points_from_raw(torch.zeros(3), "exp").tolist() == [0, 0, 0]


def test_confidence_stays_in_its_range() -> None:
    raw = torch.tensor([-50.0, 0.0, 1.0])
    torch.testing.assert_close(confidence_from_raw(raw, "exp", 1.0, math.inf), torch.tensor([1.0, 2.0, 1 + math.e]))
    assert confidence_from_raw(torch.tensor(9.0), "exp", 1.0, 3.0) == 3.0
    torch.testing.assert_close(confidence_from_raw(raw[1:2], "sigmoid", 1.0, 3.0), torch.tensor([2.0]))


def test_a_raw_output_of_zero_gives_no_gradient_that_is_not_finite() -> None:
    raw = torch.zeros(2, 3, requires_grad=True)
    points_from_raw(raw, "exp").sum().backward()
    assert raw.grad is not None and torch.isfinite(raw.grad).all()

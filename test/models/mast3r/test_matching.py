"""Fast reciprocal matching: what it keeps, in which order, and that blocks and limits change nothing.

Identity with the published lists is in test/evaluation/parity/test_mast3r.py.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spann3r_ros.errors import ConfigError, GeometryError
from spann3r_ros.models.mast3r import matching
from spann3r_ros.models.mast3r.matching import (
    DescriptorMap,
    PixelMatches,
    grid_pixels,
    inside,
    match,
    match_both_ways,
    match_symmetric,
)


def described(height: int, width: int, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return functional.normalize(torch.randn(height, width, 8), dim=-1)


def test_an_image_matches_a_moved_copy_of_itself() -> None:
    a = described(24, 32)
    b = a.roll((3, 5), dims=(0, 1))
    matches = match(a, b, 4)
    assert len(matches) == 6 * 8
    moved = (matches.first + torch.tensor([5, 3])) % torch.tensor([32, 24])
    assert torch.equal(matches.second, moved)


def test_matches_are_reciprocal_sorted_and_found_once() -> None:
    a, b = described(24, 32), described(20, 36, 1)
    matches = match(a, b, 1)
    first, second = (
        pixels[:, 1] * width + pixels[:, 0] for pixels, width in ((matches.first, 32), (matches.second, 36))
    )
    similarity = a.flatten(0, 1) @ b.flatten(0, 1).T
    assert torch.equal(similarity[first].argmax(dim=1), second)
    assert torch.equal(similarity[:, second].argmax(dim=0), first)
    assert (first.diff() > 0).all()
    mutual = similarity.argmax(dim=0)[similarity.argmax(dim=1)] == torch.arange(24 * 32)
    assert torch.equal(mutual.nonzero().flatten(), first)  # a grid of every pixel finds all that there are


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = described(24, 32), described(20, 36, 1)
    expected = match(a, b, 2)
    monkeypatch.setattr(matching, "BLOCK", 1000)
    found = match(a, b, 2)
    assert torch.equal(found.first, expected.first) and torch.equal(found.second, expected.second)


def test_a_tolerance_keeps_pixels_that_nearly_return() -> None:
    a, b = described(24, 32), described(20, 36, 1)
    start = grid_pixels(32, 24, 4)
    exact, near = match(a, b, start=start), match(a, b, start=start, tolerance=12.0)
    assert 0 < len(exact) < len(near) <= len(start)
    kept = {tuple(pixel) for pixel in near.first.tolist()}
    assert {tuple(pixel) for pixel in exact.first.tolist()} <= kept
    assert all(x % 4 == 2 and y % 4 == 2 for x, y in kept)  # where it began is what is returned
    assert torch.equal(match(a, b, 4, tolerance=12.0).first, near.first)  # a step gives the grid, with a tolerance too


def test_confidences_are_of_both_sides() -> None:
    a = DescriptorMap(described(24, 32), torch.rand(24, 32) + 0.1)
    b = DescriptorMap(a.vectors.roll(2, dims=1), torch.rand(24, 32) + 0.1)
    both, symmetric = match_both_ways(a, b, 4), match_symmetric((a, b), (a, b), 4)
    assert both.confidence is not None and symmetric.confidence is not None
    one = a.confidence[both.first[:, 1], both.first[:, 0]]
    other = b.confidence[both.second[:, 1], both.second[:, 0]]
    assert torch.equal(both.confidence, torch.minimum(one, other))
    assert torch.equal(symmetric.first, both.first)  # the same decoding twice: each match once
    torch.testing.assert_close(symmetric.confidence, (one * other).sqrt())
    assert len(both) > len(match(a.vectors, b.vectors, 4))  # begun from both images


def test_the_border_is_of_both_images() -> None:
    first = torch.tensor([[2, 9], [3, 9], [9, 9], [28, 9], [29, 9]])
    second = torch.tensor([[9, 9], [9, 3], [9, 2], [9, 20], [9, 9]])
    kept = inside(PixelMatches(first, second), (32, 24), (32, 24))
    assert kept.tolist() == [False, True, False, True, False]


def test_an_image_smaller_than_the_step_gives_no_match() -> None:
    a = described(3, 3)
    assert len(match(a, a, 8)) == 0


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="step of the grid"):
        match(described(8, 8), described(8, 8), 0)
    with pytest.raises(GeometryError, match="maps of descriptors to match"):
        match(described(8, 8), torch.rand(8, 8, 5), 4)

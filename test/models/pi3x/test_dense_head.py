from __future__ import annotations

import pytest
import torch

from spann3r_ros.models.pi3x import dense_head
from spann3r_ros.models.pi3x.dense_head import DenseHead, with_places


def test_places_span_the_diagonal_and_follow_the_shape_of_the_image() -> None:
    maps = with_places(torch.zeros(2, 3, 4, 6), (30, 40))
    assert maps.shape == (2, 5, 4, 6)
    u, v = maps[1, 3], maps[1, 4]
    # Half an image of 4:3 is 0.8 by 0.6 of half its diagonal; the outer centers lie half a pixel inside.
    torch.testing.assert_close(u[0], 0.8 * torch.linspace(-5 / 6, 5 / 6, 6))
    torch.testing.assert_close(v[:, 0], 0.6 * torch.linspace(-3 / 4, 3 / 4, 4))
    assert (u == u[:1]).all() and (v == v[:, :1]).all()


def test_views_at_once_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head = DenseHead(8, (16, 16, 16), 8, (2, 1)).eval().requires_grad_(False)
    tokens = torch.randn(5, 6, 8)
    together = head(tokens, (2, 3), (28, 42))
    assert [part.shape for part in together] == [(5, 2, 28, 42), (5, 1, 28, 42)]
    monkeypatch.setattr(dense_head, "VIEWS_AT_ONCE", 2)
    for one, other in zip(together, head(tokens, (2, 3), (28, 42)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)

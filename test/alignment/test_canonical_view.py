from __future__ import annotations

import numpy as np
import pytest
import torch
from described_surface import camera_of
from geometric_models import true_points, true_pose

from spann3r_ros.alignment.canonical_view import CanonicalSum
from spann3r_ros.errors import ConfigError


def own_points(width: int = 48, height: int = 32) -> torch.Tensor:
    return torch.from_numpy(true_pose(3).inverse().apply(true_points(3, camera_of(width, height)))).float()


def test_the_mean_is_weighted_and_the_depth_relative_to_the_cells_center() -> None:
    points, total = own_points(), CanonicalSum(8)
    total.add(points, torch.full((32, 48), 2.0))
    total.add(2 * points, torch.full((32, 48), 4.0))
    view = total.view()
    weights = torch.tensor([2.0, 4.0]) - 0.999
    torch.testing.assert_close(view.points, points * float((weights * torch.tensor([1.0, 2.0])).sum() / weights.sum()))
    torch.testing.assert_close(view.confidence, torch.full((32, 48), float(weights.square().sum() / weights.sum())))
    assert view.core_depth.shape == (4, 6) and torch.equal(view.core_depth, view.points[4::8, 4::8, 2])
    torch.testing.assert_close(view.relative_depth[4::8, 4::8], torch.ones(4, 6))
    assert view.focal == pytest.approx(36.0, rel=0.05)


def test_an_anchor_gives_a_pixel_its_depth() -> None:
    points, total = own_points(), CanonicalSum(8)
    total.add(points, torch.full((32, 48), 2.0))
    view = total.view()
    pixels = torch.tensor([[0, 0], [13, 9], [47, 31]])
    cells, offsets = view.anchors(pixels)
    assert cells.tolist() == [0, 7, 23]
    found = view.core_depth.flatten()[cells] * offsets
    np.testing.assert_allclose(found, points[pixels[:, 1], pixels[:, 0], 2], rtol=1e-4)


def test_a_center_in_the_plane_of_the_camera_spoils_nothing() -> None:
    points, total = own_points(), CanonicalSum(8)
    points[4, 4, 2] = 0.0
    total.add(points, torch.full((32, 48), 2.0))
    view = total.view()
    assert float(view.core_depth[0, 0]) == 0 and bool(torch.isfinite(view.relative_depth).all())
    assert all(bool(torch.isfinite(found).all()) for found in view.anchors(torch.tensor([[0, 0], [7, 7], [13, 9]])))


def test_a_focal_length_stays_plausible() -> None:
    points, total = own_points(), CanonicalSum(8)
    total.add(points * torch.tensor([100.0, 100.0, 1.0]), torch.full((32, 48), 2.0))
    assert total.view().focal == pytest.approx(0.5 * 48 / (2 * np.tan(np.pi / 6)))


def test_a_size_that_cells_do_not_fill_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"image size for a sparse alignment: got \(30, 48\); expected multiples of 8"
    ):
        CanonicalSum(8).add(torch.zeros(30, 48, 3), torch.ones(30, 48))

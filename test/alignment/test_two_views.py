from __future__ import annotations

import dataclasses

import numpy as np
from described_surface import camera_of
from geometric_models import true_points, true_pose

from spann3r_ros.alignment.edge_predictions import EdgePrediction
from spann3r_ros.alignment.two_views import two_views

CAMERA = dataclasses.replace(camera_of(32, 24), cx=16.0, cy=12.0)


def prediction(i: int, j: int, confidence: float, numbers: tuple[int, int] = (4, 7)) -> EdgePrediction:
    first_from_truth = true_pose(numbers[i]).inverse()
    maps = [first_from_truth.apply(true_points(numbers[k], CAMERA)).astype(np.float32) for k in (i, j)]
    sure = np.full((24, 32), confidence, np.float32)
    return EdgePrediction((i, j), maps[0], sure, maps[1], sure)


def test_the_surer_order_is_the_reference() -> None:
    relative = (true_pose(4).inverse() @ true_pose(7)).matrix()
    for forth, back, reference in ((9.0, 5.0, 0), (5.0, 9.0, 1)):
        found = two_views(prediction(0, 1, forth), prediction(1, 0, back))
        assert found.reference == reference
        np.testing.assert_allclose(found.poses[reference], np.eye(4))
        second_in_first = np.linalg.inv(found.poses[0]) @ found.poses[1]
        np.testing.assert_allclose(second_in_first, relative, atol=2e-3)
        np.testing.assert_allclose(found.focals, 24.0, rtol=1e-4)
        own = true_pose(7).inverse().apply(true_points(7, CAMERA))
        np.testing.assert_allclose(found.depths[1], own[..., 2], atol=5e-3)


def test_pixels_that_are_not_sure_find_no_camera() -> None:
    found = two_views(prediction(0, 1, 2.0), prediction(1, 0, 1.5))
    np.testing.assert_array_equal(found.poses[1], np.eye(4))

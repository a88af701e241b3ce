from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.errors import GeometryError
from spann3r_ros.point_cloud import PointCloud, finite_points
from spann3r_ros.sim3 import Sim3


def test_arrays_must_be_of_one_length() -> None:
    with pytest.raises(GeometryError, match=r"got \(\(2, 3\), \(1, 3\), \(2,\)\)"):
        PointCloud(np.zeros((2, 3), np.float32), np.zeros((1, 3), np.uint8), np.zeros(2, np.float32))


def test_an_empty_cloud_is_a_cloud() -> None:
    cloud = PointCloud.empty()
    assert len(cloud) == 0 and len(cloud.transformed(Sim3(2.0))) == 0


def test_moving_keeps_colors_and_precision() -> None:
    cloud = PointCloud(np.ones((1, 3), np.float32), np.full((1, 3), 7, np.uint8), np.ones(1, np.float32))
    moved = cloud.transformed(Sim3(2.0, translation=np.array([0.0, 0.0, 1.0])))
    assert moved.points.tolist() == [[2, 2, 3]] and moved.points.dtype == np.float32
    assert moved.colors is cloud.colors and moved.confidence is cloud.confidence


def test_a_point_is_finite_when_all_its_coordinates_are() -> None:
    points = np.zeros((2, 4, 3), np.float32)
    points[0, 1, 0], points[0, 2, 1], points[1, 3, 2] = np.nan, np.inf, -np.inf
    assert finite_points(points).tolist() == [[True, False, False, True], [True, True, True, False]]

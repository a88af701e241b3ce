from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import backproject, centered
from spann3r_ros.geometry.ray_intrinsics import intrinsics_from_rays


def depth_of(camera: Intrinsics) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 8.0, (camera.height, camera.width))


def test_a_squeezed_camera_is_found_again() -> None:
    camera = Intrinsics(50.0, 62.0, 29.5, 19.5, 60, 40)
    found = intrinsics_from_rays(backproject(depth_of(camera), camera))
    np.testing.assert_allclose(found.matrix(), camera.matrix(), rtol=1e-5)


def test_the_principal_point_is_found_when_it_is_asked_for() -> None:
    camera = Intrinsics(50.0, 62.0, 33.0, 12.0, 60, 40)
    points = backproject(depth_of(camera), camera)
    points[::7] = np.nan
    points[1, 1] *= -1
    np.testing.assert_allclose(intrinsics_from_rays(points, free_center=True).matrix(), camera.matrix(), rtol=1e-5)
    assert intrinsics_from_rays(points).cx == 29.5


def test_what_no_camera_explains_is_refused() -> None:
    points = backproject(depth_of(centered(50.0, 60, 40)), centered(50.0, 60, 40))
    with pytest.raises(GeometryError, match="camera that explains"):
        intrinsics_from_rays(points * (-1, 1, 1))  # mirrored
    with pytest.raises(GeometryError, match="camera that explains"):
        intrinsics_from_rays(points * (0, 1, 1))
    with pytest.raises(GeometryError, match=r"got 0; expected >= 16"):
        intrinsics_from_rays(points * np.nan)
    with pytest.raises(GeometryError, match=r"expected shape \(h, w, 3\)"):
        intrinsics_from_rays(points[0])

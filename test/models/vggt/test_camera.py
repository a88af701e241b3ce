from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.models.vggt.camera import intrinsics, points_from_depth, world_from_camera

QUATERNION = np.array([0.1, -0.4, 0.2, 0.8])
ENCODING = np.array([0.3, -0.2, 1.5, *QUATERNION, 1.1, 1.3], dtype=np.float32)


def test_an_encoding_is_camera_from_world_with_a_quaternion_of_any_length() -> None:
    pose = world_from_camera(ENCODING)
    expected = Rotation.from_quat(QUATERNION).as_matrix()
    np.testing.assert_allclose(pose.inverse().rotation, expected, atol=1e-6)
    np.testing.assert_allclose(pose.inverse().translation, ENCODING[:3], atol=1e-6)
    longer = ENCODING.copy()
    longer[3:7] *= -3
    np.testing.assert_allclose(world_from_camera(longer).rotation, pose.rotation, atol=1e-6)


def test_depth_becomes_points_along_the_rays_of_the_calibration() -> None:
    size = (6, 8)
    depth = np.random.default_rng(0).uniform(1, 3, size).astype(np.float32)
    camera = intrinsics(ENCODING, size)
    assert camera is not None and (camera.cx, camera.cy, camera.width, camera.height) == (4, 3, 8, 6)
    assert camera.fx == pytest.approx(4 / math.tan(1.3 / 2)) and camera.fy == pytest.approx(3 / math.tan(1.1 / 2))
    found = points_from_depth(torch.from_numpy(depth)[None], torch.from_numpy(ENCODING)[None])[0].numpy()
    expected = world_from_camera(ENCODING).apply(backproject(depth, camera))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, math.pi, 4.0])
def test_a_view_without_width_has_no_calibration_but_finite_points(angle: float) -> None:
    encoding = ENCODING.copy()
    encoding[8] = angle
    assert intrinsics(encoding, (6, 8)) is None
    points = points_from_depth(torch.ones(1, 6, 8), torch.from_numpy(encoding)[None])
    assert torch.isfinite(points).all()


def test_a_quaternion_of_no_length_is_no_pose() -> None:
    with pytest.raises(GeometryError):
        world_from_camera(np.zeros(9))


def test_intrinsics_are_checked_like_any_other() -> None:
    assert isinstance(intrinsics(ENCODING, (6, 8)), Intrinsics)

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from spann3r_ros.geometry.pose_covariance import attached_covariance
from spann3r_ros.sim3 import Sim3


def test_a_base_fixed_to_the_camera_has_the_spread_of_many_noisy_poses() -> None:
    rng = np.random.default_rng(0)
    root = 1e-3 * rng.normal(size=(6, 6))
    covariance = root @ root.T
    camera = Sim3.rigid(
        Rotation.from_euler("xyz", [20, -40, 130], degrees=True).as_matrix(), np.array([1.0, -2.0, 3.0])
    )
    mount = Sim3.rigid(Rotation.from_euler("xyz", [90, 0, 90], degrees=True).as_matrix(), np.array([0.3, -0.5, 2.0]))
    errors = rng.multivariate_normal(np.zeros(6), covariance, size=40_000)
    turns = Rotation.from_rotvec(errors[:, 3:])
    bases = camera.translation + errors[:, :3] + turns.apply(camera.rotation @ mount.translation)
    spread = np.cov(np.hstack([bases, errors[:, 3:]]).T)
    expected = attached_covariance(covariance, camera, mount)
    np.testing.assert_allclose(spread, expected, atol=0.03 * np.abs(expected).max())
    np.testing.assert_allclose(expected, expected.T, atol=1e-18)


def test_without_an_offset_nothing_changes() -> None:
    covariance = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    turned = Sim3.rigid(Rotation.from_euler("z", 70, degrees=True).as_matrix(), np.zeros(3))
    np.testing.assert_array_equal(attached_covariance(covariance, Sim3(), turned), covariance)

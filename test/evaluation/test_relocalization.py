from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.relocalization import relocalization_errors
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import CameraPath


def pose(x: float, degrees: float) -> Sim3:
    return Sim3.rigid(Rotation.from_euler("y", degrees, degrees=True).as_matrix(), np.array([x, 0.0, 1.0]))


TRUTH = CameraPath.from_poses([0, 100, 200], [pose(0, 0), pose(1, 40), pose(2, 80)])


def test_errors_are_distances_and_angles_without_alignment() -> None:
    errors = relocalization_errors([0, 102, 200], [pose(0.5, 10), pose(1.1, 10), pose(5, 80)], TRUTH, 5)
    np.testing.assert_allclose(errors.positions, [0.5, 0.1, 3.0])
    np.testing.assert_allclose(errors.angles, [10, 30, 0], atol=1e-9)
    assert errors.median_position == pytest.approx(0.5) and errors.median_angle == pytest.approx(10)


def test_images_without_a_true_pose_are_left_out() -> None:
    errors = relocalization_errors([50, 100], [pose(9, 0), pose(1, 40)], TRUTH, 5)
    assert len(errors.positions) == 1 and errors.median_position == pytest.approx(0, abs=1e-12)
    with pytest.raises(DataError, match="images with a true pose: got none of 1"):
        relocalization_errors([50], [pose(0, 0)], TRUTH, 5)

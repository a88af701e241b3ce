from __future__ import annotations

import numpy as np
from geometric_models import true_pose

from spann3r_ros.models.cut3r.ray_map import ray_map, viewer_camera
from spann3r_ros.sim3 import Sim3


def test_rays_of_a_camera_at_the_origin_point_through_its_pixels() -> None:
    camera = viewer_camera(30, 40)
    assert (camera.fx, camera.cx, camera.cy) == (50.0, 20.0, 15.0)
    rays = ray_map(Sim3(), camera)
    assert rays.shape == (30, 40, 6) and rays.dtype == np.float32 and not rays[..., :3].any()
    np.testing.assert_allclose(rays[15, 20, 3:], [0, 0, 1], atol=1e-7)
    np.testing.assert_allclose(rays[0, 0, 3:], np.array([-0.4, -0.3, 1.0]) / np.sqrt(1.25), atol=1e-6)


def test_elsewhere_the_position_is_added_before_the_direction_is_normalized() -> None:
    pose, camera = true_pose(5), viewer_camera(32, 48)
    rays = ray_map(pose, camera)
    np.testing.assert_allclose(rays[7, 9, :3], pose.translation, rtol=1e-6)
    ahead = pose.rotation @ [(9 - camera.cx) / camera.fx, (7 - camera.cy) / camera.fy, 1.0] + pose.translation
    np.testing.assert_allclose(rays[7, 9, 3:], ahead / np.linalg.norm(ahead), rtol=1e-5)

from __future__ import annotations

import numpy as np
import pytest
from geometric_models import CAMERA, true_points, true_pose

from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.models.fast3r.cameras import ViewPointmaps, published_cameras
from spann3r_ros.sim3 import Sim3

METHODS = ("first_view_from_global_head", "first_view_from_local_head")


def view(index: int, scale: float = 1.0, noise: float = 0.0) -> ViewPointmaps:
    """What a perfect network says, in the axes of camera 0; the local pointmap in a unit of its own."""
    first_from_truth, rng = true_pose(0).inverse(), np.random.default_rng(index)
    points = true_points(index)
    confidence = (1.0 + rng.random(points.shape[:2])).astype(np.float32)
    local = Sim3(scale) @ true_pose(index).inverse()
    seen = first_from_truth.apply(points) + noise * rng.normal(size=points.shape)
    return ViewPointmaps(seen.astype(np.float32), confidence, local.apply(points).astype(np.float32), confidence)


def test_a_local_pointmap_is_aligned_to_the_global_one() -> None:
    maps = view(3, scale=0.2)
    np.testing.assert_allclose(maps.aligned(), maps.points, atol=1e-4)
    expected = true_pose(0).inverse() @ true_pose(3)
    found = maps.global_from_local()
    assert found.scale == pytest.approx(5.0, rel=1e-4)
    np.testing.assert_allclose(found.rotation, expected.rotation, atol=1e-5)


def test_only_sure_pixels_align() -> None:
    maps = view(2)
    points = maps.points.copy()
    unsure = maps.confidence < np.quantile(maps.confidence, 0.8)
    points[unsure] += 3.0
    found = ViewPointmaps(points, maps.confidence, maps.local_points, maps.local_confidence).global_from_local()
    np.testing.assert_allclose(found.matrix(), maps.global_from_local().matrix(), atol=1e-6)


def test_points_that_tell_no_alignment_give_the_identity() -> None:
    flat = np.zeros((4, 4, 3), np.float32)
    assert ViewPointmaps(flat, np.ones((4, 4), np.float32), flat, np.ones((4, 4), np.float32)).aligned().sum() == 0


@pytest.mark.parametrize("method", METHODS)
def test_cameras_of_a_perfect_network(method: str) -> None:
    views = [view(index, scale=1 + index) for index in (0, 4, 8)]
    # The demo's principal point is half a pixel off the true one.
    for index, (focal, pose) in zip((0, 4, 8), published_cameras(views, method), strict=True):
        assert focal == pytest.approx(CAMERA.fx, rel=0.06)
        assert pose is not None
        expected = true_pose(0).inverse() @ true_pose(index)
        np.testing.assert_allclose(pose.translation, expected.translation, atol=0.25)
        assert np.degrees((pose.inverse() @ expected).rotation_angle()) < 2.0


def test_each_view_can_have_the_focal_length_that_most_pixels_agree_with() -> None:
    camera = Intrinsics(72.0, 72.0, 48.0, 32.0, 96, 64)
    points = backproject(np.random.default_rng(0).uniform(1, 5, (64, 96)), camera)
    sure = np.full((64, 96), 2.0, np.float32)
    ((focal, pose),) = published_cameras([ViewPointmaps(points, sure, points, sure)], "individual")
    # A focal length that is off by less than 10 % moves no pixel by as much as PnP tolerates.
    assert focal == pytest.approx(camera.fx, rel=0.12) and pose is not None
    np.testing.assert_allclose(pose.translation, 0.0, atol=0.1)


def test_a_known_calibration_is_used() -> None:
    views = [view(0), view(4)]
    known = [CAMERA.matrix(), None]
    (focal, pose), (other, _) = published_cameras(views, METHODS[0], known)
    assert focal == CAMERA.fx and other != CAMERA.fx and pose is not None
    np.testing.assert_allclose(pose.matrix(), np.eye(4), atol=2e-3)


def test_points_that_tell_no_pose_give_none() -> None:
    maps = view(0)
    blind = ViewPointmaps(maps.points, np.ones_like(maps.confidence), maps.local_points, maps.local_confidence)
    assert published_cameras([blind], METHODS[0])[0][1] is None
    assert published_cameras([blind], "individual")[0] == (0.0, None)

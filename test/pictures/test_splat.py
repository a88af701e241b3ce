import numpy as np

from spann3r_ros.pictures.splat import BACKGROUND, default_camera, look_at, overview, render
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3

RED, GREEN = (255, 0, 0), (0, 255, 0)


def cloud(points: list[tuple[float, float, float]], colors: list[tuple[int, int, int]]) -> PointCloud:
    return PointCloud(np.array(points, np.float32), np.array(colors, np.uint8), np.ones(len(points), np.float32))


def test_the_nearer_point_hides_the_farther() -> None:
    camera = default_camera(41, 31)
    for order in (1, -1):
        points, colors = [(0, 0, 2), (0, 0, 1)][::order], [RED, GREEN][::order]
        picture = render(cloud(points, colors), Sim3(), camera, point_size=1)
        assert picture.shape == (31, 41, 3)
        assert tuple(picture[15, 20]) == GREEN
        assert (picture == BACKGROUND).all(axis=2).sum() == 31 * 41 - 1


def test_what_lies_behind_or_above_is_left_out() -> None:
    camera = default_camera(41, 31)
    behind = render(cloud([(0, 0, -1)], [RED]), Sim3(), camera)
    assert (behind == BACKGROUND).all()
    cut = render(cloud([(0, 0, 3), (0.3, 0, 1)], [RED, GREEN]), Sim3(), camera, cut_above=2.0)
    assert not (cut == RED).all(axis=2).any() and (cut == GREEN).all(axis=2).any()


def test_point_size_is_in_pixels() -> None:
    picture = render(cloud([(0, 0, 1)], [RED]), Sim3(), default_camera(41, 31), point_size=3)
    assert (picture == RED).all(axis=2).sum() == 9


def test_look_at_puts_the_target_in_the_middle_and_up_up() -> None:
    pose = look_at(np.array([3.0, -2.0, 1.0]), np.array([0.0, 1.0, 0.5]))
    seen = pose.inverse().apply(np.array([[0.0, 1.0, 0.5], [0.0, 1.0, 1.5]]))
    np.testing.assert_allclose(seen[0, :2], 0.0, atol=1e-12)
    assert seen[0, 2] > 0 and seen[1, 1] < seen[0, 1]  # higher in the world is higher in the picture
    straight_down = look_at(np.array([0.0, 0.0, 5.0]), np.zeros(3))
    np.testing.assert_allclose(straight_down.inverse().apply(np.zeros((1, 3))), [[0, 0, 5]], atol=1e-12)


def test_overview_sees_the_whole_cloud() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform([-3, -2, 0], [5, 2, 2.5], (2000, 3)).astype(np.float32)
    whole = PointCloud(points, np.full((2000, 3), 200, np.uint8), np.ones(2000, np.float32))
    for azimuth, elevation in ((0.0, 0.3), (-1.57, 1.3), (2.0, 0.8)):
        pose, camera = overview(whole, azimuth, elevation), default_camera()
        seen = pose.inverse().apply(points)
        u, v = (seen[:, axis] / seen[:, 2] * camera.fx + (camera.cx, camera.cy)[axis] for axis in (0, 1))
        inside = (seen[:, 2] > 0) & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
        assert inside.mean() > 0.97

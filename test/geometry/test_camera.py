import json

import numpy as np
import pytest
from tiny_models import GOLDEN

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry import camera
from spann3r_ros.sim3 import Sim3

CAMERA = Intrinsics(500.0, 510.0, 310.0, 250.0, 640, 480)


def look_at_nothing_special() -> Sim3:
    angle = 0.4
    rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return Sim3.rigid(rotation, np.array([1.0, -2.0, 0.5]))


def test_crop_keeps_every_ray():
    cropped = camera.crop(CAMERA, 40, 30, 320, 240)
    np.testing.assert_allclose(camera.rays(cropped), camera.rays(CAMERA)[30:270, 40:360], atol=1e-15)


def test_resize_keeps_the_rays_of_the_corners():
    resized = camera.resize(CAMERA, 320, 120)
    # The outer corner of the image is half a pixel beyond the center of its first and last pixels.
    for intrinsics in (CAMERA, resized):
        corner = np.array([[-0.5, -0.5], [intrinsics.width - 0.5, intrinsics.height - 0.5]])
        tangents = (corner - (intrinsics.cx, intrinsics.cy)) / (intrinsics.fx, intrinsics.fy)
        np.testing.assert_allclose(tangents, [[-310.5 / 500, -250.5 / 510], [329.5 / 500, 229.5 / 510]], atol=1e-12)


def test_the_published_preprocessing_moves_the_camera_matrix_like_this():
    cases = json.loads((GOLDEN / "preprocess_golden.json").read_text())["demo_224"]
    assert len(cases) > 5
    for case in cases:
        width, height = case["W"], case["H"]
        intrinsics = Intrinsics(1.0, 1.0, width // 2, height // 2, width, height)
        left, top, right, bottom = case["crop0"]
        intrinsics = camera.crop(intrinsics, left, top, right - left, bottom - top)
        factor = max(224 / intrinsics.width, 224 / intrinsics.height) + 1e-8
        intrinsics = camera.scale(intrinsics, factor)
        assert [intrinsics.width, intrinsics.height] == case["resize"]
        left, top, right, bottom = case["crop1"]
        intrinsics = camera.crop(intrinsics, left, top, right - left, bottom - top)
        np.testing.assert_allclose(intrinsics.matrix(), case["K"], rtol=0, atol=2e-4)


def test_project_inverts_backproject():
    depth = np.random.default_rng(0).uniform(0.5, 9.0, (480, 640))
    pixels = camera.project(camera.backproject(depth, CAMERA), CAMERA)
    np.testing.assert_allclose(pixels, camera.pixel_grid(640, 480), atol=2e-4)


def test_points_behind_have_no_pixel():
    pixels = camera.project(np.array([[0.0, 0, 2], [0, 0, -2], [1, 1, 0]]), CAMERA)
    np.testing.assert_array_equal(pixels[0], [310, 250])
    assert np.isnan(pixels[1:]).all()


def test_depth_comes_back_from_the_world_pointmap():
    depth = np.random.default_rng(1).uniform(0.5, 9.0, (480, 640))
    world_from_camera = look_at_nothing_special()
    points = world_from_camera.apply(camera.backproject(depth, CAMERA))
    np.testing.assert_allclose(camera.depth_from_pointmap(points, world_from_camera), depth, rtol=1e-5)


def test_depth_is_nan_behind_the_camera_and_for_invalid_points():
    world_from_camera = look_at_nothing_special()
    points = world_from_camera.apply(np.array([[[0.0, 0, 3], [0, 0, -3], [0, 0, 1], [0, 0, 1]]]))
    points[0, 2:] = [[np.nan, 0, 1], [np.inf, 0, 1]]
    depth = camera.depth_from_pointmap(points, world_from_camera)
    assert depth.dtype == np.float32
    assert depth[0, 0] == pytest.approx(3.0)
    assert np.isnan(depth[0, 1:]).all()


def test_center_of_the_image_lies_between_the_middle_pixels():
    intrinsics = camera.centered(100.0, 4, 3)
    directions = camera.rays(intrinsics)
    np.testing.assert_allclose(directions, -directions[::-1, ::-1] * [1, 1, -1], atol=1e-15)


@pytest.mark.parametrize("window", [(-1, 0, 10, 10), (0, 0, 641, 10), (600, 0, 41, 10), (0, 0, 0, 5), (0, 479, 5, 2)])
def test_a_window_outside_the_image_is_refused(window):
    with pytest.raises(GeometryError, match="inside 640 x 480"):
        camera.crop(CAMERA, *window)


@pytest.mark.parametrize("factor", [0.0, -1.0, np.nan, np.inf, 1e-4])
def test_a_factor_that_leaves_no_image_is_refused(factor):
    with pytest.raises(GeometryError):
        camera.scale(CAMERA, factor)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(GeometryError, match="depth"):
        camera.backproject(np.ones((10, 10)), CAMERA)
    with pytest.raises(GeometryError, match="size"):
        camera.resize(CAMERA, 0, 10)


def test_depth_along_the_axis_is_negative_behind_the_camera_and_keeps_what_is_not_finite():
    pose = Sim3.rigid(np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]), np.array([1.0, 2.0, 3.0]))
    seen = np.array([[[0.5, 0, 2.0], [1, 1, -3.0]], [[np.nan, 0, 1.0], [0, 0, 0.25]]], np.float32)
    depth = camera.depth_along(pose.apply(seen), pose)
    assert depth.dtype == np.float32 and np.isnan(depth[1, 0])
    np.testing.assert_allclose(depth[[0, 0, 1], [0, 1, 1]], [2.0, -3.0, 0.25], atol=1e-6)

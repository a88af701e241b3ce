"""Depth against analytic distances; colors that stay in place."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
from numba.extending import is_jitted

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic import ray_casting, textures
from spann3r_ros.synthetic.furniture import PATTERNS, Furniture, Look, Solid
from spann3r_ros.synthetic.renderer import Renderer
from spann3r_ros.synthetic.scene import Doorway, Room, Scene
from spann3r_ros.synthetic.walk import camera_pose

GRAY = Look("plain", ("#808080",))
CAMERA = Intrinsics(50.0, 52.0, 31.5, 23.0, 64, 48)


def room(*solids: Solid, low=(-5.0, -5.0), high=(5.0, 5.0), name="room") -> Room:
    return Room(name, low, high, 3.0, (GRAY,) * 4, GRAY, GRAY, furniture=(Furniture("things", (0.0, 0.0), solids),))


def rays(camera: Intrinsics, world_from_camera: Sim3) -> np.ndarray:
    """(H, W, 3) directions in the world with unit depth, by the textbook."""
    v, u = np.mgrid[: camera.height, : camera.width]
    pixels = np.stack([u, v, np.ones_like(u)], -1)
    return pixels @ np.linalg.inv(camera.matrix()).T @ world_from_camera.rotation.T


def test_depth_of_planes_is_analytic() -> None:
    pose = camera_pose(1.0, -2.0, 1.3, 0.7, -0.2, 0.1)
    rendering = Renderer(Scene("box", (room(),))).render(pose, CAMERA)
    d, o = rays(CAMERA, pose), pose.translation
    walls = [(0, -5), (0, 5), (1, -5), (1, 5), (2, 0), (2, 3)]
    distances = np.stack([(at - o[axis]) / d[..., axis] for axis, at in walls])
    expected = np.where(distances > 0, distances, np.inf)
    np.testing.assert_allclose(rendering.depth, expected.min(0), atol=1e-4)
    np.testing.assert_array_equal(rendering.surface, expected.argmin(0))
    np.testing.assert_allclose(rendering.points, o + rendering.depth[..., None] * d, atol=1e-4)


def test_depth_of_a_sphere_is_analytic() -> None:
    pose, center, radius = camera_pose(-2.0, 0.0, 1.0, 0.1, -0.1), np.array([0.5, 0.2, 0.9]), 0.7
    rendering = Renderer(Scene("ball", (room(Solid("sphere", (0.5, 0.2, 0.2), (1.4, 1.4, 1.4), GRAY)),))).render(
        pose, CAMERA
    )
    on_ball = rendering.surface == 6
    assert 200 < on_ball.sum() < 2000
    d, o = rays(CAMERA, pose), pose.translation - center
    b, a = (d @ o), (d * d).sum(-1)
    root = b * b - a * (o @ o - radius**2)
    np.testing.assert_array_equal(on_ball, root > 0)
    np.testing.assert_allclose(rendering.depth[on_ball], ((-b - np.sqrt(np.maximum(root, 0))) / a)[on_ball], atol=1e-4)


def test_depth_of_a_cylinder_is_analytic() -> None:
    pose, radius, height = camera_pose(-2.5, 0.3, 1.4, 0.0, -0.3), 0.6, 0.8
    rendering = Renderer(Scene("can", (room(Solid("cylinder", (0, 0, 0), (1.2, 1.2, height), GRAY)),))).render(
        pose, CAMERA
    )
    points = rendering.points[rendering.surface == 6].astype(np.float64)
    off_axis = np.hypot(points[:, 0], points[:, 1])
    on_top = np.abs(points[:, 2] - height) < 1e-4
    assert on_top.sum() > 50
    assert (~on_top).sum() > 50
    assert (off_axis[on_top] < radius + 1e-4).all()
    np.testing.assert_allclose(off_axis[~on_top], radius, atol=1e-4)
    # The first of the two points where each ray meets the mantle: those face the camera.
    assert (points[~on_top] @ np.array([1.0, 0.0, 0.0]) < 0.2).all()
    d, o = rays(CAMERA, pose)[rendering.surface == 6][on_top], pose.translation
    np.testing.assert_allclose(rendering.depth[rendering.surface == 6][on_top], (height - o[2]) / d[:, 2], atol=1e-4)


def test_depth_of_a_turned_box_is_analytic() -> None:
    pose, size = camera_pose(-2.0, 0.5, 1.5, -0.1, -0.35), np.array([0.9, 0.5, 0.7])
    scene = Scene("chest", (room(Solid("box", (0.2, 0.1, 0.3), (0.9, 0.5, 0.7), GRAY, yaw=30.0)),))
    rendering = Renderer(scene).render(pose, CAMERA)
    turn = np.array([[math.cos(math.pi / 6), -0.5, 0], [0.5, math.cos(math.pi / 6), 0], [0, 0, 1]])
    o = (pose.translation - np.array([0.2, 0.1, 0.65])) @ turn
    d = rays(CAMERA, pose) @ turn
    low, high = (-size / 2 - o) / d, (size / 2 - o) / d
    enter, leave = np.minimum(low, high).max(-1), np.maximum(low, high).min(-1)
    on_box = rendering.surface == 6
    assert on_box.sum() > 200
    np.testing.assert_array_equal(on_box, (enter < leave) & (enter > 0))
    np.testing.assert_allclose(rendering.depth[on_box], enter[on_box], atol=1e-4)


def test_a_doorway_shows_the_next_room_and_its_wall_does_not() -> None:
    west, east = (
        room(name="west", low=(-5.0, -5.0), high=(0.0, 5.0)),
        room(name="east", low=(0.2, -5.0), high=(5.0, 5.0)),
    )
    scene = Scene("two", (west, east), (Doorway(("east", "west"), 0.0, 1.0, 2.0, GRAY),))
    pose = camera_pose(-2.0, 0.0, 1.0, 0.0)
    depth = Renderer(scene).render(pose, CAMERA).depth
    d = rays(CAMERA, pose)
    at_wall = pose.translation + 2.0 * d / d[..., :1]
    through = (np.abs(at_wall[..., 1]) < 0.5) & (np.abs(at_wall[..., 2] - 1.0) < 1.0)
    forward = np.abs(at_wall[..., 1]) < 5
    between_floor_and_ceiling = (at_wall[..., 2] > 0) & (at_wall[..., 2] < 3)
    np.testing.assert_allclose(depth[forward & between_floor_and_ceiling & ~through], 2.0, atol=1e-4)
    assert depth[23, 31] == pytest.approx(7.0, abs=1e-4)
    assert (depth[through] > 2.0).all()


def test_the_same_place_has_the_same_color_from_elsewhere() -> None:
    """What makes a pointmap learnable: patterns belong to surfaces, not to views."""
    renderer, camera = Renderer(Scene.apartment()), Intrinsics(200, 200, 127.5, 95.5, 256, 192)
    first = renderer.render(camera_pose(2.6, 2.0, 1.3, math.pi, -0.1), camera, supersample=2)
    pose = camera_pose(2.4, 1.7, 1.4, math.pi + 0.15, -0.1)
    second = renderer.render(pose, camera, supersample=2)
    there = pose.inverse().apply(first.points)
    u = np.round(200 * there[..., 0] / there[..., 2] + 127.5).astype(int)
    v = np.round(200 * there[..., 1] / there[..., 2] + 95.5).astype(int)
    inside = (u >= 0) & (u < 256) & (v >= 0) & (v < 192)
    u, v = np.where(inside, u, 0), np.where(inside, v, 0)
    same = inside & (np.abs(second.depth[v, u] - there[..., 2]) < 0.01)
    assert same.mean() > 0.5
    difference = np.abs(first.image.astype(int) - second.image[v, u])[same]
    assert np.median(difference) <= 4
    other = np.abs(first.image.astype(int) - second.image)[same]
    assert np.median(other) > 3 * np.median(difference)


def test_every_pattern_shows_detail_and_fades_when_far() -> None:
    for pattern in PATTERNS:
        look = Look(pattern, ("#d02020", "#20d020", "#2020d0", "#f0f0f0"), 0.3)
        near = Room("near", (-5.0, -5.0), (5.0, 5.0), 3.0, (look,) * 4, look, look)
        image = Renderer(Scene(pattern, (near,))).render(camera_pose(3.0, 0.1, 1.4, 0.0), CAMERA).image.astype(float)
        spread = image.std(axis=(0, 1)).max()
        assert spread > (8 if pattern == "plain" else 14), (pattern, spread)
    # Stripes of 5 cm seen from 100 m are their mean: no moiré.
    look = Look("stripes", ("#ff0000", "#0000ff"), 0.05)
    hall = Room("hall", (0.0, -60.0), (101.0, 60.0), 90.0, (look,) * 4, look, look)
    far = Renderer(Scene("far", (hall,))).render(camera_pose(1.0, 0.0, 45.0, 0.0), CAMERA).image
    assert far[20:28, 24:40, 0].std() < 25
    assert abs(float(far[20:28, 24:40, 0].mean()) - float(far[20:28, 24:40, 2].mean())) < 25


def test_rendering_is_deterministic_and_batches_are_the_single_pictures() -> None:
    scene = Scene.apartment()
    poses = [camera_pose(2.0, 2.5, 1.0, yaw) for yaw in (0.0, 1.0, 4.0)]
    batch = Renderer(scene).render_batch(poses, CAMERA, supersample=2)
    assert batch.image.shape == (3, 48, 64, 3)
    assert batch.image.dtype == np.uint8
    renderer = Renderer(scene)
    for n, pose in enumerate(poses):
        single = renderer.render(pose, CAMERA, supersample=2)
        for name in ("image", "depth", "points", "surface"):
            np.testing.assert_array_equal(getattr(single, name), getattr(batch, name)[n])


def test_supersampling_smooths_outlines_and_leaves_the_rest() -> None:
    renderer, pose = Renderer(Scene.apartment()), camera_pose(6.0, 1.2, 1.4, 1.2)
    plain, fine = renderer.render(pose, CAMERA), renderer.render(pose, CAMERA, supersample=4)
    np.testing.assert_array_equal(plain.depth, fine.depth)
    quarter = Intrinsics(200, 208, 4 * 31.5 + 1.5, 4 * 23.0 + 1.5, 256, 192)
    large = renderer.render(pose, quarter).image.reshape(48, 4, 64, 4, 3)
    unclipped = large.max((1, 3, 4)) < 255  # a mean of clipped colors is not the clipped mean
    changed = (fine.image != plain.image).any(-1)
    assert 0.05 < changed.mean() < 0.5
    assert np.abs(fine.image - large.mean((1, 3)))[unclipped & changed].max() <= 1.0
    across = plain.surface[:, 1:] != plain.surface[:, :-1]
    assert changed[:, 1:][across].mean() > 0.9


@pytest.mark.parametrize("module", [ray_casting, textures])
def test_every_kernel_lets_other_threads_run(module: ModuleType) -> None:
    """Training renders in the background: a kernel that held the interpreter's lock would stop the optimizer."""
    kernels = {name: value for name, value in vars(module).items() if is_jitted(value)}
    assert len(kernels) > 10
    assert not [name for name, kernel in kernels.items() if not kernel.targetoptions["nogil"]]


def test_a_camera_outside_of_the_rooms_is_refused() -> None:
    renderer = Renderer(Scene.apartment())
    with pytest.raises(GeometryError, match="a point inside a room"):
        renderer.render(camera_pose(-1.0, 0.0, 1.0, 0.0), CAMERA)
    with pytest.raises(GeometryError, match="scale"):
        renderer.render(Sim3(2.0, np.eye(3), np.array([2.0, 2.0, 1.0])), CAMERA)

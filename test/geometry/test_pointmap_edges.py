from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.pointmap_edges import depth_edges, normal_edges, pointmap_normals, surface_edges

HEIGHT, WIDTH = 40, 60


def pointmap(depth: np.ndarray) -> np.ndarray:
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([(u - 30) / 50.0, (v - 20) / 50.0, np.ones((HEIGHT, WIDTH))], axis=-1)
    return (rays * depth[..., None]).astype(np.float32)


def box_before_a_wall(near: float = 1.0, far: float = 2.0) -> np.ndarray:
    depth = np.full((HEIGHT, WIDTH), far)
    depth[10:25, 20:40] = near
    return pointmap(depth)


def outline() -> np.ndarray:
    """One pixel on either side of the border of the box."""
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[11:24, 21:39] = True
    around = np.zeros((HEIGHT, WIDTH), bool)
    around[9:26, 19:41] = True
    return around & ~inside


def test_the_outline_of_a_box_is_an_edge_and_nothing_else() -> None:
    assert (surface_edges(box_before_a_wall()) == outline()).all()


def test_a_slanted_floor_has_no_edge_however_the_depth_grows() -> None:
    v = np.mgrid[:HEIGHT, :WIDTH][0]
    floor = pointmap(50.0 / (v + 5.0))  # a plane below the camera, seen to near the horizon
    assert depth_edges(floor[..., 2]).mean() > 0.5
    assert not surface_edges(floor).any()


def test_a_corner_between_two_walls_has_no_edge() -> None:
    u = np.mgrid[:HEIGHT, :WIDTH][1] - 30
    corner = pointmap(3.0 / (1 + np.abs(u) / 100.0))
    normals = normal_edges(*pointmap_normals(corner, np.ones((HEIGHT, WIDTH), bool)))
    assert normals[:, 28:33].any() and not surface_edges(corner).any()


def test_a_small_jump_is_no_edge_and_thresholds_count() -> None:
    step = box_before_a_wall(1.98, 2.0)
    assert not surface_edges(step).any()
    assert (surface_edges(step, jump=0.005) == outline()).all()
    assert not surface_edges(step, jump=0.005, turn=60.0).all()


def test_normals_are_those_of_the_plane_and_need_two_neighbors() -> None:
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[5, 5] = valid[0, 1] = valid[1, 0] = False
    normals, there = pointmap_normals(pointmap(np.full((HEIGHT, WIDTH), 2.0)), valid)
    np.testing.assert_allclose(np.abs(normals[there]), np.broadcast_to([0, 0, 1], (there.sum(), 3)), atol=1e-6)
    expected = valid.copy()
    expected[0, 0] = False  # both neighbors are missing
    assert (there == expected).all() and not normals[~there].any()


def test_unknown_pixels_are_no_edges_and_jumps_across_them_do_not_count() -> None:
    points = box_before_a_wall()
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[outline()] = False
    assert not surface_edges(points, valid).any()
    points[outline()] = np.nan
    assert not surface_edges(points).any()
    points[outline()] = np.inf
    assert not surface_edges(points).any()


def test_points_behind_the_camera_count_as_unknown() -> None:
    points = box_before_a_wall()
    points[10:25, 20:40] *= -1
    assert not surface_edges(points).any()


def test_normals_near_jumps_are_enough() -> None:
    """What is left out far from jumps changes nothing: compared with normals everywhere."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        depth = 2 + 0.2 * np.sin(np.mgrid[:HEIGHT, :WIDTH][1] / 5.0)
        for _ in range(4):
            y, x = rng.integers(0, 30), rng.integers(0, 45)
            depth[y : y + 8, x : x + 12] = rng.uniform(0.8, 2.5)
        points, valid = pointmap(depth), rng.random((HEIGHT, WIDTH)) > 0.02
        whole = depth_edges(points[..., 2], valid) & normal_edges(*pointmap_normals(points, valid))
        assert whole.any() and (surface_edges(points, valid) == whole).all()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"pointmap: got \(40, 60\)"):
        surface_edges(np.ones((HEIGHT, WIDTH)))
    with pytest.raises(GeometryError, match="valid pixels"):
        surface_edges(box_before_a_wall(), np.ones((HEIGHT, WIDTH)))

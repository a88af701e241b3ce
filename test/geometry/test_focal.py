import numpy as np
import pytest

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import backproject, centered
from spann3r_ros.geometry.focal import camera_of, estimate_focal, published_focal


def pointmap(intrinsics: Intrinsics, seed: int = 0) -> np.ndarray:
    depth = np.random.default_rng(seed).uniform(1.0, 5.0, (intrinsics.height, intrinsics.width))
    return backproject(depth, intrinsics)


def test_exact_points_give_the_exact_focal():
    assert estimate_focal(pointmap(centered(123.4, 64, 48))) == pytest.approx(123.4, rel=1e-6)


def test_known_principal_point_removes_the_bias():
    intrinsics = Intrinsics(100.0, 100.0, 20.0, 30.0, 64, 48)
    points = pointmap(intrinsics)
    assert estimate_focal(points, principal_point=(20.0, 30.0)) == pytest.approx(100.0, rel=1e-6)
    assert abs(estimate_focal(points) - 100.0) > 1.0


def test_wild_points_hardly_move_it_and_confidence_or_mask_remove_them():
    intrinsics = centered(100.0, 64, 48)
    points = pointmap(intrinsics)
    wild = np.random.default_rng(1).random((48, 64)) < 0.2
    points[wild, :2] *= -3.0
    pixels = (np.mgrid[:48, :64][::-1].transpose(1, 2, 0) - ((64 - 1) / 2, (48 - 1) / 2)).reshape(-1, 2)
    directions = (points[..., :2] / points[..., 2:]).reshape(-1, 2)
    least_squares = (pixels * directions).sum() / (directions**2).sum()
    assert abs(least_squares - 100.0) > 50.0, "the outliers ruin plain least squares"
    assert estimate_focal(points) == pytest.approx(100.0, rel=1e-4)
    assert estimate_focal(points, np.where(wild, 0.0, 0.7)) == pytest.approx(100.0, rel=1e-6)
    assert estimate_focal(points, valid=~wild) == pytest.approx(100.0, rel=1e-6)


def test_points_behind_or_not_finite_do_not_count():
    points = pointmap(centered(100.0, 64, 48))
    points[:20, :, 2] *= -1.0
    points[20, :] = np.nan
    points[21, :] = np.inf
    assert estimate_focal(points) == pytest.approx(100.0, rel=1e-6)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((48, 64, 3)), "got: 0|got 0"),
        (-np.ones((48, 64, 3)), "before the camera"),
        (np.ones((48, 64)), "shape"),
        (np.full((48, 64, 3), np.nan), "before the camera"),
    ],
)
def test_points_that_tell_nothing_are_refused(points, message):
    with pytest.raises(GeometryError, match=message):
        estimate_focal(points)


def test_a_mirrored_pointmap_is_refused():
    points = pointmap(centered(100.0, 64, 48))
    points[..., :2] *= -1.0
    with pytest.raises(GeometryError, match="optical axes"):
        estimate_focal(points)


def test_weights_of_another_size_are_refused():
    with pytest.raises(GeometryError, match="confidence"):
        estimate_focal(pointmap(centered(100.0, 64, 48)), np.ones((2, 2)))


@pytest.mark.parametrize("step", [1, 3])
def test_a_camera_is_found_from_an_even_sample_of_its_pointmap(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spann3r_ros.geometry.focal.MOST_PIXELS", 48 * 36 // step**2)
    camera = centered(50.0, 48, 36)
    points = backproject(np.random.default_rng(0).uniform(1, 5, (36, 48)), camera)
    found = camera_of(points, np.ones((36, 48)))
    assert found.fx == pytest.approx(50.0, rel=1e-6) and (found.cx, found.cy) == (camera.cx, camera.cy)
    with pytest.raises(GeometryError, match="before the camera"):
        camera_of(-points, np.ones((36, 48)))


def test_the_published_focal_length_neither_weighs_nor_refuses() -> None:
    camera = Intrinsics(50.0, 50.0, 24, 18, 48, 36)
    points = backproject(np.random.default_rng(0).uniform(1, 5, (36, 48)), camera)
    assert published_focal(points, (24, 18), 10) == pytest.approx(50.0, rel=1e-6)
    assert published_focal(-points, (24, 18), 10) == pytest.approx(50.0, rel=1e-6)  # behind the camera all the same
    assert published_focal(points * (-1, -1, 1), (24, 18), 10) == 0.0
    spoiled = points.copy()
    spoiled[:6] = 0.0
    assert published_focal(spoiled, (24, 18), 100) == pytest.approx(50.0, rel=1e-6)
    noisy = points + np.random.default_rng(1).normal(0, 0.2, points.shape)
    valid = np.ones((36, 48), bool)
    valid[::2] = False
    assert published_focal(noisy, (24, 18), 10, valid) != published_focal(noisy, (24, 18), 10)

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import rays
from spann3r_ros.geometry.rectification import StereoView, rectification

CAMERA = Intrinsics(300.0, 305.0, 322.0, 236.0, 640, 480)


def plumb_bob(x, y, d):
    """Brown-Conrady as the ROS CameraInfo documentation states it, written out independently of OpenCV."""
    k1, k2, p1, p2, k3, *more = [*d, 0.0][:5] if len(d) < 8 else d
    k4, k5, k6 = more[:3] if more else (0.0, 0.0, 0.0)
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )


def equidistant(x, y, d):
    r = np.hypot(x, y)
    theta = np.arctan(r)
    distorted = theta * (1 + d[0] * theta**2 + d[1] * theta**4 + d[2] * theta**6 + d[3] * theta**8)
    factor = np.divide(distorted, r, out=np.ones_like(r), where=r > 1e-12)
    return x * factor, y * factor


CASES = [
    ("plumb_bob", [-0.28, 0.07, 0.001, -0.0005, 0.0], plumb_bob),
    ("plumb_bob", [0.1, -0.05, 0.0, 0.002], plumb_bob),
    ("rational_polynomial", [0.1, -0.02, 0.0005, 0.0003, 0.001, 0.3, -0.01, 0.002], plumb_bob),
    ("equidistant", [-0.01, 0.02, -0.01, 0.002], equidistant),
    ("fisheye", [0.03, -0.01, 0.002, 0.0], equidistant),
]


@pytest.mark.parametrize(("model", "coefficients", "reference"), CASES)
def test_a_rectified_pixel_samples_where_the_lens_put_its_ray(model, coefficients, reference):
    found = rectification(CAMERA, model, coefficients)
    directions = rays(found.intrinsics)
    x, y = reference(directions[..., 0], directions[..., 1], coefficients)
    u, v = x * CAMERA.fx + CAMERA.cx, y * CAMERA.fy + CAMERA.cy
    # A smooth picture whose value tells the place, so that sampling can be checked to a fraction of a pixel.
    grid_u, grid_v = np.meshgrid(np.arange(640), np.arange(480))
    picture = np.stack([grid_u * 255 / 639, grid_v * 255 / 479, np.full_like(grid_u, 99)], -1)
    rectified = found.apply(np.round(picture).astype(np.uint8)).astype(float)
    expected = np.stack([u * 255 / 639, v * 255 / 479, np.full_like(u, 99)], -1)
    seen = (u >= 0) & (u <= 639) & (v >= 0) & (v <= 479)
    assert seen.mean() > 0.99, "the rectified view has next to no invalid pixels"
    assert np.abs(rectified - expected)[seen].max() < 1.1
    assert (found.intrinsics.width, found.intrinsics.height) == (640, 480)


@pytest.mark.parametrize("coefficients", [[], [0.0] * 5, [0.0] * 8])
@pytest.mark.parametrize("model", ["plumb_bob", "", "none", "inverse_brown_conrady", "equidistant"])
def test_a_lens_without_distortion_needs_no_maps(model, coefficients):
    assert rectification(CAMERA, model, coefficients) is None


BROWN = [-0.28, 0.07, 0.001, -0.0005, 0.01]
FISHEYE = [0.03, -0.01, 0.002, -0.0002]


@pytest.mark.fault("calibration", case="08")
@pytest.mark.parametrize(
    ("model", "coefficients", "same"),
    [
        *((name, BROWN, ("plumb_bob", BROWN)) for name in ("", "radtan", "PLUMB_BOB", " Plumb_Bob ", "brown_conrady")),
        *(("plumb_bob", BROWN + [0.0] * zeros, ("plumb_bob", BROWN)) for zeros in (1, 3, 7, 9)),
        ("rational_polynomial", BROWN, ("plumb_bob", BROWN)),
        ("plumb_bob", [*BROWN, 0.1, 0.0, 0.0], ("rational_polynomial", [*BROWN, 0.1, 0.0, 0.0])),
        ("plumb_bob", [-0.1], ("plumb_bob", [-0.1, 0.0, 0.0, 0.0])),
        ("fisheye", FISHEYE, ("equidistant", FISHEYE)),
        ("KANNALA_BRANDT4", FISHEYE, ("equidistant", FISHEYE)),
        *(("equidistant", FISHEYE + [0.0] * zeros, ("equidistant", FISHEYE)) for zeros in (1, 4, 10)),
    ],
)
def test_other_names_and_trailing_zeros_are_the_same_lens(model, coefficients, same):
    found, expected = rectification(CAMERA, model, coefficients), rectification(CAMERA, *same)
    assert found.intrinsics == expected.intrinsics
    np.testing.assert_array_equal(found.coarse, expected.coarse)
    np.testing.assert_array_equal(found.fine, expected.fine)


@pytest.mark.fault("calibration", case="08")
@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("inverse_brown_conrady", [0.1] * 5),
        ("double_sphere", [0.1] * 2),
        ("plumb_bob", [0.1] * 3),
        ("plumb_bob", [0.01] * 15),
        ("equidistant", [0.1] * 5),
        ("plumb_bob", [np.nan] * 5),
        ("plumb_bob", [0.1, np.inf, 0.0, 0.0]),
    ],
)
def test_unknown_models_and_wrong_coefficients_are_refused(model, coefficients):
    with pytest.raises(GeometryError, match=f"distortion.*{model}"):
        rectification(CAMERA, model, coefficients)


@pytest.mark.fault("calibration", case="08")
@pytest.mark.parametrize("coefficients", [[-0.9, 0.0, 0.0, 0.0], [2.0, -30.0, 0.0, 0.0], [1e6, 0.0, 0.0, 0.0]])
def test_absurd_coefficients_are_refused_with_their_values(coefficients):
    with pytest.raises(GeometryError, match=r"got .*0"):
        rectification(CAMERA, "plumb_bob", coefficients)


def test_a_lens_that_folds_over_is_refused():
    with pytest.raises(GeometryError):
        rectification(CAMERA, "equidistant", [-5.0, 0.0, 0.0, 0.0])


def test_an_image_of_another_size_is_refused():
    found = rectification(CAMERA, "plumb_bob", [-0.2, 0.0, 0.0, 0.0, 0.0])
    with pytest.raises(GeometryError, match="calibration"):
        found.apply(np.zeros((240, 320, 3), np.uint8))


@pytest.mark.parametrize("axis", [0, 1])
def test_depth_is_that_of_the_nearest_original_pixel(axis):
    found = rectification(CAMERA, "plumb_bob", BROWN)
    directions = rays(found.intrinsics)
    x, y = plumb_bob(directions[..., 0], directions[..., 1], BROWN)
    u, v = x * CAMERA.fx + CAMERA.cx, y * CAMERA.fy + CAMERA.cy
    place = (u, v)[axis]
    depth = 1 + np.indices((480, 640))[1 - axis].astype(np.float32)  # a whole number that tells the place
    taken = found.apply_depth(depth)
    assert taken.dtype == np.float32 and set(np.unique(taken)) <= {0.0, *range(1, 641)}
    seen = taken > 0
    assert seen[(u >= 0) & (u <= 639) & (v >= 0) & (v <= 479)].all()
    assert np.abs(taken - 1 - place)[seen].max() < 0.53, "half a pixel, and the 1/32 of the maps"


def test_depth_of_a_turned_view_is_along_its_own_axis():
    """A wall straight in front of the turned view, seen by a camera that looks at it askew."""
    turn = Rotation.from_euler("xyz", [4.0, -7.0, 2.0], degrees=True).as_matrix()
    found = rectification(CAMERA, "plumb_bob", [], StereoView(turn, CAMERA))
    directions = rays(CAMERA)
    depth = (3.0 / (directions @ turn[2])).astype(np.float32)
    assert np.ptp(depth) > 0.5
    taken = found.apply_depth(depth)
    seen = taken > 0
    assert 0.5 < seen.mean() < 1.0
    np.testing.assert_allclose(taken[seen], 3.0, rtol=2e-3)

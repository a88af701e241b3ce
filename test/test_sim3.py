from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.sim3 import Sim3


def some(seed: int) -> Sim3:
    generator = np.random.default_rng(seed)
    rotation = Rotation.random(random_state=seed).as_matrix()
    return Sim3(float(generator.uniform(0.2, 5.0)), rotation, generator.normal(size=3))


def test_composition_and_inverse_agree_with_matrices() -> None:
    a, b = some(1), some(2)
    np.testing.assert_allclose((a @ b).matrix(), a.matrix() @ b.matrix(), atol=1e-12)
    np.testing.assert_allclose(a.inverse().matrix(), np.linalg.inv(a.matrix()), atol=1e-12)
    np.testing.assert_allclose((a @ a.inverse()).matrix(), np.eye(4), atol=1e-12)


def test_points_move_as_homogeneous_ones_do_and_keep_their_precision() -> None:
    a = some(3)
    points = np.random.default_rng(0).normal(size=(4, 5, 3))
    expected = points @ a.matrix()[:3, :3].T + a.matrix()[:3, 3]
    np.testing.assert_allclose(a.apply(points), expected, atol=1e-12)
    single = a.apply(points.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=1e-5)


def test_a_matrix_is_taken_apart_and_put_together() -> None:
    a = some(4)
    again = Sim3.from_matrix(a.matrix())
    assert again.scale == pytest.approx(a.scale, rel=1e-12)
    np.testing.assert_allclose(again.rotation, a.rotation, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-8, 0.3, np.pi / 2, 3.0, np.pi])
def test_the_angle_is_exact_near_zero_and_half_a_turn(angle: float) -> None:
    rotation = Rotation.from_rotvec(angle * np.array([0.6, 0.0, 0.8])).as_matrix()
    assert Sim3(rotation=rotation).rotation_angle() == pytest.approx(angle, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0.0}, "scale of a similarity: got 0.0"),
        ({"scale": np.nan}, "scale of a similarity: got nan"),
        ({"rotation": np.diag([1.0, 1.0, -1.0])}, "not a rotation"),
        ({"rotation": 2 * np.eye(3)}, "not a rotation"),
        ({"rotation": np.full((3, 3), np.nan)}, "not a rotation"),
        ({"translation": np.array([0.0, np.inf, 0.0])}, "translation"),
        ({"translation": np.zeros(2)}, "wrong shape"),
    ],
)
def test_what_is_no_similarity_is_refused(arguments: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(GeometryError, match=message):
        Sim3(**arguments)


def test_a_reflection_is_refused() -> None:
    with pytest.raises(GeometryError, match="determinant"):
        Sim3.from_matrix(np.diag([1.0, 1.0, -1.0, 1.0]))

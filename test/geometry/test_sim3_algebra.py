from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.geometry.sim3_algebra import (
    adjoint,
    left_jacobian,
    left_jacobian_inverse,
    sim3_exp,
    sim3_log,
)
from spann3r_ros.sim3 import Sim3

VECTORS = [
    np.zeros(7),
    np.array([1.0, -2.0, 3.0, 0.0, 0.0, 0.0, 0.0]),
    np.array([1.0, -2.0, 3.0, 0.0, 0.0, 0.0, 0.4]),
    np.array([1.0, -2.0, 3.0, 1e-9, -1e-9, 1e-9, 1e-9]),
    np.array([0.5, 0.2, -0.1, 1.0, -2.0, 1.5, 0.0]),
    np.array([-3.0, 0.2, 8.0, 0.7, 0.4, -1.0, -1.2]),
]


def apart(one: Sim3, other: Sim3) -> float:
    return float(np.abs(one.matrix() - other.matrix()).max())


@pytest.mark.parametrize("vector", VECTORS)
def test_logarithm_and_exponential_undo_each_other(vector: np.ndarray) -> None:
    np.testing.assert_allclose(sim3_log(sim3_exp(vector)), vector, atol=1e-12)


@pytest.mark.parametrize("vector", VECTORS)
def test_a_way_is_gone_in_two_halves(vector: np.ndarray) -> None:
    half = sim3_exp(vector / 2)
    assert apart(half @ half, sim3_exp(vector)) < 1e-12
    assert apart(sim3_exp(-vector), sim3_exp(vector).inverse()) < 1e-12


def test_the_adjoint_moves_a_vector_through_a_similarity() -> None:
    similarity, vector = sim3_exp(VECTORS[-1]), VECTORS[-2]
    moved = sim3_exp(adjoint(similarity) @ vector)
    assert apart(moved, similarity @ sim3_exp(vector) @ similarity.inverse()) < 1e-11


def test_jacobians_are_derivatives_of_small_vectors() -> None:
    vector, step = 0.1 * np.array([1.0, -0.5, 0.3, 0.6, -0.4, 0.8, 0.5]), 1e-6
    numeric = np.empty((7, 7))
    for axis in range(7):
        nudge = step * np.eye(7)[axis]
        numeric[:, axis] = sim3_log(sim3_exp(vector + nudge) @ sim3_exp(vector).inverse()) / step
    np.testing.assert_allclose(left_jacobian(vector), numeric, atol=1e-5)
    np.testing.assert_allclose(left_jacobian_inverse(vector) @ left_jacobian(vector), np.eye(7), atol=1e-6)

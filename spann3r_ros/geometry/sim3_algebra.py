"""Similarities as vectors of seven numbers: exponential, logarithm, and how errors pass through them.

A vector is (tau, phi, sigma): translation, rotation vector and logarithm of the scale (Strasdat, "Local Accuracy and
Global Consistency for Efficient Visual SLAM", 2012, section 2.4). The Jacobians are truncated series, good to a few
percent for errors of half a radian.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from spann3r_ros.sim3 import Sim3

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


def cross_matrix(vector: Vector) -> Matrix:
    """(3, 3) matrix of the cross product with a vector (3,)."""
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def sim3_exp(vector: Vector) -> Sim3:
    """The similarity of a vector (7,)."""
    tau, phi, sigma = vector[:3], vector[3:6], float(vector[6])
    rotation = Rotation.from_rotvec(phi).as_matrix()
    return Sim3(math.exp(sigma), rotation, _translation_matrix(phi, sigma) @ tau)


def sim3_log(similarity: Sim3) -> Vector:
    """The vector (7,) of a similarity; its rotation vector is at most pi long."""
    phi = Rotation.from_matrix(similarity.rotation).as_rotvec()
    sigma = math.log(similarity.scale)
    tau = np.linalg.solve(_translation_matrix(phi, sigma), similarity.translation)
    return np.array([*tau, *phi, sigma])


def adjoint(similarity: Sim3) -> Matrix:
    """(7, 7): ``X exp(v) X^-1 = exp(adjoint(X) v)``."""
    matrix = np.zeros((7, 7))
    matrix[:3, :3] = similarity.scale * similarity.rotation
    matrix[:3, 3:6] = cross_matrix(similarity.translation) @ similarity.rotation
    matrix[:3, 6] = -similarity.translation
    matrix[3:6, 3:6] = similarity.rotation
    matrix[6, 6] = 1.0
    return matrix


def algebra_adjoint(vector: Vector) -> Matrix:
    """(7, 7) derivative of ``adjoint(sim3_exp(t vector))`` at t = 0."""
    tau, phi, sigma = vector[:3], vector[3:6], float(vector[6])
    matrix = np.zeros((7, 7))
    matrix[:3, :3] = cross_matrix(phi) + sigma * np.eye(3)
    matrix[:3, 3:6] = cross_matrix(tau)
    matrix[:3, 6] = -tau
    matrix[3:6, 3:6] = cross_matrix(phi)
    return matrix


def left_jacobian(vector: Vector) -> Matrix:
    """(7, 7) J: ``exp(v + d) = exp(J d) exp(v)`` for small d; the series up to the fifth power."""
    ad = algebra_adjoint(vector)
    power, total = np.eye(7), np.eye(7)
    for order in range(1, 6):
        power = power @ ad
        total += power / math.factorial(order + 1)
    return total


def left_jacobian_inverse(vector: Vector) -> Matrix:
    """(7, 7) inverse of ``left_jacobian``; the series of Bernoulli's numbers up to the fourth power."""
    ad = algebra_adjoint(vector)
    square = ad @ ad
    return np.asarray(np.eye(7) - ad / 2 + square / 12 - square @ square / 720)


def _translation_matrix(phi: Vector, sigma: float) -> Matrix:
    """(3, 3) integral of ``exp(u (sigma + [phi]x))`` over u in [0, 1], by which tau becomes a translation.

    As a block of a matrix exponential it is exact for small vectors, too, where the closed form cancels.
    """
    block = np.zeros((6, 6))
    block[:3, :3] = sigma * np.eye(3) + cross_matrix(phi)
    block[:3, 3:] = np.eye(3)
    return np.asarray(expm(block)[:3, 3:])

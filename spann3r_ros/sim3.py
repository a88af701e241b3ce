"""Similarity transforms of 3D space. Variables are named ``target_from_source``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import GeometryError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sim3:
    """``target = scale * rotation @ source + translation``; a rigid transform when ``scale`` is 1.

    Attributes:
        scale: positive float.
        rotation: (3, 3) float64, orthonormal with determinant +1.
        translation: (3,) float64, in units of the target frame.

    Raises:
        GeometryError: wrong shapes, non-finite numbers, a scale that is not positive, or a matrix that is no rotation.
    """

    scale: float = 1.0
    rotation: Array = field(default_factory=lambda: np.eye(3))
    translation: Array = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self) -> None:
        rotation = np.asarray(self.rotation, dtype=np.float64)
        translation = np.asarray(self.translation, dtype=np.float64)
        scale = float(self.scale)
        if rotation.shape != (3, 3) or translation.shape != (3,):
            raise GeometryError(
                "transform of the wrong shape",
                got=(rotation.shape, translation.shape),
                expected="(3, 3) and (3,)",
            )
        if not (np.isfinite(scale) and scale > 0):
            raise GeometryError("scale of a similarity", got=scale, expected="a finite number > 0")
        if not all(map(math.isfinite, translation.tolist())):
            raise GeometryError("translation", got=translation, expected="finite numbers")
        if not _is_rotation(*rotation.ravel().tolist()):
            raise GeometryError("not a rotation matrix", got=rotation.tolist(), expected="R R^T = 1, det R = +1")
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(self, "translation", translation)

    @classmethod
    def rigid(cls, rotation: NDArray[Any], translation: NDArray[Any]) -> Sim3:
        """A rigid transform: (3, 3) rotation and (3,) translation, scale 1."""
        return cls(1.0, rotation, translation)

    @classmethod
    def from_matrix(cls, matrix: NDArray[Any]) -> Sim3:
        """From a (4, 4) matrix whose upper left block is ``scale * rotation``."""
        matrix = np.asarray(matrix, dtype=np.float64)
        if matrix.shape != (4, 4):
            raise GeometryError("transform matrix", got=matrix.shape, expected="shape (4, 4)")
        scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
        if not scale > 0:
            raise GeometryError("determinant of a transform matrix", got=scale**3, expected="> 0")
        return cls(scale, matrix[:3, :3] / scale, matrix[:3, 3])

    def matrix(self) -> Array:
        """(4, 4) float64 homogeneous matrix."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.scale * self.rotation
        matrix[:3, 3] = self.translation
        return matrix

    def inverse(self) -> Sim3:
        """``source_from_target``."""
        rotation = self.rotation.T
        return Sim3(1.0 / self.scale, rotation, -(rotation @ self.translation) / self.scale)

    def __matmul__(self, other: Sim3) -> Sim3:
        """``a_from_b @ b_from_c = a_from_c``."""
        return Sim3(
            self.scale * other.scale,
            self.rotation @ other.rotation,
            self.scale * (self.rotation @ other.translation) + self.translation,
        )

    def apply(self, points: NDArray[Any]) -> NDArray[Any]:
        """Transform points of shape (..., 3); float32 in gives float32 out."""
        points = np.asarray(points)
        dtype = points.dtype if points.dtype in (np.float32, np.float64) else np.dtype(np.float64)
        matrix = (self.scale * self.rotation).astype(dtype)
        moved: NDArray[Any] = points @ matrix.T + self.translation.astype(dtype)
        return moved

    def carry(self, source_from_camera: Sim3) -> Sim3:
        """``target_from_camera`` of a camera in the source frame; it stays rigid whatever the scale between them."""
        moved = self @ source_from_camera
        return Sim3(1.0, moved.rotation, moved.translation)

    def is_identity(self) -> bool:
        """Whether it changes nothing, exactly."""
        return self.scale == 1.0 and not self.translation.any() and bool((self.rotation == np.eye(3)).all())

    def rotation_angle(self) -> float:
        """Angle of the rotation in radians, in [0, pi]."""
        sine = np.linalg.norm(self.rotation - self.rotation.T) / np.sqrt(8.0)
        return float(np.arctan2(sine, (np.trace(self.rotation) - 1.0) / 2.0))


def _is_rotation(a: float, b: float, c: float, d: float, e: float, f: float, g: float, h: float, i: float) -> bool:
    """Whether a matrix in raster order is one: its Gram matrix tells a rotation from anything else.

    In plain floats it costs a tenth of what NumPy takes for three rows. NaN fails the comparison, too.
    """
    lengths = abs(a * a + b * b + c * c - 1), abs(d * d + e * e + f * f - 1), abs(g * g + h * h + i * i - 1)
    angles = abs(a * d + b * e + c * f), abs(a * g + b * h + c * i), abs(d * g + e * h + f * i)
    is_orthonormal = all(error < 1e-6 for error in (*lengths, *angles))
    return is_orthonormal and a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0

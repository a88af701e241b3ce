"""A camera moves smoothly, its poses are noisy: a Kalman filter of constant velocity that learns how much of each.

Position and rotation are filtered apart, each with one gain for its three axes. In units of the noise of a single pose
the filter has one number, how much the speed may change from pose to pose. It is learned from the innovations, which
are white in a filter that is right (Mehra 1970): one that lags behind leaves innovations that resemble the ones before,
one that follows every error leaves opposite ones. So poses that are exact pass nearly as they are.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.sim3 import Sim3

Array = NDArray[np.float64]

STEADIEST, LIVELIEST = 1e-3, 10.0
"""Bounds of the change of speed from pose to pose, as a variance over that of a single pose's noise."""

RESEMBLANCE = 0.5
"""Correlation of successive innovations that counts as noise: a network errs alike in frames that are alike."""

FIRST = 0.3
"""The same before anything was learned."""

LEARNING = 0.25
"""How far one pair of innovations moves the logarithm of it."""

MEMORY = 20
"""Poses over which the noise is averaged."""

LEAST_KNOWN = 5
"""Poses after which the noise counts as known."""

WILD = 3.0
"""Innovations of so many standard deviations are drawn in to that."""

SHORTEST, LONGEST = 1e-3, 2.0
"""Seconds from pose to pose between which there is a prior."""


FILTER = 17
"""Numbers of one filter's state."""

STATE = 9 + 2 * FILTER
"""Numbers of a whole one's."""


class MotionPrior:
    """The poses of one camera in one frame, filtered as they come."""

    def __init__(self) -> None:
        self._stamp: int | None = None
        self._rotation = np.eye(3)
        self._position, self._turning = _Filtered(), _Filtered()

    def refine(self, stamp: int, pose: Sim3, covariance: Array | None = None) -> tuple[Sim3, Array | None]:
        """The pose with what is known of the motion before it, and its covariance.

        Args:
            stamp: nanoseconds.
            pose: ``submap_from_camera``, rigid.
            covariance: (6, 6) of it, as of ``PoseEstimate``. Its shape is kept, its size is measured once it can be.
        """
        seconds = 0.0 if self._stamp is None else (stamp - self._stamp) * 1e-9
        self._stamp = stamp
        if not SHORTEST <= seconds <= LONGEST:
            self._restart(pose)
            return pose, covariance
        ahead = np.asarray(cv2.Rodrigues(self._turning.velocity * seconds)[0]) @ self._rotation
        turn = np.asarray(cv2.Rodrigues(pose.rotation @ ahead.T)[0], dtype=np.float64).ravel()
        shift = pose.translation - (self._position.value + self._position.velocity * seconds)
        self._position.step(shift, seconds)
        correction = self._turning.step(turn, seconds)
        if self._position.is_lost or self._turning.is_lost:
            self._restart(pose)
            return pose, covariance
        self._rotation = np.asarray(cv2.Rodrigues(correction)[0]) @ ahead
        left, _, right = np.linalg.svd(self._rotation)  # products of rotations: remove the rounding
        self._rotation = left @ right
        return Sim3.rigid(self._rotation, self._position.value), self._measured(covariance)

    def saved(self) -> tuple[int, Array]:
        """The stamp of the last pose (-1: none yet) and all else, (``STATE``,) float64, for ``restored``."""
        numbers = [self._rotation.ravel(), self._position.saved(), self._turning.saved()]
        return -1 if self._stamp is None else self._stamp, np.concatenate(numbers)

    @classmethod
    def restored(cls, stamp: int, numbers: Array) -> MotionPrior:
        """What ``saved`` gave; raises ValueError for numbers that are none."""
        if numbers.shape != (STATE,) or numbers.dtype.kind != "f" or not np.isfinite(numbers).all():
            raise ValueError(f"state of a camera's motion is {numbers.dtype} {numbers.shape}")
        prior = cls()
        prior._stamp = None if stamp < 0 else stamp
        prior._rotation = Sim3.rigid(numbers[:9].reshape(3, 3), np.zeros(3)).rotation
        prior._position.restore(numbers[9 : 9 + FILTER])
        prior._turning.restore(numbers[9 + FILTER :])
        return prior

    def _restart(self, pose: Sim3) -> None:
        self._rotation = pose.rotation
        self._position.restart(pose.translation)
        self._turning.restart(np.zeros(3))

    def _measured(self, covariance: Array | None) -> Array | None:
        """A covariance of the same shape and of the size that the innovations show."""
        if covariance is None or self._position.variance is None or self._turning.variance is None:
            return covariance
        shift = np.sqrt(3 * self._position.variance / max(np.trace(covariance[:3, :3]), np.finfo(float).tiny))
        turn = np.sqrt(3 * self._turning.variance / max(np.trace(covariance[3:, 3:]), np.finfo(float).tiny))
        sizes = np.repeat([shift, turn], 3)
        return np.asarray(covariance * np.outer(sizes, sizes))


class _Filtered:
    """Three axes of one kind: their value, their velocity, and how well both are known in units of the noise."""

    def __init__(self) -> None:
        self._liveliness, self._noise, self._count = np.log(FIRST), 0.0, 0
        self.restart(np.zeros(3))

    def restart(self, value: Array) -> None:
        """Begin at a value with an unknown velocity; what was learned of the noise stays."""
        self.value, self.velocity = np.array(value, dtype=np.float64), np.zeros(3)
        self._known = np.diag([1.0, 1e6])
        self._before, self._wild = np.zeros(3), 0

    def saved(self) -> Array:
        """(``FILTER``,) all of it."""
        known = [self.value, self.velocity, self._known.ravel(), self._before]
        return np.concatenate([[self._liveliness, self._noise, self._count, self._wild], *known])

    def restore(self, numbers: Array) -> None:
        """Go on with what ``saved`` gave."""
        (self._liveliness, self._noise), (self._count, self._wild) = numbers[:2].tolist(), map(int, numbers[2:4])
        self.value, self.velocity = numbers[4:7].copy(), numbers[7:10].copy()
        self._known, self._before = numbers[10:14].reshape(2, 2).copy(), numbers[14:17].copy()

    @property
    def is_lost(self) -> bool:
        """Whether the last three innovations were wild: the motion is another one now."""
        return self._wild >= 3

    @property
    def variance(self) -> float | None:
        """Of the value along one axis; None while the noise is unknown."""
        return None if self._count < LEAST_KNOWN else float(self._noise * self._known[0, 0])

    def step(self, innovation: Array, seconds: float) -> Array:
        """Take an innovation (3,) up; returns by how much it corrected what was expected."""
        motion = np.array([[1.0, seconds], [0.0, 1.0]])
        change = np.exp(self._liveliness) / seconds**2  # variance of the velocity, in units of the noise
        spread = change * np.array([[seconds**2 / 3, seconds / 2], [seconds / 2, 1.0]])
        known = motion @ self._known @ motion.T + spread
        expected = known[0, 0] + 1.0
        gain = known[:, 0] / expected
        innovation = self._learn(innovation, expected)
        self.value = self.value + self.velocity * seconds + gain[0] * innovation
        self.velocity = self.velocity + gain[1] * innovation
        self._known = known - np.outer(gain, known[0])
        return np.asarray(gain[0] * innovation)

    def _learn(self, innovation: Array, expected: float) -> Array:
        """The innovation, drawn in when it is wild; noise and liveliness follow it."""
        size = float(innovation @ innovation) / (3 * expected)
        if self._count >= LEAST_KNOWN and size > WILD**2 * self._noise:
            self._wild += 1
            drawn_in = float(np.sqrt(WILD**2 * self._noise / size))
            innovation, size = innovation * drawn_in, WILD**2 * self._noise
        else:
            self._wild = 0
        self._count += 1
        self._noise += (size - self._noise) / min(self._count, MEMORY)
        normed = innovation / np.sqrt(expected)
        alike = float(normed @ self._before) / max(3 * self._noise, np.finfo(float).tiny)
        self._before = normed
        learned = self._liveliness + LEARNING * (float(np.clip(alike, -1, 1)) - RESEMBLANCE)
        self._liveliness = float(np.clip(learned, np.log(STEADIEST), np.log(LIVELIEST)))
        return innovation

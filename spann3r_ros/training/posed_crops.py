"""Images of one scene with their true poses, and the random crops of them that a relocalizer learns from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from spann3r_ros.errors import DataError
from spann3r_ros.models.posenet.architecture import PosenetArchitecture
from spann3r_ros.models.posenet.crop import CROP, crops, resized
from spann3r_ros.recordings.sequence import Sequence
from spann3r_ros.sim3 import Sim3

MAX_GAP = 20_000_000
"""Nanoseconds between an image and its true pose."""


class PosedCrops:
    """All images of recordings of one scene, resized and kept in memory, with their poses.

    Attributes:
        description: the recordings, for the record.
        targets: (N, 7) float32 positions and unit quaternions (w, x, y, z) of world_from_camera; the quaternions lie
            on one side, for a loss that tells q from -q.
        mean_image: (3, H, W) float32 RGB, the mean of the resized images.

    Args:
        recordings: with true poses in one world.
        architecture: how images are resized.

    Raises:
        DataError: recordings without true poses, fewer than two usable images, or images of different sizes.
    """

    def __init__(self, recordings: Iterable[Sequence], architecture: PosenetArchitecture) -> None:
        images, poses, names = [], [], []
        for recording in recordings:
            names.append(recording.name)
            found = _read(recording, architecture)
            images += [image for image, _ in found]
            poses += [pose for _, pose in found]
        if len(images) < 2:
            raise DataError("images with a true pose", got=len(images), expected=">= 2")
        sizes = {image.shape[:2] for image in images}
        if len(sizes) > 1:
            got = ", ".join(f"{width} x {height}" for height, width in sorted(sizes))
            raise DataError("images of one aspect ratio, as one mean image asks for,", got=got, expected="one size")
        self.description = "recordings: " + ", ".join(names)
        self.images = images
        self.targets = _targets(poses)
        total = np.zeros(images[0].shape, np.float64)
        for image in images:
            total += image
        self.mean_image = torch.from_numpy((total / len(images)).transpose(2, 0, 1).astype(np.float32))

    def batch(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Random crops of random images: pixels (count, 3, 224, 224) less the mean image, and targets (count, 7)."""
        chosen = rng.integers(len(self.images), size=count)
        pixels = []
        for index in chosen:
            height, width = self.images[index].shape[:2]
            corner = (int(rng.integers(width - CROP + 1)), int(rng.integers(height - CROP + 1)))
            pixels.append(_less_mean(self.images[index], corner, self.mean_image))
        return torch.stack(pixels), torch.from_numpy(self.targets[chosen])


def _less_mean(image: NDArray[np.uint8], corner: tuple[int, int], mean_image: Tensor) -> Tensor:
    """One crop (3, 224, 224) without converting the rest of the image."""
    left, top = corner
    rows, columns = slice(top, top + CROP), slice(left, left + CROP)
    return crops(image[rows, columns], [(0, 0)], mean_image[:, rows, columns])[0]


def _read(recording: Sequence, architecture: PosenetArchitecture) -> list[tuple[NDArray[np.uint8], Sim3]]:
    truth = recording.ground_truth()
    if truth is None or truth.trajectory is None:
        raise DataError(f"true poses of {recording.path}", got="none", expected="poses of its images")
    found = []
    for frame in recording.frames():
        pose = truth.trajectory.at(frame.stamp, MAX_GAP)
        if pose is not None:
            found.append((resized(frame.image, architecture), pose))
    return found


def _targets(poses: list[Sim3]) -> NDArray[np.float32]:
    """(N, 7); each quaternion has the sign that brings it nearer to the others' principal direction."""
    xyzw = Rotation.from_matrix(np.stack([pose.rotation for pose in poses])).as_quat()
    quaternions = xyzw[:, [3, 0, 1, 2]]
    _, vectors = np.linalg.eigh(quaternions.T @ quaternions)
    principal = vectors[:, -1] * (1.0 if vectors[np.abs(vectors[:, -1]).argmax(), -1] > 0 else -1.0)
    signs = np.where(quaternions @ principal < 0, -1.0, 1.0)
    positions = np.stack([pose.translation for pose in poses])
    return np.hstack([positions, quaternions * signs[:, None]]).astype(np.float32)

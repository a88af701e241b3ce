"""What a real camera does to the colors of a clip; the geometry is left alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import FrameError


@dataclass(frozen=True)
class Augmentation:
    """Random exposure, color, contrast, motion blur and noise.

    Attributes:
        exposure: standard deviation of the clip's exposure in stops.
        flicker: the same from frame to frame.
        tint: standard deviation of the gain of each color channel, per clip.
        contrast: standard deviation of the logarithm of gamma, per clip.
        blur: longest motion blur in pixels for an image 128 pixels wide; grows with the width.
        blurred: share of the frames that are blurred.
        noise: largest standard deviation of the sensor's noise, of 255.
    """

    exposure: float = 0.35
    flicker: float = 0.07
    tint: float = 0.06
    contrast: float = 0.12
    blur: float = 3.0
    blurred: float = 0.3
    noise: float = 6.0

    def __call__(self, images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Images of one clip, (N, H, W, 3) uint8 RGB, as new arrays of the same shape.

        Raises:
            FrameError: another shape or dtype.
        """
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise FrameError("images of a clip", got=(images.shape, images.dtype), expected="(N, H, W, 3) uint8")
        stops = rng.normal(0, self.exposure) + rng.normal(0, self.flicker, len(images))
        gain = np.exp2(stops)[:, None] * np.exp(rng.normal(0, self.tint, 3))
        gamma = math.exp(rng.normal(0, self.contrast))
        levels = (np.arange(256) / 255.0) ** gamma
        tables = np.clip(255.0 * gain[:, None, :] * levels[None, :, None] + 0.5, 0, 255).astype(np.uint8)
        deviation = rng.uniform(0, self.noise)
        result = np.empty_like(images)
        for i, image in enumerate(images):
            picture = cv2.LUT(image, tables[i][None])
            if rng.random() < self.blurred:
                length = rng.uniform(0, self.blur) * image.shape[1] / 128
                picture = cv2.filter2D(picture, -1, _streak(length, rng.uniform(0, math.pi)))
            noisy = picture + rng.standard_normal(picture.shape, np.float32) * np.float32(deviation)
            result[i] = np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
        return result


def _streak(length: float, angle: float) -> NDArray[np.float32]:
    """Kernel of a straight motion by ``length`` pixels at ``angle`` radians; its sum is 1."""
    half = math.ceil(length / 2) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for along in np.linspace(-length / 2, length / 2, max(2, 4 * half)):
        x, y = half + along * math.cos(angle), half + along * math.sin(angle)
        i, j = int(y), int(x)
        f, g = y - i, x - j
        kernel[i : i + 2, j : j + 2] += np.outer([1 - f, f], [1 - g, g]).astype(np.float32)
    kernel /= kernel.sum()
    return kernel

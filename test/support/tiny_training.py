"""A network of a few thousand weights and a source of made-up sequences for the tests of training."""

from __future__ import annotations

import dataclasses

import numpy as np
from tiny_models import tiny_architecture

from spann3r_ros.training.data import Clip, Single, places_of, pose_vector
from spann3r_ros.training.recipe import Compute, Loss, Optimizer, Recipe
from spann3r_ros.training.schedule import Curriculum, Stage

ARCHITECTURE = dataclasses.replace(
    tiny_architecture(
        patch_size=8,
        encoder_depth=1,
        decoder_width=32,
        decoder_depth=2,
        image_size=(16, 24),
        absolute_position=True,
        metric=True,
    ),
    value_depth=1,
)
"""Shallower than the others and of one width: a step of training costs more than an answer."""


def recipe(*stages: Stage, width: int = 32, **changes: object) -> Recipe:
    trunk = dataclasses.replace(ARCHITECTURE.trunk, encoder_width=width, decoder_width=width)
    return Recipe(
        architecture=dataclasses.replace(ARCHITECTURE, trunk=trunk),
        curriculum=Curriculum(stages, warmup=1, decay=1),
        optimizer=changes.pop("optimizer", Optimizer(learning_rate=3e-3)),  # type: ignore[arg-type]
        loss=Loss("metric", place=0.1, camera=0.1, origin=0.1),
        compute=Compute(bf16=False, checkpoint_minutes=60),
        **changes,  # type: ignore[arg-type]
    )


class SlantedWalls:
    """Colorful pictures of a slanted wall; neighboring frames are shifted along it."""

    description = "slanted walls"

    def clip(self, rng: np.random.Generator, frames: int, _gap: float) -> Clip:
        return self._clip(rng, frames, 0, 0)

    def walk(self, rng: np.random.Generator, _frames: int, first: int, count: int, origin: int) -> Clip:
        return self._clip(rng, count, first, origin)

    def single(self, rng: np.random.Generator, patch: int) -> Single:
        clip = self._clip(rng, 1, 0, 0)
        return Single(clip.images[0], places_of(clip.points, patch)[0], pose_vector(np.eye(4)))

    def _clip(self, rng: np.random.Generator, count: int, first: int, origin: int) -> Clip:
        height, width = ARCHITECTURE.trunk.image_size
        color, slope = rng.integers(0, 200, 3), rng.uniform(-0.05, 0.05)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        images = np.empty((count, height, width, 3), np.uint8)
        points = np.empty((count, height, width, 3), np.float32)
        for i in range(count):
            along = x + 2 * (first + i)
            pattern = (np.stack([along, y, along + y], -1) * 3 % 50).astype(np.uint8)
            images[i] = (color + pattern) // (1 + (first + i) % 5)
            points[i] = np.stack([along / 8, y / 8, 2 + slope * along], -1)
        camera = np.eye(4)
        camera[0, 3] = -origin / 4
        return Clip(images, points, np.ones((count, height, width), np.bool_), camera, fixed_world=True)

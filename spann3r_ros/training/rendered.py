"""Training sequences rendered in a synthetic scene, a new camera motion each."""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache

import numpy as np

from spann3r_ros.errors import ConfigError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.augment import Augmentation
from spann3r_ros.synthetic.pinhole import synthetic_camera
from spann3r_ros.synthetic.renderer import Renderer
from spann3r_ros.synthetic.rooms import random_scene
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, STYLES, Trajectories
from spann3r_ros.training.data import Clip, Single, places_of, pose_vector

STEP_PER_GAP, TURN_PER_GAP = 0.1, 0.1
"""Meters and radians that a walking camera moves between frames of 5 Hz; a clip's largest are ``gap`` times these."""

SMOOTH_SHARE = 0.3
"""Share of the sequences that are rendered with several rays per pixel."""


POOL_SEED = 5
"""Names the single images of a pool, together with their numbers."""


class RenderedSource:
    """Clips and walks in one scene, or in a new random scene for each sequence.

    Args:
        scene: to walk in, or None for random ones.
        size: (height, width) of the images.
        augmentation: strength of the disturbance of the colors; 0 shows them as they are.
        zoom: largest relative deviation of the focal length.
        pool: how many single images are rendered; each is shown again with other disturbances. 0: every one is new.
    """

    def __init__(
        self,
        scene: Scene | None,
        size: tuple[int, int],
        augmentation: float = 1.0,
        zoom: float = 0.02,
        pool: int = 0,
    ) -> None:
        self.scene, self.size, self.zoom = scene, size, zoom
        self.description = "synthetic random scenes" if scene is None else f"synthetic scene '{scene.name}'"
        self.augmentation = weakened(augmentation) if augmentation > 0 else None
        self.pool = pool
        self._pool: dict[tuple[int, int], Single] = {}
        self._fixed = None if scene is None else (Renderer(scene), Trajectories(scene))
        self._walk_poses = lru_cache(maxsize=256)(self._draw_walk)

    def clip(self, rng: np.random.Generator, frames: int, gap: float) -> Clip:
        """See ``data.Source``."""
        renderer, trajectories = self._scene(rng)
        step, turn = (0.03, max(0.06, STEP_PER_GAP * gap)), (0.0, TURN_PER_GAP * gap)
        poses = trajectories.sample_clip(rng, frames, step, turn)
        return self._disturbed(self._render(renderer, poses, poses[0], rng, self._zoomed(rng)), rng)

    def single(self, rng: np.random.Generator, patch: int) -> Single:
        """See ``data.Source``."""
        if self._fixed is None:
            raise ConfigError(
                "single images", got=self.description, expected="one fixed scene, in which they have a place"
            )
        if not self.pool:
            single = self._single(rng, patch)
        else:
            key = (int(rng.integers(self.pool)), patch)
            if key not in self._pool:
                self._pool[key] = self._single(np.random.default_rng([POOL_SEED, key[0]]), patch)
            single = self._pool[key]
        if self.augmentation is None:
            return single
        return dataclasses.replace(single, image=self.augmentation(single.image[None], rng)[0])

    def _single(self, rng: np.random.Generator, patch: int) -> Single:
        renderer, trajectories = self._scene(rng)
        poses = trajectories.sample_clip(rng, 1)
        clip = self._render(renderer, poses, poses[0], rng, self._zoomed(rng))
        return Single(clip.images[0], places_of(clip.points, patch)[0], pose_vector(poses[0].matrix()))

    def walk(self, rng: np.random.Generator, frames: int, first: int, count: int, origin: int) -> Clip:
        """See ``data.Source``."""
        renderer, _ = self._scene(rng)
        seed = int(rng.integers(EVALUATION_SEED))
        style = sorted(STYLES)[int(rng.integers(len(STYLES)))]
        rate = float(np.exp(rng.uniform(math.log(3.0), math.log(8.0))))
        zoom = self._zoomed(rng)
        poses = self._walk_poses(seed, frames, rate, style)
        return self._disturbed(self._render(renderer, poses[first : first + count], poses[origin], rng, zoom), rng)

    def _draw_walk(self, seed: int, frames: int, rate: float, style: str) -> list[Sim3]:
        trajectories = self._scene(np.random.default_rng([seed, 3]))[1]
        return trajectories.walk(seed, frames, rate, style)

    def _scene(self, rng: np.random.Generator) -> tuple[Renderer, Trajectories]:
        if self._fixed is not None:
            return self._fixed
        scene = random_scene(int(rng.integers(EVALUATION_SEED)))
        return Renderer(scene), Trajectories(scene)

    def _zoomed(self, rng: np.random.Generator) -> Intrinsics:
        return synthetic_camera(self.size[1], self.size[0], 1.0 + float(rng.uniform(-self.zoom, self.zoom)))

    def _render(
        self, renderer: Renderer, poses: list[Sim3], origin: Sim3, rng: np.random.Generator, intrinsics: Intrinsics
    ) -> Clip:
        # Smooth edges cost three times as much; some of the sequences having them is enough to know both.
        supersample = 2 if rng.random() < SMOOTH_SHARE else 1
        rendering = renderer.render_batch(poses, intrinsics, supersample)
        return Clip(
            images=rendering.image,
            points=rendering.points,
            valid=np.isfinite(rendering.depth),
            camera_from_world=origin.inverse().matrix(),
            fixed_world=self._fixed is not None,
        )

    def _disturbed(self, clip: Clip, rng: np.random.Generator) -> Clip:
        if self.augmentation is None:
            return clip
        return dataclasses.replace(clip, images=self.augmentation(clip.images, rng))


def weakened(strength: float) -> Augmentation:
    """The usual augmentation with all its amplitudes multiplied; which share of the frames is blurred stays."""
    usual = Augmentation()
    amplitudes = {field.name: strength * getattr(usual, field.name) for field in dataclasses.fields(usual)}
    return dataclasses.replace(usual, **amplitudes | {"blurred": usual.blurred})

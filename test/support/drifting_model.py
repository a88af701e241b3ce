"""A geometric model whose answers drift, and which knows a place when it sees it again."""

from __future__ import annotations

import dataclasses

import numpy as np
from geometric_models import FakeMemory, FakeStreamingModel, frames_of_the_path, true_pose
from numpy.typing import NDArray

from spann3r_ros.frame import Frame
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.geometry.sim3_algebra import sim3_exp
from spann3r_ros.mapping.map import Map
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

DRIFT = np.array([0.004, 0.0, 0.004, 0.0, 0.004, 0.0, 0.004])
"""What is added with every frame: translation over the depth, rotation vector, logarithm of the scale."""

WAVES = np.random.default_rng(7).normal(0, 1.2, (128, 3)), np.random.default_rng(8).uniform(0, 2 * np.pi, 128)


def descriptor_of(index: int) -> NDArray[np.float32]:
    """Of unit length; alike for frames that are near each other in space (random Fourier features of the place)."""
    waves, phases = WAVES
    vector = np.cos(waves @ true_pose(index).translation + phases)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class DriftingModel(FakeStreamingModel):
    """See ``StreamingModel``: wrong by a bit more with every frame since its memory began.

    Args:
        drift: of a frame.
        aliases: frames that look like another one, though they are elsewhere.
    """

    def __init__(
        self, drift: NDArray[np.float64] = DRIFT, aliases: dict[int, int] | None = None, **errors: object
    ) -> None:
        super().__init__(**errors)
        self.drift, self.aliases = drift, aliases or {}

    def flush(self, memory: FakeMemory) -> list[Prediction]:
        return [self._drifted(answer, memory.seen) for answer in super().flush(memory)]

    def _drifted(self, answer: Prediction, seen: int) -> Prediction:
        pose = answer.submap_from_camera
        assert pose is not None
        unit = float(pose.inverse().apply(answer.points)[..., 2].mean()) / 4.0
        step = sim3_exp(seen * self.drift)
        moved = Sim3(step.scale, step.rotation, step.translation * unit)
        index = answer.frame.index
        return dataclasses.replace(
            answer,
            points=moved.apply(answer.points),
            submap_from_camera=moved.carry(pose),
            descriptor=descriptor_of(self.aliases.get(index, index)),
        )


def there_and_back(count: int, times: int = 1) -> list[Frame]:
    """Frames along the path and back again, so often; every frame has a stamp of its own."""
    path = frames_of_the_path(count)
    walk = [*path, *path[-2::-1]]
    walk = walk + [frame for _ in range(times - 1) for frame in walk[1:]]
    return [dataclasses.replace(frame, stamp=number * 10**8) for number, frame in enumerate(walk)]


def path_error_in(world: Map) -> float:
    """Root mean square error of the cameras' places, after the similarity that fits best; the path is 0.1 a frame."""
    poses = list(world.trajectory())
    found = np.array([pose.target_from_camera.translation for pose in poses])
    truth = np.array([true_pose(pose.index).translation for pose in poses])
    return float(np.sqrt((np.linalg.norm(umeyama(found, truth).apply(found) - truth, axis=1) ** 2).mean()))

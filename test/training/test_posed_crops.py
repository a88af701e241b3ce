from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Frame
from spann3r_ros.models.posenet.architecture import PosenetArchitecture
from spann3r_ros.sim3 import Sim3
from spann3r_ros.training.posed_crops import PosedCrops
from spann3r_ros.trajectory import CameraPath

STEP = 100_000_000


def recording(count: int, size: tuple[int, int] = (256, 300), turn: float = 0.0, poses: bool = True) -> Any:
    """Uniform images of gray 10 k up to 250, whose cameras turn about the vertical; the last one has no pose."""
    rotations = [Rotation.from_euler("y", turn * k, degrees=True).as_matrix() for k in range(count)]
    path = CameraPath.from_poses(
        [k * STEP for k in range(count - 1)],
        [Sim3.rigid(rotations[k], np.array([k, 0.0, 0.0])) for k in range(count - 1)],
    )

    def frames() -> Iterator[Frame]:
        for k in range(count):
            yield Frame(k, k * STEP, "camera", np.full((*size, 3), min(10 * k, 250), np.uint8))

    truth = SimpleNamespace(trajectory=path) if poses else None
    return SimpleNamespace(name="walk", path="walk", frames=frames, ground_truth=lambda: truth)


def test_images_without_a_pose_are_left_out_and_the_mean_is_of_the_rest() -> None:
    crops = PosedCrops([recording(4)], PosenetArchitecture())
    assert len(crops.images) == 3 and float(crops.mean_image.mean()) == pytest.approx(10.0)
    pixels, targets = crops.batch(np.random.default_rng(0), 16)
    assert pixels.shape == (16, 3, 224, 224)
    for image, target in zip(pixels, targets, strict=True):
        np.testing.assert_allclose(image, 10 * target[0] - 10, atol=1e-4)


def test_the_same_draw_gives_the_same_batch() -> None:
    crops = PosedCrops([recording(9)], PosenetArchitecture())
    one, other = (crops.batch(np.random.default_rng([1, 7]), 4) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_quaternions_of_a_scene_lie_on_one_side() -> None:
    targets = PosedCrops([recording(30, turn=10.0)], PosenetArchitecture()).targets
    principal = np.linalg.eigh(targets[:, 3:].T @ targets[:, 3:])[1][:, -1]
    assert len({bool(side) for side in targets[:, 3:] @ principal > 0}) == 1
    np.testing.assert_allclose(np.linalg.norm(targets[:, 3:], axis=1), 1, rtol=1e-6)
    turned = Rotation.from_quat(targets[:, [4, 5, 6, 3]]).as_euler("yxz", degrees=True)[:, 0]
    np.testing.assert_allclose((turned - 10 * targets[:, 0] + 180) % 360 - 180, 0, atol=1e-3)


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ([recording(4, poses=False)], "true poses of walk: got none"),
        ([recording(2)], "images with a true pose: got 1"),
        ([recording(4), recording(4, size=(256, 341))], "got 300 x 256, 341 x 256; expected one size"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(recordings: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        PosedCrops(recordings, PosenetArchitecture())

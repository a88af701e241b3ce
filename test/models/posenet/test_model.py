from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import random_frames

from spann3r_ros.errors import AnswerError, FrameError
from spann3r_ros.frame import Frame
from spann3r_ros.models.posenet.architecture import scaled
from spann3r_ros.models.posenet.model import Posenet, world_from_camera
from spann3r_ros.models.posenet.network import PoseAnswer, PosenetNetwork


def model(seed: int = 0, **fields: object) -> Posenet:
    torch.manual_seed(seed)
    return Posenet(PosenetNetwork(scaled(16, mean_size=(1, 1), **fields)).eval().requires_grad_(False), "random")


def answer(position: list[float], quaternion: list[float]) -> PoseAnswer:
    return PoseAnswer(torch.tensor([position]), torch.tensor([quaternion]))


def test_an_image_has_one_rigid_pose_whatever_came_before() -> None:
    relocalizer, frames = model(), random_frames(2, size=(320, 240))
    first = relocalizer.locate(frames[0])
    assert first.scale == 1.0 and not np.allclose(first.matrix(), relocalizer.locate(frames[1]).matrix())
    np.testing.assert_array_equal(relocalizer.locate(frames[0]).matrix(), first.matrix())


@pytest.mark.parametrize("size", [(480, 640), (64, 48), (224, 224), (1920, 1080)])
def test_images_of_any_usual_size_are_taken(size: tuple[int, int]) -> None:
    assert np.isfinite(model().locate(random_frames(1, size=size)[0]).matrix()).all()


def test_the_quaternion_turns_what_the_labels_say() -> None:
    turned = answer([1.0, 2.0, 3.0], [2.0, 0.0, 2.0, 0.0])  # 90 degrees about y, not of length one
    ahead = world_from_camera(turned, "world_from_camera")
    np.testing.assert_allclose(ahead.apply(np.array([0.0, 0.0, 1.0])), [2.0, 2.0, 3.0], atol=1e-6)
    back = world_from_camera(turned, "camera_from_world")
    np.testing.assert_allclose(back.apply(np.array([0.0, 0.0, 1.0])), [0.0, 2.0, 3.0], atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [answer([0, 0, 0.0], [0, 0, 0, 0.0]), answer([float("nan"), 0, 0], [1, 0, 0, 0.0])], ids=["zero", "nan"]
)
def test_an_answer_that_is_no_pose_is_refused(wrong: PoseAnswer) -> None:
    with pytest.raises(AnswerError, match="answer of PoseNet"):
        world_from_camera(wrong, "world_from_camera")


def test_a_strip_is_refused() -> None:
    with pytest.raises(FrameError):
        model().locate(Frame(0, 0, "camera", np.zeros((16, 900, 3), np.uint8)))


def test_the_fingerprint_tells_weights_apart() -> None:
    assert model().fingerprint == model().fingerprint != model(1).fingerprint

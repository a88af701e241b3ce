from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny_models import random_frames

from spann3r_ros.config import Config
from spann3r_ros.errors import AnswerError, ConfigError, FrameError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models.fast3r.architecture import TINY
from spann3r_ros.models.fast3r.image_ids import image_ids
from spann3r_ros.models.fast3r.model import Fast3r
from spann3r_ros.models.fast3r.network import GLOBAL, LOCAL, Fast3rNetwork
from spann3r_ros.models.fast3r.parameters import Fast3rParameters
from spann3r_ros.models.preprocess import preprocess


def make(sizes: tuple[int, int] = (48, 64), local_head: bool = True, **settings: object) -> Fast3r:
    torch.manual_seed(0)
    architecture = dataclasses.replace(TINY, image_size=sizes, local_head=local_head)
    config = Config(model="fast3r", device="cpu")
    for name, value in settings.items():
        setattr(config.of(Fast3rParameters), name, value)
    return Fast3r(Fast3rNetwork(architecture).eval().requires_grad_(False), config, "random")


def test_global_points_are_the_network_itself() -> None:
    model, frames = make(points="global"), random_frames(3)
    expected = model.network([preprocess(frame, (48, 64)).pixels for frame in frames], image_ids(3, 0))[GLOBAL]
    for answer, pointmap, frame in zip(model.infer(frames), expected, frames, strict=True):
        assert answer.frame is frame and answer.final and answer.submap == 0
        np.testing.assert_allclose(answer.points, pointmap.points[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(answer.confidence, 1 - 1 / pointmap.confidence[0], rtol=1e-4)


def test_local_points_are_the_local_head_moved() -> None:
    model, frames = make(), random_frames(2)
    expected = model.network([preprocess(frame, (48, 64)).pixels for frame in frames], image_ids(2, 0))[LOCAL][1]
    answer = model.infer(frames)[1]
    local = expected.points[0].numpy()
    spread = [np.linalg.norm(points - points.mean(axis=(0, 1)), axis=-1) for points in (answer.points, local)]
    np.testing.assert_allclose(spread[0] / spread[0].mean(), spread[1] / spread[1].mean(), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(answer.confidence, 1 - 1 / expected.confidence[0], rtol=1e-4)


def test_the_seed_of_the_ids_counts_and_nothing_else_does() -> None:
    frames = random_frames(3)
    one, same, other = make(seed=1), make(seed=1), make(seed=2)
    torch.manual_seed(77)
    first = one.infer(frames)[2].points
    assert np.array_equal(same.infer(frames)[2].points, first)
    assert not np.array_equal(other.infer(frames)[2].points, first)


@pytest.mark.parametrize("local_head", [True, False])
@pytest.mark.parametrize("cameras", ["robust", "first_view_from_global_head"])
def test_cameras_with_and_without_calibration(local_head: bool, cameras: str) -> None:
    model = make(local_head=local_head, cameras=cameras)
    plain, calibrated = random_frames(2)
    camera = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
    calibrated = Frame(1, 1, "camera", calibrated.image, camera)
    first, second = model.infer([plain, calibrated])
    assert (second.intrinsics, second.intrinsics_source) == (camera, "camera_info")
    assert first.intrinsics_source in ("", "model") and (first.intrinsics is None) == (first.intrinsics_source == "")
    if cameras == "robust":
        assert first.submap_from_camera is second.submap_from_camera is None
    else:
        assert second.pose_source in ("", "pnp")


def test_images_of_different_sizes_in_one_window() -> None:
    model = make(sizes=(384, 512))
    frames = [random_frames(1, size=size)[0] for size in ((320, 240), (240, 320))]
    assert [model.answer_size(frame) for frame in frames] == [(384, 512), (512, 384)]
    assert [answer.points.shape[:2] for answer in model.infer(frames)] == [(384, 512), (512, 384)]


def test_one_frame_and_two_that_are_the_same() -> None:
    model, (frame,) = make(), random_frames(1)
    assert len(model.infer([frame])) == 1
    twins = model.infer([frame, Frame(1, 1, "camera", frame.image)])
    assert all(np.isfinite(twin.points).all() for twin in twins)


def test_what_it_cannot_take_is_refused() -> None:
    model = make()
    with pytest.raises(FrameError, match="frames for Fast3R: got 0"):
        model.infer([])
    with pytest.raises(FrameError, match="smaller than a patch"):
        model.answer_size(random_frames(1, size=(200, 8))[0])
    with pytest.raises(ConfigError, match="at once: got 1001"):
        model.infer(random_frames(1) * 1001)


def test_an_answer_that_is_not_finite_is_refused() -> None:
    model = make()
    model.network.downstream_head_local.dpt.head[4].bias.fill_(float("nan"))
    with pytest.raises(AnswerError, match="not finite"):
        model.infer(random_frames(2))

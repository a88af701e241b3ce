from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import random_frames

from spann3r_ros.config import Config
from spann3r_ros.errors import AnswerError, ConfigError, FrameError, MemoryMismatchError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models import window_memory
from spann3r_ros.models.vggt.architecture import TINY
from spann3r_ros.models.vggt.camera import intrinsics, world_from_camera
from spann3r_ros.models.vggt.model import Vggt
from spann3r_ros.models.vggt.network import VggtNetwork
from spann3r_ros.models.vggt.parameters import VggtParameters
from spann3r_ros.streaming.windowed import Windowed


def network(**fields: Any) -> VggtNetwork:
    torch.manual_seed(0)
    made = VggtNetwork(dataclasses.replace(TINY, **fields)).eval().requires_grad_(False)
    made.camera_head.pose_branch.fc2.bias.copy_(torch.tensor([0.1, 0.2, -0.1, 0.1, 0.2, 0.1, 0.9, 0.9, 1.0]))
    return made


def model(points: str = "depth", fit: str = "crop", made: VggtNetwork | None = None, **values: Any) -> Vggt:
    config = Config(model="vggt", **values)
    settings = config.of(VggtParameters)
    settings.points, settings.fit, settings.window, settings.overlap = points, fit, 4, 2
    return Vggt(made or network(), config, "random")


@pytest.mark.parametrize("points", ["depth", "pointmap"])
def test_a_window_is_the_network_itself(points: str) -> None:
    ours, frames = model(points), random_frames(3, size=(140, 84))
    answers = ours.infer(frames)
    loaded = ours.image_size.load(frames)
    with torch.inference_mode():
        features = ours.network.aggregator(loaded.pixels)
        camera = ours.network.cameras(features)[-1, 0]
        depth, confidence = ours.network.depths(features)
        if points == "pointmap":
            expected, confidence = ours.network.points(features)
    for number, answer in enumerate(answers):
        encoding = camera[number].numpy()
        pose = world_from_camera(encoding)
        assert answer.frame is frames[number] and answer.final and answer.submap == 0
        assert answer.submap_from_camera is not None and answer.pose_source == "model"
        np.testing.assert_allclose(answer.submap_from_camera.matrix(), pose.matrix())
        assert answer.intrinsics == intrinsics(encoding, (42, 70)) and answer.intrinsics_source == "model"
        np.testing.assert_allclose(answer.confidence, 1 - 1 / confidence[0, number], rtol=1e-5)
        if points == "pointmap":
            np.testing.assert_array_equal(answer.points, expected[0, number])
        else:
            in_camera = pose.inverse().apply(answer.points.astype(np.float64))
            np.testing.assert_allclose(in_camera[..., 2], depth[0, number], rtol=1e-4)


def test_the_head_that_nobody_asked_for_does_not_run() -> None:
    ours, calls = model(), []
    ours.network.point_head.register_forward_hook(lambda *_: calls.append("points"))
    ours.network.depth_head.register_forward_hook(lambda *_: calls.append("depth"))
    ours.infer(random_frames(3, size=(140, 84)))
    assert calls == ["depth", "depth"]  # three frames, two at a time


def test_a_calibration_of_the_camera_comes_first_unless_it_is_unwanted() -> None:
    camera = Intrinsics(150, 150, 69.5, 41.5, 140, 84)
    frames = [dataclasses.replace(frame, intrinsics=camera) for frame in random_frames(1, size=(140, 84))]
    ours = model()
    answer = ours.infer(frames)[0]
    assert answer.intrinsics_source == "camera_info" and answer.intrinsics is not None
    assert answer.intrinsics.fx == pytest.approx(75) and answer.intrinsics.cx == pytest.approx(34.5)
    ours.config.pose.use_camera_info = False
    assert ours.infer(frames)[0].intrinsics_source == "model"


def test_one_frame_and_two_of_the_same_image_are_answered() -> None:
    ours, frame = model(), random_frames(1, size=(140, 84))[0]
    alone = ours.infer([frame])
    assert len(alone) == 1 and np.isfinite(alone[0].points).all()
    twice = ours.infer([frame, dataclasses.replace(frame, index=1)])
    assert [answer.frame.index for answer in twice] == [0, 1]


@pytest.mark.parametrize(("fit", "size"), [("crop", (70, 70)), ("pad", (70, 42))])
def test_a_portrait_image_loses_its_ends_or_is_padded(fit: str, size: tuple[int, int]) -> None:
    ours, frames = model(fit=fit), random_frames(2, size=(84, 140))
    answers = ours.infer(frames)
    assert ours.answer_size(frames[0]) == size
    for answer in answers:
        assert answer.points.shape == (*size, 3) and answer.colors.shape == (*size, 3)
        assert answer.intrinsics is not None
        assert (answer.intrinsics.height, answer.intrinsics.width) == size
        assert (answer.intrinsics.cx, answer.intrinsics.cy) == (size[1] / 2, size[0] / 2)


def test_the_width_alone_may_be_asked_for() -> None:
    assert model(image_width=56).answer_size(random_frames(1, size=(128, 96))[0]) == (42, 56)
    assert model(image_width=56, image_height=28).answer_size(random_frames(1)[0]) == (28, 56)
    for size in ({"image_width": 57}, {"image_height": 28}, {"image_width": 56, "image_height": 30}):
        with pytest.raises(ConfigError, match="multiple"):
            model(**size)


def test_images_that_cannot_be_taken_are_refused() -> None:
    ours = model()
    for shape in ((10, 200), (16, 4000)):
        frame = Frame(0, 0, "camera", np.zeros((*shape, 3), np.uint8))
        for refused in (ours.answer_size, lambda frame: ours.infer([frame])):
            with pytest.raises(FrameError):
                refused(frame)


def test_a_stream_keeps_to_one_size() -> None:
    ours = model()
    stream = Windowed(ours, ours.settings)
    memory = stream.new_memory()
    stream.step(random_frames(1, size=(140, 84))[0], memory)
    with pytest.raises(MemoryMismatchError, match="image size"):
        stream.step(random_frames(1, size=(84, 140))[0], memory)


def test_weights_without_the_head_that_is_asked_for_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"vggt\.points': got pointmap; expected depth"):
        model("pointmap", made=network(has_points=False))


def test_a_window_that_does_not_fit_into_memory_is_refused_with_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_memory, "available_bytes", lambda _device: 1000)
    with pytest.raises(ConfigError, match=r"memory for a window of 4 frames: got about .* GB.*Lower vggt\.window"):
        model()


@pytest.mark.fault("not finite")
def test_an_answer_that_is_not_finite_is_an_error() -> None:
    made = network()
    made.depth_head.scratch.output_conv2[2].bias.fill_(1000.0)
    with pytest.raises(AnswerError, match="not finite"):
        model(made=made).infer(random_frames(1, size=(140, 84)))

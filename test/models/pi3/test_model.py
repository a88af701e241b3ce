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
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.models import window_memory
from spann3r_ros.models.pi3.architecture import TINY
from spann3r_ros.models.pi3.model import LEAST_CONFIDENCE, Pi3, without_edges
from spann3r_ros.models.pi3.network import Pi3Network
from spann3r_ros.models.pi3.parameters import Pi3Parameters
from spann3r_ros.models.pi3.trunk import ViewSet
from spann3r_ros.streaming.windowed import Windowed


def model(edge_filter: bool = False, pixel_limit: int = 0, **values: Any) -> Pi3:
    torch.manual_seed(0)
    network = Pi3Network(TINY).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
    config = Config(model="pi3", **values)
    settings = config.of(Pi3Parameters)
    settings.window, settings.overlap, settings.edge_filter, settings.pixel_limit = 4, 2, edge_filter, pixel_limit
    return Pi3(network, config, "random")


def test_a_window_is_the_network_itself_in_the_first_camera_s_axes() -> None:
    ours, frames = model(), random_frames(3, size=(112, 84))
    answers = ours.infer(frames)
    colors = torch.stack([torch.tensor(view.colors) for view in ours.views(frames)])
    with torch.inference_mode():
        said = ours.network(colors.permute(0, 3, 1, 2)[None] / 255)
    first = np.linalg.inv(said.scene_from_camera[0, 0].numpy())
    for number, answer in enumerate(answers):
        pose = first @ said.scene_from_camera[0, number].numpy()
        local = said.local_points[0, number].numpy()
        assert answer.frame is frames[number] and answer.final and answer.submap == 0
        assert answer.submap_from_camera is not None and answer.pose_source == "model"
        np.testing.assert_allclose(answer.submap_from_camera.matrix(), pose, atol=1e-9)
        np.testing.assert_allclose(answer.points, local @ pose[:3, :3].T + pose[:3, 3], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(answer.confidence, torch.sigmoid(said.logits[0, number]), rtol=1e-6)
    assert answers[0].submap_from_camera is not None
    np.testing.assert_allclose(answers[0].submap_from_camera.matrix(), np.eye(4), atol=1e-12)


def seen_by(*cameras: Intrinsics) -> ViewSet:
    """What a network would say whose rays are those of cameras; random networks have none that a camera explains."""
    depth = np.random.default_rng(0).uniform(1.0, 5.0, (42, 56))
    local = torch.from_numpy(np.stack([backproject(depth, camera) for camera in cameras]))[None]
    return ViewSet(local, torch.ones(local.shape[:-1]), torch.eye(4).double().expand(1, len(cameras), 4, 4))


def test_the_camera_of_each_view_is_found_from_its_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = [Intrinsics(60.0, 66.0, 27.5, 20.5, 56, 42), Intrinsics(80.0, 70.0, 27.5, 20.5, 56, 42)]
    ours = model()
    monkeypatch.setattr(ours, "_seen", lambda *_: seen_by(*cameras))
    for answer, camera in zip(ours.infer(random_frames(2, size=(112, 84))), cameras, strict=True):
        assert answer.intrinsics is not None and answer.intrinsics_source == "model"
        np.testing.assert_allclose(answer.intrinsics.matrix(), camera.matrix(), rtol=1e-5)


def test_rays_of_no_camera_leave_the_intrinsics_open(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, said = model(), seen_by(Intrinsics(60.0, 66.0, 27.5, 20.5, 56, 42))
    mirrored = ViewSet(said.local_points * torch.tensor([-1.0, 1.0, 1.0]), said.logits, said.scene_from_camera)
    monkeypatch.setattr(ours, "_seen", lambda *_: mirrored)
    answer = ours.infer(random_frames(1, size=(112, 84)))[0]
    assert answer.intrinsics is None and answer.intrinsics_source == ""


def test_a_calibration_of_the_camera_comes_first_unless_it_is_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Intrinsics(150, 150, 55.5, 41.5, 112, 84)
    frames = [dataclasses.replace(frame, intrinsics=camera) for frame in random_frames(2, size=(112, 84))]
    ours = model()
    monkeypatch.setattr(ours, "_seen", lambda *_: seen_by(*2 * [Intrinsics(60.0, 66.0, 27.5, 20.5, 56, 42)]))
    answer = ours.infer(frames)[1]
    assert answer.intrinsics_source == "camera_info" and answer.intrinsics is not None
    assert answer.intrinsics.fx == pytest.approx(75) and answer.intrinsics.cx == pytest.approx(27.5)
    ours.config.pose.use_camera_info = False
    assert ours.infer(frames)[1].intrinsics_source == "model"


def test_one_frame_and_two_of_the_same_image_are_answered() -> None:
    ours, frame = model(), random_frames(1, size=(112, 84))[0]
    alone = ours.infer([frame])
    assert len(alone) == 1 and np.isfinite(alone[0].points).all()
    twice = ours.infer([frame, dataclasses.replace(frame, index=1)])
    assert [answer.frame.index for answer in twice] == [0, 1]
    np.testing.assert_allclose(twice[0].points, twice[1].points, rtol=1e-4, atol=1e-4)
    with pytest.raises(FrameError, match=r"frames to infer: got 0"):
        ours.infer([])


def test_portrait_images_keep_their_shape_and_others_are_squeezed_to_the_first() -> None:
    ours = model()
    assert ours.answer_size(random_frames(1, size=(84, 112))[0]) == (56, 42)
    mixed = [random_frames(1, size=(84, 112))[0], random_frames(1, size=(200, 50))[0]]
    assert [answer.points.shape for answer in ours.infer(mixed)] == [(56, 42, 3)] * 2


def test_the_number_of_pixels_may_be_asked_for_and_the_size() -> None:
    frame = random_frames(1, size=(112, 84))[0]
    assert model(pixel_limit=28 * 42).answer_size(frame) == (28, 42)
    assert model(image_width=70, image_height=28).answer_size(frame) == (28, 70)
    with pytest.raises(ConfigError, match=r"'pi3\.pixel_limit': got 100; expected 0, or at least the 196"):
        model(pixel_limit=100)
    with pytest.raises(ConfigError, match="multiples of the patch"):
        model(image_width=71, image_height=28)


@pytest.mark.parametrize("shape", [(10, 200), (200, 13)])
def test_an_image_smaller_than_a_patch_is_refused(shape: tuple[int, int]) -> None:
    ours, frame = model(), Frame(0, 0, "camera", np.zeros((*shape, 3), np.uint8))
    for refused in (ours.answer_size, lambda frame: ours.infer([frame])):
        with pytest.raises(FrameError, match="smaller than a patch"):
            refused(frame)


def test_a_stream_keeps_to_one_size() -> None:
    ours = model()
    stream = Windowed(ours, ours.settings)
    memory = stream.new_memory()
    stream.step(random_frames(1, size=(112, 84))[0], memory)
    with pytest.raises(MemoryMismatchError, match="image size"):
        stream.step(random_frames(1, size=(84, 112))[0], memory)


def test_a_window_that_does_not_fit_into_memory_is_refused_with_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_memory, "available_bytes", lambda _device: 1000)
    with pytest.raises(ConfigError, match=r"memory for a window of 4 frames: got about .* GB.*Lower pi3\.window"):
        model()


@pytest.mark.parametrize("part", ["point_head.proj", "conf_head.proj", "camera_head.fc_rot"])
def test_an_answer_that_is_not_finite_is_an_error(part: str) -> None:
    ours = model()
    ours.network.get_submodule(part).bias.fill_(torch.nan)
    with pytest.raises(AnswerError, match="not finite"):
        ours.infer(random_frames(2, size=(112, 84)))


def test_pixels_at_edges_lose_their_confidence() -> None:
    v, u = np.mgrid[:42, :56]
    rays = np.stack([(u - 28) / 50.0, (v - 21) / 50.0, np.ones((42, 56))], axis=-1)
    depth = np.full((42, 56), 3.0)
    depth[10:30, 10:30] = 1.0
    local = (rays * depth[..., None]).astype(np.float32)[None]
    confidence = np.full((1, 42, 56), 0.8, np.float32)
    found = without_edges(local, confidence)[0]
    assert found[10, 15] == found[9, 15] == 0 and found[20, 20] == found[5, 5] == np.float32(0.8)
    confidence[0, :, :20] = 0.5 * LEAST_CONFIDENCE
    found = without_edges(local, confidence)[0]
    assert (found[:, :20] == 0.5 * LEAST_CONFIDENCE).all(), "what nobody is sure of is no edge"


def test_a_window_that_is_all_edges_keeps_its_confidence() -> None:
    noise = np.random.default_rng(0).uniform(0.5, 5.0, (2, 42, 56, 3)).astype(np.float32)
    confidence = np.full((2, 42, 56), 0.8, np.float32)
    np.testing.assert_array_equal(without_edges(noise, confidence), confidence)


def test_the_filter_is_used_where_it_is_asked_for() -> None:
    frames = random_frames(2, size=(112, 84))
    plain, filtered = model().infer(frames), model(edge_filter=True).infer(frames)
    for one, other in zip(plain, filtered, strict=True):
        np.testing.assert_array_equal(one.points, other.points)
        kept = other.confidence > 0
        np.testing.assert_array_equal(one.confidence[kept], other.confidence[kept])

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from geometric_models import same_answers
from tiny_models import random_frames

from spann3r_ros.config import Config
from spann3r_ros.errors import AnswerError, FrameError, MemoryMismatchError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models.cut3r.architecture import TINY
from spann3r_ros.models.cut3r.memory import Cut3rMemory
from spann3r_ros.models.cut3r.model import Cut3r
from spann3r_ros.models.cut3r.network import Cut3rNetwork
from spann3r_ros.models.cut3r.parameters import Cut3rParameters
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3


def make(sizes: tuple[int, int] = (48, 64), output: str = "refined", dtype: Any = torch.float32, **own: Any) -> Cut3r:
    torch.manual_seed(0)
    config = Config(model="cut3r", device="cpu", output=output)
    for name, value in own.items():
        setattr(config.of(Cut3rParameters), name, value)
    network = Cut3rNetwork(dataclasses.replace(TINY, image_size=sizes)).eval().requires_grad_(False)
    network.set_precision(dtype)
    return Cut3r(network, config, "random")


def run(model: Cut3r, memory: Cut3rMemory, frames: list[Frame]) -> list[Prediction]:
    return [answer for frame in frames for answer in model.step(frame, memory)]


def state_of(memory: Cut3rMemory) -> dict[str, torch.Tensor]:
    assert memory.state is not None
    return dict(memory.state.tensors)


def test_points_are_those_of_the_camera_placed_by_its_pose() -> None:
    model, memory, (frame,) = make(), *[make().new_memory()], random_frames(1)
    (answer,) = model.step(frame, memory)
    seen = model.advance(torch.from_numpy(frame.image).permute(2, 0, 1)[None].float() / 127.5 - 1, None)
    assert answer.submap_from_camera is not None and (answer.pose_source, answer.final) == ("model", True)
    own = answer.submap_from_camera.inverse().apply(answer.points)
    np.testing.assert_allclose(own, seen.own.points[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(answer.confidence, 1 - 1 / seen.own.confidence[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(answer.submap_from_camera.translation, seen.pose[0, :3], rtol=1e-4, atol=1e-6)


def test_an_uncalibrated_camera_gets_what_explains_its_pointmap() -> None:
    model, frames = make(), random_frames(2)
    camera = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
    plain, calibrated = run(model, model.new_memory(), [frames[0], Frame(1, 1, "camera", frames[1].image, camera)])
    assert calibrated.intrinsics == camera and calibrated.intrinsics_source == "camera_info"
    assert plain.intrinsics is None or (plain.intrinsics_source, plain.intrinsics.cx) == ("model", 31.5)


def test_what_is_only_read_leaves_no_trace() -> None:
    model, frames = make(), random_frames(3)
    memory = model.new_memory()
    model.step(frames[0], memory)
    before = state_of(memory)
    model.settings.update = False
    model.step(frames[1], memory)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state_of(memory).items())
    assert (memory.status().offered, memory.status().inserted, memory.status().rejected) == (2, 1, 1)
    model.settings.update = True
    model.step(frames[2], memory)
    assert not any(torch.equal(tensor, before[name]) for name, tensor in state_of(memory).items())


def test_a_reset_begins_the_state_anew_but_the_pose_memory_is_asked() -> None:
    model = make()
    pixels = torch.rand(2, 1, 3, 48, 64) * 2 - 1
    seen = model.advance(pixels[0], None, reset=[True])
    assert all(torch.equal(tensor, model.initial(1)[name]) for name, tensor in seen.state.tensors.items())
    after = model.advance(pixels[1], seen.state)
    assert not torch.equal(after.interaction.pose_in, model.advance(pixels[1], None).interaction.pose_in)


@pytest.mark.parametrize("update", [True, False])
def test_revisited_frames_are_answered_by_their_last_look(update: bool) -> None:
    frames = random_frames(3)
    model, plain = make(revisit=3, revisit_update=update), make()
    memory, by_hand = model.new_memory(), plain.new_memory()
    assert run(model, memory, frames) == [] and memory.status().counters == {"waiting_frames": 3}
    answers = model.flush(memory)
    run(plain, by_hand, frames)
    plain.settings.update = update
    run(plain, by_hand, frames)
    assert same_answers(answers, run(plain, by_hand, frames))
    assert all(torch.equal(tensor, state_of(by_hand)[name]) for name, tensor in state_of(memory).items())
    assert model.flush(memory) == [] and memory.status().counters == {"waiting_frames": 0}


def test_frames_are_revisited_in_groups_and_answered_early_where_asked() -> None:
    model, frames = make(output="both", revisit=2, revisit_frames=2), random_frames(3)
    memory = model.new_memory()
    calls = [[(a.frame.index, a.final) for a in model.step(frame, memory)] for frame in frames]
    assert calls == [[(0, False)], [(0, True), (1, True)], [(2, False)]]
    assert [(a.frame.index, a.final) for a in model.flush(memory)] == [(2, True)]
    immediate = make(output="immediate", revisit=2)
    assert [a.final for a in run(immediate, immediate.new_memory(), frames)] == [True] * 3


@pytest.mark.parametrize("stop", [1, 3])
def test_a_run_with_revisits_resumes_from_a_file(stop: int, tmp_path: Path) -> None:
    model, frames = make(revisit=2, revisit_frames=4), random_frames(4)
    straight, before = model.new_memory(), model.new_memory()
    expected = run(model, straight, frames)
    run(model, before, frames[:stop])
    before.save(tmp_path / "m")
    resumed = model.load_memory(tmp_path / "m")
    assert same_answers(run(model, resumed, frames[stop:]), expected) and len(expected) == 4
    assert all(torch.equal(tensor, state_of(straight)[name]) for name, tensor in state_of(resumed).items())


def test_images_of_any_orientation_follow_each_other() -> None:
    model = make(sizes=(384, 512))
    memory = model.new_memory()
    frames = [random_frames(1, size=size)[0] for size in ((320, 240), (240, 320))]
    assert [answer.points.shape[:2] for answer in run(model, memory, frames)] == [(384, 512), (512, 384)]


def test_one_frame_and_two_that_are_the_same() -> None:
    model, (frame,) = make(), random_frames(1)
    answers = run(model, model.new_memory(), [frame, Frame(1, 1, "camera", frame.image)])
    assert len(answers) == 2 and all(np.isfinite(answer.points).all() for answer in answers)


def test_bf16_is_near_fp32() -> None:
    frames = random_frames(4)
    full, half = (make(dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    one, other = (run(model, model.new_memory(), frames)[-1] for model in (full, half))
    spread = np.abs(one.points - one.points.mean(axis=(0, 1))).mean()
    assert 0 < np.abs(one.points - other.points).mean() < 0.2 * spread
    assert full.fingerprint != half.fingerprint


def test_what_is_not_finite_is_refused_and_not_remembered() -> None:
    model, frames = make(), random_frames(2)
    memory = model.new_memory()
    model.step(frames[0], memory)
    before = memory.state
    for part in (model.network.dec_norm_state, model.network.downstream_head.proj.fc2):
        kept = part.bias.clone()
        part.bias.fill_(float("nan"))
        with pytest.raises(AnswerError, match="not finite"):
            model.step(frames[1], memory)
        part.bias.copy_(kept)
        assert memory.state is before
    assert len(model.step(frames[1], memory)) == 1


def test_a_view_can_be_imagined_and_changes_nothing() -> None:
    model, frames = make(), random_frames(2)
    memory = model.new_memory()
    with pytest.raises(MemoryMismatchError, match="empty memory"):
        model.imagine(memory, Sim3(), (32, 48))
    run(model, memory, frames)
    before = memory.state
    here = model.imagine(memory, Sim3(), (32, 48))
    there = model.imagine(memory, Sim3.rigid(np.eye(3), np.array([0.0, 0.0, 2.0])), (32, 48))
    assert memory.state is before
    assert here.points.shape == here.colors.shape == (32, 48, 3) and here.colors.dtype == np.uint8
    assert here.confidence.min() >= 0 and here.confidence.max() <= 1
    assert np.abs(there.points - here.points).max() > 0.5
    with pytest.raises(FrameError, match="multiples of 16"):
        model.imagine(memory, Sim3(), (32, 40))


def test_a_memory_of_another_kind_is_refused() -> None:
    model, other = make(), make(dtype=torch.bfloat16)
    with pytest.raises(MemoryMismatchError, match="memory of another model"):
        model.step(random_frames(1)[0], other.new_memory())

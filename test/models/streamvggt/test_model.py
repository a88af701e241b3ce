from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from geometric_models import content, same_answers
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_models import random_frames

from spann3r_ros.config import Config
from spann3r_ros.errors import AnswerError, ConfigError, MemoryMismatchError
from spann3r_ros.memory.kv_cache import KvCache
from spann3r_ros.models import window_memory
from spann3r_ros.models.base import ModelStream
from spann3r_ros.models.streamvggt.architecture import TINY
from spann3r_ros.models.streamvggt.memory import StreamVggtMemory
from spann3r_ros.models.streamvggt.model import StreamVggt
from spann3r_ros.models.streamvggt.network import StreamVggtNetwork
from spann3r_ros.models.streamvggt.parameters import StreamVggtParameters

Stream = ModelStream[StreamVggtMemory]


def network() -> StreamVggtNetwork:
    torch.manual_seed(0)
    made = StreamVggtNetwork(TINY).eval().requires_grad_(False)
    made.camera_head.pose_branch.fc2.bias.copy_(torch.tensor([0.1, 0.2, -0.1, 0.1, 0.2, 0.1, 0.9, 0.9, 1.0]))
    return made


def stream(made: StreamVggtNetwork | None = None, **settings: Any) -> Stream:
    config = Config(model="streamvggt")
    own = config.of(StreamVggtParameters)
    for name, value in {"kv_frames": 4, "recent_frames": 2, **settings}.items():
        setattr(own, name, value)
    return ModelStream(StreamVggt(made or network(), config, "random"))


@pytest.mark.parametrize("points", ["depth", "pointmap"])
def test_every_frame_is_answered_at_once_with_a_pose(points: str) -> None:
    running = stream(points=points)
    for frame in random_frames(3, size=(140, 84)):
        answer = running.step(frame)[0]
        assert answer.frame is frame and answer.final and answer.pose_source == answer.intrinsics_source == "model"
        assert answer.points.shape == (42, 70, 3) and np.isfinite(answer.points).all()
    assert running.flush() == []


def test_pytorch_attends_to_the_cache_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KvCache, "past", None)  # what an exported network is given, which copies
    running = stream()
    assert [len(running.step(frame)) for frame in random_frames(2, size=(140, 84))] == [1, 1]


def test_the_same_image_twice_is_answered_twice() -> None:
    running, frame = stream(), random_frames(1, size=(140, 84))[0]
    first = running.step(frame)[0]
    second = running.step(dataclasses.replace(frame, index=1))[0]
    assert np.isfinite(second.points).all() and not np.array_equal(first.points, second.points)


def test_memory_is_bounded_and_says_so() -> None:
    running, sizes = stream(), []
    for frame in random_frames(8, size=(140, 84)):
        running.step(frame)
        sizes.append(running.status().bytes)
    status = running.status()
    assert len(set(sizes)) == 1 and status.tokens == status.capacity == 4 * (3 + 15)
    assert dict(status.counters) == {"kept_frames": 4, "dropped_frames": 4} and status.offered == 8


@pytest.mark.parametrize(
    "settings", [{}, {"kv_frames": 0}, {"camera_cache": "iteration"}, {"kv_frames": 7, "fit": "pad"}]
)
@pytest.mark.parametrize("stop", [3, 6, 9])
def test_a_run_resumed_after_frames_were_dropped_continues_bit_for_bit(
    settings: dict[str, Any], stop: int, tmp_path: Path
) -> None:
    frames, straight, before = random_frames(12, size=(84, 140)), stream(**settings), stream(**settings)
    expected = [straight.step(frame) for frame in frames]
    for frame in frames[:stop]:
        before.step(frame)
    before.save(tmp_path / "memory.safetensors")
    resumed = stream(**settings).loaded(tmp_path / "memory.safetensors")
    assert content(resumed, tmp_path) == content(before, tmp_path)
    got = [resumed.step(frame) for frame in frames[stop:]]
    assert all(same_answers(*pair) for pair in zip(got, expected[stop:], strict=True))


def test_until_it_is_full_a_bounded_memory_gives_the_same_as_one_without_a_bound() -> None:
    bounded, whole = stream(), stream(kv_frames=0)
    frames = random_frames(6, size=(140, 84))
    for frame in frames:
        one, other = bounded.step(frame)[0], whole.step(frame)[0]
        if frame.index < 5:  # the fifth is dropped for after its answer
            np.testing.assert_allclose(one.points, other.points, rtol=1e-5, atol=1e-6)
    assert not np.allclose(one.points, other.points, rtol=1e-5, atol=1e-6)
    assert whole.status().counters["kept_frames"] == 6


def test_the_memory_of_a_larger_bound_is_refused(tmp_path: Path) -> None:
    larger = stream(kv_frames=6)
    for frame in random_frames(6, size=(140, 84)):
        larger.step(frame)
    larger.save(tmp_path / "memory.safetensors")
    with pytest.raises(MemoryMismatchError, match="got 6 of 6, 0 dropped; expected at most 4"):
        stream().loaded(tmp_path / "memory.safetensors")


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize("size", ["[8190, 8190]", "[42, 84]", "[-14, 14]", "[42]", '"x"'])
def test_a_memory_whose_state_was_changed_is_refused_before_room_is_made(size: str, tmp_path: Path) -> None:
    running, path = stream(), tmp_path / "memory.safetensors"
    running.step(random_frames(1, size=(140, 84))[0])
    running.save(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = file.metadata()
    metadata["state"] = metadata["state"].replace('"size": [42, 70]', f'"size": {size}')
    save_file(tensors, path, metadata)
    with pytest.raises(MemoryMismatchError):
        stream().loaded(path)


@pytest.mark.fault("not finite")
def test_an_answer_that_is_not_finite_leaves_the_memory_as_it_was(tmp_path: Path) -> None:
    made = network()
    running, frames = stream(made), random_frames(6, size=(140, 84))
    for frame in frames[:5]:
        running.step(frame)
    before, bias = content(running, tmp_path), made.point_head.scratch.output_conv2[2].bias
    old = bias.clone()
    bias.fill_(1000.0)
    with pytest.raises(AnswerError, match="not finite"):
        running.step(frames[5])
    assert content(running, tmp_path) == before
    bias.copy_(old)
    assert len(running.step(frames[5])) == 1


def test_settings_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="got 3; expected 0"):
        stream(kv_frames=3)
    monkeypatch.setattr(window_memory, "available_bytes", lambda _device: 1000)
    with pytest.raises(ConfigError, match=r"keys and values of 5 frames: got about .*Lower streamvggt\.kv_frames"):
        stream()

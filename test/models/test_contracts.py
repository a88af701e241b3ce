"""What every family promises, tried on a tiny random network of every row of the registry."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from geometric_models import content, same_answers
from tiny_models import random_frames
from torch import nn

from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError, FrameError, ImageSizeError, MemoryMismatchError
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models import registry, window_memory
from spann3r_ros.models.base import AnyModel, ModelStream, PairModel, Stream, WindowModel, WindowSettings
from spann3r_ros.prediction import Prediction
from spann3r_ros.streaming.stream import stream_of

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 9
OUTPUTS = ("refined", "immediate", "both")


@lru_cache
def network_of(name: str, seed: int) -> nn.Module:
    row = registry.family(name)
    torch.manual_seed(seed)
    network: Any = row.network(row.tiny).requires_grad_(False).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:  # norms and biases, which are the same in all new networks
            parameter.add_(0.05 * torch.randn_like(parameter))
    network.set_precision(torch.float32)
    return network


def config_of(name: str, **values: Any) -> Config:
    """Its own defaults, but windows small enough to be filled in a test."""
    config = Config(model=name, device="cpu", **values)
    kind = registry.family(name).parameters
    settings = None if kind is None else config.of(kind)
    if isinstance(settings, WindowSettings):
        settings.window, settings.overlap = 4, 2
    return config


def model_of(name: str, seed: int = 0, **values: Any) -> AnyModel:
    return registry.family(name).model(network_of(name, seed), config_of(name, **values), "random")


def stream(name: str, seed: int = 0, **values: Any) -> Stream:
    return stream_of(model_of(name, seed, **values), config_of(name, **values))


def frames_for(name: str, count: int = FRAMES) -> list[Frame]:
    """Larger than the network's images, with a calibration."""
    height, width = registry.family(name).tiny.image_size
    camera = Intrinsics(2 * width, 2 * width, width - 0.5, height - 0.5, 2 * width, 2 * height)
    return [
        Frame(frame.index, frame.stamp, frame.camera, frame.image, camera)
        for frame in random_frames(count, size=(2 * width, 2 * height))
    ]


def run(running: Stream, frames: list[Frame]) -> list[Prediction]:
    return [answer for frame in frames for answer in running.step(frame)] + running.flush()


@cache
def straight_run(name: str, output: str) -> tuple[list[Frame], list[list[Prediction]]]:
    """Frames, and the answers to each and to the flush of a run that nothing interrupts."""
    frames, running = frames_for(name), stream(name, output=output)
    return frames, [running.step(frame) for frame in frames] + [running.flush()]


def straight_answers(name: str, output: str = OUTPUTS[0]) -> list[Prediction]:
    return [answer for answers in straight_run(name, output)[1] for answer in answers]


def places(answers: list[Prediction]) -> list[tuple[int, int]]:
    return [(answer.submap, answer.frame.index) for answer in answers]


every_family = pytest.mark.parametrize("name", registry.FAMILIES)

TWICE = ("spann3r",)
"""Families that answer a frame early and again: what ``output`` says matters to them, and to no other."""

every_output = pytest.mark.parametrize(
    ("name", "output"),
    [(name, output) for name in registry.FAMILIES for output in (OUTPUTS if name in TWICE else OUTPUTS[:1])],
)


@pytest.mark.fault("lost")
@every_output
def test_a_memory_that_is_brought_back_knows_nothing_of_what_came_since(name: str, output: str) -> None:
    frames, running, other = frames_for(name), stream(name, output=output), stream(name, output=output)
    run_up, bad, rest = frames[:4], frames[4:6], frames[6:]
    for frame in run_up:
        running.step(frame)
    back = running.mark()
    if back is None:
        pytest.skip("its memory cannot be marked")
    answered = {(answer.frame.index, answer.final) for frame in bad for answer in running.step(frame)}
    back()
    found = [answer for frame in rest for answer in running.step(frame)]
    expected = [answer for frame in [*run_up, *rest] for answer in other.step(frame)]
    kept = [answer for answer in expected if answer.frame.index > 3]
    assert answered and found and same_answers(found, kept)


@pytest.mark.parametrize("name", [name for name in registry.FAMILIES if name not in TWICE])
def test_families_that_answer_once_do_so_whatever_is_asked_for(name: str) -> None:
    once, both = straight_answers(name), run(stream(name, output="both"), frames_for(name))
    assert same_answers(once, both) and all(answer.final for answer in both)


@every_output
def test_answers_come_oldest_first_and_each_frame_has_one_final_one(name: str, output: str) -> None:
    running, calls = stream(name, output=output), []
    for frame in frames_for(name):
        calls.append(running.step(frame))
        assert running.status().offered <= frame.index + 1
    calls.append(running.flush())
    for call in calls:
        assert places(call) == sorted(places(call))
    answers = [answer for call in calls for answer in call]
    finals = places([answer for answer in answers if answer.final])
    assert finals == sorted(set(finals)) and {index for _, index in finals} == set(range(FRAMES))
    for number, answer in enumerate(answers):
        later = [other for other in answers[number + 1 :] if places([other]) == places([answer])]
        assert bool(later) == (not answer.final), "a final answer is the last about its frame"


@every_family
def test_answers_are_complete(name: str) -> None:
    frames, _ = straight_run(name, OUTPUTS[0])
    for answer in straight_answers(name):
        height, width = answer.confidence.shape
        assert answer.frame is frames[answer.frame.index]
        assert (answer.points.shape, answer.points.dtype) == ((height, width, 3), np.float32)
        assert answer.confidence.dtype == np.float32 and np.isfinite(answer.points).all()
        assert answer.confidence.min() >= 0.0 and answer.confidence.max() <= 1.0
        assert (answer.colors.shape, answer.colors.dtype) == ((height, width, 3), np.uint8)
        assert (answer.submap_from_camera is None) == (answer.pose_source == "")
        assert answer.submap_from_camera is None or answer.submap_from_camera.scale == 1.0
        assert answer.intrinsics is not None and answer.intrinsics_source in ("camera_info", "model")
        assert (answer.intrinsics.width, answer.intrinsics.height) == (width, height)
        assert answer.descriptor is None or np.linalg.norm(answer.descriptor) == pytest.approx(1.0, abs=1e-4)


@every_output
@pytest.mark.parametrize("stop", [0, 1, 2, 5, 8])
def test_a_run_resumed_from_a_file_continues_bit_for_bit(name: str, output: str, stop: int, tmp_path: Path) -> None:
    (frames, expected), before = straight_run(name, output), stream(name, output=output)
    for frame in frames[:stop]:
        before.step(frame)
    before.save(tmp_path / "memory.safetensors")
    resumed = stream(name, output=output).loaded(tmp_path / "memory.safetensors")
    assert content(resumed, tmp_path) == content(before, tmp_path)
    assert repr(resumed.status()) == repr(before.status())  # as text, since NaN is not itself
    got = [resumed.step(frame) for frame in frames[stop:]] + [resumed.flush()]
    assert all(same_answers(*pair) for pair in zip(got, expected[stop:], strict=True))


class BrokenError(Exception):
    """The network failed."""


@contextmanager
def broken(network: nn.Module, at: int) -> Iterator[list[int]]:
    """A network whose innermost modules raise at the ``at``-th of their calls; yields the number of calls."""
    calls = [0]

    def count(*_: object) -> None:
        calls[0] += 1
        if calls[0] > at >= 0:
            raise BrokenError

    hooks = [module.register_forward_pre_hook(count) for module in network.modules() if not list(module.children())]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@every_family
def test_a_network_that_fails_leaves_the_memory_as_it_was(name: str, tmp_path: Path) -> None:
    network, frames, running = network_of(name, 0), frames_for(name), stream(name)
    failures, answers = 0, []

    def attempt(action: Callable[[Stream], list[Prediction]]) -> list[Prediction]:
        nonlocal failures
        before = content(running, tmp_path)
        running.save(tmp_path / "twin.safetensors")
        with broken(network, -1) as calls:
            action(running.loaded(tmp_path / "twin.safetensors"))
        for at in sorted({0, calls[0] // 2, calls[0] - 1}) if calls[0] else ():
            with broken(network, at), pytest.raises(BrokenError):
                action(running)
            assert content(running, tmp_path) == before
            failures += 1
        return action(running)

    for frame in frames:
        answers += attempt(lambda other, frame=frame: other.step(frame))  # type: ignore[misc]
    answers += attempt(lambda other: other.flush())
    assert failures >= 3 and same_answers(answers, straight_answers(name))


@every_family
def test_images_that_the_memory_or_the_network_cannot_take_change_nothing(name: str, tmp_path: Path) -> None:
    tiny, frames = registry.family(name).tiny, frames_for(name)
    running = stream(name)
    for frame in frames[:6]:
        running.step(frame)
    before = content(running, tmp_path)
    taller = {"image_height": tiny.image_size[0] + tiny.patch_size, "image_width": tiny.image_size[1]}
    other = stream(name, **taller)
    assert isinstance(other, ModelStream) and isinstance(running, ModelStream)
    with pytest.raises(MemoryMismatchError, match="image size"):
        ModelStream(other.model, running.memory).step(frames[6])
    assert content(running, tmp_path) == before
    with pytest.raises(FrameError):
        running.step(Frame(6, 6, "camera", np.zeros((1, 200, 3), np.uint8)))
    assert content(running, tmp_path) == before
    assert [answer.frame.index for answer in run(stream(name, **taller), frames[:1])] == [0]


@every_family
def test_an_image_of_another_shape_is_taken_or_is_one_image_less(name: str, tmp_path: Path) -> None:
    """Portrait among landscape: a family that forbids it refuses the image, not the run, and goes on."""
    running, frames = stream(name), frames_for(name)
    running.step(frames[0])
    before = content(running, tmp_path)
    height, width = registry.family(name).tiny.image_size
    portrait = Frame(1, 1, "camera", np.random.default_rng(1).integers(0, 256, (2 * width, height, 3), np.uint8))
    try:
        running.step(portrait)
    except ImageSizeError as error:
        assert isinstance(error, FrameError) and "image_width and image_height" in str(error)
        assert content(running, tmp_path) == before
        running.step(frames[1])
    else:
        assert name not in ("vggt", "streamvggt", "pi3", "pi3x")


@every_family
def test_one_frame_alone_and_the_same_frame_twice(name: str) -> None:
    for frames in (frames_for(name, 1), [frame for frame in frames_for(name, 1) for _ in range(2)]):
        frames = [dataclasses.replace(frame, index=i, stamp=i) for i, frame in enumerate(frames)]
        answers = run(stream(name), frames)
        assert {answer.frame.index for answer in answers} <= set(range(len(frames)))
        assert all(np.isfinite(answer.points).all() for answer in answers)


@pytest.mark.parametrize("name", [name for name, row in registry.FAMILIES.items() if row.kind == "window"])
def test_a_window_that_does_not_fit_into_memory_is_refused_when_the_model_is_made(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_memory, "available_bytes", lambda _device: 1000)
    said = rf"memory for a window of 4 frames: got about \d+\.\d GB; .*Lower {name}\.window"
    with pytest.raises(ConfigError, match=said):
        model_of(name)


@every_output
def test_a_second_flush_says_nothing_new_and_the_stream_goes_on(name: str, output: str, tmp_path: Path) -> None:
    running, frames = stream(name, output=output), frames_for(name)
    assert running.flush() == []
    answers: list[Prediction] = []
    for frame in frames:
        answers += running.step(frame)
        if frame.index in (0, 1, 5):
            first, state = running.flush(), content(running, tmp_path)
            assert running.flush() == []
            assert content(running, tmp_path) == state
            answers += first
    answers += running.flush()
    finals = places([answer for answer in answers if answer.final])
    # Where windows do not fit each other, the next submap speaks of the frames that it shares, too.
    assert sorted(finals) == sorted(set(finals)) and {index for _, index in finals} == set(range(FRAMES))


@every_family
def test_a_reset_begins_anew(name: str) -> None:
    running, frames = stream(name), frames_for(name)
    first = run(running, frames)
    fresh = running.fresh()
    assert fresh.status().offered == fresh.status().tokens == 0 and fresh.flush() == []
    assert same_answers(run(fresh, frames), first)


@every_family
def test_a_memory_of_other_weights_is_refused(name: str, tmp_path: Path) -> None:
    other, path = stream(name, seed=1), tmp_path / "memory.safetensors"
    for frame in frames_for(name, 3):
        other.step(frame)
    other.save(path)
    with pytest.raises(MemoryMismatchError, match="belongs to another network"):
        stream(name).loaded(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MemoryMismatchError, match="cannot be read"):
        other.loaded(path)


@pytest.mark.slow
def test_every_row_keeps_its_contract_without_a_cast(tmp_path: Path) -> None:
    """mypy --strict takes every family's model for what its row says, and refuses what is none."""
    snippet = tmp_path / "contracts.py"
    snippet.write_text("\n".join([*PREAMBLE, *map(assignment, registry.FAMILIES), *WRONG]) + "\n")
    result = subprocess.run(
        # With the package as `make lint` checks it, so that it is in the cache where that has run.
        [sys.executable, "-m", "mypy", "--package", "spann3r_ros", "--module", "contracts"],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


PREAMBLE = (
    "# mypy: warn-unused-ignores",
    "from spann3r_ros.models.base import PairModel, PairSettings, StreamingModel, WindowModel, WindowSettings",
    "from spann3r_ros.streaming.pairwise import Pairwise, PairwiseMemory",
    "from spann3r_ros.streaming.segmented import Segmented, SegmentedMemory, Segments",
    "from spann3r_ros.streaming.windowed import Windowed, WindowedMemory",
)
WRONG = (
    "class Wrong:",
    "    name = 'wrong'",
    "def wrong() -> None:",
    "    one: StreamingModel[WindowedMemory] = Wrong()  # type: ignore[assignment]",
    "    two: WindowModel = Wrong()  # type: ignore[assignment]",
    "    three: PairModel = Wrong()  # type: ignore[assignment]",
)


def assignment(name: str) -> str:
    """A function that takes the family's model for its contract, and a stream of it for that of a stream."""
    model = model_of(name)
    if isinstance(model, PairModel):
        kind, settings, memory = "PairModel", "PairSettings", "PairwiseMemory"
        made = "Pairwise(contract, settings)"
    elif isinstance(model, WindowModel):
        kind, settings, memory = "WindowModel", "WindowSettings", "WindowedMemory"
        made = "Windowed(contract, settings)"
    else:
        assert isinstance(model, ModelStream)
        kept, model = type(model.memory), model.model
        memory, settings, made = kept.__name__, "object", "contract"
        kind = f"StreamingModel[{memory}]"
    lines = [
        f"from {type(model).__module__} import {type(model).__name__}",
        *([f"from {kept.__module__} import {memory}"] if made == "contract" else []),
        f"def {name}(model: {type(model).__name__}, settings: {settings}) -> None:",
        f"    contract: {kind} = model",
        f"    stream: StreamingModel[{memory}] = {made}",
        f"    segments: StreamingModel[SegmentedMemory[{memory}]] = Segmented(stream, Segments())",
    ]
    return "\n".join(lines)

"""Every family on a CUDA device: the numbers of the CPU, a memory that is safe and does not grow, and a host that does
not wait."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from geometric_models import same_answers
from numpy.testing import assert_allclose
from tiny_models import random_frames
from torch import nn

from spann3r_ros.config import Config
from spann3r_ros.frame import Frame
from spann3r_ros.models import registry
from spann3r_ros.models.base import Stream, WindowSettings
from spann3r_ros.models.loading import PRECISIONS
from spann3r_ros.prediction import Prediction
from spann3r_ros.streaming.stream import stream_of

FRAMES = 9
every_family = pytest.mark.parametrize("name", registry.FAMILIES)
every_way = pytest.mark.parametrize("graphs", [False, True], ids=["kernels", "graphs"])


@pytest.fixture(autouse=True)
def _float32_means_float32() -> Iterator[None]:
    """Convolutions round to TF32 by default, which is what a robot wants and no comparison."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def network_of(name: str, device: str, precision: str = "fp32") -> nn.Module:
    """The same random weights on any device."""
    row = registry.family(name)
    torch.manual_seed(0)
    network: Any = row.network(row.tiny).requires_grad_(False).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.add_(0.05 * torch.randn_like(parameter))
    network.set_precision(PRECISIONS[precision])
    moved: nn.Module = network.to(device)
    return moved


def stream(name: str, device: str, precision: str = "fp32", **values: Any) -> Stream:
    config = Config(model=name, device=device, precision=precision, **values)
    kind = registry.family(name).parameters
    settings = None if kind is None else config.of(kind)
    if isinstance(settings, WindowSettings):
        settings.window, settings.overlap = 4, 2
    return stream_of(registry.family(name).model(network_of(name, device, precision), config, "random"), config)


def frames_for(name: str, count: int = FRAMES) -> list[Frame]:
    height, width = registry.family(name).tiny.image_size
    return random_frames(count, size=(2 * width, 2 * height))


def run(running: Stream, frames: list[Frame]) -> list[Prediction]:
    return [answer for frame in frames for answer in running.step(frame)] + running.flush()


@every_family
@every_way
def test_it_says_what_the_cpu_says(name: str, graphs: bool) -> None:
    frames = frames_for(name)
    found, expected = (run(stream(name, device, cuda_graphs=graphs), frames) for device in ("cuda", "cpu"))
    assert [a.frame.index for a in found] == [a.frame.index for a in expected]
    for answer, reference in zip(found, expected, strict=True):
        largest = np.abs(reference.points).max()
        assert_allclose(answer.points, reference.points, rtol=1e-3, atol=1e-4 * largest)
        assert_allclose(answer.confidence, reference.confidence, rtol=1e-3, atol=1e-4)
        assert (answer.submap_from_camera is None) == (reference.submap_from_camera is None)
        if answer.submap_from_camera is not None and reference.submap_from_camera is not None:
            assert_allclose(
                answer.submap_from_camera.matrix(), reference.submap_from_camera.matrix(), rtol=1e-3, atol=1e-3
            )


@every_family
@pytest.mark.parametrize(("precision", "most"), [("bf16", 0.05), ("fp16", 0.01)])
def test_half_precision_stays_near(name: str, precision: str, most: float) -> None:
    frames = frames_for(name, 4)  # a window at most: a joint of random windows is no joint
    found, expected = (run(stream(name, "cuda", p), frames) for p in (precision, "fp32"))
    for answer, reference in zip(found, expected, strict=True):
        error = np.linalg.norm(answer.points - reference.points, axis=-1)
        assert np.median(error) <= most * np.median(np.linalg.norm(reference.points, axis=-1))


@every_family
@every_way
def test_a_run_resumed_from_a_file_goes_on(name: str, graphs: bool, tmp_path: Path) -> None:
    frames = frames_for(name)
    straight, before = (stream(name, "cuda", cuda_graphs=graphs) for _ in range(2))
    expected = [straight.step(frame) for frame in frames] + [straight.flush()]
    for frame in frames[:5]:
        before.step(frame)
    before.save(tmp_path / "memory.safetensors")
    resumed = stream(name, "cuda", cuda_graphs=graphs).loaded(tmp_path / "memory.safetensors")
    got = [resumed.step(frame) for frame in frames[5:]] + [resumed.flush()]
    assert all(same_answers(*pair) for pair in zip(got, expected[5:], strict=True))


@every_family
@every_way
def test_its_memory_stops_growing(name: str, graphs: bool) -> None:
    running, frames = stream(name, "cuda", cuda_graphs=graphs), frames_for(name, 4)
    taken = []
    for index in range(96):
        frame = frames[index % 4]
        running.step(Frame(index, index * 10**8, frame.camera, frame.image))
        taken.append(torch.cuda.memory_allocated())
    window = range(32, 64)
    assert max(taken[64:]) <= max(taken[i] for i in window)


@every_family
@every_way
def test_a_full_device_loses_the_frame_and_not_the_memory(name: str, graphs: bool) -> None:
    frames = frames_for(name)
    running, other = (stream(name, "cuda", cuda_graphs=graphs) for _ in range(2))
    for frame in frames[:5]:
        running.step(frame)
        other.step(frame)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    limit = before / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(limit)
    hoard = []
    try:
        with pytest.raises(torch.OutOfMemoryError):
            while True:
                hoard.append(torch.empty(256, dtype=torch.uint8, device="cuda"))
        failed = 0
        for frame in random_frames(4, size=(frames[0].image.shape[1], frames[0].image.shape[0]), seed=9):
            try:
                running.step(frame)
            except torch.OutOfMemoryError:
                failed += 1
    finally:
        hoard.clear()
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    if not failed:
        pytest.skip("it found room: nothing was refused")
    rest = [[answer for frame in frames[5:] for answer in a.step(frame)] for a in (running, other)]
    if failed == 4:
        assert same_answers(*rest)
    else:
        assert all(np.isfinite(answer.points).all() for answer in rest[0])


@contextmanager
def counted_waits() -> Iterator[list[str]]:
    """Where the host waits for the device, as far as PyTorch knows: not in what waits for an event."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found += [f"{w.filename}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]


@every_family
def test_the_host_waits_for_answers_only(name: str) -> None:
    running, frames = stream(name, "cuda", cuda_graphs=True), frames_for(name, 16)
    for frame in frames[:12]:
        running.step(frame)
    with counted_waits() as waits:  # one of them is the counting's own
        answers = [answer for frame in frames[12:] for answer in running.step(frame)]
    print(f"{name}: {len(waits)} waits for {len(answers)} answers about 4 frames: {sorted(set(waits))}")
    assert len(waits) <= 3 * len(answers) + 1

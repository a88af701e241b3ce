from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import TINY_TRUNK, random_frames

from spann3r_ros.config import Config
from spann3r_ros.errors import AnswerError, MemoryMismatchError
from spann3r_ros.models.dust3r.model import Dust3r
from spann3r_ros.models.dust3r.network import Dust3rNetwork
from spann3r_ros.models.dust3r.parameters import Dust3rParameters
from spann3r_ros.models.pointmap import EncodedView
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.pairwise import Pairwise


def make(seed: int = 0, **settings: object) -> Pairwise:
    torch.manual_seed(seed)
    network = Dust3rNetwork(TINY_TRUNK).eval().requires_grad_(False)
    return Pairwise(Dust3r(network, Config(), "random"), Dust3rParameters(**settings))


def make_half() -> Pairwise:
    return Pairwise(Dust3r(Dust3rNetwork(TINY_TRUNK).to(torch.bfloat16), Config(), "random"), Dust3rParameters())


def test_later_pairs_are_brought_into_the_submap_of_the_first() -> None:
    """Scaling and turning everything the network says of a later pair must not change the answer."""
    frames = random_frames(3)
    plain, moved = make(), make()
    pair_from_submap = Sim3(
        2.5, np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), np.array([1.0, 2.0, 3.0])
    )
    matrix = torch.from_numpy(pair_from_submap.matrix()).float()
    memories = plain.new_memory(), moved.new_memory()
    for model, memory in zip((plain, moved), memories, strict=True):
        for frame in frames[:2]:
            model.step(frame, memory)
    network = moved.pairs.network
    pointmap = network.pointmap

    def disturbed(branch: int, layers: dict, grid: tuple[int, int]):  # type: ignore[no-untyped-def]
        result = pointmap(branch, layers, grid)
        return result._replace(points=result.points @ matrix[:3, :3].T + matrix[:3, 3])

    network.pointmap = disturbed  # type: ignore[method-assign]
    (expected,), (got,) = plain.step(frames[2], memories[0]), moved.step(frames[2], memories[1])
    np.testing.assert_allclose(got.points, expected.points, rtol=1e-3, atol=1e-3)


def test_the_reference_is_the_first_frame_or_the_last_keyframe() -> None:
    frames = random_frames(5)
    first, keyframes = make(), make(reference="keyframe", keyframe_confidence=1.0)
    for model in (first, keyframes):
        memory = model.new_memory()
        answers: list[Prediction] = []
        for frame in frames:
            answers += model.step(frame, memory)
        assert [answer.frame for answer in answers] == frames
        statistics = memory.status()
        assert (statistics.offered, statistics.tokens) == (5, 12)
        assert statistics.inserted == (1 if model is first else 5)
        assert memory.points is (answers[0] if model is first else answers[-1]).points


def test_a_single_frame_is_answered() -> None:
    model, (frame,) = make(), random_frames(1)
    memory = model.new_memory()
    model.step(frame, memory)
    (answer,) = model.flush(memory)
    assert answer.frame is frame and np.isfinite(answer.points).all()


@pytest.mark.parametrize("stop", [0, 1, 2, 4])
def test_a_run_resumed_from_a_file_continues_bit_for_bit(stop: int, tmp_path: Path) -> None:
    frames, options = random_frames(6), {"reference": "keyframe", "keyframe_confidence": 0.6}
    model = make(**options)
    memory = model.new_memory()
    expected = [model.step(frame, memory) for frame in frames]
    before = model.new_memory()
    for frame in frames[:stop]:
        model.step(frame, before)
    before.save(tmp_path / "memory.safetensors")
    other = make(**options)
    resumed = other.load_memory(tmp_path / "memory.safetensors")
    for frame, want in zip(frames[stop:], expected[stop:], strict=True):
        got = other.step(frame, resumed)
        assert [a.points.tobytes() for a in got] == [a.points.tobytes() for a in want]


def test_a_memory_of_another_network_is_refused(tmp_path: Path) -> None:
    model, memory = make(), make_half().new_memory()
    with pytest.raises(MemoryMismatchError, match="memory of another model"):
        model.step(random_frames(1)[0], memory)
    memory.save(tmp_path / "memory.safetensors")
    with pytest.raises(MemoryMismatchError, match="belongs to another network"):
        model.load_memory(tmp_path / "memory.safetensors")


def test_the_first_two_frames_are_answered_together_and_a_second_flush_owes_nothing() -> None:
    model, frames = make(), random_frames(2)
    memory = model.new_memory()
    assert model.step(frames[0], memory) == []
    answers = model.step(frames[1], memory)
    assert [answer.frame for answer in answers] == frames and all(answer.final for answer in answers)
    assert model.flush(memory) == []


def test_an_image_of_another_size_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    model, frames = make(), random_frames(3)
    memory = model.new_memory()
    for frame in frames:
        model.step(frame, memory)
    memory.save(tmp_path / "before.safetensors")
    wide = make()
    wide.pairs.image_size = (64, 64)
    with pytest.raises(MemoryMismatchError, match=r"image size.*got \(64, 64\); expected \(48, 64\)"):
        wide.step(frames[0], memory)
    memory.save(tmp_path / "after.safetensors")
    before, after = (load_file(tmp_path / f"{name}.safetensors") for name in ("before", "after"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.fault("not finite")
def test_an_answer_that_is_not_finite_changes_nothing() -> None:
    model, frames = make(reference="keyframe", keyframe_confidence=1.0), random_frames(4)
    memory = model.new_memory()
    for frame in frames[:2]:
        model.step(frame, memory)
    infer, before = model.pairs.infer, (memory.points, memory.offered, memory.reference)

    def spoiled(a: EncodedView, b: EncodedView) -> tuple[Prediction, Prediction]:
        first, second = infer(a, b)
        second.points[3, 3] = np.nan
        return first, second

    model.pairs.infer = spoiled  # type: ignore[method-assign]
    with pytest.raises(AnswerError, match="not finite"):
        model.step(frames[2], memory)
    assert (memory.points, memory.offered, memory.reference) == before
    model.pairs.infer = infer  # type: ignore[method-assign]
    (answer,) = model.step(frames[3], memory)
    assert np.isfinite(answer.points).all()

from __future__ import annotations

from pathlib import Path

import pytest
from geometric_models import (
    FakeMemory,
    FakeStreamingModel,
    FakeWindowModel,
    content,
    frames_of_the_path,
    same_answers,
    surface_error,
)
from tiny_models import random_frames, tiny_config, tiny_network

from spann3r_ros.errors import ConfigError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.models.base import Memory, ModelStream
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.prediction import Prediction
from spann3r_ros.streaming.segmented import Segmented, SegmentedMemory, Segments
from spann3r_ros.streaming.windowed import Windowed


def make(segments: Segments | None = None, **errors: object) -> Segmented[FakeMemory]:
    return Segmented(FakeStreamingModel(**errors), segments or Segments(frames=8, overlap=3))


def run(model: Segmented[FakeMemory], frames: list[Frame], memory: SegmentedMemory[FakeMemory]) -> list[Prediction]:
    return [answer for frame in frames for answer in model.step(frame, memory)] + model.flush(memory)


def indexes(answers: list[Prediction]) -> list[tuple[int, int]]:
    return [(answer.submap, answer.frame.index) for answer in answers]


def in_submaps(*ranges: range) -> list[tuple[int, int]]:
    return [(submap, index) for submap, frames in enumerate(ranges) for index in frames]


def test_a_memory_begins_anew_with_the_last_frames_and_owes_nothing() -> None:
    model = make()
    memory = model.new_memory()
    answers = run(model, frames_of_the_path(20), memory)
    assert indexes(answers) == in_submaps(range(8), range(5, 13), range(10, 18), range(15, 20))
    assert all(answer.final for answer in answers)
    for submap in range(4):
        assert surface_error([answer for answer in answers if answer.submap == submap]) < 1e-6
    status = memory.status()
    assert status.counters == {"segments": 4, "segment_frames": 5} and status.tokens == 5


def test_what_is_owed_comes_before_the_shared_frames() -> None:
    model = make()
    memory = model.new_memory()
    steps = [indexes(model.step(frame, memory)) for frame in frames_of_the_path(9)]
    assert steps[-2:] == [[(0, 6)], [(0, 7), (1, 5), (1, 6), (1, 7)]]


def test_segments_need_not_overlap() -> None:
    model = make(Segments(frames=4, overlap=0))
    answers = run(model, frames_of_the_path(10), model.new_memory())
    assert indexes(answers) == in_submaps(range(4), range(4, 8), range(8, 10))


def test_a_lost_model_begins_anew() -> None:
    segments = Segments(frames=100, overlap=2, lost_confidence=0.5, lost_answers=3)
    model = make(segments, unsure={6, 10, 11, 12})
    answers = run(model, frames_of_the_path(20), model.new_memory())
    # One unsure answer is not enough; the third in a row is known with frame 13, so that 14 begins anew.
    assert indexes(answers) == in_submaps(range(14), range(12, 20))


def test_a_dark_place_does_not_cost_a_memory_a_frame() -> None:
    segments = Segments(frames=100, overlap=4, lost_confidence=0.5, lost_answers=3)
    model = make(segments, unsure=set(range(5, 40)))
    memory = model.new_memory()
    run(model, frames_of_the_path(40), memory)
    assert 3 <= memory.status().counters["segments"] <= 40 // 3


def test_a_model_that_opens_submaps_itself_counts_on() -> None:
    class Settings:
        window, overlap, join = 4, 1, "submaps"

    windowed = Windowed(FakeWindowModel(), Settings())
    model = Segmented(windowed, Segments(frames=9, overlap=1))
    memory = model.new_memory()
    answers = [answer for frame in frames_of_the_path(14) for answer in model.step(frame, memory)]
    answers += model.flush(memory)
    assert indexes(answers) == in_submaps(range(4), range(3, 7), range(6, 9), range(8, 12), range(11, 14))
    for submap in range(5):
        assert surface_error([answer for answer in answers if answer.submap == submap]) < 1e-6


@pytest.mark.parametrize("stop", [0, 1, 5, 8, 9, 13])
def test_a_run_resumed_in_the_middle_of_a_segment_continues_bit_for_bit(stop: int, tmp_path: Path) -> None:
    segments = Segments(frames=8, overlap=3, lost_confidence=0.5, lost_answers=2)
    errors = {"noise": 0.01, "unsure": {2, 3, 10, 11}}
    frames, straight = frames_of_the_path(20), make(segments, **errors)
    memory = straight.new_memory()
    expected = [straight.step(frame, memory) for frame in frames] + [straight.flush(memory)]
    first = make(segments, **errors)
    before = first.new_memory()
    for frame in frames[:stop]:
        first.step(frame, before)
    before.save(tmp_path / "memory.safetensors")
    second = make(segments, **errors)
    resumed = second.load_memory(tmp_path / "memory.safetensors")
    assert resumed.status() == before.status() and content(resumed, tmp_path) == content(before, tmp_path)
    got = [second.step(frame, resumed) for frame in frames[stop:]] + [second.flush(resumed)]
    assert all(same_answers(*pair) for pair in zip(got, expected[stop:], strict=True))


@pytest.mark.parametrize("at", [5, 8])
def test_an_error_leaves_the_memory_as_it_was_within_a_segment_and_between_two(at: int, tmp_path: Path) -> None:
    model, frames = make(), frames_of_the_path(16)
    memory = model.new_memory()
    answers = [answer for frame in frames[:at] for answer in model.step(frame, memory)]
    before = content(memory, tmp_path)
    model.inner.errors.failing = {at}
    with pytest.raises(RuntimeError, match="the network failed"):
        model.step(frames[at], memory)
    with pytest.raises(MemoryMismatchError, match="image size"):
        model.step(frames_of_the_path(1, size=(64, 32))[0], memory)
    assert content(memory, tmp_path) == before
    model.inner.errors.failing = set()
    answers += run(model, frames[at:], memory)
    assert same_answers(answers, run(make(), frames, make().new_memory()))


def test_a_flush_owes_nothing_twice_and_the_stream_goes_on() -> None:
    model, frames = make(), frames_of_the_path(12)
    memory = model.new_memory()
    answers: list[Prediction] = []
    for frame in frames:
        answers += model.step(frame, memory) + model.flush(memory)
        assert model.flush(memory) == []
    assert indexes(answers) == in_submaps(range(8), range(5, 12))


def test_three_hundred_frames_take_no_more_than_the_first_segments() -> None:
    model, frames = make(poses=False), frames_of_the_path(16)
    memory, held = model.new_memory(), []
    for index in range(300):
        model.step(frames[index % 16], memory)
        held.append(memory.status().bytes)
        assert len(memory.recent) <= 3
    assert max(held) == max(held[:16]) == 4 * frames[0].image.nbytes
    assert memory.status().tokens <= 8


def test_a_real_network_in_segments_says_what_it_says_alone() -> None:
    frames = random_frames(7)
    real = Spann3r(tiny_network(), tiny_config(), "random")
    model = Segmented(real, Segments(frames=4, overlap=1))
    memory = model.new_memory()
    answers = [answer for frame in frames for answer in model.step(frame, memory)] + model.flush(memory)
    assert indexes(answers) == in_submaps(range(4), range(3, 7))
    alone = real.new_memory()
    expected = [answer for frame in frames[3:] for answer in real.step(frame, alone)] + real.flush(alone)
    assert [a.points.tobytes() for a in answers[4:]] == [a.points.tobytes() for a in expected]
    kept: Memory = memory
    assert ModelStream(model, memory).status() == kept.status()


def test_a_memory_that_is_not_this_model_s_is_refused(tmp_path: Path) -> None:
    model, path = make(), tmp_path / "memory.safetensors"
    memory = model.new_memory()
    model.step(frames_of_the_path(1)[0], memory)
    memory.save(path)
    with pytest.raises(MemoryMismatchError, match="belongs to another network"):
        model.inner.load_memory(path)
    model.inner.new_memory().save(path)
    with pytest.raises(MemoryMismatchError, match="expected segments of FakeStreamingModel"):
        model.load_memory(path)
    stranger = SegmentedMemory("stranger", model.inner.new_memory())
    for action in (lambda: model.step(frames_of_the_path(1)[0], stranger), lambda: model.flush(stranger)):
        with pytest.raises(MemoryMismatchError, match="memory of another model: got stranger"):
            action()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"frames": 4, "overlap": 4}, r"submap.overlap\): got 4; expected 0 \.\. 3"),
        ({"overlap": -1}, r"submap.overlap\): got -1"),
        ({"lost_answers": 0}, "lost_answers of segments: got 0"),
        ({"lost_confidence": 1.5}, "lost_confidence of segments: got 1.5"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(numbers: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Segments(**numbers)  # type: ignore[arg-type]

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from geometric_models import FakeWindowModel, content, frames_of_the_path, path_error, same_answers, surface_error

from spann3r_ros.errors import ConfigError, FrameError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.models.base import ModelStream
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.windowed import Windowed, WindowedMemory


@dataclass
class Settings:
    window: int = 6
    overlap: int = 2
    join: str = "frame"


def make(join: str = "frame", window: int = 6, overlap: int = 2, **errors: object) -> Windowed:
    return Windowed(FakeWindowModel(**errors), Settings(window, overlap, join))


def run(model: Windowed, frames: list[Frame], memory: WindowedMemory | None = None) -> list[Prediction]:
    memory = model.new_memory() if memory is None else memory
    return [answer for frame in frames for answer in model.step(frame, memory)] + model.flush(memory)


def indexes(answers: list[Prediction]) -> list[tuple[int, int]]:
    return [(answer.submap, answer.frame.index) for answer in answers]


def test_windows_of_another_scale_each_come_in_one_frame() -> None:
    answers = run(make(), frames_of_the_path(30))
    assert indexes(answers) == [(0, index) for index in range(30)] and all(answer.final for answer in answers)
    assert surface_error(answers) < 1e-6 and path_error(answers) < 1e-6


@pytest.mark.parametrize("poses", [True, False])
def test_the_first_window_stays_as_the_model_gave_it(poses: bool) -> None:
    model, frames = make(poses=poses), frames_of_the_path(8)
    answers = run(model, frames)
    assert same_answers(answers[:6], FakeWindowModel(poses=poses).infer(frames[:6]))
    assert all((answer.submap_from_camera is not None) == poses for answer in answers)


def test_noise_and_outliers_cost_a_hundredth() -> None:
    answers = run(make(noise=0.01, outliers=0.2, window=10, overlap=3), frames_of_the_path(60))
    assert indexes(answers) == [(0, index) for index in range(60)]
    assert path_error(answers) < 0.01


def test_answers_come_when_a_window_is_full_oldest_first() -> None:
    model, frames = make(), frames_of_the_path(11)
    memory = model.new_memory()
    counts = [[answer.frame.index for answer in model.step(frame, memory)] for frame in frames]
    assert counts == [[]] * 5 + [[0, 1, 2, 3, 4, 5]] + [[]] * 3 + [[6, 7, 8, 9]] + [[]]
    assert [answer.frame.index for answer in model.flush(memory)] == [10]


def test_each_window_is_a_submap_that_speaks_of_the_shared_frames_too() -> None:
    answers = run(make("submaps"), frames_of_the_path(11))
    assert indexes(answers) == [(0, i) for i in range(6)] + [(1, i) for i in range(4, 10)] + [
        (2, i) for i in (8, 9, 10)
    ]
    for submap in range(3):
        assert surface_error([answer for answer in answers if answer.submap == submap]) < 1e-6


@pytest.mark.parametrize("join", ["frame", "submaps"])
def test_a_flush_answers_what_is_owed_once_and_the_stream_goes_on(join: str) -> None:
    model, frames = make(join), frames_of_the_path(20)
    memory = model.new_memory()
    assert model.flush(memory) == []
    answers: list[Prediction] = []
    for frame in frames:
        answers += model.step(frame, memory)
        if frame.index in (0, 8, 13):
            answers += model.flush(memory)
            assert model.flush(memory) == []
    answers += model.flush(memory)
    assert model.flush(memory) == []
    assert len(set(indexes(answers))) == len(answers) and {index for _, index in indexes(answers)} == set(range(20))
    if join == "frame":
        assert indexes(answers) == [(0, index) for index in range(20)] and surface_error(answers) < 1e-6
    # In every new submap the frames shared with the one before come first.
    by_submap = [[i for s, i in indexes(answers) if s == submap] for submap in range(answers[-1].submap + 1)]
    for before, after in itertools.pairwise(by_submap):
        assert after[0] in before and after == sorted(after)


def test_a_single_frame_is_answered() -> None:
    for join in ("frame", "submaps"):
        (answer,) = run(make(join), frames_of_the_path(1))
        assert answer.final and (answer.submap, answer.frame.index) == (0, 0)


def test_a_window_that_does_not_fit_opens_a_submap_and_loses_no_frame() -> None:
    model, frames = make(elsewhere={9}), frames_of_the_path(18)
    memory = model.new_memory()
    answers = run(model, frames, memory)
    # The second window sees something else: it stands alone, and the third cannot be joined to it either.
    assert indexes(answers) == [(0, i) for i in range(6)] + [(1, i) for i in range(4, 10)] + [
        (2, i) for i in range(8, 18)
    ]
    assert memory.status().counters["unjoined"] == 2
    assert surface_error(answers[:6]) < 1e-6 and surface_error(answers[12:]) < 1e-6


def test_poses_turn_with_their_covariance() -> None:
    class Sure(FakeWindowModel):
        def infer(self, frames):  # type: ignore[no-untyped-def]
            covariance = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
            answers = super().infer(frames)
            return [Prediction(**{**vars(answer), "pose_covariance": covariance}) for answer in answers]

    model = Windowed(Sure(), Settings())
    answers, alone = run(model, frames_of_the_path(10)), Sure().infer(frames_of_the_path(6, start=4))
    submap_from_window = answers[6].submap_from_camera @ alone[2].submap_from_camera.inverse()
    found = answers[6].pose_covariance
    np.testing.assert_allclose(
        found[3:, 3:], submap_from_window.rotation @ np.diag([4.0, 5.0, 6.0]) @ submap_from_window.rotation.T, atol=1e-6
    )
    scale = np.sqrt(np.trace(found[:3, :3]) / 6.0)
    depth = np.linalg.norm(answers[6].points - answers[6].submap_from_camera.translation, axis=-1)
    before = np.linalg.norm(alone[2].points - alone[2].submap_from_camera.translation, axis=-1)
    np.testing.assert_allclose(depth / before, scale, rtol=1e-4)


@pytest.mark.parametrize("join", ["frame", "submaps"])
@pytest.mark.parametrize("stop", [0, 1, 4, 6, 8, 12])
def test_a_run_resumed_in_the_middle_of_a_window_continues_bit_for_bit(join: str, stop: int, tmp_path: Path) -> None:
    errors = {"noise": 0.01, "outliers": 0.1, "elsewhere": {13}}
    frames = frames_of_the_path(20)
    frames[5] = Frame(5, 5, "camera", frames[5].image, prior=Sim3(translation=np.array([0.1, 1 / 3, 0.7])))
    straight = make(join, **errors)
    memory = straight.new_memory()
    expected = [straight.step(frame, memory) for frame in frames] + [straight.flush(memory)]
    first = make(join, **errors)
    before = first.new_memory()
    for frame in frames[:stop]:
        first.step(frame, before)
    before.save(tmp_path / "memory.safetensors")
    second = make(join, **errors)
    resumed = second.load_memory(tmp_path / "memory.safetensors")
    assert resumed.status() == before.status()
    got = [second.step(frame, resumed) for frame in frames[stop:]] + [second.flush(resumed)]
    assert all(same_answers(*pair) for pair in zip(got, expected[stop:], strict=True))
    priors = {a.frame.index: a.frame.prior for answers in got for a in answers if a.frame.prior is not None}
    assert not priors or priors[5].translation.tolist() == [0.1, 1 / 3, 0.7]


def test_an_error_of_the_model_leaves_the_memory_as_it_was(tmp_path: Path) -> None:
    model, frames = make(), frames_of_the_path(12)
    memory = model.new_memory()
    answers = [answer for frame in frames[:9] for answer in model.step(frame, memory)]
    before, status = content(memory, tmp_path), memory.status()
    model.windows.errors.failing = {9}
    with pytest.raises(RuntimeError, match="the network failed"):
        model.step(frames[9], memory)
    model.windows.errors.failing = {8}
    with pytest.raises(RuntimeError, match="the network failed"):
        model.flush(memory)
    assert content(memory, tmp_path) == before and memory.status() == status
    model.windows.errors.failing = set()
    answers += run(model, frames[9:], memory)
    assert same_answers(answers, run(make(), frames))


def test_an_image_that_does_not_fit_is_refused_at_once_and_changes_nothing(tmp_path: Path) -> None:
    model, frames = make(), frames_of_the_path(8)
    (other,), (odd,) = frames_of_the_path(1, 2, size=(64, 32)), frames_of_the_path(1, 2, size=(40, 32))
    for taken in (1, 6, 7):
        memory = model.new_memory()
        for frame in frames[:taken]:
            model.step(frame, memory)
        before = content(memory, tmp_path)
        with pytest.raises(MemoryMismatchError, match=r"image size.*got \(32, 64\); expected \(32, 48\)"):
            model.step(other, memory)
        with pytest.raises(FrameError, match="multiples of 16"):
            model.step(odd, memory)
        assert content(memory, tmp_path) == before
    assert run(model, [other])[0].points.shape == (32, 64, 3)


def test_a_memory_that_is_not_this_model_s_is_refused(tmp_path: Path) -> None:
    model, path = make(), tmp_path / "memory.safetensors"
    stranger = WindowedMemory("stranger")
    for action in (lambda: model.step(frames_of_the_path(1)[0], stranger), lambda: model.flush(stranger)):
        with pytest.raises(MemoryMismatchError, match="memory of another model: got stranger"):
            action()
    stranger.save(path)
    with pytest.raises(MemoryMismatchError, match="belongs to another network"):
        model.load_memory(path)
    memory = model.new_memory()
    for frame in frames_of_the_path(5):
        model.step(frame, memory)
    memory.save(path)
    with pytest.raises(MemoryMismatchError, match="got 5; expected fewer than the window of 4"):
        make(window=4).load_memory(path)


def test_three_hundred_frames_take_no_more_than_the_first_windows() -> None:
    model, frames = make(poses=False), frames_of_the_path(12)
    memory = model.new_memory()
    held = []
    for index in range(300):
        model.step(frames[index % 12], memory)
        held.append(memory.status().bytes)
    assert max(held) == max(held[:12]) <= 5 * frames[0].image.nbytes + 2 * 48 * 32 * 16
    assert len(memory.waiting) < 6 and len(memory.anchors) == 2
    status = memory.status()
    assert (status.offered, status.counters["windows"]) == (300, 74)


def test_shared_pointmaps_are_kept_in_samples() -> None:
    model = make(window=3, overlap=2)
    memory = model.new_memory()
    for frame in frames_of_the_path(3, size=(320, 240)):
        model.step(frame, memory)
    assert all(anchor.confidence.size <= 10_000 for anchor in memory.anchors)
    assert {anchor.confidence.shape for anchor in memory.anchors} == {(80, 107)}


def test_a_reset_is_a_new_memory() -> None:
    stream, frames = ModelStream(make()), frames_of_the_path(9)
    first = [answer for frame in frames for answer in stream.step(frame)]
    fresh = stream.fresh()
    assert fresh.status().offered == 0 and fresh.flush() == []
    assert same_answers([answer for frame in frames for answer in fresh.step(frame)], first)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(6, 0), r"overlap of windows: got 0; expected 1 \.\. 5 of 6"),
        (Settings(6, 6), "overlap of windows: got 6"),
        (Settings(join="both"), r"got 'both'; expected frame \| submaps"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: Settings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Windowed(FakeWindowModel(), settings)

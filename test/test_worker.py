from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_models import random_frames, tiny_config, tiny_network

from spann3r_ros.errors import ConfigError, FrameError, Spann3rError
from spann3r_ros.frame import Frame
from spann3r_ros.models.base import ModelStream
from spann3r_ros.models.spann3r.model import Spann3r
from spann3r_ros.prediction import Prediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.worker import FrameQueue, QueuedFrame, Worker

LIMIT = 60.0
"""Seconds after which something that must happen will not happen any more; no test waits so long when all is well."""


class Gated(Reconstruction):
    """A real reconstruction whose frames wait at a gate, so that a test decides what happens meanwhile."""

    def __init__(self) -> None:
        config = tiny_config()
        super().__init__(ModelStream(Spann3r(tiny_network(), config, "random")), config)
        self.gate, self.entered = threading.Semaphore(0), threading.Semaphore(0)

    def process(self, frame: Frame) -> list[Prediction]:
        self.entered.release()
        assert self.gate.acquire(timeout=LIMIT)
        return super().process(frame)


class Running:
    """A worker and what came out of it."""

    def __init__(self, policy: str = "all", size: int = 32) -> None:
        self.reconstruction = Gated()
        self.delivered: list[tuple[int, list[Prediction]]] = []
        self.failed: list[tuple[int, Exception]] = []
        self.worker = Worker(self.reconstruction, self._deliver, self._fail, policy, size)
        self.worker.start()

    def _deliver(self, frame: Frame, predictions: list[Prediction]) -> None:
        self.delivered.append((frame.index, predictions))

    def _fail(self, frame: Frame, error: Exception) -> None:
        self.failed.append((frame.index, error))

    def offer(self, *frames: Frame) -> list[bool]:
        return [self.worker.offer(frame) for frame in frames]

    def wait_until_busy(self) -> None:
        assert self.reconstruction.entered.acquire(timeout=LIMIT)

    def open(self, frames: int) -> None:
        for _ in range(frames):
            self.reconstruction.gate.release()

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.005)

    def wait_idle(self) -> None:
        statistics = self.worker.statistics
        self.wait(lambda: sum((s := statistics()).__dict__[n] for n in OUTCOMES) == s.received and s.waiting == 0)


OUTCOMES = ("processed", "dropped", "discarded", "failed")


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.open(100)
    assert made.worker.stop(LIMIT)


def test_the_policy_all_gives_what_the_library_gives(running: Running) -> None:
    frames = random_frames(6)
    running.open(6)
    assert running.offer(*frames) == [True] * 6
    running.wait_idle()
    config = tiny_config()
    library = Reconstruction(ModelStream(Spann3r(tiny_network(), config, "random")), config)
    assert [index for index, _ in running.delivered] == list(range(6))
    for frame, (_, predictions) in zip(frames, running.delivered, strict=True):
        expected = library.process(frame)
        assert [p.frame.index for p in predictions] == [p.frame.index for p in expected]
        for prediction, truth in zip(predictions, expected, strict=True):
            np.testing.assert_allclose(prediction.points, truth.points, rtol=1e-6)
    statistics = running.worker.statistics()
    assert (statistics.received, statistics.processed, statistics.dropped) == (6, 6, 0)
    assert 0 < statistics.duration <= statistics.response_time
    assert statistics.latency >= statistics.duration
    assert statistics.rate > 0


def test_the_latency_of_an_answer_counts_from_the_arrival_of_the_frame_that_it_is_about(running: Running) -> None:
    first, second = random_frames(2)
    long_ago = time.monotonic() - 1e6
    running.open(2)
    running.worker.offer(first, long_ago)
    running.wait_idle()
    statistics = running.worker.statistics()
    assert np.isnan(statistics.latency), "a refined answer comes with the next frame"
    assert statistics.response_time > 1e6
    running.worker.offer(second)
    running.wait_idle()
    statistics = running.worker.statistics()
    assert statistics.latency > 1e6 > statistics.response_time


def test_a_full_queue_refuses_the_newest_so_that_the_beginning_has_no_gap() -> None:
    running = Running(size=2)
    frames = random_frames(5)
    running.offer(frames[0])
    running.wait_until_busy()
    assert running.offer(*frames[1:]) == [True, True, False, False]
    running.open(3)
    running.wait_idle()
    assert [index for index, _ in running.delivered] == [0, 1, 2]
    assert running.worker.statistics().dropped == 2
    assert running.worker.stop(LIMIT)


def test_the_policy_latest_keeps_the_newest_of_each_camera() -> None:
    running = Running("latest")
    left = random_frames(4)
    right = [Frame(10 + frame.index, frame.stamp, "right", frame.image) for frame in random_frames(2)]
    running.offer(left[0])
    running.wait_until_busy()
    assert running.offer(left[1], right[0], left[2], right[1], left[3]) == [True, True, False, False, False]
    running.open(3)
    running.wait_idle()
    assert [index for index, _ in running.delivered] == [0, 11, 3]
    assert running.worker.statistics().dropped == 3
    assert running.worker.stop(LIMIT)


def test_a_reset_during_inference_discards_its_answer_and_what_waits(running: Running) -> None:
    frames = random_frames(6)
    running.open(2)
    running.offer(*frames[:2])
    running.wait(lambda: len(running.delivered) == 2)
    running.offer(*frames[2:5])
    for _ in range(3):
        running.wait_until_busy()
    done = running.worker.reset()
    assert not done.done(), "the gate is closed: reset did not wait for the frame behind it"
    running.open(1)
    done.result(LIMIT)
    assert len(running.delivered) == 2
    assert running.reconstruction.status().offered == 0 and len(running.reconstruction.map) == 0
    running.open(1)
    running.offer(frames[5])
    running.wait(lambda: running.worker.statistics().processed == 1)
    assert len(running.delivered) == 3
    assert running.delivered[-1] == (5, [])  # the first frame of a world has no answer yet
    statistics = running.worker.statistics()
    assert (statistics.received, statistics.processed, statistics.discarded) == (1, 1, 1)


@pytest.mark.fault("time")
@pytest.mark.parametrize("policy", ["all", "latest"])
def test_a_command_may_wait_for_the_frames_before_it(policy: str) -> None:
    running = Running(policy)
    frames = random_frames(4)
    running.offer(frames[0])
    running.wait_until_busy()
    running.offer(frames[1])
    done = running.worker.submit(lambda: [index for index, _ in running.delivered], after_frames=True)
    running.offer(frames[2], frames[3])
    assert running.worker.statistics().waiting == (3 if policy == "all" else 1)
    running.open(4)
    assert done.result(LIMIT) == ([0, 1] if policy == "all" else [0])
    running.wait_idle()
    assert [index for index, _ in running.delivered] == ([0, 1, 2, 3] if policy == "all" else [0, 3])
    running.worker.count_anew()
    assert running.worker.statistics().received == 0
    assert running.worker.stop(LIMIT)


def test_commands_run_between_frames_and_before_those_that_wait(running: Running, tmp_path: Path) -> None:
    frames = random_frames(4)
    running.offer(*frames)
    running.wait_until_busy()
    future = running.worker.submit(lambda: (len(running.delivered), running.reconstruction.save(tmp_path / "map")))
    running.open(1)
    delivered, saved = future.result(LIMIT)
    assert delivered == 1
    assert all(file.is_file() for file in saved.files)
    running.open(3)
    running.wait_idle()
    assert len(running.delivered) == 4


def test_a_command_that_fails_tells_its_owner_and_one_that_is_cancelled_never_runs(running: Running) -> None:
    running.offer(random_frames(1)[0])
    running.wait_until_busy()
    ran: list[str] = []
    wrong = running.worker.submit(lambda: running.reconstruction.load(Path("/nowhere")))
    unwanted = running.worker.submit(lambda: ran.append("cancelled"))
    wanted = running.worker.submit(lambda: ran.append("wanted"))
    assert unwanted.cancel()
    running.open(1)
    wanted.result(LIMIT)
    assert ran == ["wanted"]
    with pytest.raises(Exception, match="nowhere"):
        wrong.result(0)


def test_a_frame_that_fails_is_reported_and_the_next_one_runs(running: Running) -> None:
    small, *good = random_frames(3)
    bad = Frame(9, 0, "camera", np.zeros((1, 500, 3), np.uint8))
    running.open(4)
    running.offer(small, bad, *good)
    running.wait_idle()
    assert [index for index, _ in running.delivered] == [0, 1, 2]
    [(index, error)] = running.failed
    assert index == 9 and isinstance(error, FrameError)
    assert running.worker.statistics().failed == 1


def test_an_answer_that_cannot_be_delivered_is_a_failure_and_no_end(running: Running) -> None:
    frames = random_frames(2)
    running.worker._deliver = lambda _frame, _predictions: [][0]
    running.open(2)
    running.offer(*frames)
    running.wait_idle()
    assert [type(error) for _, error in running.failed] == [IndexError, IndexError]


def test_paused_it_takes_nothing_and_finishes_what_waits(running: Running) -> None:
    frames = random_frames(3)
    running.offer(*frames[:2])
    running.worker.pause()
    assert not running.worker.accepting
    assert running.offer(frames[2]) == [False]
    running.open(2)
    running.wait(lambda: len(running.delivered) == 2)
    running.worker.resume()
    running.open(1)
    assert running.offer(frames[2]) == [True]
    running.wait(lambda: len(running.delivered) == 3)
    assert running.worker.statistics().received == 3


def test_stopping_ends_the_thread_after_its_frame() -> None:
    running = Running()
    running.offer(*random_frames(3))
    running.wait_until_busy()
    assert not running.worker.stop(0.05)
    running.open(1)
    assert running.worker.stop(LIMIT)
    assert len(running.delivered) == 1
    with pytest.raises(Spann3rError, match="stopped"):
        running.worker.submit(lambda: None)


def test_queue_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="latest"):
        FrameQueue("newest")
    with pytest.raises(ConfigError, match=">= 1"):
        FrameQueue("all", 0)


def test_a_closed_queue_hands_out_commands_but_no_frames() -> None:
    queue = FrameQueue("all", 3)
    frame = random_frames(1)[0]
    queue.put(frame, 7)
    taken = queue.take()
    assert isinstance(taken, QueuedFrame) and (taken.frame, taken.generation) == (frame, 7)
    queue.put(frame)
    queue.put_command(lambda: None)
    queue.put_command(lambda: None, after_frames=True)
    queue.close()
    assert callable(queue.take()) and callable(queue.take())
    assert queue.take() is None
    assert not queue.put(frame) and not queue.put_command(lambda: None)

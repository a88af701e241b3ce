"""The one thread that runs the network, and the bounded queue of frames in front of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeVar

from spann3r_ros.errors import ConfigError, Spann3rError
from spann3r_ros.frame import Frame
from spann3r_ros.prediction import WorldPrediction

T = TypeVar("T")
logger = logging.getLogger(__name__)

POLICIES = ("latest", "all")

MOST_UNANSWERED = 1000
"""Frames whose arrival is remembered until they are answered; beyond it the oldest is forgotten."""


class FrameProcessor(Protocol):
    """What a worker drives: a ``Reconstruction``."""

    def process(self, frame: Frame) -> list[WorldPrediction]:
        """Take one frame, return what is now known."""
        ...

    def reset(self) -> None:
        """Forget everything."""
        ...


@dataclass(frozen=True)
class WorkerStatistics:
    """Counters since the worker was made or last reset.

    Attributes:
        received: frames offered while it accepted them.
        processed: frames whose answer was delivered.
        dropped: frames that never ran: replaced by a newer one, refused by a full queue, or cleared.
        discarded: frames whose answer was thrown away because the reset came while they ran.
        failed: frames refused by the reconstruction or whose answer could not be delivered.
        waiting: frames in the queue now.
        duration: seconds that the last frame took in the reconstruction; NaN before the first.
        response_time: seconds from the arrival of the last frame until the reconstruction was done with it, waiting
            included; NaN before the first.
        latency: seconds from the arrival of a frame to the delivery of an answer about that very frame, for the last
            answer; NaN before the first. Longer than ``response_time`` where answers come frames late.
        rate: frames per second over the last 20 processed and the time since; 0 before the second.
    """

    received: int
    processed: int
    dropped: int
    discarded: int
    failed: int
    waiting: int
    duration: float
    response_time: float
    latency: float
    rate: float


@dataclass(frozen=True)
class QueuedFrame:
    """A frame that waits.

    Attributes:
        frame: the frame.
        arrival: monotonic time in seconds when it came.
        generation: number of resets before it was queued.
    """

    frame: Frame
    arrival: float
    generation: int


class FrameQueue:
    """Bounded, thread-safe queue of frames with commands that overtake them.

    Policy ``latest`` keeps one waiting frame per camera, the newest. Policy ``all`` keeps every frame in order up to
    ``size`` and refuses the ones after that, so that what is processed is always a gapless beginning.

    Raises:
        ConfigError: unknown policy, or a size below 1.
    """

    def __init__(self, policy: str = "latest", size: int = 32) -> None:
        if policy not in POLICIES:
            raise ConfigError("queue policy", got=repr(policy), expected=" | ".join(POLICIES))
        if size < 1:
            raise ConfigError("queue size", got=size, expected=">= 1 frame")
        self._policy, self._size = policy, size
        self._frames: deque[QueuedFrame | Callable[[], None]] = deque()  # with commands that do not overtake
        self._commands: deque[Callable[[], None]] = deque()
        self._condition = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return sum(isinstance(entry, QueuedFrame) for entry in tuple(self._frames))

    def put(self, frame: Frame, generation: int = 0, arrival: float | None = None) -> bool:
        """Add a frame that came at ``arrival`` (or now); False when it cost one: itself, or its camera's older one."""
        with self._condition:
            if self._closed:
                return False
            if self._policy == "all":
                if len(self) >= self._size:
                    return False
                replaced = False
            else:
                kept = [entry for entry in self._frames if not _is_of(entry, frame.camera)]
                replaced = len(kept) < len(self._frames)
                self._frames = deque(kept)
            self._frames.append(QueuedFrame(frame, time.monotonic() if arrival is None else arrival, generation))
            self._condition.notify()
            return not replaced

    def put_command(self, command: Callable[[], None], after_frames: bool = False) -> bool:
        """Add a command after those already waiting, before all frames or after those that wait; False when closed."""
        with self._condition:
            if not self._closed:
                (self._frames if after_frames else self._commands).append(command)
                self._condition.notify()
            return not self._closed

    def take(self) -> Callable[[], None] | QueuedFrame | None:
        """The next command, else the next frame; waits for one. None once closed."""
        with self._condition:
            self._condition.wait_for(lambda: bool(self._closed or self._commands or self._frames))
            if self._commands:
                return self._commands.popleft()
            if self._closed:
                self._drop_frames()
            return self._frames.popleft() if self._frames else None

    def clear(self) -> int:
        """Drop all waiting frames and return how many; commands stay."""
        with self._condition:
            return self._drop_frames()

    def close(self) -> None:
        """Take no more. Commands that wait are still handed out, frames are not."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _drop_frames(self) -> int:
        dropped = len(self)
        self._frames = deque(entry for entry in self._frames if not isinstance(entry, QueuedFrame))
        return dropped


def _is_of(entry: QueuedFrame | Callable[[], None], camera: str) -> bool:
    return isinstance(entry, QueuedFrame) and entry.frame.camera == camera


class Worker:
    """Runs a reconstruction on its own thread; no method of this class waits for an inference except ``stop``.

    Args:
        reconstruction: what takes the frames. After ``start`` only the worker's thread may touch it: everyone else
            goes through ``submit``.
        deliver: called on the worker's thread with each frame and its predictions (maybe none).
        fail: called on the worker's thread when a frame was refused or its answer could not be delivered.
        policy, size: of the queue, see FrameQueue.
    """

    def __init__(
        self,
        reconstruction: FrameProcessor,
        deliver: Callable[[Frame, list[WorldPrediction]], None],
        fail: Callable[[Frame, Exception], None],
        policy: str = "latest",
        size: int = 32,
    ) -> None:
        self._reconstruction, self._deliver, self._fail = reconstruction, deliver, fail
        self._queue = FrameQueue(policy, size)
        self._thread = threading.Thread(target=self._run, name="reconstruction", daemon=True)
        self._lock = threading.Lock()  # guards everything below
        self._accepting = True
        self._generation = self._running = 0  # resets so far, and when the frame was queued that is processed
        self._counts = dict.fromkeys(("received", "processed", "dropped", "discarded", "failed"), 0)
        self._duration = self._response_time = self._latency = float("nan")
        self._arrivals: dict[int, float] = {}  # of frames that were not answered yet, by index
        self._finished: deque[float] = deque(maxlen=20)

    @property
    def accepting(self) -> bool:
        """Whether offered frames are taken."""
        return self._accepting

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> bool:
        """End the thread after the frame it is on; False when that takes longer than ``timeout`` seconds."""
        self.pause()
        self._queue.close()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def pause(self) -> None:
        """Take no more frames; those already waiting are processed."""
        self._accepting = False

    def resume(self) -> None:
        """Take frames again."""
        self._accepting = True

    def offer(self, frame: Frame, arrival: float | None = None) -> bool:
        """Queue a frame; False when it, or an older one in its place, is lost, or while paused.

        Args:
            frame: with an index of its own until the next reset.
            arrival: monotonic time in seconds when it came; by default now.
        """
        with self._lock:
            if not self._accepting:
                return False
            kept = self._queue.put(frame, self._generation, arrival)
            self._counts["received"] += 1
            self._counts["dropped"] += not kept
            return kept

    def reset(self) -> Future[None]:
        """Forget everything: waiting frames go at once, the answer of a running one will be thrown away.

        The reconstruction is reset before the next frame; the future tells when.
        """
        with self._lock:
            self._generation += 1
            self._queue.clear()
            self._arrivals.clear()
            self._counts = dict.fromkeys(self._counts, 0)
        return self.submit(self._reconstruction.reset)

    def count_anew(self) -> None:
        """Begin counting with the frames that wait now."""
        with self._lock:
            self._arrivals.clear()
            self._counts = {**dict.fromkeys(self._counts, 0), "received": len(self._queue)}

    def clear(self) -> None:
        """Drop the waiting frames; what has been reconstructed stays."""
        with self._lock:
            self._counts["dropped"] += self._queue.clear()

    def submit(self, command: Callable[[], T], after_frames: bool = False) -> Future[T]:
        """Run ``command`` on the worker's thread between two frames: before those that wait, or after them.

        The future holds its result or its exception; canceling it works until the command starts.

        Raises:
            Spann3rError: the worker was stopped.
        """
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(command())
            except Exception as error:  # whoever holds the future decides what it means
                future.set_exception(error)

        if not self._queue.put_command(run, after_frames):
            raise Spann3rError("the reconstruction's worker is stopped", next_step="Configure and activate the node")
        return future

    def statistics(self) -> WorkerStatistics:
        """A snapshot of the counters."""
        with self._lock:
            done = self._finished
            rate = (len(done) - 1) / (time.monotonic() - done[0]) if len(done) > 1 else 0.0
            return WorkerStatistics(
                **self._counts,
                waiting=len(self._queue),
                duration=self._duration,
                response_time=self._response_time,
                latency=self._latency,
                rate=rate,
            )

    @property
    def is_current(self) -> bool:
        """Whether no reset came since the frame was queued that is processed; to be asked on the worker's thread."""
        return self._running == self._generation

    def note_latency(self, answers: Sequence[WorldPrediction]) -> None:
        """Answers were delivered just now."""
        now = time.monotonic()
        with self._lock:
            for answer in answers:
                index = answer.frame.index
                if index in self._arrivals:
                    self._latency = now - self._arrivals[index]
                    if answer.final:
                        del self._arrivals[index]

    def _run(self) -> None:
        while True:
            job = self._queue.take()
            if job is None:
                return
            if isinstance(job, QueuedFrame):
                self._process(job)
            else:
                job()
            del job  # do not keep an image alive while waiting for the next

    def _process(self, queued: QueuedFrame) -> None:
        frame, begin = queued.frame, time.monotonic()
        with self._lock:
            self._running = queued.generation
            if self.is_current:
                self._remember(frame.index, queued.arrival)
        try:
            predictions = self._reconstruction.process(frame)
            end = time.monotonic()
            with self._lock:
                stale = not self.is_current
                self._duration, self._response_time = end - begin, end - queued.arrival
            if not stale:
                self._deliver(frame, predictions)
                self.note_latency(predictions)
            outcome = "discarded" if stale else "processed"
        except Exception as error:  # the thread outlives any frame, whatever the network did with it
            outcome = "failed"
            self._report(frame, error)
        with self._lock:
            self._counts[outcome] += 1
            if outcome == "processed":
                self._finished.append(time.monotonic())

    def _remember(self, index: int, arrival: float) -> None:
        """When a frame came, for the answers that are still to come; the lock is held."""
        self._arrivals[index] = arrival
        if len(self._arrivals) > MOST_UNANSWERED:
            del self._arrivals[next(iter(self._arrivals))]

    def _report(self, frame: Frame, error: Exception) -> None:
        try:
            self._fail(frame, error)
        except Exception:
            logger.exception("the failure of frame %d (%s) could not be reported", frame.index, error)

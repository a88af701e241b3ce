"""Work that must not hold up the stream, one task after the other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Background:
    """A thread of its own for a live stream; for recorded data the caller's, so that every run gives the same.

    Args:
        is_live: whether the caller must not wait.
    """

    def __init__(self, is_live: bool) -> None:
        self._thread = ThreadPoolExecutor(1, "corrections") if is_live else None

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Begin a task, or do it; what it returns or raises is in the future."""
        if self._thread is not None:
            return self._thread.submit(task)
        done: Future[T] = Future()
        try:
            done.set_result(task())
        except Exception as error:  # as an executor does
            done.set_exception(error)
        return done

    def close(self) -> None:
        """Forget tasks that have not begun; one that has ends by itself."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

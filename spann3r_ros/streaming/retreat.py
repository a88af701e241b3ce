"""Back to what a memory held before images that were not trusted: what they left in it spoils later answers."""

from __future__ import annotations

from collections.abc import Callable

from spann3r_ros.models.base import Stream

STATES = 2
"""States that are kept: the answer about a frame may come with the next one, when the memory holds both."""

MOST_RETREATS = 8
"""Retreats in a row; then the memory has to follow, for the camera may be somewhere else for good."""


class Retreat:
    """The last states of a stream's memory.

    Args:
        stream: whose memory it is; one that cannot tell its state is never brought back.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._states: list[tuple[int, Callable[[], None]]] = []
        self._retreats = 0

    def keep(self, index: int) -> None:
        """Keep the state of the memory, in which the frame ``index`` is the newest."""
        back = self._stream.mark()
        if back is not None:
            self._states = [*self._states, (index, back)][-STATES:]

    def trust(self) -> None:
        """An answer was trusted: the next loss has all its retreats again."""
        self._retreats = 0

    def before(self, index: int) -> bool:
        """Bring the memory back to before the frame ``index``; False where that cannot be done, or was too often."""
        self._states = [state for state in self._states if state[0] < index]
        if not self._states or self._retreats >= MOST_RETREATS:
            return False
        self._retreats += 1
        self._states[-1][1]()
        return True

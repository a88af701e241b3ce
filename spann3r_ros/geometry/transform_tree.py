"""A tree of coordinate frames whose transforms change with time, as /tf and /tf_static describe it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from spann3r_ros.errors import GeometryError
from spann3r_ros.sim3 import Sim3


@dataclass
class _Link:
    """How a frame hangs on its parent: one transform when static, else a history sorted by stamp."""

    parent: str
    static: bool
    stamps: list[int] = field(default_factory=list)
    transforms: list[Sim3] = field(default_factory=list)


class TransformTree:
    """Frames and where they are. Not thread-safe.

    Args:
        horizon: nanoseconds of history that are kept of a moving frame.
        longest_gap: nanoseconds between two transforms beyond which nothing is known between them; 0: no limit.
    """

    def __init__(self, horizon: int = 10_000_000_000, longest_gap: int = 0) -> None:
        self._horizon, self._longest_gap = horizon, longest_gap
        self._links: dict[str, _Link] = {}

    def insert(self, stamp: int, parent: str, child: str, parent_from_child: Sim3, static: bool = False) -> None:
        """Say where ``child`` is at ``stamp`` (ns), or for ever. A new parent replaces the old one and its history."""
        link = self._links.get(child)
        if static or link is None or link.static or link.parent != parent:
            self._links[child] = _Link(parent, static, [stamp], [parent_from_child])
            return
        if stamp + self._horizon < link.stamps[-1]:  # time began anew
            link.stamps, link.transforms = [stamp], [parent_from_child]
            return
        place = bisect_left(link.stamps, stamp)
        if place < len(link.stamps) and link.stamps[place] == stamp:
            link.transforms[place] = parent_from_child
            return
        link.stamps.insert(place, stamp)
        link.transforms.insert(place, parent_from_child)
        old = bisect_left(link.stamps, link.stamps[-1] - self._horizon)
        del link.stamps[:old], link.transforms[:old]

    def clear_moving(self) -> None:
        """Forget all but the static transforms."""
        self._links = {child: link for child, link in self._links.items() if link.static}

    def parent(self, child: str) -> str | None:
        """The frame that ``child`` hangs on, or None for a root or an unknown frame."""
        link = self._links.get(child)
        return None if link is None else link.parent

    def lookup(self, target: str, source: str, stamp: int) -> Sim3:
        """``target_from_source`` at ``stamp`` (ns), interpolated, never extrapolated.

        Raises:
            GeometryError: unknown frames, frames of different trees, or a stamp outside the history.
        """
        to_target = self._chain(target)
        to_source = self._chain(source)
        common = next((frame for frame in to_source if frame in to_target), None)
        if common is None:
            raise GeometryError(
                f"no transform between '{target}' and '{source}'",
                got=f"{' -> '.join(reversed(to_target))} and {' -> '.join(reversed(to_source))}",
                expected="frames of one tree",
            )
        return self._climb(to_target, common, stamp).inverse() @ self._climb(to_source, common, stamp)

    def _chain(self, frame: str) -> list[str]:
        """The frame and its ancestors, root last."""
        chain = [frame]
        while (parent := self.parent(chain[-1])) is not None:
            if parent in chain:
                raise GeometryError("transforms form a loop", got=" -> ".join([*chain, parent]), expected="a tree")
            chain.append(parent)
        return chain

    def _climb(self, chain: list[str], ancestor: str, stamp: int) -> Sim3:
        """``ancestor_from_chain[0]``."""
        pose = Sim3()
        for child in chain[: chain.index(ancestor)]:
            pose = self._at(child, stamp) @ pose
        return pose

    def _at(self, child: str, stamp: int) -> Sim3:
        link = self._links[child]
        if link.static:
            return link.transforms[0]
        place = bisect_left(link.stamps, stamp)
        if place < len(link.stamps) and link.stamps[place] == stamp:
            return link.transforms[place]
        if place in (0, len(link.stamps)):
            edge = link.stamps[0] if place == 0 else link.stamps[-1]
            raise GeometryError(
                f"transform '{link.parent}' -> '{child}' is not known at {stamp / 1e9:.3f} s",
                got=f"{'first' if place == 0 else 'last'} one {abs(stamp - edge) / 1e9:.3f} s "
                f"{'later' if place == 0 else 'earlier'}",
                expected="transforms before and after that time",
            )
        begin, end = link.stamps[place - 1 : place + 1]
        if 0 < self._longest_gap < end - begin:
            raise GeometryError(
                f"transform '{link.parent}' -> '{child}' is not known at {stamp / 1e9:.3f} s",
                got=f"{(end - begin) / 1e9:.3f} s without one",
                expected=f"at most {self._longest_gap / 1e9:g} s",
            )
        share = (stamp - begin) / (end - begin)
        return _between(link.transforms[place - 1], link.transforms[place], share)


def _between(first: Sim3, second: Sim3, share: float) -> Sim3:
    """The rigid transform at ``share`` in [0, 1] of the way: straight in translation, the shortest arc in rotation."""
    turn = Slerp([0.0, 1.0], Rotation.from_matrix(np.stack([first.rotation, second.rotation])))
    translation = (1.0 - share) * first.translation + share * second.translation
    return Sim3(rotation=turn(share).as_matrix(), translation=translation)

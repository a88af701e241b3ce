"""When images were taken, as their stamps tell it: one rule for the node's cameras and for recordings."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from spann3r_ros.complaints import EVENT, Complaints, Severity

T = TypeVar("T")

SECOND = 1_000_000_000

BACK = 200_000_000
"""Nanoseconds: an image older than its predecessor by more looks like a jump of time, by less it is out of order."""

AHEAD, AHEAD_OF_THE_FIRST = SECOND, 10 * SECOND
"""Nanoseconds: a longer step that nothing explains looks like a jump of time; so little is known after one image."""

CONFIRMED = 3
"""Images in succession that prove a jump. Each doubt after the first asks for two more, up to ``MOST_HELD``."""

MOST_HELD = 15

FORGIVEN = 30
"""Images in order after which doubts are forgotten."""

CONSTANT = 5
"""Images of one stamp in succession that are no repetition but a driver that does not count."""

FUTURE = SECOND
"""Nanoseconds that a stamp may lie ahead of the clock."""

FROM_ZERO = 365 * 24 * 3600 * SECOND
"""A stamp below it counts from the start of a simulator or a computer, not from 1970."""

BY_ARRIVAL = "take the time of arrival instead (stamp:=arrival for the node, --stamp arrival for a bag)"


@dataclass(frozen=True)
class Observed(Generic[T]):
    """What an image's stamp means.

    Attributes:
        taken: images to use now, each with its stamp in nanoseconds; those that were held come first.
        jumped_to: time jumped back to this stamp before these images, and no other camera has shown it yet; else None.
        late: images that are dropped: not newer than their predecessor, or strays that nobody confirmed.
    """

    taken: tuple[tuple[int, T], ...] = ()
    jumped_to: int | None = None
    late: int = 0


@dataclass(frozen=True)
class _Image(Generic[T]):
    """An image whose stamp is settled, and when it came (ns)."""

    stamp: int
    arrival: int
    content: T


@dataclass
class _Camera(Generic[T]):
    """What is known of one camera's time."""

    name: str
    complaints: Complaints
    latest: int | None = None  # stamp of the newest image taken
    before: int = 0  # of the one taken before it
    left: int | None = None  # where the time ended from which it jumped last
    arrival: int = 0  # of the newest one
    steps: deque[int] = field(default_factory=lambda: deque(maxlen=9))  # between the images taken
    held: list[_Image[T]] = field(default_factory=list)  # of a time that is yet to be confirmed
    doubts: int = 0  # times that were not confirmed, or were left again, lately
    in_order: int = 0  # images since
    last_stamp: int | None = None  # of the header of the newest image, taken or not
    repeated: int = 0  # how often it came before, in succession
    behind: bool = False  # has yet to follow a jump that another camera showed

    @property
    def gap(self) -> int:
        """The usual step, 0 while unknown."""
        return sorted(self.steps)[len(self.steps) // 2] if len(self.steps) > 2 else 0

    @property
    def tolerance(self) -> int:
        """How far images may be out of order."""
        return max(BACK, 2 * self.gap)

    def go_on(self, images: list[_Image[T]]) -> tuple[tuple[int, T], ...]:
        """Take images that are in order."""
        for image in images:
            if self.latest is None or image.stamp < self.latest:
                self.before = image.stamp
            else:
                self.before = self.latest
                self.steps.append(image.stamp - self.latest)
            self.latest, self.arrival = image.stamp, image.arrival
        self.in_order += len(images)
        if self.in_order >= FORGIVEN:
            self.doubts = 0
        return tuple((image.stamp, image.content) for image in images)

    def doubt(self) -> None:
        """Ask for more images before the next jump is believed."""
        self.doubts, self.in_order = self.doubts + 1, 0

    def is_far(self, stamp: int, arrival: int) -> bool:
        """Whether a stamp may be of another time than the images taken so far."""
        assert self.latest is not None
        if stamp <= self.latest:
            return stamp <= min(self.latest - self.tolerance, self.before)
        usual = max(AHEAD, 10 * self.gap) if self.gap else AHEAD_OF_THE_FIRST
        # A pause shows in the arrivals too; a bag may be played at three times its speed.
        return stamp - self.latest > max(usual, 3 * (arrival - self.arrival))

    def extends_held(self, stamp: int, arrival: int) -> bool:
        """Whether a stamp goes on in the time of the images that are held."""
        last = self.held[-1]
        return 0 < stamp - last.stamp <= max(AHEAD_OF_THE_FIRST, 10 * self.gap, 3 * (arrival - last.arrival))


class StampOrder(Generic[T]):
    """Decides which images go on in time. Thread-safe.

    One image that is far from its predecessor changes nothing: it is held until the next images of its camera either
    confirm the new time, or go on in the old one and show that it was a stray. One loop of a bag shows once for each
    camera; it counts once.

    Args:
        complaints: of the whole; what is wrong with stamps is reported about ``camera NAME``, once, with the fix.
        on_the_clock: whether arrivals are told by the clock that stamps should be of: then those of the future, and
            those that count from zero, are reported.
    """

    def __init__(self, complaints: Complaints, on_the_clock: bool = True) -> None:
        self._complaints, self._on_the_clock = complaints, on_the_clock
        self._lock = threading.Lock()
        self._cameras: dict[str, _Camera[T]] = {}

    def observe(self, camera: str, stamp: int | None, arrival: int, content: T) -> Observed[T]:
        """Take the next image of a camera.

        Args:
            camera: its name.
            stamp: of the header in nanoseconds, 0 where there is none; None: the arrival is the stamp.
            arrival: when it came, in nanoseconds of the clock that stamps are of.
            content: whatever the caller wants back with the stamp.
        """
        with self._lock:
            if camera not in self._cameras:
                self._cameras[camera] = _Camera(camera, self._complaints.about(f"camera {camera}"))
            state = self._cameras[camera]
            if stamp is None:
                return self._judge(state, _Image(_counting_on(state, arrival), arrival, content))
            again = stamp == state.last_stamp
            state.repeated, state.last_stamp = state.repeated + 1 if again else 0, stamp
            unstamped = stamp == 0 and (again or (state.latest is not None and state.latest >= FROM_ZERO))
            if stamp == 0 and state.latest is None and not state.held:
                state.held.append(_Image(0, arrival, content))  # no stamp, or time begins: the next one tells
                return Observed()
            first: tuple[tuple[int, T], ...] = ()
            if state.latest is None and state.held:
                [held], state.held = state.held, []
                begin = held.arrival if unstamped else 0 if stamp < FROM_ZERO else min(held.arrival, stamp - 1)
                first = state.go_on([dataclasses.replace(held, stamp=begin)])
            self._tell_of_stamps(state, stamp, unstamped)
            if unstamped:
                stamp = _counting_on(state, arrival)
            found = self._judge(state, _Image(stamp, arrival, content))
            if found.taken and not unstamped and self._on_the_clock:
                _compare_with_clock(state)
            return dataclasses.replace(found, taken=(*first, *found.taken))

    def rest(self) -> list[tuple[int, T]]:
        """At the end of a recording: held images that go on later or agree with each other, with their stamps."""
        with self._lock:
            found: list[tuple[int, T]] = []
            for state in self._cameras.values():
                held, state.held = state.held, []
                if state.latest is None:  # one image, without a stamp
                    held = [dataclasses.replace(image, stamp=image.arrival) for image in held]
                if len(held) > 1 or any(state.latest is None or image.stamp > state.latest for image in held):
                    found += state.go_on(held)
            return found

    def drop_held(self) -> None:
        """Forget the images that are held, because nobody will want them any more."""
        with self._lock:
            for state in self._cameras.values():
                state.held = []

    def clear(self) -> None:
        """Forget all stamps and all images that are held."""
        with self._lock:
            self._cameras.clear()

    def _judge(self, state: _Camera[T], image: _Image[T]) -> Observed[T]:
        """The rule itself, for an image whose stamp is settled."""
        if state.latest is None:
            return Observed(state.go_on([image]))
        if not state.is_far(image.stamp, image.arrival):
            late = _drop_held(state)
            if image.stamp <= state.latest:
                was_early = state.before < image.stamp <= state.latest - state.tolerance and state.doubts < CONFIRMED
                if not was_early:
                    return Observed(late=late + 1)
                state.latest = state.before  # the last one was early: time goes on from the one before it
                state.doubt()
            return Observed(state.go_on([image]), late=late)
        late = 0
        if state.held and not state.extends_held(image.stamp, image.arrival):
            if 0 <= state.held[-1].stamp - image.stamp < BACK:
                return Observed(late=1)  # out of order in the new time
            late = _drop_held(state)
        state.held.append(image)
        if len(state.held) < min(CONFIRMED + 2 * max(0, state.doubts - 1), MOST_HELD):
            return Observed(late=late)
        return dataclasses.replace(self._jump(state), late=late)

    def _jump(self, state: _Camera[T]) -> Observed[T]:
        """Go on in the time of the images that are held."""
        assert state.latest is not None
        old, held = state.latest, state.held
        begin, state.held = held[0].stamp, []
        if state.left is not None and 0 <= begin - state.left <= AHEAD_OF_THE_FIRST:
            state.doubt()  # to and fro, as two publishers do
        state.left, state.in_order = old, 0
        taken = state.go_on(held)
        if begin > old:
            text = f"stamps of camera '{state.name}' jumped ahead from {old / 1e9:.3f} to {begin / 1e9:.3f} s"
            state.complaints.report("jump ahead", f"{text}: the map continues", Severity.INFO, lasts=EVENT)
            return Observed(taken)
        is_news = not state.behind
        if is_news:
            for other in self._cameras.values():
                other.behind = other.latest is not None
        state.behind = False
        return Observed(taken, jumped_to=begin if is_news else None)

    def _tell_of_stamps(self, state: _Camera[T], stamp: int, unstamped: bool) -> None:
        """Report a driver that sets none, or always the same."""
        if unstamped:
            text = f"images of camera '{state.name}' have no stamp: the time of their arrival is used"
            state.complaints.report("no stamp", f"{text}. Let the driver stamp them, or {BY_ARRIVAL}", once=True)
        else:
            state.complaints.settle("no stamp")
        if not state.repeated:
            state.complaints.settle("constant stamps", f"stamps of camera '{state.name}' go on again")
        elif stamp and state.repeated >= CONSTANT - 1:
            text = (
                f"images of camera '{state.name}' all have the stamp {stamp / 1e9:.3f} s: all but the first are dropped"
            )
            state.complaints.report("constant stamps", f"{text}. Let the driver stamp each, or {BY_ARRIVAL}", once=True)


def _counting_on(state: _Camera[T], arrival: int) -> int:
    """The arrival as a stamp, later than the last one where a slow clock shows the same time twice."""
    newest = state.held[-1].stamp if state.held else state.latest
    return newest + 1 if newest is not None and newest - BACK < arrival <= newest else arrival


def _drop_held(state: _Camera[T]) -> int:
    """Give up the images that are held, for time went on without them; how many there were."""
    dropped = len(state.held)
    if dropped:
        assert state.latest is not None
        offset = (state.held[0].stamp - state.latest) / 1e9
        state.held = []
        state.doubt()
        state.complaints.report(
            "stray stamp",
            f"{dropped} image{'s' * (dropped > 1)} of camera '{state.name}' dropped, {abs(offset):.3f} s "
            f"{'ahead of' if offset > 0 else 'behind'} the others: the next ones did not confirm this time. Look for "
            f"a second publisher of the topic, or for a driver that sets wrong stamps; else {BY_ARRIVAL}",
            lasts=EVENT,
        )
    return dropped


def _compare_with_clock(state: _Camera[T]) -> None:
    """Report stamps that do not go with the clock."""
    assert state.latest is not None
    stamp, arrival, complaints = state.latest, state.arrival, state.complaints
    if stamp < FROM_ZERO <= arrival:
        text = f"stamps of camera '{state.name}' count from zero ({stamp / 1e9:.3f} s), this computer's clock does not"
        fix = f"Set use_sim_time to true when a simulator or a bag gives the time, else {BY_ARRIVAL}"
        complaints.report("stamps from zero", f"{text}. {fix}", once=True)
    else:
        complaints.settle("stamps from zero")
    if stamp > arrival + FUTURE:
        text = f"images of camera '{state.name}' are stamped {(stamp - arrival) / 1e9:.3f} s in the future"
        complaints.report(
            "future stamps", f"{text}. Synchronize the computers' clocks (chrony, PTP), or {BY_ARRIVAL}", once=True
        )
    else:
        complaints.settle("future stamps")

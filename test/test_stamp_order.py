"""One rule for time: strays change nothing, jumps are confirmed first, and drivers that stamp badly are told."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from spann3r_ros.complaints import Complaints, Severity
from spann3r_ros.stamp_order import CONFIRMED, FORGIVEN, FROM_ZERO, MOST_HELD, SECOND, StampOrder

NOW = 1_700_000_000 * SECOND
STEP = SECOND // 10
HOUR = 3600 * SECOND


class Camera:
    """Hands stamps to an order; all images come at once, as from a test, unless their arrivals are given."""

    def __init__(self, on_the_clock: bool = False) -> None:
        self.log: list[str] = []
        self.complaints = Complaints(lambda severity, text: self.log.append(text) if severity else None)
        self.order: StampOrder[int] = StampOrder(self.complaints, on_the_clock)
        self.taken: list[int] = []
        self.stamps: list[int] = []
        self.jumps: list[int] = []
        self.late = self.count = 0

    def see(
        self, stamps: Iterable[int | None], arrivals: Iterable[int] | None = None, camera: str = "front"
    ) -> list[int]:
        """The numbers of the images taken meanwhile, counted from the first that was ever seen."""
        before = len(self.taken)
        came = iter(arrivals) if arrivals is not None else None
        for stamp in stamps:
            found = self.order.observe(camera, stamp, NOW if came is None else next(came), self.count)
            self.count += 1
            self.late += found.late
            if found.jumped_to is not None:
                self.jumps.append(found.jumped_to)
            self.taken += [number for _, number in found.taken]
            self.stamps += [stamp for stamp, _ in found.taken]
        return self.taken[before:]

    @property
    def kinds(self) -> set[str]:
        return {each.kind for each in self.complaints.current()}


def steps(count: int, begin: int = NOW, step: int = STEP) -> list[int]:
    return [begin + number * step for number in range(count)]


def test_time_that_goes_on() -> None:
    camera = Camera()
    assert camera.see([*steps(5), NOW + 5 * SECOND]) == [0, 1, 2, 3, 4]
    assert camera.see([NOW + 5 * SECOND + STEP, NOW + 5 * SECOND + 2 * STEP]) == [5, 6, 7], "a pause of the recording"
    assert camera.late == 0 and camera.jumps == []


def test_a_pause_that_the_arrivals_show_holds_nothing_up() -> None:
    camera = Camera()
    stamps = [*steps(5), *steps(3, NOW + HOUR)]
    assert camera.see(stamps, stamps) == [*range(8)]
    slow = Camera()
    assert slow.see(steps(5, step=60 * SECOND), steps(5, step=60 * SECOND)) == [*range(5)]
    assert slow.see(steps(9, NOW + HOUR, 60 * SECOND))[:3] == [5, 6, 7], "and when it is played fast"


def test_an_image_out_of_order_is_late_and_no_jump() -> None:
    camera = Camera()
    camera.see([NOW])
    assert camera.see([NOW, NOW - STEP, NOW + 1]) == [3]
    assert camera.late == 2 and camera.jumps == []


@pytest.mark.fault("time", case="04")
@pytest.mark.fault("time", case="15")
@pytest.mark.parametrize(
    "offset", [-HOUR, -5 * SECOND, -SECOND, SECOND // 2, SECOND, 5 * SECOND, HOUR, 50 * 365 * 24 * HOUR]
)
@pytest.mark.parametrize("place", [1, 2, 7])
def test_a_stray_stamp_changes_nothing(offset: int, place: int) -> None:
    camera = Camera()
    stamps = steps(20)
    stamps[place] += offset
    others = [number for number in range(20) if number != place]
    camera.see(stamps)
    assert [number for number in camera.taken if number != place] == others, "no other image is lost"
    assert camera.jumps == [] and camera.late == 20 - len(camera.taken)


@pytest.mark.fault("time", case="04")
def test_a_first_image_of_the_future_costs_no_more_than_itself() -> None:
    camera = Camera()
    assert camera.see([NOW + HOUR, *steps(19)]) == [*range(20)]
    assert camera.jumps == [NOW], "what came of it goes when time is confirmed to be another"


@pytest.mark.fault("time", case="04")
@pytest.mark.parametrize("back", [SECOND // 2, 5 * SECOND, HOUR, NOW - 5 * SECOND])
def test_a_jump_back_is_confirmed_by_the_next_images_and_loses_none(back: int) -> None:
    camera = Camera()
    camera.see(steps(20))
    after = steps(20, NOW + 20 * STEP - back)
    assert camera.see(after[:2]) == [] and camera.jumps == []
    assert camera.see(after[2:]) == [*range(20, 40)]
    assert camera.jumps == [after[0]] and camera.stamps == steps(20) + after and camera.late == 0


def test_a_confirmed_jump_ahead_is_no_jump_back_and_loses_none() -> None:
    camera = Camera()
    assert camera.see([*steps(5), *steps(5, NOW + HOUR)]) == [*range(10)]
    assert camera.jumps == [] and camera.late == 0


@pytest.mark.fault("time", case="15")
@pytest.mark.parametrize("offset", [-HOUR, -SECOND, HOUR, 3 * SECOND])
@pytest.mark.parametrize("pattern", ["ab", "aab", "aabb", "random", "bursts"])
def test_of_two_clocks_in_turn_one_is_followed(offset: int, pattern: str) -> None:
    rng = random.Random(7)
    turns = {"random": [rng.random() < 0.5 for _ in range(600)], "bursts": [n // 4 % 2 == 1 for n in range(600)]}
    second = turns.get(pattern, [pattern[n % len(pattern)] == "b" for n in range(600)])
    camera = Camera()
    camera.see(NOW + number * STEP + offset * is_second for number, is_second in enumerate(second))
    assert len(camera.jumps) <= 2, "not a new map with every second image, for ever"
    assert len(camera.taken) >= min(second.count(True), second.count(False)) - 2 * MOST_HELD
    assert camera.late + len(camera.taken) + MOST_HELD >= 600 and "stray stamp" in camera.kinds


def test_stamps_at_random_are_dropped_and_told() -> None:
    rng = random.Random(1)
    camera = Camera()
    camera.see(rng.randrange(FROM_ZERO, 2 * NOW) for _ in range(200))
    assert camera.late > 150 and len(camera.jumps) < 3
    assert camera.kinds >= {"stray stamp"} and len(camera.log) == 1, "one line, not one an image"


def test_doubts_are_forgotten_after_many_images_in_order() -> None:
    camera = Camera()
    strays = [stamp for number in range(4) for stamp in (NOW + number * STEP, NOW - HOUR)]
    camera.see([*strays, NOW + 4 * STEP])
    assert camera.see(steps(CONFIRMED, NOW - HOUR)) == [], "after several strays more images are asked for"
    camera.see(steps(FORGIVEN, NOW + 5 * STEP))
    assert camera.late == 4 + CONFIRMED and camera.jumps == []
    camera.see(steps(CONFIRMED, NOW - HOUR))
    assert camera.jumps == [NOW - HOUR]


def test_a_looped_bag_of_two_cameras_jumps_once_per_loop() -> None:
    camera = Camera()
    for _ in range(3):
        for second in range(6):
            camera.see([NOW + second * SECOND], camera="left")
            camera.see([NOW + second * SECOND + 1000], camera="right")
    assert camera.jumps == [NOW, NOW]
    assert sorted(camera.taken) == [*range(36)]


@pytest.mark.fault("time", case="16")
def test_constant_stamps_are_told_once_and_until_they_go_on() -> None:
    camera = Camera()
    camera.see([NOW] * 24)
    assert camera.taken == [0] and camera.late == 23
    assert camera.kinds == {"constant stamps"} and len(camera.log) == 1
    assert "stamp:=arrival" in camera.log[0] and "--stamp arrival" in camera.log[0]
    camera.see(steps(2, NOW + STEP))
    assert camera.kinds == set() and len(camera.taken) == 3


def test_an_image_that_is_sent_twice_is_no_constant_stamp() -> None:
    camera = Camera()
    camera.see([stamp for stamp in steps(10) for _ in range(2)])
    assert len(camera.taken) == 10 and camera.late == 10 and camera.kinds == set()


@pytest.mark.fault("time", case="16")
def test_without_stamps_the_arrival_is_taken_and_told_once() -> None:
    camera = Camera(on_the_clock=True)
    assert camera.see([0] * 6, steps(6)) == [*range(6)]
    assert camera.stamps == steps(6) and camera.kinds == {"no stamp"} and len(camera.log) == 1
    camera.see(steps(1, NOW + SECOND), [NOW + SECOND])
    assert camera.kinds == set()


@pytest.mark.fault("time", case="03")
def test_stamps_may_begin_at_zero() -> None:
    camera = Camera()
    assert camera.see([number * STEP for number in range(20)]) == [*range(20)]
    assert camera.stamps == [number * STEP for number in range(20)] and camera.log == [] and camera.jumps == []
    again = [number * STEP for number in range(20)]
    assert camera.see(again) == [*range(20, 40)] and camera.jumps == [0], "and the simulator may be started again"


def test_a_first_image_without_a_stamp_comes_before_one_that_has_one() -> None:
    camera = Camera()
    assert camera.see([0, *steps(3, NOW - HOUR)]) == [0, 1, 2, 3]
    assert camera.stamps == [NOW - HOUR - 1, *steps(3, NOW - HOUR)] and camera.jumps == []


@pytest.mark.parametrize(
    ("begin", "kind", "fix"),
    [(STEP, "stamps from zero", "use_sim_time"), (NOW + 10 * SECOND, "future stamps", "chrony")],
)
@pytest.mark.fault("time", case="03")
def test_stamps_that_do_not_go_with_the_clock_are_told_once(begin: int, kind: str, fix: str) -> None:
    camera, simulated = Camera(on_the_clock=True), Camera()
    assert camera.see(steps(20, begin), steps(20)) == [*range(20)]
    [line] = camera.log
    assert camera.kinds == {kind} and fix in line and "stamp:=arrival" in line
    simulated.see(steps(20, begin), steps(20))
    assert simulated.log == []


def test_arrivals_of_a_slow_clock_still_count_up() -> None:
    camera = Camera(on_the_clock=True)
    assert camera.see([None] * 6, [NOW, NOW, NOW, NOW + STEP, NOW + STEP, NOW + 2 * STEP]) == [*range(6)]
    assert camera.stamps == [NOW, NOW + 1, NOW + 2, NOW + STEP, NOW + STEP + 1, NOW + 2 * STEP]


def test_the_end_of_a_recording_confirms_what_agrees() -> None:
    camera = Camera()
    camera.see([*steps(5), NOW + HOUR])
    assert camera.order.rest() == [(NOW + HOUR, 5)]
    camera.see(steps(2, NOW))
    assert [number for _, number in camera.order.rest()] == [6, 7]
    camera.see([NOW - HOUR])
    assert camera.order.rest() == [], "one that is alone in another time is a stray"
    camera.see([0], [NOW], camera="left")
    assert camera.order.rest() == [(NOW, 9)], "and one without a stamp came when it came"


def test_after_clear_any_time_is_welcome() -> None:
    camera = Camera()
    camera.see(steps(5))
    camera.order.clear()
    assert camera.see([NOW - HOUR]) == [5] and camera.jumps == []


def test_what_is_told_is_about_the_camera() -> None:
    camera = Camera()
    camera.see([NOW] * 9, camera="left")
    [complaint] = camera.complaints.current()
    assert (complaint.subject, complaint.severity) == ("camera left", Severity.WARNING)

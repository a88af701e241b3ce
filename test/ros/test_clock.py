from __future__ import annotations

from spann3r_ros.ros.clock import Arrival, StampOrder

SECOND = 1_000_000_000


def test_time_that_goes_on() -> None:
    order = StampOrder()
    assert [order.observe("a", stamp) for stamp in (0, 1, 5 * SECOND)] == [Arrival.NEXT] * 3


def test_an_image_out_of_order_is_late_and_no_jump() -> None:
    order = StampOrder()
    order.observe("a", 10 * SECOND)
    assert order.observe("a", 10 * SECOND) is Arrival.LATE
    assert order.observe("a", 10 * SECOND - 100_000_000) is Arrival.LATE
    assert order.observe("a", 10 * SECOND + 1) is Arrival.NEXT


def test_a_looped_bag_of_two_cameras_jumps_once_per_loop() -> None:
    order = StampOrder()
    outcomes = [
        order.observe(camera, second * SECOND + offset)
        for _ in range(3)
        for second in range(4)
        for camera, offset in (("left", 0), ("right", 1000))
    ]
    assert outcomes.count(Arrival.JUMP) == 2
    assert outcomes[8] is Arrival.JUMP
    assert outcomes[9] is Arrival.NEXT


def test_a_jump_of_the_clock_after_that_of_the_images_is_no_news() -> None:
    order = StampOrder()
    order.observe("a", 100 * SECOND)
    assert order.observe("a", 1 * SECOND) is Arrival.JUMP
    assert not order.clock_jumped_back(1 * SECOND)


def test_a_jump_of_the_clock_before_that_of_the_images_counts_once() -> None:
    order = StampOrder()
    order.observe("a", 100 * SECOND)
    order.observe("b", 100 * SECOND)
    assert order.clock_jumped_back(1 * SECOND)
    assert order.observe("a", 1 * SECOND) is Arrival.NEXT
    assert order.observe("b", 1 * SECOND) is Arrival.NEXT


def test_a_jump_of_the_clock_without_images_is_no_news() -> None:
    assert not StampOrder().clock_jumped_back(0)


def test_after_clear_any_time_is_welcome() -> None:
    order = StampOrder()
    order.observe("a", 100 * SECOND)
    order.clear()
    assert order.observe("a", 1 * SECOND) is Arrival.NEXT

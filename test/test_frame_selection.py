from __future__ import annotations

import numpy as np

from spann3r_ros.frame_selection import FrameSelection

SECOND = 1_000_000_000


def test_ten_hertz_of_a_jittering_thirty_hertz_camera_is_every_third_image() -> None:
    selection = FrameSelection()
    jitter = np.random.default_rng(0).integers(-1_500_000, 1_500_000, 90)
    image = np.zeros((48, 64, 3), np.uint8)
    taken = []
    for index in range(90):
        stamp = 10 * SECOND + index * SECOND // 30 + int(jitter[index])
        if selection.due(stamp, 10.0):
            selection.take(stamp, image, 0.0)
            taken.append(index)
    assert taken == list(range(0, 90, 3))


def test_no_limit_takes_all_and_time_that_goes_back_starts_anew() -> None:
    selection = FrameSelection()
    selection.take(5 * SECOND, np.zeros((4, 4, 3), np.uint8), 0.0)
    assert selection.due(5 * SECOND + 1, 0.0)
    assert not selection.due(5 * SECOND + 1, 1.0)
    assert selection.due(1 * SECOND, 1.0)


def test_motion_is_change_of_the_picture_and_not_of_the_exposure() -> None:
    generator = np.random.default_rng(1)
    picture = np.repeat(np.repeat(generator.integers(40, 200, (24, 32, 3), dtype=np.uint8), 20, 0), 20, 1)
    selection = FrameSelection()
    assert selection.moved(picture, 5.0)
    selection.take(0, picture, 5.0)
    assert not selection.moved(picture, 5.0)
    assert not selection.moved(picture + 30, 5.0)
    assert selection.moved(np.roll(picture, 20, axis=1), 5.0)
    assert selection.moved(picture, 0.0)
    assert selection.moved(picture[:, :320], 5.0)
    selection.clear()
    assert selection.moved(picture, 5.0)

from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.config import is_value_range
from spann3r_ros.geometry.value_range import bounds, to_8_bit

RAMP = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
THERMAL = (7534 + np.arange(1024) % 76).astype(np.uint16).reshape(32, 32)


def test_full_keeps_the_upper_byte() -> None:
    made, used = to_8_bit(RAMP, "full")
    np.testing.assert_array_equal(made, RAMP >> 8)
    assert used == (0, 65535)


@pytest.mark.fault("encodings", case="06")
def test_auto_makes_a_picture_of_a_thermal_image_and_leaves_one_that_uses_all_bits() -> None:
    assert len(np.unique(to_8_bit(THERMAL, "full")[0])) <= 2, "what was shown before"
    made, (low, high) = to_8_bit(THERMAL, "auto")
    assert (low, high) == (7534, 7609)
    assert len(np.unique(made)) == 76 and (made.min(), made.max()) == (0, 255)
    assert (np.diff(made[0].astype(int)) > 0).all(), "warmer is brighter"
    assert to_8_bit(RAMP, "auto")[1] == (0, 65535)


@pytest.mark.fault("encodings", case="06")
def test_a_given_range_is_the_same_for_all_images_and_clips() -> None:
    made, used = to_8_bit(np.array([[6999, 7000, 7500, 8000, 65535]], np.uint16), "7000..8000")
    np.testing.assert_array_equal(made, [[0, 0, 128, 255, 255]])
    assert used == (7000, 8000) == bounds("7000..8000")


def test_noise_is_not_blown_up_to_a_picture() -> None:
    made, (low, high) = to_8_bit(np.full((8, 8), 500, np.uint16), "auto")
    assert high - low >= 16 and np.unique(made).tolist() in ([127], [128])


@pytest.mark.parametrize("text", ["", "Full", "5", "5..", "..5", "9..5", "5..5", "-1..5", "0..65536", "1.5..2"])
def test_other_words_are_no_range(text: str) -> None:
    assert not is_value_range(text)
    assert all(map(is_value_range, ("full", "auto", "0..1", "7000..65535")))

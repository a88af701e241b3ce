"""A clock that is set back while a bag is recorded does not mix the halves of the recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionMode

from spann3r_ros.recordings.bag_reader import BagReader

TOPIC, INFO = "/camera/image_raw", "/camera/camera_info"
START, STEP = 1_700_000_000_000_000_000, 100_000_000
STAMPS = [*(START + number * STEP for number in range(8)), *(START + number * STEP - 4 * 10**9 for number in range(8))]

Make = Callable[..., Any]


@pytest.mark.fault("time", case="04")
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.MESSAGE])
def test_the_order_of_recording_counts(
    storage: str,
    compression: CompressionMode,
    tmp_path: Path,
    messages: Make,
    tiny_picture: Callable[[int], np.ndarray],
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = messages()
    for number, stamp in enumerate(STAMPS):
        content.camera_info(INFO, stamp)
        content.image(TOPIC, stamp, tiny_picture(number))
    with BagReader(content.write(tmp_path / "bag", storage=storage, compression=compression)) as reader:
        frames = list(reader.frames(TOPIC))
        window = [message.time for message in reader.raw([INFO], START - 4 * 10**9, START)]
    assert [frame.stamp for frame in frames] == STAMPS
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, tiny_picture(number))
    assert window == STAMPS[8:]
    assert "the clock was set back meanwhile" in caplog.text


def test_topics_that_are_written_one_after_the_other_are_no_clock_set_back(
    tmp_path: Path, messages: Make, tiny_picture: Callable[[int], np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    content = messages()
    for number in range(8):
        content.image(TOPIC, START + number * STEP, tiny_picture(number))
    for number in range(8):
        content.camera_info(INFO, START + number * STEP)
    with BagReader(content.write(tmp_path / "bag")) as reader:
        times = [message.time for message in reader.raw([])]
    assert times == sorted(times) and "set back" not in caplog.text

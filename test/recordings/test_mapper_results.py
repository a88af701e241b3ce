"""A bag that was recorded with ``-a`` while a mapper ran."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spann3r_ros.recordings.bag_reader import BagReader
from spann3r_ros.recordings.mapper_results import MapperResults
from spann3r_ros.sim3 import Sim3

START = 1_700_000_000_000_000_000

Make = Callable[..., Any]


@pytest.mark.fault("recordings", case="14")
def test_results_are_told_from_input(tmp_path: Path, messages: Make) -> None:
    content = messages()
    content.image("/camera/image_raw", START, np.zeros((4, 4, 3), np.uint8))
    content.pose_stamped("/spann3r/pose", START + 1, Sim3())
    content.pose_stamped("/spann3r_other/pose", START + 2, Sim3())
    content.tf("/tf", START + 3, "/map", "camera_optical_frame", Sim3())
    content.tf("/tf", START + 4, "odom", "base_link", Sim3())
    content.tf("/tf_static", START + 5, "map", "building", Sim3())
    both = [content.transform(START + 6, "map", "odom", Sim3()), content.transform(START + 6, "odom", "base", Sim3())]
    content.add("/tf", START + 6, content.make("tf2_msgs/TFMessage", transforms=both))
    with BagReader(content.write(tmp_path / "bag")) as reader:
        results = MapperResults(reader, "/spann3r", ["map"])
        given = {message.time - START: results.input_of(message) for message in reader.raw([])}
        kept = {time for time, data in given.items() if data is not None}
        assert kept == {0, 2, 4, 5, 6}
        (mixed,) = (message for message in reader.raw(["/tf"]) if message.time == START + 6)
        (left,) = reader._types.deserialize_cdr(given[6], "tf2_msgs/msg/TFMessage").transforms
        assert (left.header.frame_id, left.child_frame_id) == ("odom", "base")
        assert results.left_out == {"/spann3r/pose": 1, "/tf": 2}
        named = MapperResults(reader, "/spann3r", ["map"], wanted=["/spann3r/pose", "/tf"])
        assert not named.is_result("/spann3r/pose") and named.input_of(mixed) == mixed.data

"""Which topic of a bag holds the pictures: types and encodings tell, not names."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.recordings import bag_sequence

START = 1_700_000_000_000_000_000
COLOR = np.zeros((4, 4, 3), np.uint8)
DEPTH = np.full((4, 4), 1500, np.uint16)

Make = Callable[..., Any]


@pytest.mark.fault("recordings", case="24")
@pytest.mark.parametrize(
    ("color", "depth"),
    [
        ("/depth_cam/rgb/image_raw", "/depth_cam/depth/image_raw"),
        ("/oak_depth/image", "/oak_depth/stereo"),
        ("/robot/depthai/color/image_raw", "/robot/depthai/stereo/image_raw"),
        ("/cam/image_raw", "/cam/aligned/image_raw"),
    ],
)
def test_encodings_tell_depth_from_pictures(tmp_path: Path, messages: Make, color: str, depth: str) -> None:
    content = messages()
    content.image(color, START, COLOR)
    content.image(depth, START, DEPTH, encoding="16UC1")
    sequence = bag_sequence.load(content.write(tmp_path / "bag"))
    truth = sequence.ground_truth()
    assert sequence.topic == color
    assert truth is not None and truth.origin == depth
    np.testing.assert_allclose(truth.read_depth(0).depth, 1.5)


def test_colored_depth_is_no_second_camera(tmp_path: Path, messages: Make) -> None:
    content = messages()
    content.image("/camera/color/image_raw", START, COLOR)
    content.image("/camera/depth/image_colored", START, COLOR)
    assert bag_sequence.load(content.write(tmp_path / "bag")).topic == "/camera/color/image_raw"


@pytest.mark.fault("recordings", case="18")
def test_no_images_is_said_with_what_is_there(tmp_path: Path, messages: Make) -> None:
    content = messages()
    content.camera_info("/camera/camera_info", START)
    with pytest.raises(DataError, match=r"no images in[\s\S]*camera_info \[sensor_msgs"):
        bag_sequence.load(content.write(tmp_path / "bag"))


@pytest.mark.fault("recordings", case="18")
@pytest.mark.parametrize(
    ("kind", "encoding", "hint"),
    [
        ("foxglove.CompressedImage", "protobuf", "serialized as protobuf"),
        ("ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "cdr", "image_transport republish ffmpeg raw"),
        ("theora_image_transport/msg/Packet", "cdr", "image_transport republish theora raw"),
        ("foxglove_msgs/msg/CompressedVideo", "cdr", "image_transport republish ffmpeg raw"),
        ("foxglove_msgs/msg/CompressedImage", "cdr", "topic_tools transform /pictures"),
    ],
)
def test_pictures_in_other_messages_are_named_with_the_command(
    tmp_path: Path, messages: Make, kind: str, encoding: str, hint: str
) -> None:
    content = messages()
    content.image("/pictures", START, COLOR)
    file = next(content.write(tmp_path / "bag", "sqlite3").glob("*.db3"))
    with sqlite3.connect(file) as base:
        base.execute("UPDATE topics SET type = ?, serialization_format = ?", (kind, encoding))
    base.close()
    with pytest.raises(DataError, match=hint):
        bag_sequence.load(file)
    with pytest.raises(DataError, match=hint):
        bag_sequence.load(file, topic="/pictures")

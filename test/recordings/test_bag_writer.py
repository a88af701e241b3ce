"""What is written is what a reader finds, to the byte."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.axes import rotation_from_quaternion
from spann3r_ros.recordings.bag_writer import BagWriter
from spann3r_ros.sim3 import Sim3

STAMP = 1_234_567_890_987_654_321
INTRINSICS = Intrinsics(20.0, 21.0, 7.5, 5.5, 16, 12)
POSE = Sim3.rigid(rotation_from_quaternion(np.array([0.1, -0.7, 0.1, 0.7])), np.array([1.0, -2.0, 0.5]))


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)


def write(path: Path) -> None:
    with BagWriter(path) as writer:
        writer.transforms(STAMP, [("base_link", "camera_optical_frame", POSE)], static=True)
        for n in range(3):
            stamp = STAMP + n * 100_000_000
            writer.camera_info("/camera/camera_info", stamp, "camera_optical_frame", INTRINSICS, (0.1, -0.2))
            writer.image("/camera/image_raw", stamp, "camera_optical_frame", picture())
            writer.compressed_image("/camera/image_raw/compressed", stamp, "camera_optical_frame", picture(), 80)
            writer.depth("/meters", stamp, "camera_optical_frame", np.full((12, 16), 1.2345678))
            writer.depth("/millimeters", stamp, "camera_optical_frame", depth_image(), "16UC1")
            writer.transforms(stamp, [("odom", "base_link", POSE), ("base_link", "lidar", Sim3())])
            writer.pose("/ground_truth/pose", stamp, "map", POSE)


def depth_image() -> np.ndarray:
    depth = np.full((12, 16), 2.0004)
    depth[0, :5] = (np.nan, np.inf, 0.0, 65.535, 65.6)
    return depth


def read(path: Path) -> dict[str, list]:
    types = get_typestore(Stores.LATEST)
    messages: dict[str, list] = {}
    with Reader(path) as reader:
        for connection, time, data in reader.messages():
            message = types.deserialize_cdr(data, connection.msgtype)
            messages.setdefault(connection.topic, []).append((time, message))
    return messages


def test_messages_read_back_equal(tmp_path) -> None:
    write(tmp_path / "bag")
    found = read(tmp_path / "bag")
    assert {topic: len(entries) for topic, entries in found.items()} == {
        "/tf_static": 1,
        "/camera/camera_info": 3,
        "/camera/image_raw": 3,
        "/camera/image_raw/compressed": 3,
        "/meters": 3,
        "/millimeters": 3,
        "/tf": 3,
        "/ground_truth/pose": 3,
    }
    time, image = found["/camera/image_raw"][2]
    assert time == STAMP + 200_000_000
    assert image.header.stamp.sec * 1_000_000_000 + image.header.stamp.nanosec == time
    assert (image.header.frame_id, image.encoding, image.step) == ("camera_optical_frame", "rgb8", 48)
    np.testing.assert_array_equal(image.data.reshape(12, 16, 3), picture())

    info = found["/camera/camera_info"][0][1]
    assert (info.width, info.height, info.distortion_model) == (16, 12, "plumb_bob")
    np.testing.assert_array_equal(info.k.reshape(3, 3), INTRINSICS.matrix())
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, :3], INTRINSICS.matrix())
    np.testing.assert_array_equal(info.d, [0.1, -0.2, 0, 0, 0])

    compressed = found["/camera/image_raw/compressed"][0][1]
    _, expected = cv2.imencode(".jpg", picture()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert "jpeg" in compressed.format
    np.testing.assert_array_equal(compressed.data, expected.reshape(-1))

    pose = found["/ground_truth/pose"][0][1]
    assert pose.header.frame_id == "map"
    position, turn = pose.pose.position, pose.pose.orientation
    np.testing.assert_allclose([position.x, position.y, position.z], POSE.translation)
    read_rotation = rotation_from_quaternion(np.array([turn.x, turn.y, turn.z, turn.w]))
    np.testing.assert_allclose(read_rotation, POSE.rotation, atol=1e-12)


def test_depth_in_meters_and_millimeters(tmp_path) -> None:
    write(tmp_path / "bag")
    found = read(tmp_path / "bag")
    meters = found["/meters"][0][1]
    assert meters.encoding == "32FC1"
    np.testing.assert_array_equal(meters.data.view(np.float32), np.float32(1.2345678))
    millimeters = found["/millimeters"][0][1]
    assert millimeters.encoding == "16UC1"
    values = millimeters.data.view(np.uint16).reshape(12, 16)
    np.testing.assert_array_equal(values[0, :6], [0, 0, 0, 65535, 0, 2000])


def test_transforms_and_their_durability(tmp_path) -> None:
    write(tmp_path / "bag")
    found = read(tmp_path / "bag")
    links = [(link.header.frame_id, link.child_frame_id) for link in found["/tf"][0][1].transforms]
    assert links == [("odom", "base_link"), ("base_link", "lidar")]
    fixed = found["/tf_static"][0][1].transforms[0]
    np.testing.assert_allclose(fixed.transform.translation.y, -2.0)
    with Reader(tmp_path / "bag") as reader:
        offered = {c.topic: c.ext.offered_qos_profiles[0].durability for c in reader.connections}
    assert offered["/tf_static"] == QosDurability.TRANSIENT_LOCAL
    assert offered["/tf"] == QosDurability.VOLATILE


def test_the_same_content_is_the_same_bytes(tmp_path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / "bag")
    for file in ("bag.mcap", "metadata.yaml"):
        assert (tmp_path / "a" / "bag" / file).read_bytes() == (tmp_path / "b" / "bag" / file).read_bytes()


def test_what_cannot_be_written_is_refused(tmp_path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="expected a new folder"):
        BagWriter(tmp_path / "there")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        BagWriter(tmp_path / "file" / "bag")
    with BagWriter(tmp_path / "bag") as writer:
        writer.pose("/a", STAMP, "map", POSE)
        with pytest.raises(DataError, match="type of topic /a"):
            writer.image("/a", STAMP, "camera", picture())
        with pytest.raises(DataError, match=r"1\.\.100"):
            writer.compressed_image("/b", STAMP, "camera", picture(), 0)
        with pytest.raises(DataError, match=r"32FC1 \| 16UC1"):
            writer.depth("/c", STAMP, "camera", depth_image(), "mono8")
    assert set(read(tmp_path / "bag")) == {"/a"}


def test_an_unfinished_bag_is_not_taken_for_a_whole_one(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="power"), BagWriter(tmp_path / "bag") as writer:
        writer.pose("/a", STAMP, "map", POSE)
        raise RuntimeError("power")
    assert not (tmp_path / "bag" / "metadata.yaml").exists()

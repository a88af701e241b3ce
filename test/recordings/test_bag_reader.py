import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionMode
from rosbags.typesys import Stores, get_typestore

from spann3r_ros.config import ImageConfig
from spann3r_ros.errors import DataError
from spann3r_ros.geometry.camera import resize
from spann3r_ros.geometry.camera_info import camera_info_topic
from spann3r_ros.recordings.bag_reader import NOT_LATER, BagReader
from spann3r_ros.recordings.raw_message import header_stamp
from spann3r_ros.recordings.source import SourceOptions, open_source

TOPIC = "/camera/image_raw"
START = 1_700_000_000_123_456_789
STEP = 100_000_000

Make = Callable[..., Any]
Picture = Callable[[int], np.ndarray]


@pytest.fixture
def recording(messages: Make, tiny_picture: Picture) -> Any:
    content = messages()
    for number in range(5):
        content.camera_info("/camera/camera_info", START + number * STEP)
        content.image(TOPIC, START + number * STEP, tiny_picture(number))
    return content


def check_frames(path: Path, picture: Picture) -> None:
    with BagReader(path) as reader:
        frames = list(reader.frames(TOPIC))
    assert [frame.stamp for frame in frames] == [START + number * STEP for number in range(5)]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, picture(number))
        assert frame.camera == "camera_optical_frame"
        assert frame.intrinsics is not None and (frame.intrinsics.fx, frame.intrinsics.cx) == (20.0, 7.5)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.MESSAGE, CompressionMode.FILE])
def test_frames_of_every_storage(
    tmp_path: Path, recording: Any, tiny_picture: Picture, storage: str, compression: CompressionMode
) -> None:
    if storage == "mcap" and compression != CompressionMode.NONE:
        compression = CompressionMode.STORAGE  # mcap compresses its own chunks
    check_frames(recording.write(tmp_path / "bag", storage, compression), tiny_picture)


@pytest.mark.parametrize("store", [Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY, Stores.ROS2_KILTED, Stores.ROS2_LYRICAL])
def test_bags_of_several_distributions(tmp_path: Path, messages: Make, tiny_picture: Picture, store: Stores) -> None:
    content = messages(store)
    for number in range(5):
        content.camera_info("/camera/camera_info", START + number * STEP)
        content.image(TOPIC, START + number * STEP, tiny_picture(number))
    check_frames(content.write(tmp_path / "bag"), tiny_picture)


def test_split_bag_without_metadata(
    tmp_path: Path, messages: Make, tiny_picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    for part, numbers in enumerate([range(3), range(3, 5)]):
        content = messages()
        for number in numbers:
            content.camera_info("/camera/camera_info", START + number * STEP)
            content.image(TOPIC, START + number * STEP, tiny_picture(number))
        written = content.write(tmp_path / f"part{part}")
        next(written.glob("*.mcap")).rename(folder / f"split_{part}.mcap")
    with caplog.at_level(logging.WARNING):
        check_frames(folder, tiny_picture)
    assert "no metadata.yaml: its 2 files" in caplog.text
    with BagReader(folder) as reader:
        assert reader.topics[TOPIC].count == 5
        assert reader.duration == 4 * STEP


def test_one_storage_file(tmp_path: Path, recording: Any, tiny_picture: Picture) -> None:
    check_frames(next(recording.write(tmp_path / "bag").glob("*.mcap")), tiny_picture)


def test_every_second_frame(tmp_path: Path, recording: Any, tiny_picture: Picture) -> None:
    with BagReader(recording.write(tmp_path / "bag")) as reader:
        frames = list(reader.frames(TOPIC, every=2))
    assert [(frame.index, frame.stamp) for frame in frames] == [(i, START + 2 * i * STEP) for i in range(3)]
    np.testing.assert_array_equal(frames[1].image, tiny_picture(2))


def test_compressed_images(tmp_path: Path, messages: Make, tiny_picture: Picture) -> None:
    content = messages()
    content.camera_info("/camera/camera_info", START)
    content.compressed(TOPIC + "/compressed", START, tiny_picture(3))
    with BagReader(content.write(tmp_path / "bag")) as reader:
        (frame,) = reader.frames(TOPIC + "/compressed")
    np.testing.assert_array_equal(frame.image, tiny_picture(3))
    assert frame.intrinsics is not None and frame.intrinsics.fx == 20.0


def test_distorted_images_are_rectified(tmp_path: Path, messages: Make, tiny_picture: Picture) -> None:
    content = messages()
    content.camera_info("/camera/camera_info", START, distortion=[-0.3, 0.1, 0.0, 0.0, 0.0])
    content.image(TOPIC, START, tiny_picture(1))
    content.image("/camera/image_rect", START, tiny_picture(1))
    with BagReader(content.write(tmp_path / "bag")) as reader:
        (raw,) = reader.frames(TOPIC)
        (rectified,) = reader.frames("/camera/image_rect")
        _, maps = reader.calibration(TOPIC)
    assert maps is not None
    np.testing.assert_array_equal(raw.image, maps.apply(tiny_picture(1)))
    assert raw.intrinsics == maps.intrinsics
    np.testing.assert_array_equal(rectified.image, tiny_picture(1))
    assert rectified.intrinsics is not None and rectified.intrinsics.fx == 18.0  # P, not K


def test_calibration_of_another_size_is_ignored(
    tmp_path: Path, messages: Make, tiny_picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    content = messages()
    content.camera_info("/camera/camera_info", START, width=32)
    content.image(TOPIC, START, tiny_picture(1))
    with BagReader(content.write(tmp_path / "bag")) as reader:
        (frame,) = reader.frames(TOPIC)
    assert frame.intrinsics is None
    assert "another image size" in caplog.text


def test_a_calibration_that_changes_is_followed(tmp_path: Path, messages: Make, tiny_picture: Picture) -> None:
    content = messages()
    for number, distortion in enumerate([[], [], [-0.3, 0.1, 0.0, 0.0, 0.0], []]):
        content.camera_info("/camera/camera_info", START + number * STEP, distortion)
        content.image(TOPIC, START + number * STEP, tiny_picture(number))
    with BagReader(content.write(tmp_path / "bag")) as reader:
        focal = [frame.intrinsics.fx for frame in reader.frames(TOPIC) if frame.intrinsics]
    assert focal[0] == focal[1] == focal[3] == 20.0 != focal[2]


def test_a_calibration_of_no_camera_is_ignored(
    tmp_path: Path, messages: Make, tiny_picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    content = messages()
    content.camera_info("/camera/camera_info", START, distortion=[1e9, 1e9, 0.0, 0.0, 0.0])
    content.image(TOPIC, START, tiny_picture(0))
    with BagReader(content.write(tmp_path / "bag")) as reader:
        (frame,) = reader.frames(TOPIC)
        assert reader.skipped["unusable calibration"] == 1
    assert frame.intrinsics is None and "unusable calibration" in caplog.text


def test_unusable_images_are_skipped_and_counted(
    tmp_path: Path, messages: Make, tiny_picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    content = messages()
    content.image(TOPIC, START, tiny_picture(0))
    content.image(TOPIC, START + 2 * STEP, tiny_picture(2))
    content.image(TOPIC, START + STEP, tiny_picture(1))
    content.image(TOPIC, START + 3 * STEP, np.zeros((4, 4), np.float32), encoding="32FC1")
    content.image(TOPIC, START + 4 * STEP, tiny_picture(4))
    with BagReader(content.write(tmp_path / "bag")) as reader:
        frames = list(reader.frames(TOPIC))
        skipped = dict(reader.skipped)
    assert [frame.stamp - START for frame in frames] == [0, 2 * STEP, 4 * STEP]
    assert skipped["image cannot be used"] == 1
    assert "32FC1" in caplog.text


def test_unordered_stamps_are_skipped_and_counted(tmp_path: Path, messages: Make, tiny_picture: Picture) -> None:
    content = messages()
    for number, late in enumerate([0, 2, 1, 2, 3]):
        content.image(TOPIC, START + late * STEP, tiny_picture(late))
        topic, kind, _, data = content.entries[-1]
        content.entries[-1] = (topic, kind, START + number * STEP, data)
    with BagReader(content.write(tmp_path / "bag")) as reader:
        frames = list(reader.frames(TOPIC))
        assert dict(reader.skipped) == {"stamp not later than the one before": 2}
    assert [frame.stamp for frame in frames] == [START, START + 2 * STEP, START + 3 * STEP]


def with_stamps(messages: Make, tiny_picture: Picture, stamps: list[int]) -> Any:
    """An image of each stamp, recorded one step after the other."""
    content = messages()
    for number, stamp in enumerate(stamps):
        content.image(TOPIC, stamp, tiny_picture(number))
        topic, kind, _, data = content.entries[-1]
        content.entries[-1] = (topic, kind, START + number * STEP, data)
    return content


@pytest.mark.fault("time", case="03")
@pytest.mark.fault("time", case="04")
@pytest.mark.parametrize("begin", [0, START])
def test_after_a_jump_of_time_the_order_of_recording_counts(
    tmp_path: Path, messages: Make, tiny_picture: Picture, begin: int, caplog: pytest.LogCaptureFixture
) -> None:
    stamps = [begin + number * STEP for number in range(6)] * 2
    with BagReader(with_stamps(messages, tiny_picture, stamps).write(tmp_path / "bag")) as reader:
        frames = list(reader.frames(TOPIC))
        assert not reader.skipped
    assert [frame.stamp for frame in frames] == stamps and [frame.index for frame in frames] == [*range(12)]
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, tiny_picture(number))
    assert f"jumped back to {begin / 1e9:.3f} s: the order of recording counts" in caplog.text


@pytest.mark.fault("time", case="04")
@pytest.mark.parametrize(("place", "offset"), [(0, 3600), (3, 3600), (3, -3600), (9, -3600)])
def test_a_stray_stamp_costs_no_other_image(
    tmp_path: Path, messages: Make, tiny_picture: Picture, place: int, offset: int
) -> None:
    stamps = [START + number * STEP for number in range(10)]
    stamps[place] += offset * 10**9
    with BagReader(with_stamps(messages, tiny_picture, stamps).write(tmp_path / "bag")) as reader:
        found = [frame.stamp for frame in reader.frames(TOPIC)]
        assert len(found) + reader.skipped[NOT_LATER] >= 9
    assert [stamp for stamp in stamps if stamp != stamps[place]] == [stamp for stamp in found if stamp != stamps[place]]


@pytest.mark.fault("time", case="16")
def test_constant_stamps_are_told_with_the_option_that_helps(
    tmp_path: Path, messages: Make, tiny_picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    path = with_stamps(messages, tiny_picture, [START] * 8).write(tmp_path / "bag")
    with BagReader(path) as reader:
        assert len(list(reader.frames(TOPIC))) == 1 and reader.skipped == {NOT_LATER: 7}
    assert "--stamp arrival" in caplog.text
    frames = list(open_source(SourceOptions(path, stamp="arrival")).frames())
    assert [frame.stamp for frame in frames] == [START + number * STEP for number in range(8)]


def test_missing_stamp_is_the_time_of_recording(tmp_path: Path, messages: Make, tiny_picture: Picture) -> None:
    content = messages()
    content.image(TOPIC, 0, tiny_picture(1))
    topic, kind, _, data = content.entries[0]
    content.entries[0] = (topic, kind, START, data)
    with BagReader(content.write(tmp_path / "bag")) as reader:
        assert header_stamp(next(reader.raw([TOPIC]))) == START
        assert reader.stamps(TOPIC).tolist() == [START]


def test_unknown_topic_lists_those_that_exist(tmp_path: Path, recording: Any) -> None:
    with BagReader(recording.write(tmp_path / "bag", empty_topics=[("/silent", "sensor_msgs/msg/Image")])) as reader:
        with pytest.raises(DataError, match=r"/nothing.*\n.*camera_info \[sensor_msgs/msg/CameraInfo\] 5\n.*Image\] 5"):
            next(reader.frames("/nothing"))
        with pytest.raises(DataError, match="no such topic"):
            next(reader.frames("/silent"))
        with pytest.raises(DataError, match=r"type of topic /camera/camera_info.*Image"):
            next(reader.frames("/camera/camera_info"))


def test_images_that_are_all_unusable(tmp_path: Path, messages: Make) -> None:
    content = messages()
    content.image(TOPIC, START, np.zeros((4, 4), np.float32), encoding="32FC1")
    with BagReader(content.write(tmp_path / "bag")) as reader, pytest.raises(DataError, match=r"1 x image cannot"):
        list(reader.frames(TOPIC))


@pytest.mark.fault("encodings", case="09")
def test_images_are_decoded_and_named_as_by_the_node(
    tmp_path: Path, messages: Make, tiny_picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    content = messages()
    for number in range(3):
        content.image(TOPIC, START + number * STEP, tiny_picture(number), frame="/camera")
    path = content.write(tmp_path / "bag")
    with BagReader(path) as reader:
        message = reader.decode(next(reader.raw([TOPIC])))
        message.step = 0
        np.testing.assert_array_equal(reader.decoder.raw(message), tiny_picture(0))
        assert "step 0, which cannot be" in caplog.text
        assert {frame.camera for frame in reader.frames(TOPIC)} == {"camera"}
        reader.decoder.config = ImageConfig(max_pixels=tiny_picture(0)[..., 0].size - 1)
        with pytest.raises(DataError, match="3 x image cannot be used"):
            list(reader.frames(TOPIC))


@pytest.mark.fault("calibration", case="08")
def test_a_calibration_of_twice_the_size_is_scaled_and_told(
    tmp_path: Path, messages: Make, tiny_picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    content = messages()
    content.camera_info("/camera/camera_info", START)
    for number in range(3):
        content.image(TOPIC, START + number * STEP, tiny_picture(number)[::2, ::2].copy())
    with BagReader(content.write(tmp_path / "bag")) as reader:
        full, _ = reader.calibration(TOPIC)
        frames = list(reader.frames(TOPIC))
    assert full is not None
    assert [frame.intrinsics for frame in frames] == [resize(full, full.width // 2, full.height // 2)] * 3
    assert caplog.text.count("camera_info is scaled") == 1


def test_empty_bag(tmp_path: Path, messages: Make) -> None:
    path = messages().write(tmp_path / "bag", empty_topics=[(TOPIC, "sensor_msgs/msg/Image")])
    with pytest.raises(DataError, match="without messages"):
        BagReader(path)


@pytest.mark.parametrize("keep", [0.0, 0.001])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_file_of_which_nothing_is_left(tmp_path: Path, recording: Any, keep: float, storage: str) -> None:
    path = recording.write(tmp_path / "bag", storage)
    cut_off(path, keep)
    with pytest.raises(DataError, match=r"cannot be read.*whole \.mcap, \.db3|Nothing of it is whole"):
        BagReader(path)


@pytest.mark.fault("recordings", case="02")
@pytest.mark.parametrize("with_metadata", [True, False])
@pytest.mark.parametrize(("storage", "compression"), [("mcap", "NONE"), ("mcap", "STORAGE"), ("sqlite3", "NONE")])
def test_what_is_whole_of_a_torn_file_is_read(
    tmp_path: Path, messages: Make, storage: str, compression: str, with_metadata: bool
) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (200, 200, 3), dtype=np.uint8) for _ in range(12)]
    content = messages()
    for number, pixels in enumerate(pictures):
        content.image(TOPIC, START + number * STEP, pixels)
    path = content.write(tmp_path / "bag", storage, CompressionMode[compression])
    cut_off(path, 0.6)
    if not with_metadata:
        (path / "metadata.yaml").unlink()
    with BagReader(path) as reader:
        frames = list(reader.frames(TOPIC))
        lost = reader.missing.total()
        (reason,) = reader.missing
    assert 4 < len(frames) < 9
    assert [frame.stamp for frame in frames] == [START + number * STEP for number in range(len(frames))]
    for frame, pixels in zip(frames, pictures, strict=False):
        np.testing.assert_array_equal(frame.image, pixels)
    assert "cut off" in reason
    assert lost == (12 - len(frames) if with_metadata else 1)  # nobody counted: at least one


@pytest.mark.fault("recordings", case="02")
def test_a_file_without_its_end_that_holds_all_messages_lacks_nothing(tmp_path: Path, recording: Any) -> None:
    path = recording.write(tmp_path / "bag")
    file = next(path.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:-20])
    with BagReader(path) as reader:
        assert len(list(reader.frames(TOPIC))) == 5
        assert not reader.missing


@pytest.mark.fault("recordings", case="02")
@pytest.mark.parametrize("damage", ["hole", "flipped bit"])
def test_chunks_around_a_damaged_one_are_read(tmp_path: Path, messages: Make, damage: str) -> None:
    rng = np.random.default_rng(0)
    content = messages()
    for number in range(40):
        content.image(TOPIC, START + number * STEP, rng.integers(0, 255, (200, 200, 3), dtype=np.uint8))
    path = content.write(tmp_path / "bag", compression=CompressionMode.STORAGE)
    file = next(path.glob("*.mcap"))
    damaged = bytearray(file.read_bytes())
    middle = len(damaged) // 2
    if damage == "hole":
        damaged[middle : middle + 100_000] = bytes(100_000)
    else:
        damaged[middle] ^= 1
    file.write_bytes(damaged)
    with BagReader(path) as reader:
        stamps = [(frame.stamp - START) // STEP for frame in reader.frames(TOPIC)]
        if damage == "hole":
            assert reader.missing.total() == 40 - len(stamps) > 0
    assert stamps[0] == 0 and stamps[-1] == 39 and sorted(set(stamps)) == stamps


@pytest.mark.fault("recordings", case="04")
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_messages_come_in_the_order_of_recording(tmp_path: Path, messages: Make, storage: str) -> None:
    """Also when the recorder's clock was set back meanwhile."""
    times = [START + number * STEP - (50 * STEP if number > 4 else 0) for number in range(10)]
    content = messages()
    for number, time in enumerate(times):
        content.image(TOPIC, time, np.full((4, 4, 3), number, np.uint8))
    with BagReader(content.write(tmp_path / "bag", storage)) as reader:
        assert [message.time for message in reader.raw([TOPIC])] == times


@pytest.mark.fault("time", case="03")
def test_a_clock_that_begins_at_zero_is_no_missing_stamp(tmp_path: Path, messages: Make) -> None:
    content = messages()
    for number in range(5):
        content.image(TOPIC, number * STEP, np.full((4, 4, 3), number, np.uint8))
        topic, kind, _, data = content.entries[-1]
        content.entries[-1] = (topic, kind, START + number * STEP, data)
    with BagReader(content.write(tmp_path / "bag")) as reader:
        assert [frame.stamp for frame in reader.frames(TOPIC)] == [number * STEP for number in range(5)]
        assert not reader.skipped


@pytest.mark.fault("recordings", case="18")
def test_bags_of_ros_1(tmp_path: Path, tiny_picture: Picture) -> None:
    types = get_typestore(Stores.ROS1_NOETIC)
    made = {name.rpartition("/")[2]: kind for name, kind in types.types.items() if name.startswith(("sensor", "std"))}
    stamp = types.types["builtin_interfaces/msg/Time"](sec=1_700_000_000, nanosec=5)
    header = made["Header"](seq=7, stamp=stamp, frame_id="camera_optical_frame")
    pixels = tiny_picture(3)
    height, width, _ = pixels.shape
    image = made["Image"](header, height, width, "rgb8", 0, 3 * width, pixels.ravel())
    roi = made["RegionOfInterest"](0, 0, 0, 0, False)
    k = np.array([20.0, 0, 7.5, 0, 20.0, 5.5, 0, 0, 1])
    info = made["CameraInfo"](
        header, height, width, "plumb_bob", np.zeros(5), k, np.eye(3).ravel(), np.zeros(12), 0, 0, roi
    )
    with Ros1Writer(tmp_path / "a.bag") as writer:
        for topic, message in ((TOPIC, image), ("/camera/camera_info", info)):
            connection = writer.add_connection(topic, message.__msgtype__, typestore=types)
            writer.write(connection, START, types.serialize_ros1(message, message.__msgtype__))
    with BagReader(tmp_path / "a.bag") as reader:
        (frame,) = reader.frames(TOPIC)
    np.testing.assert_array_equal(frame.image, pixels)
    assert (frame.stamp, frame.camera) == (1_700_000_000_000_000_005, "camera_optical_frame")
    assert frame.intrinsics is not None and frame.intrinsics.fx == 20.0
    (tmp_path / "cut.bag").write_bytes((tmp_path / "a.bag").read_bytes()[:5000])
    with pytest.raises(DataError, match="rosbag reindex"):
        BagReader(tmp_path / "cut.bag")


def test_what_is_no_bag(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such bag"):
        BagReader(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"not a bag.*metadata\.yaml"):
        BagReader(tmp_path / "empty")
    (tmp_path / "empty" / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    with pytest.raises(DataError, match=r"not a bag.*\.mcap or \.db3 files"):
        BagReader(tmp_path / "empty")


def cut_off(bag: Path, share: float) -> None:
    """Leave only the first part of its storage file."""
    file = next(entry for entry in bag.iterdir() if entry.suffix in (".mcap", ".db3"))
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])


def test_where_the_calibration_is_looked_for() -> None:
    assert camera_info_topic("/a/b/image_raw") == "/a/b/camera_info"
    assert camera_info_topic("/a/b/image_raw/compressed") == "/a/b/camera_info"
    assert camera_info_topic("/image") == "/camera_info"

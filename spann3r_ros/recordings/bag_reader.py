"""Reading bags (sqlite3 and mcap of Humble to Lyrical, compressed, split, cut off; ROS 1) without ROS."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore

from spann3r_ros.complaints import Complaints, through
from spann3r_ros.config import ImageConfig
from spann3r_ros.errors import DataError, FrameError, GeometryError
from spann3r_ros.frame import Frame, Intrinsics, frame_name
from spann3r_ros.geometry.camera_info import camera_info_topic, is_rectified
from spann3r_ros.geometry.image_decoder import ImageDecoder
from spann3r_ros.geometry.lens import Lens
from spann3r_ros.geometry.rectification import Rectification
from spann3r_ros.recordings.bag_files import open_bag
from spann3r_ros.recordings.compression import ZSTD_MAGIC, unpack
from spann3r_ros.recordings.raw_message import RawMessage, Topic, header_stamp, stamp_in_header
from spann3r_ros.recordings.storage_file import CDR, ROS1, Channel
from spann3r_ros.stamp_order import StampOrder

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

HEADER, ARRIVAL = STAMPS = ("header", "arrival")
NOT_LATER = "stamp not later than the one before"
UNUSABLE = "image cannot be used"
"""Reason of images that cannot be decoded."""

_log = logging.getLogger(__name__)


_SeenThrough: TypeAlias = "tuple[RawMessage, Lens | None]"


class BagReader:
    """A bag to read from; use it as a context manager, or ``close`` it.

    Args:
        path: folder with ``metadata.yaml``, one storage file (.mcap, .db3, .bag of ROS 1, each also as .zstd), or a
            folder of such files whose ``metadata.yaml`` is missing.

    Attributes:
        topics: by name.
        skipped: how many messages ``frames`` ignored, by reason.
        missing: how many images were promised and not delivered by ``frames``, by reason; complete when it has ended.
        decoder: of the images.

    Raises:
        DataError: no bag there, an empty one, or one of which nothing can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self.decoder = ImageDecoder(ImageConfig(), _log.warning)
        self._types = get_typestore(Stores.LATEST)
        self._stack = ExitStack()
        self._broken: dict[str, str] = {}
        try:
            self._bag = open_bag(path, self._stack)
            self.topics = self._list_topics()
            if not any(topic.count for topic in self.topics.values()):
                damages = [file.damage for _, file in self._bag.files if file.damage]
                raise DataError(
                    "bag without messages",
                    got=f"{path}" + "".join(f" ({damage})" for damage in damages[:1]),
                    next_step="Nothing was recorded; record it again" if not damages else "Nothing of it is whole",
                )
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; what was unpacked for reading is deleted."""
        self._stack.close()

    @property
    def duration(self) -> int:
        """Nanoseconds from the first message to the last."""
        recorded = [file for _, file in self._bag.files if file.counts]
        return max(file.end for file in recorded) - min(file.start for file in recorded)

    def topic(self, name: str, *types: str) -> Topic:
        """A topic by name.

        Raises:
            DataError: no such topic (the error lists those that exist), one of none of ``types``, or of messages that
                are not ROS's.
        """
        found = self.topics.get(name)
        if found is None or found.count == 0:
            raise DataError("no such topic in the bag", got=name, expected=f"one of\n{self.describe()}\n")
        if found.encoding not in (CDR, ROS1) or (types and found.type not in types):
            got = found.type + (f" ({found.encoding})" if found.encoding not in (CDR, ROS1) else "")
            raise DataError(
                f"type of topic {name}", got=got, expected=" | ".join(types) or "ROS messages", next_step=advice(found)
            )
        return found

    def describe(self) -> str:
        """The topics with types and counts, one a line."""
        rows = sorted(self.topics.values(), key=lambda topic: topic.name)
        return "\n".join(f"  {topic.name} [{topic.type}] {topic.count}" for topic in rows)

    def raw(self, topics: Collection[str], start: int | None = None, stop: int | None = None) -> Iterator[RawMessage]:
        """Messages of some topics as recorded, in the order of recording; what cannot be read is left out.

        Messages of ROS 1 become those of ROS 2.

        Args:
            topics: names; of all topics when empty.
            start, stop: only those recorded in [start, stop), nanoseconds.
        """
        for _, file in self._bag.files:
            wanted = {n for n, channel in file.channels.items() if not topics or channel.topic in topics}
            wanted = {n for n in wanted if file.channels[n].encoding in (CDR, ROS1)}
            if not wanted:
                continue
            for number, time, data in file.messages(wanted, start, stop):
                channel = file.channels[number]
                try:
                    content = self._as_cdr(channel, data)
                except Exception as error:  # whatever the damage hits in the library
                    self._broken.setdefault(channel.topic, f"message that cannot be unpacked: {error!r}")
                    continue
                yield RawMessage(self.topics[channel.topic], time, content)

    def _as_cdr(self, channel: Channel, data: bytes) -> bytes:
        """A message as ROS 2 serializes it, whether it was compressed by itself or is of ROS 1."""
        if channel.encoding == ROS1:
            return bytes(self._types.ros1_to_cdr(data, channel.type))
        return unpack("zstd", data) if data.startswith(ZSTD_MAGIC) else data

    def decode(self, message: RawMessage) -> Any:
        """The message with its fields as attributes; raises DataError for an unknown type or damaged bytes."""
        try:
            return self._types.deserialize_cdr(message.data, message.topic.type)
        except Exception as error:  # struct, index, key or decoding errors, whatever the damage hits
            raise DataError(
                f"message of {message.topic.name} recorded at {message.time / 1e9:.3f} s cannot be decoded",
                got=repr(error),
                expected=f"CDR bytes of {message.topic.type}",
            ) from error

    def encode(self, kind: str, **fields: Any) -> bytes:
        """CDR bytes of a message of a type with these fields."""
        return bytes(self._types.serialize_cdr(self._types.types[kind](**fields), kind))

    def frames(
        self, topic: str, every: int = 1, camera_info: str | None = None, stamp: str = HEADER
    ) -> Iterator[Frame]:
        """Images of a topic (Image or CompressedImage) in the order of recording, rectified when calibrated so.

        Ignored, counted in ``skipped`` and logged: images whose stamp does not go on (``StampOrder``), and those that
        cannot be decoded. After a jump of time the order of recording counts.

        Args:
            topic: name of the image topic.
            every: take only every N-th image; the others are not decoded.
            camera_info: topic of the calibration; by default ``camera_info`` beside the image topic, if it exists.
            stamp: when an image was taken: ``HEADER``, as its header says; ``ARRIVAL``, when it was recorded.

        Raises:
            DataError: no such topic, one that holds no images, a damaged bag, or no usable image at all.
        """
        found = self.topic(topic, IMAGE, COMPRESSED_IMAGE)
        self.skipped.clear()
        self.missing.clear()
        info_topic = camera_info or camera_info_topic(topic)
        first = self._first_info(topic, camera_info)
        lens = None if first is None else self._lens(first, topic)
        content = b"" if first is None else first.data[12:]
        order: StampOrder[_SeenThrough] = StampOrder(Complaints(through(_log)), on_the_clock=False)
        index, number = 0, -1
        for message in self.raw([topic, info_topic]):
            if message.topic.name == info_topic:
                # Bytes 4 to 12 are the stamp; the rest changes when the lens or the mode of the camera does.
                if message.data[12:] != content:
                    content = message.data[12:]
                    lens = self._lens(message, topic)
                continue
            number += 1
            if number % every:
                continue
            try:
                in_header = None if stamp == ARRIVAL else stamp_in_header(message)
            except DataError as error:
                self._cannot_use(message, error)
                continue
            observed = order.observe(topic, in_header, message.time, (message, lens))
            if observed.jumped_to is not None:
                text = "%s: stamps jumped back to %.3f s: the order of recording counts"
                _log.warning(text, topic, observed.jumped_to / 1e9)
            if observed.late:
                self._skip(NOT_LATER, message, f"stamp {in_header} ns", observed.late)
            for taken, image in observed.taken:
                frame = self._frame(index, taken, image)
                if frame is not None:
                    yield frame
                    index += 1
        for taken, image in order.rest():
            frame = self._frame(index, taken, image)
            if frame is not None:
                yield frame
                index += 1
        self.count_missing(topic, number + 1)
        if index == 0:
            raise DataError(
                f"no usable image in {topic} of {self.path}",
                got=", ".join(f"{n} x {reason}" for reason, n in {**self.skipped, **self.missing}.items()),
                expected=f"{found.count} images",
                next_step="Run again with -v to see each reason",
            )

    def count_missing(self, topic: str, read: int) -> None:
        """Count in ``missing`` the images that were recorded and cannot be read any more.

        Args:
            topic: of the images.
            read: how many ``raw`` gave, to its end.
        """
        promised, reasons = self._bag.promised_of(topic), self._bag.damages_of(topic)
        if promised is None and not reasons:
            return
        lost = (promised or 0) - read
        if lost <= 0 and (promised is not None or not reasons):
            return
        # Without an index nobody knows how many there were: at least one in each file that is not whole.
        lost = max(lost, 0 if promised is not None else len(reasons))
        reason = "; ".join(f"{name}: {why}" for name, why in reasons.items())
        reason = reason or self._broken.get(topic, "fewer images than the bag promises")
        self.missing[reason] += lost
        _log.warning("%s: at least %d images of %s are lost (%s)", self.path, lost, topic, reason)

    def is_unstamped(self, topic: str) -> bool:
        """Whether a driver sets no stamps: the first two are zero. A clock that starts at zero goes on."""
        first = itertools.islice((m for m in self.raw([topic]) if len(m.data) >= 12), 2)
        return all(header_stamp(message, unstamped=False) == 0 for message in first)

    def calibration(
        self, image_topic: str, camera_info: str | None = None
    ) -> tuple[Intrinsics | None, Rectification | None]:
        """Intrinsics and rectification by the first CameraInfo of an image topic; (None, None) when uncalibrated.

        A calibration that describes no camera is ignored, counted in ``skipped`` and logged.
        """
        first = self._first_info(image_topic, camera_info)
        lens = None if first is None else self._lens(first, image_topic)
        return (None, None) if lens is None else (lens.intrinsics, lens.maps)

    def _first_info(self, image_topic: str, camera_info: str | None) -> RawMessage | None:
        """The first CameraInfo of an image topic, if there is one; DataError for an asked-for topic that is missing."""
        name = camera_info or camera_info_topic(image_topic)
        if camera_info is not None:
            self.topic(name, CAMERA_INFO)
        elif self.topics.get(name, Topic(name, "", 0)).type != CAMERA_INFO:
            return None
        return next(self.raw([name]), None)

    def _lens(self, info: RawMessage, image_topic: str) -> Lens | None:
        """What one CameraInfo says about the images of a topic."""
        try:
            return Lens(self.decode(info), is_rectified(image_topic))
        except (FrameError, GeometryError) as error:
            self._skip("unusable calibration", info, str(error))
            return None

    def stamps(self, topic: str) -> NDArray[np.int64]:
        """(N,) int64 header stamps in nanoseconds of a topic whose messages begin with a header."""
        return np.array([header_stamp(m, self.is_unstamped(topic)) for m in self.raw([topic])], dtype=np.int64)

    def _frame(self, index: int, stamp: int, image: _SeenThrough) -> Frame | None:
        """An image as a frame, or None and a count when it cannot be used."""
        message, lens = image
        try:
            pixels, camera = self._image(message)
            pixels, intrinsics = self._calibrated(pixels, lens, message)
        except (FrameError, GeometryError, DataError) as error:
            self._cannot_use(message, error)
            return None
        return Frame(index, stamp, camera, pixels, intrinsics)

    def _cannot_use(self, message: RawMessage, error: Exception) -> None:
        self._skip(UNUSABLE, message, str(error))
        self.missing[UNUSABLE] += 1

    def _image(self, message: RawMessage) -> tuple[NDArray[np.uint8], str]:
        """RGB pixels and the camera's frame."""
        image = self.decode(message)
        decode = self.decoder.compressed if message.topic.type == COMPRESSED_IMAGE else self.decoder.raw
        return decode(image), frame_name(image.header.frame_id) or "camera"

    def _calibrated(
        self, image: NDArray[np.uint8], lens: Lens | None, message: RawMessage
    ) -> tuple[NDArray[np.uint8], Intrinsics | None]:
        """The image, rectified where it must be, and its intrinsics; as it is and None where they do not fit."""
        if lens is None:
            return image, None
        try:
            image, intrinsics = lens.apply(image)
        except (FrameError, GeometryError) as error:
            reason = "calibration of another image size ignored"
            if not self.skipped[reason]:
                _log.warning("%s: %s: %s", message.topic.name, reason, error)
            self.skipped[reason] += 1
            return image, None
        if lens.scaling:
            self.decoder.note("scaling", f"{message.topic.name}: camera_info is scaled: it is about {lens.scaling}")
        return image, intrinsics

    def _skip(self, reason: str, message: RawMessage, detail: str, count: int = 1) -> None:
        """Count, and log the first of each reason loudly."""
        level = logging.INFO if self.skipped[reason] else logging.WARNING
        self.skipped[reason] += count
        _log.log(level, "%s at %.3f s skipped: %s (%s)", message.topic.name, message.time / 1e9, reason, detail)

    def _list_topics(self) -> dict[str, Topic]:
        """Topics of all files; the counts of a topic that several channels or files share are added."""
        found: dict[str, Topic] = {}
        for _, file in self._bag.files:
            for number, channel in file.channels.items():
                if channel.encoding == ROS1 and channel.type not in self._types.fielddefs:
                    encoding = "ROS 1, a type that is not known"
                else:
                    encoding = channel.encoding
                count = file.counts[number] + (found[channel.topic].count if channel.topic in found else 0)
                found[channel.topic] = Topic(channel.topic, channel.type, count, encoding)
        return found


def advice(topic: Topic) -> str:
    """How to convert messages that hold pictures in another form than ROS's images."""
    kind = topic.type.lower()
    if topic.encoding not in (CDR, ROS1):
        return (
            f"{topic.name} is serialized as {topic.encoding}, not by ROS: save its pictures as files or as a "
            f"video (`pip install mcap-{topic.encoding}-support` decodes them) and give that folder or file"
        )
    if "compressedimage" in kind or "rawimage" in kind:
        fields = "header=std_msgs.msg.Header(stamp=m.timestamp, frame_id=m.frame_id), format=m.format, data=m.data"
        return (
            f"Play the bag and convert: ros2 run topic_tools transform {topic.name} /camera/image_raw/compressed "
            f"sensor_msgs/msg/CompressedImage 'sensor_msgs.msg.CompressedImage({fields})' "
            "--import sensor_msgs std_msgs; record the new topic"
        )
    transport = next((name for name in ("ffmpeg", "theora") if name in kind), "")
    if "video" in kind or "packet" in kind or transport:
        transport = transport or "ffmpeg"
        return (
            f"{topic.name} holds packets of a video. Play the bag and unpack them: ros2 run image_transport "
            f"republish {transport} raw --ros-args -r in/{transport}:={topic.name} -r out:=/camera/image_raw; "
            "record the new topic"
        )
    return ""

"""Reading rosbag2 (sqlite3 and mcap; compressed, split; Humble to Lyrical) without ROS."""

from __future__ import annotations

import logging
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from spann3r_ros.config import ImageConfig
from spann3r_ros.errors import DataError, FrameError, GeometryError
from spann3r_ros.frame import Frame, Intrinsics, frame_name
from spann3r_ros.geometry.camera_info import camera_info_topic, is_rectified
from spann3r_ros.geometry.image_decoder import ImageDecoder
from spann3r_ros.geometry.lens import Lens
from spann3r_ros.geometry.rectification import Rectification

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Topic:
    """Type and number of messages of one topic."""

    name: str
    type: str
    count: int


@dataclass(frozen=True)
class RawMessage:
    """One message as it was recorded.

    Attributes:
        topic: its topic.
        time: nanoseconds when it was recorded.
        data: CDR bytes.
    """

    topic: Topic
    time: int
    data: bytes


class BagReader:
    """A bag to read from; use it as a context manager, or ``close`` it.

    Args:
        path: folder with ``metadata.yaml``, one storage file (.mcap, .db3), or a folder of such files whose
            ``metadata.yaml`` is missing.

    Attributes:
        topics: by name.
        skipped: how many messages ``frames`` ignored, by reason.
        decoder: of the images.

    Raises:
        DataError: no bag there, a damaged or an empty one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped: Counter[str] = Counter()
        self.decoder = ImageDecoder(ImageConfig(), _log.warning)
        self._types = get_typestore(Stores.LATEST)
        self._stack = ExitStack()
        self._readers: list[Reader] = []
        for file in _storage(path):
            try:
                self._readers.append(self._stack.enter_context(Reader(file)))
            except Exception as error:  # damaged files end in any of the library's, zlib's or sqlite's errors
                self._stack.close()
                raise _damaged(file, error) from error
        self.topics = self._list_topics()
        if not any(topic.count for topic in self.topics.values()):
            self._stack.close()
            raise DataError("bag without messages", got=str(path), next_step="Nothing was recorded; record it again")

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
        recorded = [reader for reader in self._readers if reader.message_count]
        return max(reader.end_time for reader in recorded) - min(reader.start_time for reader in recorded) - 1

    def topic(self, name: str, *types: str) -> Topic:
        """A topic by name; raises DataError that lists those that exist, or when it is of none of ``types``."""
        found = self.topics.get(name)
        if found is None or found.count == 0:
            raise DataError("no such topic in the bag", got=name, expected=f"one of\n{self.describe()}\n")
        if types and found.type not in types:
            raise DataError(f"type of topic {name}", got=found.type, expected=" | ".join(types))
        return found

    def describe(self) -> str:
        """The topics with types and counts, one a line."""
        rows = sorted(self.topics.values(), key=lambda topic: topic.name)
        return "\n".join(f"  {topic.name} [{topic.type}] {topic.count}" for topic in rows)

    def raw(self, topics: Collection[str], start: int | None = None, stop: int | None = None) -> Iterator[RawMessage]:
        """Messages of some topics as recorded, in the order of recording.

        Args:
            topics: names; of all topics when empty.
            start, stop: only those recorded in [start, stop), nanoseconds.

        Raises:
            DataError: a part of the bag that cannot be read; what came before was given out.
        """
        for reader in self._readers:
            wanted = [c for c in reader.connections if not topics or c.topic in topics]
            if not wanted:
                continue
            messages = reader.messages(wanted, start, stop)
            while True:
                try:
                    connection, time, data = next(messages)
                except StopIteration:
                    break
                except Exception as error:  # as above
                    raise _damaged(self.path, error) from error
                yield RawMessage(self.topics[connection.topic], time, data)

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

    def frames(self, topic: str, every: int = 1, camera_info: str | None = None) -> Iterator[Frame]:
        """Images of a topic (Image or CompressedImage) in the order of recording, rectified when calibrated so.

        Ignored, counted in ``skipped`` and logged: images whose stamp is not later than the one before, and those
        that cannot be decoded.

        Args:
            topic: name of the image topic.
            every: take only every N-th image; the others are not decoded.
            camera_info: topic of the calibration; by default ``camera_info`` beside the image topic, if it exists.

        Raises:
            DataError: no such topic, one that holds no images, a damaged bag, or no usable image at all.
        """
        found = self.topic(topic, IMAGE, COMPRESSED_IMAGE)
        self.skipped.clear()
        info_topic = camera_info or camera_info_topic(topic)
        first = self._first_info(topic, camera_info)
        lens = None if first is None else self._lens(first, topic)
        content = b"" if first is None else first.data[12:]
        last, index, number = -1, 0, -1
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
            stamp = header_stamp(message)
            if stamp <= last:
                self._skip("stamp not later than the one before", message, f"{stamp} after {last} ns")
                continue
            try:
                image, camera = self._image(message)
                image, intrinsics = self._calibrated(image, lens, message)
            except (FrameError, GeometryError, DataError) as error:
                self._skip("image cannot be used", message, str(error))
                continue
            last = stamp
            yield Frame(index, stamp, camera, image, intrinsics)
            index += 1
        if index == 0:
            raise DataError(
                f"no usable image in {topic} of {self.path}",
                got=", ".join(f"{count} x {reason}" for reason, count in self.skipped.items()),
                expected=f"{found.count} images",
                next_step="Run again with -v to see each reason",
            )

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
        return np.array([header_stamp(message) for message in self.raw([topic])], dtype=np.int64)

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

    def _skip(self, reason: str, message: RawMessage, detail: str) -> None:
        """Count, and log the first of each reason loudly."""
        level = logging.INFO if self.skipped[reason] else logging.WARNING
        self.skipped[reason] += 1
        _log.log(level, "%s at %.3f s skipped: %s (%s)", message.topic.name, message.time / 1e9, reason, detail)

    def _list_topics(self) -> dict[str, Topic]:
        """Topics of all files; the counts of a topic that several connections or files share are added."""
        counts: Counter[str] = Counter()
        types: dict[str, str] = {}
        connections: list[Connection] = [c for reader in self._readers for c in reader.connections]
        for connection in connections:
            counts[connection.topic] += connection.msgcount
            types[connection.topic] = connection.msgtype
        return {name: Topic(name, types[name], counts[name]) for name in counts}


def header_stamp(message: RawMessage) -> int:
    """Stamp of a message that begins with a ``std_msgs/Header``, in nanoseconds, without decoding the rest.

    A stamp of zero means that the driver set none: then it is the time of recording.
    """
    if len(message.data) < 12:
        raise DataError(f"message of {message.topic.name}", got=f"{len(message.data)} bytes", expected="a header")
    seconds, nanoseconds = struct.unpack_from("<iI" if message.data[1] else ">iI", message.data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds) or message.time


def is_bag(path: Path) -> bool:
    """Whether the names at a path look like a bag."""
    if path.is_file():
        return path.suffix in (".mcap", ".db3")
    return (path / "metadata.yaml").exists() or any(path.glob("*.mcap")) or any(path.glob("*.db3"))


def _storage(path: Path) -> list[Path]:
    """What to open: the folder or file itself, or the storage files of a folder that lost its metadata.yaml."""
    if not path.exists():
        raise DataError("no such bag", got=str(path))
    if path.is_file() or (path / "metadata.yaml").exists():
        return [path]
    files = sorted([*path.glob("*.mcap"), *path.glob("*.db3")])
    if not files:
        raise DataError(
            "not a bag",
            got=str(path),
            expected="a folder with metadata.yaml and .mcap or .db3 files",
            next_step="`ros2 bag reindex` rebuilds a lost metadata.yaml of compressed files",
        )
    _log.warning("%s has no metadata.yaml: its %d storage files are read in the order of names", path, len(files))
    return files


def _damaged(path: Path, error: Exception) -> DataError:
    """What a reader's error means to a user."""
    return DataError(
        f"bag {path} cannot be read",
        got=f"{type(error).__name__}: {error}",
        expected="a complete rosbag2 (a recorder that was killed leaves an unfinished file)",
        next_step="`mcap recover` saves what is in an unfinished .mcap",
    )

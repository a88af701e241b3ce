"""A rosbag2 as a sequence; see ``bag_reader`` and ``bag_truth``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Frame, frame_name
from spann3r_ros.geometry.image_decoder import ImageDecoder
from spann3r_ros.recordings.bag_files import is_bag
from spann3r_ros.recordings.bag_reader import COMPRESSED_IMAGE, HEADER, IMAGE, BagReader, advice
from spann3r_ros.recordings.bag_truth import holds_depth, named_depth, read_odometry, read_truth
from spann3r_ros.recordings.sequence import GroundTruth
from spann3r_ros.recordings.storage_file import CDR, ROS1
from spann3r_ros.trajectory import CameraPath

LAYOUT = "bag"
EXPECTED = "BAG/{metadata.yaml,*.mcap|*.db3} or one such file, or FILE.bag of ROS 1"


@dataclass
class BagSequence:
    """Images of one topic of a bag.

    Attributes:
        reader: of the bag.
        topic: image topic.
        camera_info, pose_topic, depth_topic: topics to take instead of those that are found by type and name.
        stamp: see ``BagReader.frames``.
    """

    reader: BagReader
    topic: str
    camera_info: str | None = None
    pose_topic: str | None = None
    depth_topic: str | None = None
    stamp: str | None = None
    layout: str = LAYOUT
    unit: str = "m"
    name: str = field(init=False)
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.path = self.reader.path
        self.name = self.path.resolve().stem

    @property
    def decoder(self) -> ImageDecoder:
        """Of its images."""
        return self.reader.decoder

    def count(self) -> int:
        """Images of the topic."""
        return self.reader.topic(self.topic).count

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """See ``BagReader.frames``."""
        return self.reader.frames(self.topic, every, self.camera_info, self.stamp or HEADER)

    @property
    def skipped(self) -> Counter[str]:
        """See ``BagReader``."""
        return self.reader.skipped

    @property
    def missing(self) -> Counter[str]:
        """See ``BagReader``."""
        return self.reader.missing

    def ground_truth(self) -> GroundTruth | None:
        """See ``read_truth``."""
        return read_truth(self.reader, self.topic, self._camera(), self.pose_topic, self.depth_topic)

    def odometry(self, topic: str = "") -> CameraPath:
        """See ``read_odometry``."""
        return read_odometry(self.reader, self.topic, self._camera(), topic)

    def _camera(self) -> str:
        """The frame of the first image."""
        first = next(self.reader.raw([self.topic]))
        return frame_name(self.reader.decode(first).header.frame_id) or "camera"


def matches(path: Path) -> bool:
    """A storage file, or a folder with one or with metadata.yaml."""
    return is_bag(path)


def load(
    path: Path,
    topic: str | None = None,
    camera_info: str | None = None,
    pose_topic: str | None = None,
    depth_topic: str | None = None,
    stamp: str | None = None,
) -> BagSequence:
    """A bag's image topic; without a name, the only one that holds no depth.

    Raises:
        DataError: a bag that cannot be read, or several image topics to choose from; the error lists them.
    """
    reader = BagReader(path)
    if topic is None:
        topic = _image_topic(reader)
    reader.topic(topic, IMAGE, COMPRESSED_IMAGE)
    return BagSequence(reader, topic, camera_info, pose_topic, depth_topic, stamp)


def _image_topic(reader: BagReader) -> str:
    """The only topic of pictures; raises DataError when there is none or more than one."""
    kinds = (IMAGE, COMPRESSED_IMAGE)
    images = sorted(t.name for t in reader.topics.values() if t.type in kinds and t.encoding in (CDR, ROS1) and t.count)
    pictures = [name for name in images if not holds_depth(reader, name)]
    raw = {name for name in pictures if reader.topics[name].type == IMAGE}
    # A camera that was recorded both ways is one camera.
    pictures = [name for name in pictures if name.removesuffix("/compressed") not in raw or name in raw]
    if len(pictures) > 1:  # depth that was colored for people is no second camera
        pictures = [name for name in pictures if not named_depth(name)] or pictures
    if len(pictures) == 1:
        return pictures[0]
    hints = [hint for topic in reader.topics.values() if topic.type not in kinds or topic.encoding not in (CDR, ROS1)
             if (hint := advice(topic)) and topic.count]  # fmt: skip
    raise DataError(
        f"image topic of {reader.path} is ambiguous" if pictures else f"no images in {reader.path}",
        got=f"{len(pictures)} candidates",
        expected=f"one of\n{reader.describe()}\n" if pictures else f"{' or '.join(kinds)} among\n{reader.describe()}\n",
        next_step="Choose with --topic" if pictures else next(iter(hints), "Record a camera's topic, too"),
    )

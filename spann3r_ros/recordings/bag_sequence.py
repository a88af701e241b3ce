"""A rosbag2 as a sequence; see ``bag_reader`` and ``bag_truth``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Frame, frame_name
from spann3r_ros.geometry.image_decoder import ImageDecoder
from spann3r_ros.recordings.bag_reader import COMPRESSED_IMAGE, IMAGE, BagReader, is_bag
from spann3r_ros.recordings.bag_truth import read_truth
from spann3r_ros.recordings.sequence import GroundTruth

LAYOUT = "bag"
EXPECTED = "BAG/{metadata.yaml,*.mcap|*.db3} or one such file"


@dataclass
class BagSequence:
    """Images of one topic of a bag.

    Attributes:
        reader: of the bag.
        topic: image topic.
        camera_info, pose_topic, depth_topic: topics to take instead of those that are found by type and name.
    """

    reader: BagReader
    topic: str
    camera_info: str | None = None
    pose_topic: str | None = None
    depth_topic: str | None = None
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
        return self.reader.frames(self.topic, every, self.camera_info)

    def ground_truth(self) -> GroundTruth | None:
        """See ``read_truth``."""
        first = next(self.reader.raw([self.topic]))
        camera = frame_name(self.reader.decode(first).header.frame_id) or "camera"
        return read_truth(self.reader, self.topic, camera, self.pose_topic, self.depth_topic)


def matches(path: Path) -> bool:
    """A storage file, or a folder with one or with metadata.yaml."""
    return is_bag(path)


def load(
    path: Path,
    topic: str | None = None,
    camera_info: str | None = None,
    pose_topic: str | None = None,
    depth_topic: str | None = None,
) -> BagSequence:
    """A bag's image topic; without a name, the only one that holds no depth.

    Raises:
        DataError: a bag that cannot be read, or several image topics to choose from; the error lists them.
    """
    reader = BagReader(path)
    if topic is None:
        kinds = (IMAGE, COMPRESSED_IMAGE)
        images = sorted(t.name for t in reader.topics.values() if t.type in kinds and t.count)
        pictures = [name for name in images if "depth" not in name.lower()]
        raw = {name for name in pictures if reader.topics[name].type == IMAGE}
        # A camera that was recorded both ways is one camera.
        pictures = [name for name in pictures if name.removesuffix("/compressed") not in raw or name in raw]
        if len(pictures) != 1:
            raise DataError(
                f"image topic of {path} is ambiguous",
                got=f"{len(pictures)} candidates",
                expected=f"one of\n{reader.describe()}\n",
                next_step="Choose with --topic",
            )
        topic = pictures[0]
    reader.topic(topic, IMAGE, COMPRESSED_IMAGE)
    return BagSequence(reader, topic, camera_info, pose_topic, depth_topic)

"""A recording whose frames carry the odometry that was recorded with them: for the scale and the place of the map."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from spann3r_ros.errors import DataError, GeometryError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.image_decoder import ImageDecoder
from spann3r_ros.geometry.transform_tree import TransformTree
from spann3r_ros.recordings.bag_sequence import BagSequence
from spann3r_ros.recordings.sequence import METERS, GroundTruth, Sequence
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import CameraPath

LONGEST_GAP = 500_000_000
"""Nanoseconds between two recorded poses beyond which nothing is known between them."""

FOREVER = 2**62


class RecordedOdometry:
    """A sequence with odometry in its frames; see ``Sequence``.

    Frames at whose stamp it is not known have none.

    Args:
        sequence: a bag; or a dataset, whose true poses then serve as odometry.
        topic: of a bag: nav_msgs/Odometry, or PoseStamped or TransformStamped of the camera; empty: TF from the frame
            ``odom`` (or the root, where none is called so) to the camera.

    Raises:
        DataError: a recording without odometry, or without that topic.
    """

    def __init__(self, sequence: Sequence, topic: str = "") -> None:
        self._sequence = sequence
        self.name, self.layout, self.path, self.unit = sequence.name, sequence.layout, sequence.path, sequence.unit
        path = _path_of(sequence, topic)
        meters = METERS[sequence.unit]
        self._tree = TransformTree(FOREVER, LONGEST_GAP)
        for index in range(len(path)):
            pose = path.pose(index)
            in_meters = Sim3.rigid(pose.rotation, meters * pose.translation)
            self._tree.insert(int(path.stamps[index]), "odom", "camera", in_meters)

    name: str
    layout: str
    path: Path
    unit: str

    @property
    def skipped(self) -> Counter[str]:  # noqa: D102
        return self._sequence.skipped

    @property
    def missing(self) -> Counter[str]:  # noqa: D102
        return self._sequence.missing

    @property
    def decoder(self) -> ImageDecoder:  # noqa: D102
        return self._sequence.decoder

    def count(self) -> int | None:  # noqa: D102
        return self._sequence.count()

    def ground_truth(self) -> GroundTruth | None:  # noqa: D102
        return self._sequence.ground_truth()

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """As of the sequence."""
        for frame in self._sequence.frames(every):
            try:
                prior = self._tree.lookup("odom", "camera", frame.stamp)
            except GeometryError:
                yield frame
            else:
                yield dataclasses.replace(frame, prior=prior)


def _path_of(sequence: Sequence, topic: str) -> CameraPath:
    """Odom_from_camera over time; raises DataError without any."""
    if isinstance(sequence, BagSequence):
        return sequence.odometry(topic)
    if topic:
        raise DataError("topic of odometry of a recording that is no bag", got=topic, expected="none")
    truth = sequence.ground_truth()
    if truth is None or truth.trajectory is None:
        raise DataError(
            f"odometry of {sequence.path}", got="no poses", expected="a bag with odometry, or a dataset with poses"
        )
    return truth.trajectory

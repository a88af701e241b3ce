"""A sequence of any layout as a rosbag2 with ground truth, in meters, images rectified.

Topics: ``/camera/image_raw`` or ``/camera/image_raw/compressed``, ``/camera/camera_info`` where calibrated,
``/camera/depth/image_raw`` with the stamp of the image it belongs to, ``/ground_truth/pose`` and ``/tf`` from ``map``
to the camera at their own stamps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Frame
from spann3r_ros.recordings.bag_writer import BagWriter
from spann3r_ros.recordings.measured_depth import DEPTH_GAP
from spann3r_ros.recordings.sequence import METERS, GroundTruth, Sequence
from spann3r_ros.sim3 import Sim3

IMAGE_TOPIC, INFO_TOPIC = "/camera/image_raw", "/camera/camera_info"
DEPTH_TOPIC, POSE_TOPIC = "/camera/depth/image_raw", "/ground_truth/pose"
WORLD = "map"


@dataclass(frozen=True)
class Converted:
    """How much was written."""

    images: int
    poses: int
    depths: int


def write_bag(
    sequence: Sequence,
    path: Path,
    *,
    every: int = 1,
    limit: int = 0,
    compressed: bool = False,
    depth_encoding: str = "16UC1",
    progress: Callable[[], None] = lambda: None,
) -> Converted:
    """Write a bag.

    Args:
        sequence: what to convert.
        path: new folder.
        every, limit: only every N-th image, at most ``limit`` of them (0: all). All poses are written.
        compressed: JPEG instead of raw images.
        depth_encoding: ``16UC1`` (millimeters) or ``32FC1`` (meters).
        progress: called after every image.

    Raises:
        DataError: the path exists, the source cannot be read, or it has no images.
    """
    truth = sequence.ground_truth()
    with BagWriter(path) as bag:
        writer = _Writer(bag, truth, METERS[sequence.unit], compressed, depth_encoding)
        for frame in sequence.frames(every):
            writer.write(frame)
            progress()
            if writer.images == limit:
                break
        if writer.images == 0:
            raise DataError(f"no images in {sequence.path}", next_step="There is nothing to convert")
        writer.write_poses(None)
    return Converted(writer.images, writer.poses, writer.depths)


class _Writer:
    """Messages of all topics in the order of their stamps."""

    def __init__(
        self, bag: BagWriter, truth: GroundTruth | None, meters: float, compressed: bool, depth_encoding: str
    ) -> None:
        self._bag, self._truth, self._meters = bag, truth, meters
        self._compressed, self._depth_encoding = compressed, depth_encoding
        self._camera = ""
        self.images = self.poses = self.depths = 0

    def write(self, frame: Frame) -> None:
        """One image, the true poses up to its stamp, and its true depth."""
        self._camera = frame.camera
        self.write_poses(frame.stamp)
        if frame.intrinsics is not None:
            self._bag.camera_info(INFO_TOPIC, frame.stamp, frame.camera, frame.intrinsics)
        if self._compressed:
            self._bag.compressed_image(f"{IMAGE_TOPIC}/compressed", frame.stamp, frame.camera, frame.image)
        else:
            self._bag.image(IMAGE_TOPIC, frame.stamp, frame.camera, frame.image)
        self.images += 1
        depth = self._truth.depth_at(frame.stamp, DEPTH_GAP) if self._truth else None
        if depth is not None:
            meters = depth.depth * self._meters
            self._bag.depth(DEPTH_TOPIC, frame.stamp, frame.camera, meters, self._depth_encoding)
            self.depths += 1

    def write_poses(self, until: int | None) -> None:
        """True poses up to a stamp, or all that are left."""
        path = self._truth.trajectory if self._truth else None
        while path is not None and self.poses < len(path) and (until is None or path.stamps[self.poses] <= until):
            stamp, pose = int(path.stamps[self.poses]), path.pose(self.poses)
            world_from_camera = Sim3.rigid(pose.rotation, pose.translation * self._meters)
            self._bag.pose(POSE_TOPIC, stamp, WORLD, world_from_camera)
            self._bag.transforms(stamp, [(WORLD, self._camera, world_from_camera)])
            self.poses += 1

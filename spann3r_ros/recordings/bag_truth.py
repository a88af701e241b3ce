"""Ground truth in a bag: camera poses from a pose topic or TF, and depth images."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from os.path import commonpath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError, FrameError, GeometryError
from spann3r_ros.frame import frame_name
from spann3r_ros.geometry.image import decode_depth
from spann3r_ros.geometry.message_pose import pose_from_message
from spann3r_ros.geometry.transform_tree import TransformTree
from spann3r_ros.recordings.bag_reader import IMAGE, BagReader
from spann3r_ros.recordings.raw_message import RawMessage, header_stamp
from spann3r_ros.recordings.sequence import DepthImage, GroundTruth
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import CameraPath

POSE_STAMPED = "geometry_msgs/msg/PoseStamped"
ODOMETRY = "nav_msgs/msg/Odometry"
TRANSFORM_STAMPED = "geometry_msgs/msg/TransformStamped"
TF_TOPICS = ("/tf", "/tf_static")
DEPTH_ENCODINGS = ("16UC1", "32FC1", "64FC1")
FOREVER = 2**62
"""Nanoseconds of history that the transform tree keeps: all of any bag."""
ESTIMATED_FRAMES = ("map", "odom")
"""Roots of TF that are estimates of mappers and odometry, by REP 105: never the truth unless it is asked for."""
TRUE_NAMES = ("ground_truth", "groundtruth", "/gt", "vicon", "vrpn", "mocap", "optitrack")
"""What a pose topic that carries the truth is called; other odometry is an estimate."""

_log = logging.getLogger(__name__)


@dataclass
class _Content:
    """What one pass over the bag collects."""

    image_stamps: list[int] = field(default_factory=list)
    poses: list[tuple[int, str, Sim3]] = field(default_factory=list)
    tree: TransformTree = field(default_factory=lambda: TransformTree(FOREVER))
    moving: set[str] = field(default_factory=set)
    depth_stamps: list[int] = field(default_factory=list)
    depth_times: list[int] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def read_truth(
    reader: BagReader,
    image_topic: str,
    camera: str,
    pose_topic: str | None = None,
    depth_topic: str | None = None,
) -> GroundTruth | None:
    """Ground truth about the camera of an image topic, or None when the bag has none.

    A PoseStamped is taken as the pose of the camera's optical frame; Odometry and TransformStamped as that of their
    child frame, from which static and moving transforms lead to the camera. Poses are kept at their own stamps; TF is
    interpolated at the stamps of the images.

    Args:
        reader: of the bag.
        image_topic, camera: topic of the images and their frame id.
        pose_topic: topic of the true poses, or ``/tf``. None: a pose topic that is named like ground truth, else
            ``/tf`` when it leads from a moving frame to the camera and nothing moves below a frame of
            ``ESTIMATED_FRAMES``.
        depth_topic: 32FC1 or 16UC1 images seen by the same camera. None: the image topic with "depth" in its name
            that resembles the image topic most, if there is one.

    Raises:
        DataError: a topic that was asked for but does not exist, is of the wrong type, or leads to no camera pose.
    """
    poses = pose_topic or _find_pose_topic(reader)
    depth = depth_topic or _find_depth_topic(reader, image_topic)
    if poses is not None and poses not in TF_TOPICS:
        reader.topic(poses, POSE_STAMPED, ODOMETRY, TRANSFORM_STAMPED)
    if depth is not None:
        reader.topic(depth, IMAGE)
    content = _scan(reader, image_topic, poses, depth)
    trajectory, origin = None, ""
    if poses is not None and poses not in TF_TOPICS:
        trajectory, origin = _from_poses(content, camera), poses
    elif any(topic in reader.topics for topic in TF_TOPICS):
        trajectory, origin = _from_tree(content, camera, named=pose_topic is not None)
    for reason, count in content.skipped.items():
        _log.warning("ground truth: %d x %s", count, reason)
    if pose_topic and trajectory is None:
        raise DataError(f"{pose_topic} holds no pose that leads to '{camera}'", got=dict(content.skipped) or "none")
    if depth is not None:
        depth = _checked_depth(reader, depth, camera)
    if trajectory is None and depth is None:
        return None
    return _assemble(reader, image_topic, trajectory, origin, depth, content)


def read_odometry(reader: BagReader, image_topic: str, camera: str, topic: str = "") -> CameraPath:
    """``odom_from_camera`` over time, as the robot believed it.

    Args:
        reader: of the bag.
        image_topic, camera: topic of the images and their frame id.
        topic: of Odometry, PoseStamped or TransformStamped, understood as ``read_truth`` does. Empty: TF from the frame
            called ``odom`` to the camera, at the stamps of the images; from the root where none is called so.

    Raises:
        DataError: no such topic, one of another type, or nothing that leads to the camera.
    """
    if topic and topic not in TF_TOPICS:
        reader.topic(topic, POSE_STAMPED, ODOMETRY, TRANSFORM_STAMPED)
        content = _scan(reader, image_topic, topic, None)
        path = _from_poses(content, camera)
    else:
        content = _scan(reader, image_topic, None, None)
        chain = _chain(content, camera)
        odom = next((frame for frame in chain[1:] if _local_name(frame) == "odom"), chain[-1])
        path = _path_in(content, odom, camera) if content.moving.intersection(chain[: chain.index(odom)]) else None
    for reason, count in content.skipped.items():
        _log.warning("odometry: %d x %s", count, reason)
    if path is None:
        raise DataError(
            f"odometry of {reader.path}",
            got=f"nothing that leads to '{camera}'" + (f" ({dict(content.skipped)})" if content.skipped else ""),
            expected="moving transforms on /tf above the camera, or a topic of nav_msgs/Odometry",
            next_step="Name the topic",
        )
    return path


def _assemble(
    reader: BagReader, image_topic: str, trajectory: CameraPath | None, origin: str, depth: str | None, found: _Content
) -> GroundTruth:
    """The found poses and depth images, which are read when they are asked for."""
    stamps = np.array(found.depth_stamps if depth else [], dtype=np.int64)
    order = np.argsort(stamps, kind="stable")
    intrinsics = None
    if depth is not None:
        intrinsics = reader.calibration(depth)[0] or reader.calibration(image_topic)[0]

    def read_depth(index: int) -> DepthImage:
        time = found.depth_times[int(order[index])]
        assert depth is not None
        values = _decode_depth(reader, next(reader.raw([depth], time, time + 1)))
        fits = intrinsics is not None and (intrinsics.height, intrinsics.width) == values.shape
        return DepthImage(values, intrinsics if fits else None)

    origin = " and ".join(filter(None, [origin, depth]))
    return GroundTruth(trajectory, stamps[order], read_depth, origin)


def _find_pose_topic(reader: BagReader) -> str | None:
    """The first topic of poses that is named like ground truth, PoseStamped before the others."""
    for kind in (POSE_STAMPED, TRANSFORM_STAMPED, ODOMETRY):
        for name in sorted(reader.topics):
            topic = reader.topics[name]
            if topic.type == kind and topic.count and any(word in name.lower() for word in TRUE_NAMES):
                return name
    return None


def holds_depth(reader: BagReader, name: str) -> bool:
    """Whether images of a topic are depth: their encoding tells; of a 16-bit gray image, which a thermal camera also
    sends, the name."""
    first = next(reader.raw([name]), None)
    if first is None:
        return named_depth(name)
    try:
        image = reader.decode(first)
    except DataError:
        return named_depth(name)
    if first.topic.type == IMAGE:
        return image.encoding in DEPTH_ENCODINGS or (image.encoding == "mono16" and named_depth(name))
    return "compressedDepth" in image.format or image.format.partition(";")[0].strip() in DEPTH_ENCODINGS


def named_depth(topic: str) -> bool:
    """Whether the last two parts of a topic's name, in front of which the camera's namespace stands, say depth."""
    parts = topic.lower().removesuffix("/compressed").split("/")
    return any("depth" in part for part in parts[-2:] if part != parts[1]) or "depth" in parts[-1]


def _find_depth_topic(reader: BagReader, image_topic: str) -> str | None:
    """The depth topic whose name shares the longest beginning with the image topic's."""
    images = [topic.name for topic in reader.topics.values() if topic.type == IMAGE and topic.count]
    named = sorted(name for name in images if name != image_topic and holds_depth(reader, name))
    return max(named, key=lambda name: len(commonpath([name, image_topic])), default=None)


def _scan(reader: BagReader, image_topic: str, pose_topic: str | None, depth_topic: str | None) -> _Content:
    """One pass over the bag; images and depth images are not decoded."""
    content = _Content()
    wanted = {image_topic, *TF_TOPICS} | {topic for topic in (pose_topic, depth_topic) if topic}
    for message in reader.raw(wanted):
        name = message.topic.name
        if name == image_topic:
            content.image_stamps.append(header_stamp(message))
        elif name == depth_topic:
            content.depth_stamps.append(header_stamp(message))
            content.depth_times.append(message.time)
        elif name in TF_TOPICS:
            for transform in _decoded(reader, message, content, "transforms", ()):
                _insert(content, transform, static=name == "/tf_static")
        else:
            decoded = _decoded(reader, message, content)
            if decoded is not None:
                _add_pose(content, decoded, message)
    return content


def _decoded(
    reader: BagReader, message: RawMessage, content: _Content, attribute: str = "", default: Any = None
) -> Any:
    """The message, or one attribute of it; the default, counted, when it is damaged."""
    try:
        decoded = reader.decode(message)
    except DataError:
        content.skipped[f"message of {message.topic.name} that cannot be decoded"] += 1
        return default
    return getattr(decoded, attribute, default) if attribute else decoded


def _insert(content: _Content, transform: Any, static: bool) -> None:
    """One transform into the tree."""
    try:
        pose = pose_from_message(transform.transform.translation, transform.transform.rotation)
    except GeometryError:
        content.skipped["transform that is not rigid"] += 1
        return
    child = frame_name(transform.child_frame_id)
    content.tree.insert(_stamp(transform), frame_name(transform.header.frame_id), child, pose, static)
    if not static:
        content.moving.add(child)


def _add_pose(content: _Content, decoded: Any, message: RawMessage) -> None:
    """One true pose with the frame it is about; empty for the camera's own."""
    try:
        if message.topic.type == TRANSFORM_STAMPED:
            pose = pose_from_message(decoded.transform.translation, decoded.transform.rotation)
        else:
            part = decoded.pose.pose if message.topic.type == ODOMETRY else decoded.pose
            pose = pose_from_message(part.position, part.orientation)
    except GeometryError:
        content.skipped["pose that is not finite or has no orientation"] += 1
        return
    child = frame_name(getattr(decoded, "child_frame_id", ""))
    content.poses.append((header_stamp(message), child, pose))


def _stamp(transform: Any) -> int:
    """Header stamp in nanoseconds."""
    return int(transform.header.stamp.sec) * 1_000_000_000 + int(transform.header.stamp.nanosec)


def _from_poses(content: _Content, camera: str) -> CameraPath | None:
    """Camera poses at the stamps of the pose messages, sorted, the last one of each stamp."""
    camera = frame_name(camera)
    found: dict[int, Sim3] = {}
    for stamp, child, pose in content.poses:
        if child and child != camera:
            try:
                pose = pose @ content.tree.lookup(child, camera, stamp)
            except GeometryError:
                content.skipped[f"pose of '{child}' from which no transform leads to '{camera}'"] += 1
                continue
        found[stamp] = pose
    return _trajectory(found)


def _from_tree(content: _Content, camera: str, named: bool) -> tuple[CameraPath | None, str]:
    """Camera poses in the root frame at the stamps of the images, and the way; None when nothing in it moves.

    What a mapper or odometry estimated is not taken either, unless it was ``named``.
    """
    chain = _chain(content, camera)
    if not content.moving.intersection(chain):
        return None, ""
    # A fixed step below the root is a person's word that the robot's estimate may be taken for exact.
    if not named and _local_name(chain[-1]) in ESTIMATED_FRAMES and chain[-2] in content.moving:
        _log.warning(
            "TF '%s' -> '%s' is an estimate (REP 105), of a mapper or of odometry, and not taken as the truth; "
            "--pose-topic /tf takes it",
            chain[-1],
            camera,
        )
        return None, ""
    return _path_in(content, chain[-1], camera), f"tf {chain[-1]} -> {chain[0]}"


def _chain(content: _Content, camera: str) -> list[str]:
    """The camera's frame and its ancestors, root last."""
    chain = [frame_name(camera)]
    while (parent := content.tree.parent(chain[-1])) is not None and parent not in chain:
        chain.append(parent)
    return chain


def _path_in(content: _Content, frame: str, camera: str) -> CameraPath | None:
    """Poses of the camera in a frame of TF at the stamps of the images; None without any."""
    found: dict[int, Sim3] = {}
    for stamp in content.image_stamps:
        try:
            found[stamp] = content.tree.lookup(frame, frame_name(camera), stamp)
        except GeometryError:
            content.skipped["image outside the time that TF covers"] += 1
    return _trajectory(found)


def _local_name(frame: str) -> str:
    """A frame's name without the robot's prefix: of ``robot1/map``, ``map``."""
    return frame.rpartition("/")[2]


def _trajectory(poses: dict[int, Sim3]) -> CameraPath | None:
    """By stamp; None when there are no poses."""
    stamps = sorted(poses)
    return CameraPath.from_poses(stamps, [poses[stamp] for stamp in stamps]) if stamps else None


def _checked_depth(reader: BagReader, topic: str, camera: str) -> str | None:
    """The topic when its images are depth seen by this camera; else None, with a warning."""
    first = next(reader.raw([topic]))
    frame = reader.decode(first).header.frame_id
    try:
        _decode_depth(reader, first)
    except FrameError as error:
        _log.warning("depth topic %s is ignored: %s", topic, error)
        return None
    if frame_name(frame) != frame_name(camera):
        _log.warning("depth topic %s is ignored: it is seen from '%s', the images from '%s'", topic, frame, camera)
        return None
    return topic


def _decode_depth(reader: BagReader, message: RawMessage) -> NDArray[np.float32]:
    """(H, W) meters, NaN where unknown."""
    image = reader.decode(message)
    return decode_depth(image.data, image.encoding, image.height, image.width, image.step, bool(image.is_bigendian))

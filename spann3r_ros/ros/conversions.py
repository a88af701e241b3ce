"""Results as messages, and poses from messages. Stamps are integer nanoseconds.

Numbers are turned into Python's own: one of NumPy's would end the process in a message's C code.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Transform, TransformStamped, Vector3
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.axes import quaternion_from_rotation
from spann3r_ros.geometry.message_pose import pose_from_message
from spann3r_ros.sim3 import Sim3

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("confidence", "<f4")])
"""A point on the wire. ``rgb`` is declared FLOAT32, as RViz and PCL read it; its bits are 0x00RRGGBB."""

_RGB = POINT.fields["rgb"][1]  # type: ignore[index]
_FIELDS = [
    PointField(name=name, offset=POINT.fields[name][1], datatype=PointField.FLOAT32, count=1)  # type: ignore[index]
    for name in POINT.names or ()
]


def time_message(stamp: int) -> Time:
    """Nanoseconds as a Time."""
    seconds, nanoseconds = divmod(int(stamp), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def nanoseconds(time: Time) -> int:
    """A Time as integer nanoseconds."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def header(stamp: int, frame: str) -> Header:
    """A header of a stamp in nanoseconds."""
    return Header(stamp=time_message(stamp), frame_id=frame)


def cloud_message(
    stamp: int,
    frame: str,
    points: NDArray[np.float32],
    colors: NDArray[np.uint8],
    confidence: NDArray[np.float32],
) -> PointCloud2:
    """Colored points with fields x, y, z, rgb and confidence.

    Args:
        stamp, frame: of the header.
        points: (N, 3) for a list, or (h, w, 3) for an organized cloud, where a point without a value is NaN.
        colors, confidence: of the same leading shape.
    """
    shape = points.shape[:-1]
    packed = np.empty(shape, POINT)
    for axis, name in enumerate("xyz"):
        packed[name] = points[..., axis]
    rgb = packed.view(np.uint8).reshape(*shape, POINT.itemsize)[..., _RGB : _RGB + 4]
    rgb[..., :3], rgb[..., 3] = colors[..., ::-1], 0  # little-endian: blue first
    packed["confidence"] = confidence
    height, width = shape if len(shape) == 2 else (1, shape[0])
    message = PointCloud2(
        header=header(stamp, frame),
        height=height,
        width=width,
        fields=_FIELDS,
        is_bigendian=False,
        point_step=POINT.itemsize,
        row_step=POINT.itemsize * width,
        is_dense=len(shape) == 1,
    )
    _fill(message.data, packed)
    return message


def float_image(stamp: int, frame: str, values: NDArray[np.float32]) -> Image:
    """(h, w) float32 as a 32FC1 image; NaN means unknown."""
    height, width = values.shape
    message = Image(
        header=header(stamp, frame), height=height, width=width, encoding="32FC1", is_bigendian=0, step=4 * width
    )
    _fill(message.data, values.astype("<f4", copy=False))
    return message


def _fill(data: array[int], values: NDArray[Any]) -> None:
    # The fastest way by far into a fresh message: 0.7 ms for 10 MB; assigning an ndarray takes a second.
    if values.size:
        data.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


def camera_info_message(stamp: int, frame: str, intrinsics: Intrinsics) -> CameraInfo:
    """Calibration of a rectified pinhole image."""
    k = intrinsics.matrix()
    return CameraInfo(
        header=header(stamp, frame),
        width=int(intrinsics.width),
        height=int(intrinsics.height),
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=k.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=np.column_stack([k, np.zeros(3)]).ravel().tolist(),
    )


def pose_message(pose: Sim3) -> Pose:
    """A rigid transform as a pose."""
    x, y, z = map(float, pose.translation)
    return Pose(position=Point(x=x, y=y, z=z), orientation=_quaternion(pose))


def pose_messages(rotations: NDArray[np.float64], positions: NDArray[np.float64]) -> list[Pose]:
    """Rotations (N, 3, 3) and positions (N, 3) as poses."""
    if not len(positions):
        return []
    quaternions = quaternion_from_rotation(rotations).tolist()
    return [
        Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))
        for (x, y, z), (qx, qy, qz, qw) in zip(positions.tolist(), quaternions, strict=True)
    ]


def pose_stamped(stamp: int, frame: str, pose: Sim3) -> PoseStamped:
    """``frame_from_something`` as a stamped pose."""
    return PoseStamped(header=header(stamp, frame), pose=pose_message(pose))


UNKNOWN = -1.0
"""First element of a covariance that nobody knows; zeros would mean certain."""


def odometry_message(
    stamp: int, frame: str, child: str, frame_from_child: Sim3, covariance: NDArray[np.float64] | None = None
) -> Odometry:
    """Pose without velocity.

    Args:
        stamp, frame: of the header.
        child: what it is the pose of.
        frame_from_child: rigid.
        covariance: (6, 6) of position and rotation vector along the axes of ``frame``, or None while unknown.
    """
    message = Odometry(header=header(stamp, frame), child_frame_id=child)
    message.pose.pose = pose_message(frame_from_child)
    message.pose.covariance[0] = message.twist.covariance[0] = UNKNOWN
    if covariance is not None:
        message.pose.covariance = covariance.ravel().tolist()
    return message


def transform_message(stamp: int, parent: str, child: str, parent_from_child: Sim3) -> TransformStamped:
    """A rigid transform for /tf."""
    x, y, z = map(float, parent_from_child.translation)
    return TransformStamped(
        header=header(stamp, parent),
        child_frame_id=child,
        transform=Transform(translation=Vector3(x=x, y=y, z=z), rotation=_quaternion(parent_from_child)),
    )


def transform_from_message(transform: Transform) -> Sim3:
    """``parent_from_child`` of a transform message; raises GeometryError for one that is no rigid transform."""
    return pose_from_message(transform.translation, transform.rotation)


def _quaternion(pose: Sim3) -> Quaternion:
    x, y, z, w = map(float, quaternion_from_rotation(pose.rotation))
    return Quaternion(x=x, y=y, z=z, w=w)

"""Writing rosbag2 (mcap) without ROS: images, calibration, transforms, poses and depth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError
from rosbags.typesys import Stores, get_typestore

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.axes import quaternion_from_rotation
from spann3r_ros.sim3 import Sim3

DEPTH_ENCODINGS = ("32FC1", "16UC1")
"""Encodings of depth images (REP 118): float32 meters, or uint16 millimeters."""

_FOREVER = QosTime(2147483647, 4294967295)


class BagWriter:
    """A bag that is being written; use it as a context manager, or ``close`` it.

    The messages have the types of ROS 2 Humble, which every later distribution reads. The bytes depend on nothing but
    what is written: no clock, no host.

    Args:
        path: folder to make.

    Raises:
        DataError: something exists at ``path``, or it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._types = get_typestore(Stores.ROS2_HUMBLE)
        self._connections: dict[str, Connection] = {}
        if path.exists():
            raise DataError(
                "bag to write", got=str(path), expected="a new folder", next_step="Remove it, or name another"
            )
        try:
            self._writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (OSError, WriterError) as error:
            raise DataError(f"bag {path} cannot be written", got=str(error)) from error

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.abort()

    def close(self) -> None:
        """Write the index. A bag that was not closed has none, and readers refuse it."""
        self._writer.close()

    def image(self, topic: str, stamp: int, frame_id: str, image: NDArray[np.uint8]) -> None:
        """One (H, W, 3) uint8 RGB image as Image of encoding rgb8; the stamp in nanoseconds, as everywhere here."""
        self._raw_image(topic, stamp, frame_id, image, "rgb8")

    def compressed_image(
        self, topic: str, stamp: int, frame_id: str, image: NDArray[np.uint8], quality: int = 90
    ) -> None:
        """One (H, W, 3) uint8 RGB image as CompressedImage, JPEG of the given quality (1..100)."""
        if not 1 <= quality <= 100:
            raise DataError("quality of JPEG images", got=quality, expected="1..100")
        _, content = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        # What image_transport writes, which OpenCV's order of channels gave its name.
        data = np.ascontiguousarray(content, np.uint8).reshape(-1)
        header = self._header(stamp, frame_id)
        message = self._make(
            "sensor_msgs/CompressedImage", header=header, format="rgb8; jpeg compressed bgr8", data=data
        )
        self._write(topic, stamp, message)

    def depth(
        self, topic: str, stamp: int, frame_id: str, depth: NDArray[np.floating[Any]], encoding: str = "32FC1"
    ) -> None:
        """One (H, W) depth image in meters along the optical axis.

        Args:
            topic, stamp, frame_id: as of ``image``.
            depth: NaN where unknown.
            encoding: one of DEPTH_ENCODINGS. 16UC1 writes whole millimeters, 0 for unknown and for what is farther than
                65.535 m.
        """
        if encoding not in DEPTH_ENCODINGS:
            raise DataError("encoding of depth images", got=encoding, expected=" | ".join(DEPTH_ENCODINGS))
        if encoding == "32FC1":
            self._raw_image(topic, stamp, frame_id, np.ascontiguousarray(depth, np.float32), encoding)
            return
        millimeters = np.round(np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0) * 1000.0)
        known = (millimeters > 0) & (millimeters <= 65535)
        self._raw_image(topic, stamp, frame_id, np.where(known, millimeters, 0).astype(np.uint16), encoding)

    def camera_info(
        self, topic: str, stamp: int, frame_id: str, intrinsics: Intrinsics, distortion: Sequence[float] = ()
    ) -> None:
        """Calibration of images that are as the intrinsics say.

        Args:
            topic, stamp, frame_id: as of ``image``.
            intrinsics: K, and P of the rectified image.
            distortion: coefficients of the plumb_bob model; none means that the image is rectified.
        """
        roi = self._make("sensor_msgs/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        matrix = intrinsics.matrix()
        coefficients = np.zeros(5)
        coefficients[: len(distortion)] = distortion
        message = self._make(
            "sensor_msgs/CameraInfo",
            header=self._header(stamp, frame_id),
            height=intrinsics.height,
            width=intrinsics.width,
            distortion_model="plumb_bob",
            d=coefficients,
            k=matrix.ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([matrix, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )
        self._write(topic, stamp, message)

    def transforms(self, stamp: int, links: Sequence[tuple[str, str, Sim3]], static: bool = False) -> None:
        """Where frames are on their parents, as one message on /tf, or on /tf_static.

        Args:
            stamp: nanoseconds.
            links: (parent, child, parent_from_child) each, of scale 1.
            static: valid for ever; players repeat the message for late subscribers.
        """
        messages = []
        for parent, child, pose in links:
            x, y, z = (float(value) for value in pose.translation)
            transform = self._make(
                "geometry_msgs/Transform",
                translation=self._make("geometry_msgs/Vector3", x=x, y=y, z=z),
                rotation=self._quaternion(pose),
            )
            header = self._header(stamp, parent)
            kind = "geometry_msgs/TransformStamped"
            messages.append(self._make(kind, header=header, child_frame_id=child, transform=transform))
        message = self._make("tf2_msgs/TFMessage", transforms=messages)
        self._write("/tf_static" if static else "/tf", stamp, message, latched=static)

    def pose(self, topic: str, stamp: int, frame_id: str, frame_from_camera: Sim3) -> None:
        """One pose of scale 1 as PoseStamped, in the frame that is named."""
        x, y, z = (float(value) for value in frame_from_camera.translation)
        position = self._make("geometry_msgs/Point", x=x, y=y, z=z)
        pose = self._make("geometry_msgs/Pose", position=position, orientation=self._quaternion(frame_from_camera))
        header = self._header(stamp, frame_id)
        self._write(topic, stamp, self._make("geometry_msgs/PoseStamped", header=header, pose=pose))

    def _raw_image(self, topic: str, stamp: int, frame_id: str, pixels: NDArray[Any], encoding: str) -> None:
        pixels = np.ascontiguousarray(pixels)
        message = self._make(
            "sensor_msgs/Image",
            header=self._header(stamp, frame_id),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=pixels.reshape(-1).view(np.uint8),
        )
        self._write(topic, stamp, message)

    def _header(self, stamp: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp, 1_000_000_000)
        time = self._make("builtin_interfaces/Time", sec=seconds, nanosec=nanoseconds)
        return self._make("std_msgs/Header", stamp=time, frame_id=frame_id)

    def _quaternion(self, pose: Sim3) -> Any:
        x, y, z, w = (float(value) for value in quaternion_from_rotation(pose.rotation))
        return self._make("geometry_msgs/Quaternion", x=x, y=y, z=z, w=w)

    def _make(self, name: str, **fields: Any) -> Any:
        package, kind = name.split("/")
        return self._types.types[f"{package}/msg/{kind}"](**fields)

    def _write(self, topic: str, stamp: int, message: Any, latched: bool = False) -> None:
        """Append a message; its time of recording is its stamp."""
        kind = message.__msgtype__
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._writer.add_connection(
                topic, kind, typestore=self._types, offered_qos_profiles=[_quality(latched)]
            )
            self._connections[topic] = connection
        elif connection.msgtype != kind:
            raise DataError(f"type of topic {topic}", got=kind, expected=connection.msgtype)
        self._writer.write(connection, stamp, self._types.serialize_cdr(message, kind))


def _quality(latched: bool) -> Qos:
    """What the publishers of a live system would have offered; a player offers the same."""
    return Qos(
        QosHistory.KEEP_LAST,
        1 if latched else 10,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        False,
    )

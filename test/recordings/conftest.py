"""Bags that tests write with the rosbags library: a few tiny images, poses and transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from spann3r_ros.geometry.axes import quaternion_from_rotation
from spann3r_ros.sim3 import Sim3

WIDTH, HEIGHT = 16, 12
SECOND = 1_000_000_000


@dataclass
class Messages:
    """Messages of one ROS distribution, to be written in the order in which they were added."""

    store: Stores = Stores.LATEST
    entries: list[tuple[str, str, int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.types = get_typestore(self.store)

    def make(self, name: str, **fields: Any) -> Any:
        package, kind = name.split("/")
        return self.types.types[f"{package}/msg/{kind}"](**fields)

    def add(self, topic: str, time: int, message: Any) -> None:
        kind = message.__msgtype__
        self.entries.append((topic, kind, time, bytes(self.types.serialize_cdr(message, kind))))

    def header(self, stamp: int, frame: str = "camera_optical_frame") -> Any:
        time = self.make("builtin_interfaces/Time", sec=stamp // SECOND, nanosec=stamp % SECOND)
        return self.make("std_msgs/Header", stamp=time, frame_id=frame)

    def image(self, topic: str, stamp: int, pixels: np.ndarray, encoding: str = "rgb8", **header: Any) -> None:
        message = self.make(
            "sensor_msgs/Image",
            header=self.header(stamp, **header),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=pixels.reshape(-1).view(np.uint8),
        )
        self.add(topic, stamp, message)

    def compressed(self, topic: str, stamp: int, pixels: np.ndarray) -> None:
        _, content = cv2.imencode(".png", pixels[..., ::-1])
        kind = "sensor_msgs/CompressedImage"
        self.add(topic, stamp, self.make(kind, header=self.header(stamp), format="png", data=content.reshape(-1)))

    def camera_info(self, topic: str, stamp: int, distortion: Sequence[float] = (), width: int = WIDTH) -> None:
        roi = self.make("sensor_msgs/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        message = self.make(
            "sensor_msgs/CameraInfo",
            header=self.header(stamp),
            height=HEIGHT,
            width=width,
            distortion_model="plumb_bob",
            d=np.array(distortion, dtype=float),
            k=np.array([20.0, 0, 7.5, 0, 20.0, 5.5, 0, 0, 1]),
            r=np.eye(3).ravel(),
            p=np.array([18.0, 0, 7.0, 0, 0, 18.0, 5.0, 0, 0, 0, 1, 0]),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )
        self.add(topic, stamp, message)

    def _quaternion(self, pose: Sim3) -> Any:
        x, y, z, w = map(float, quaternion_from_rotation(pose.rotation))
        return self.make("geometry_msgs/Quaternion", x=x, y=y, z=z, w=w)

    def pose(self, pose: Sim3) -> Any:
        x, y, z = map(float, pose.translation)
        position = self.make("geometry_msgs/Point", x=x, y=y, z=z)
        return self.make("geometry_msgs/Pose", position=position, orientation=self._quaternion(pose))

    def pose_stamped(self, topic: str, stamp: int, pose: Sim3) -> None:
        message = self.make("geometry_msgs/PoseStamped", header=self.header(stamp, "map"), pose=self.pose(pose))
        self.add(topic, stamp, message)

    def odometry(self, topic: str, stamp: int, child: str, pose: Sim3) -> None:
        zero = self.make("geometry_msgs/Vector3", x=0.0, y=0.0, z=0.0)
        twist = self.make("geometry_msgs/Twist", linear=zero, angular=zero)
        message = self.make(
            "nav_msgs/Odometry",
            header=self.header(stamp, "map"),
            child_frame_id=child,
            pose=self.make("geometry_msgs/PoseWithCovariance", pose=self.pose(pose), covariance=np.zeros(36)),
            twist=self.make("geometry_msgs/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
        )
        self.add(topic, stamp, message)

    def transform(self, stamp: int, parent: str, child: str, pose: Sim3) -> Any:
        x, y, z = map(float, pose.translation)
        translation = self.make("geometry_msgs/Vector3", x=x, y=y, z=z)
        transform = self.make("geometry_msgs/Transform", translation=translation, rotation=self._quaternion(pose))
        kind = "geometry_msgs/TransformStamped"
        return self.make(kind, header=self.header(stamp, parent), child_frame_id=child, transform=transform)

    def tf(self, topic: str, stamp: int, parent: str, child: str, pose: Sim3) -> None:
        transforms = [self.transform(stamp, parent, child, pose)]
        self.add(topic, stamp, self.make("tf2_msgs/TFMessage", transforms=transforms))

    def write(
        self,
        path: Path,
        storage: str = "mcap",
        compression: CompressionMode = CompressionMode.NONE,
        empty_topics: Sequence[tuple[str, str]] = (),
    ) -> Path:
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        writer = Writer(path, version=9 if self.store != Stores.ROS2_HUMBLE else 8, storage_plugin=plugin)
        writer.set_compression(compression, CompressionFormat.ZSTD)
        connections: dict[str, Any] = {}
        with writer:
            for topic, kind in empty_topics:
                writer.add_connection(topic, kind, typestore=self.types)
            for topic, kind, time, data in self.entries:
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=self.types)
                writer.write(connections[topic], time, data)
        return path


def picture(number: int) -> np.ndarray:
    """A tiny image that tells which one it is."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = 10 * number
    image[..., 1] = np.arange(WIDTH) * 5
    image[..., 2] = np.arange(HEIGHT)[:, None] * 7
    return image


@pytest.fixture
def messages() -> Callable[..., Messages]:
    return Messages


@pytest.fixture
def tiny_picture() -> Callable[[int], np.ndarray]:
    return picture

"""A walk through a scene as a bag: what a robot would have recorded, and the truth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path

import numpy as np

from spann3r_ros.errors import ConfigError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.recordings.bag_writer import BagWriter
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.pinhole import synthetic_camera
from spann3r_ros.synthetic.renderer import Renderer, Rendering
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, STYLES, Trajectories, camera_pose

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
"""Stamp of the first image: some day, the same for every bag."""
LEFT_TURN = math.radians(60.0)
"""Turn of the second camera about the vertical; both are in one place, so it needs no more room than one."""
CAMERAS = ("camera", "camera_left")
"""Namespaces of the topics; ``<name>_optical_frame`` are the frames."""
TF_CHOICES = ("robot", "camera")
"""robot: odom -> base_link -> cameras, with perfect odometry; camera: only where the second camera is on the first."""


@dataclass(frozen=True)
class Recording:
    """What to record.

    Attributes:
        scene: where.
        frames: images of each camera.
        rate: images per second.
        seed: of the walk; from EVALUATION_SEED on it was not used in training.
        style: one of trajectory.STYLES.
        width, height: of the images in pixels.
        supersample: rays per pixel in each direction at outlines.
        compressed: JPEG instead of raw images.
        quality: of the JPEG images, 1..100.
        depth: 16UC1 (millimeters) or 32FC1 (meters) depth images of the first camera; None writes none.
        cameras: 1, or 2: the second one looks 60 degrees to the left of the first.
        tf: one of TF_CHOICES.

    Raises:
        ConfigError: a value out of range.
    """

    scene: Scene
    frames: int = 100
    rate: float = 5.0
    seed: int = EVALUATION_SEED
    style: str = "robot"
    width: int = 640
    height: int = 480
    supersample: int = 2
    compressed: bool = False
    quality: int = 90
    depth: str | None = None
    cameras: int = 1
    tf: str = "robot"

    def __post_init__(self) -> None:
        allowed = {
            "frames": (self.frames >= 1, ">= 1"),
            "rate": (0 < self.rate <= 1000, "in (0, 1000] Hz"),
            "seed": (self.seed >= 0, ">= 0"),
            "style": (self.style in STYLES, f"one of {', '.join(STYLES)}"),
            "width": (16 <= self.width <= 8192, "16..8192 pixels"),
            "height": (16 <= self.height <= 8192, "16..8192 pixels"),
            "supersample": (1 <= self.supersample <= 8, "1..8"),
            "quality": (1 <= self.quality <= 100, "1..100"),
            "depth": (self.depth in (None, "16UC1", "32FC1"), "16UC1 or 32FC1"),
            "cameras": (1 <= self.cameras <= len(CAMERAS), f"1..{len(CAMERAS)}"),
            "tf": (self.tf in TF_CHOICES, f"one of {', '.join(TF_CHOICES)}"),
        }
        for name, (good, expected) in allowed.items():
            if not good:
                raise ConfigError(f"'{name}' of a recording", got=getattr(self, name), expected=expected)

    def write(self, path: Path) -> Iterator[int]:
        """Make the bag, yielding the number of frames that are done; nothing happens before the first is asked for.

        Topics of each camera: ``/<name>/image_raw`` (or ``/compressed``), ``/<name>/camera_info``; of the first one
        also ``/camera/depth/image_raw`` with ``camera_info`` and ``/ground_truth/pose``, which is
        ``map_from_camera`` with optical axes; ``map`` is the world of the scene.

        Raises:
            DataError: ``path`` exists.
        """
        walk = Trajectories(self.scene).walk(self.seed, self.frames, self.rate, self.style)
        intrinsics, renderer = synthetic_camera(self.width, self.height), Renderer(self.scene)
        places = [pose @ turn for pose in walk for turn in rig(self.cameras)]
        rendered = _render_ahead(renderer, places, intrinsics, self.supersample)
        with BagWriter(path) as writer:
            self._static_transforms(writer, walk[0])
            for number, pose in enumerate(walk):
                stamp = START + round(number * SECOND / self.rate)
                self._truth(writer, stamp, pose, walk[0])
                for index in range(self.cameras):
                    self._images(writer, stamp, index, next(rendered), intrinsics)
                yield number + 1

    def _images(self, writer: BagWriter, stamp: int, index: int, seen: Rendering, intrinsics: Intrinsics) -> None:
        name, frame = f"/{CAMERAS[index]}", _frame(index)
        writer.camera_info(f"{name}/camera_info", stamp, frame, intrinsics)
        if self.compressed:
            writer.compressed_image(f"{name}/image_raw/compressed", stamp, frame, seen.image, self.quality)
        else:
            writer.image(f"{name}/image_raw", stamp, frame, seen.image)
        if self.depth is not None and index == 0:
            writer.camera_info(f"{name}/depth/camera_info", stamp, frame, intrinsics)
            writer.depth(f"{name}/depth/image_raw", stamp, frame, seen.depth, self.depth)

    def _truth(self, writer: BagWriter, stamp: int, pose: Sim3, first: Sim3) -> None:
        writer.pose("/ground_truth/pose", stamp, "map", pose)
        if self.tf == "robot":
            base_from_camera = self._base_from_camera(first)
            camera_from_base = base_from_camera.inverse()
            # Odometry begins where the robot begins: it does not know the map.
            odom_from_base = base_from_camera @ first.inverse() @ pose @ camera_from_base
            writer.transforms(stamp, [("odom", "base_link", odom_from_base)])

    def _static_transforms(self, writer: BagWriter, first: Sim3) -> None:
        turns = rig(self.cameras)
        if self.tf == "robot":
            base = self._base_from_camera(first)
            links = [("base_link", _frame(index), base @ turn) for index, turn in enumerate(turns)]
        else:
            links = [(_frame(0), _frame(index), turn) for index, turn in enumerate(turns) if index]
        if links:
            writer.transforms(START, links, static=True)

    def _base_from_camera(self, first: Sim3) -> Sim3:
        """A robot's base is on the floor under the camera, level; a hand-held camera is its own base."""
        if self.style != "robot":
            return ROS_FROM_OPTICAL
        forward = first.rotation[:, 2]
        yaw = math.atan2(forward[1], forward[0])
        x, y, _ = first.translation
        level = camera_pose(x, y, 0.0, yaw) @ ROS_FROM_OPTICAL.inverse()
        return level.inverse() @ first


def rig(cameras: int) -> list[Sim3]:
    """first_from_camera of each camera."""
    # About the optical y axis, which points down, a left turn is negative.
    cosine, sine = math.cos(LEFT_TURN), math.sin(LEFT_TURN)
    left = Sim3(rotation=np.array([[cosine, 0.0, -sine], [0.0, 1.0, 0.0], [sine, 0.0, cosine]]))
    return [Sim3(), left][:cameras]


def _frame(index: int) -> str:
    return f"{CAMERAS[index]}_optical_frame"


def _render_ahead(
    renderer: Renderer, poses: list[Sim3], intrinsics: Intrinsics, supersample: int
) -> Iterator[Rendering]:
    """Renderings in order, a few ahead on all cores (the renderer holds no lock)."""
    workers = cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(poses), 4 * workers):
            batch = poses[start : start + 4 * workers]
            yield from pool.map(lambda pose: renderer.render(pose, intrinsics, supersample), batch)

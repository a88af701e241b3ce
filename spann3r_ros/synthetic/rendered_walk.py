"""A walk through a synthetic scene as a recording that lies on no disk: rendered while it is read, with its truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from spann3r_ros.frame import Frame
from spann3r_ros.geometry.image_decoder import ImageDecoder
from spann3r_ros.recordings.sequence import DepthImage, GroundTruth, image_decoder
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.pinhole import synthetic_camera
from spann3r_ros.synthetic.renderer import Renderer, Rendering
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.trajectory import CameraPath

PERIOD = 200_000_000
"""Nanoseconds between frames: five a second."""

START = 1_700_000_000_000_000_000
"""Stamp of the first frame."""

RECENT = 64
"""Pictures that are kept, since a frame is asked for several times."""

CAMERA = "camera_optical_frame"


class RenderedWalk:
    """See ``recordings.sequence.Sequence``; every frame has depth and a true pose. May be read from several threads.

    Args:
        scene: where.
        poses: ``world_from_camera`` of each frame, rigid, meters.
        width, height: of the images in pixels.
        priors: ``odom_from_camera`` of each frame, or None for a robot without odometry.
    """

    layout, unit = "rendered", "m"

    def __init__(
        self,
        scene: Scene,
        poses: Sequence[Sim3],
        width: int = 64,
        height: int = 48,
        priors: Sequence[Sim3] | None = None,
    ) -> None:
        self.name, self.path = scene.name, Path(scene.name)
        self.skipped, self.missing = Counter[str](), Counter[str]()
        self.decoder: ImageDecoder = image_decoder()
        self.poses, self.priors, self.camera = list(poses), priors, synthetic_camera(width, height)
        self._renderer = Renderer(scene)
        self.rendering = lru_cache(RECENT)(self._render)
        self._stamps = START + PERIOD * np.arange(len(self.poses), dtype=np.int64)

    def count(self) -> int:
        """Number of frames."""
        return len(self.poses)

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Every N-th frame (N = ``every``)."""
        for index, place in enumerate(range(0, len(self.poses), every)):
            prior = None if self.priors is None else self.priors[place]
            image = self.rendering(place).image
            yield Frame(index, int(self._stamps[place]), CAMERA, image, self.camera, prior)

    def ground_truth(self) -> GroundTruth:
        """Poses and depth, exact."""
        path = CameraPath.from_poses([int(stamp) for stamp in self._stamps], self.poses)
        return GroundTruth(path, self._stamps, self._depth, "rendered")

    def _render(self, place: int) -> Rendering:
        return self._renderer.render(self.poses[place], self.camera)

    def _depth(self, place: int) -> DepthImage:
        return DepthImage(self.rendering(place).depth, self.camera)

"""Pictures for people: a reconstruction beside the truth, and a map while it grows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.pictures.splat import BACKGROUND, default_camera, look_at, render
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3

Picture = NDArray[np.uint8]
BAR = 34
"""Height of a caption in pixels."""


class Scenery:
    """Two views of a place, from above and from the side, that fit a cloud and are then used for others.

    Args:
        cloud: of the place, in a world whose z is up.
        width, height: of a picture in pixels.
        ceiling: everything higher than this is not drawn, to look into rooms; None: the upper fifth of the cloud.
    """

    def __init__(self, cloud: PointCloud, width: int = 640, height: int = 560, ceiling: float | None = None) -> None:
        low, high = np.percentile(cloud.points, [1, 99], axis=0).astype(np.float64)
        self.ceiling = float(low[2] + 0.8 * (high[2] - low[2])) if ceiling is None else ceiling
        self.camera = default_camera(width, height)
        middle, extent = (low + high) / 2, high - low
        # From above, the place's longer side lies along the picture's.
        distance = 1.12 * max(extent[0] / height, extent[1] / width) * self.camera.fx + extent[2] / 2
        above = Sim3(
            rotation=np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]),
            translation=middle + np.array([0.0, 0.0, distance]),
        )
        side = middle + np.array([-0.62, -0.5, 0.95]) * np.linalg.norm(extent[:2])
        self.views = {"from above": above, "from the side": look_at(side, middle)}

    def pictures(self, cloud: PointCloud, cameras: Sequence[Sim3] = (), point_size: int = 2) -> list[Picture]:
        """The cloud in both views, with the path of the cameras drawn over it."""
        pictures = []
        for view in self.views.values():
            picture = render(cloud, view, self.camera, point_size, self.ceiling)
            pictures.append(draw_path(picture, cameras, view, self.camera))
        return pictures


def draw_path(picture: Picture, cameras: Sequence[Sim3], view: Sim3, camera: Intrinsics) -> Picture:
    """The picture with the line of camera positions (``world_from_camera`` each) over it, green to red in time."""
    if len(cameras) < 2:
        return picture
    seen = view.inverse().apply(np.array([pose.translation for pose in cameras]))
    if (seen[:, 2] <= 0).any():
        return picture
    u = seen[:, 0] / seen[:, 2] * camera.fx + camera.cx
    v = seen[:, 1] / seen[:, 2] * camera.fy + camera.cy
    dots = np.rint(np.column_stack([u, v])).astype(int)
    picture = picture.copy()
    for number in range(len(dots) - 1):
        age = number / max(len(dots) - 2, 1)
        color = (int(255 * age), int(230 * (1 - age)), 40)
        cv2.line(picture, tuple(map(int, dots[number])), tuple(map(int, dots[number + 1])), color, 2, cv2.LINE_AA)
    return picture


def captioned(picture: Picture, text: str) -> Picture:
    """The picture under a bar with a line of text."""
    bar = np.full((BAR, picture.shape[1], 3), BACKGROUND, np.uint8)
    cv2.putText(bar, text, (12, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.58, (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([bar, picture])


def beside(
    found: PointCloud, true: PointCloud, found_path: Sequence[Sim3], true_path: Sequence[Sim3], titles: tuple[str, str]
) -> Picture:
    """Reconstruction (left) and truth (right), from above and from the side below; both in the true world."""
    scenery = Scenery(true)
    columns = [
        np.vstack(
            [captioned(picture, f"{title}, {view}") for view, picture in zip(scenery.views, pictures, strict=True)]
        )
        for title, pictures in zip(
            titles, (scenery.pictures(found, found_path), scenery.pictures(true, true_path)), strict=True
        )
    ]
    return np.hstack(columns)


def write_picture(path: Path, picture: Picture) -> None:
    """The picture as a file of the kind that its name ends with; raises DataError when that cannot be written."""
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise DataError("picture cannot be written", got=str(path))


def write_growing_map(
    path: Path, clouds: Iterable[PointCloud], cameras: Sequence[Sim3], scenery: Scenery, every: int = 2
) -> None:
    """A GIF of a map to which the frames' clouds are added one by one.

    Args:
        path: of the GIF.
        clouds: of the frames, in the world of ``scenery``.
        cameras: ``world_from_camera`` of the same frames.
        scenery: the views; the one from the side is shown.
        every: frames from one picture to the next.
    """
    view = scenery.views["from the side"]
    grown: list[PointCloud] = []
    pictures = []
    for number, cloud in enumerate(clouds):
        grown.append(cloud)
        if number % every:
            continue
        grown = [PointCloud.joined(grown)]
        picture = render(grown[0], view, scenery.camera, 2, scenery.ceiling)
        picture = draw_path(picture, cameras[: number + 1], view, scenery.camera)
        pictures.append(Image.fromarray(cv2.resize(picture, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)))
    if pictures:
        palette = [picture.quantize(128) for picture in pictures]  # by median cut
        palette[0].save(path, save_all=True, append_images=palette[1:], duration=120, loop=0, optimize=True)

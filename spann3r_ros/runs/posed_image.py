"""Images with known cameras, and the two text formats in which other programs take them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.axes import quaternion_from_rotation
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.sim3 import Sim3

GL_FROM_CV = np.diag([1.0, -1.0, -1.0, 1.0])
"""Camera axes of OpenGL (y up, looking along -z) from optical ones."""


@dataclass(frozen=True)
class PosedImage:
    """One image file, its calibration and its camera.

    Attributes:
        file: name below the export's folder.
        stamp: nanoseconds.
        world_from_camera: optical axes.
        intrinsics: of the file.
    """

    file: str
    stamp: int
    world_from_camera: Sim3
    intrinsics: Intrinsics


def write_colmap(folder: Path, images: Sequence[PosedImage], cloud: PointCloud) -> None:
    """COLMAP's text model: cameras.txt, images.txt and points3D.txt (points without tracks).

    COLMAP puts (0.5, 0.5) into the center of the upper left pixel, hence the half pixel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cameras = {intrinsics: number for number, intrinsics in enumerate(dict.fromkeys(i.intrinsics for i in images), 1)}
    with (folder / "cameras.txt").open("w") as file:
        file.write("# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n")
        for k, number in cameras.items():
            center = f"{k.cx + 0.5:.9g} {k.cy + 0.5:.9g}"
            file.write(f"{number} PINHOLE {k.width} {k.height} {k.fx:.9g} {k.fy:.9g} {center}\n")
    with (folder / "images.txt").open("w") as file:
        file.write("# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME\n# POINTS2D[] as (X, Y, POINT3D_ID)\n")
        for number, image in enumerate(images, 1):
            camera_from_world = image.world_from_camera.inverse()
            x, y, z, w = quaternion_from_rotation(camera_from_world.rotation)
            numbers = " ".join(f"{value:.12g}" for value in (w, x, y, z, *camera_from_world.translation))
            file.write(f"{number} {numbers} {cameras[image.intrinsics]} {Path(image.file).name}\n\n")
    with (folder / "points3D.txt").open("w") as file:
        file.write("# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)\n")
        rows = np.column_stack([np.arange(1, len(cloud) + 1), cloud.points, cloud.colors, np.zeros(len(cloud))])
        np.savetxt(file, rows, fmt="%d %.6g %.6g %.6g %d %d %d %d")


def write_transforms(path: Path, images: Sequence[PosedImage], ply: str) -> None:
    """Nerfstudio's transforms.json: OpenGL cameras, one calibration a frame, the cloud as initial points.

    Args:
        path: of the file; the images' names are relative to its folder.
        images: the cameras.
        ply: name of the cloud, relative too.
    """
    frames = []
    for image in images:
        k = image.intrinsics
        frames.append(
            {
                "file_path": image.file,
                "transform_matrix": (image.world_from_camera.matrix() @ GL_FROM_CV).tolist(),
                **{"w": k.width, "h": k.height, "fl_x": k.fx, "fl_y": k.fy, "cx": k.cx + 0.5, "cy": k.cy + 0.5},
                "stamp": image.stamp,
            }
        )
    content = {
        "camera_model": "OPENCV",
        **dict.fromkeys(("k1", "k2", "p1", "p2"), 0.0),
        "ply_file_path": ply,
        "frames": frames,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")

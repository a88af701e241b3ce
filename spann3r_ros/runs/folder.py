"""What a run leaves on disk, and where.

map.ply                 the cloud in the world frame (x forward, y left, z up)
trajectory.txt          camera poses, TUM's format
run.json                everything needed to repeat and judge it
depth/000000.tiff       (optional) 32-bit float depth along the optical axis; NaN unknown
pointmaps/000000.npz    (optional) final pointmap with confidence and colors, for evaluation
images/000000.png       (with either export) the images as the network saw them
colmap/, transforms.json (optional) the cameras for other programs
results/                (optional) a rosbag2: poses, depth and TF on the topics of the node
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.files.arrays import DAMAGE, open_arrays
from spann3r_ros.files.tum import read_camera_path
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import depth_from_pointmap
from spann3r_ros.mapping.storage import WORLD_AXES, read_ply, write_ply, write_trajectory
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.recordings.bag_writer import BagWriter
from spann3r_ros.runs.posed_image import PosedImage, write_colmap, write_transforms
from spann3r_ros.runs.record import RunRecord
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import CameraPath, StampedPose

CLOUD, TRAJECTORY, RECORD, POINTMAPS = "map.ply", "trajectory.txt", "run.json", "pointmaps"
NODE, WORLD = "/spann3r", "map"
"""Names of the node and its world frame, in bags of results."""


@dataclass(frozen=True)
class OptionalFiles:
    """Which files a run writes besides map, trajectory and record; see the head of this module."""

    depth: bool = False
    pointmaps: bool = False
    colmap: bool = False
    transforms: bool = False
    bag: bool = False


@dataclass(frozen=True, eq=False)
class StoredPointmap:
    """The final pointmap of one frame.

    Attributes:
        index, stamp: of the frame.
        points: (h, w, 3) float32 in the world frame.
        confidence: (h, w) float32.
        colors: (h, w, 3) uint8 RGB.
        size: (width, height) of the camera image it came from.
        intrinsics: of that image, or None.
    """

    index: int
    stamp: int
    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    colors: NDArray[np.uint8]
    size: tuple[int, int]
    intrinsics: Intrinsics | None


class RunFolder:
    """A folder that a run writes to and an evaluation reads from.

    Args:
        path: the folder.
        files: what to write besides map, trajectory and record.
    """

    def __init__(self, path: Path, files: OptionalFiles | None = None) -> None:
        self.path = path
        self.files = files or OptionalFiles()
        self._images: dict[int, PosedImage] = {}
        self._bag: BagWriter | None = None

    def create(self) -> None:
        """Make it; raises DataError when it holds another run already, so that no two runs are mixed."""
        if (self.path / RECORD).exists() or (self.path / POINTMAPS).exists():
            raise DataError(
                "output folder holds a run already", got=str(self.path), next_step="Choose another, or delete it first"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        if self.files.bag:
            self._bag = BagWriter(self.path / "results")

    def add(self, prediction: WorldPrediction) -> None:
        """The files of one answer; a later answer about the same frame takes their place."""
        index, wanted = prediction.frame.index, self.files
        pose, intrinsics = prediction.world_from_camera, prediction.intrinsics
        if wanted.pointmaps:
            frame, (height, width) = prediction.frame, prediction.frame.image.shape[:2]
            points, confidence, colors = prediction.points, prediction.confidence, prediction.colors
            self.add_pointmap(
                StoredPointmap(index, frame.stamp, points, confidence, colors, (width, height), frame.intrinsics)
            )
        if self._bag is not None and pose is not None:
            _write_messages(self._bag, prediction, pose)
        if wanted.depth and pose is not None:
            file = self._file("depth", index, "tiff")
            _write_depth(file, depth_from_pointmap(prediction.points, pose))
        if (wanted.colmap or wanted.transforms) and pose is not None and intrinsics is not None:
            file = self._file("images", index, "png")
            if not cv2.imwrite(str(file), cv2.cvtColor(prediction.colors, cv2.COLOR_RGB2BGR)):
                raise DataError("image cannot be written", got=str(file))
            name = str(file.relative_to(self.path))
            self._images[index] = PosedImage(name, prediction.frame.stamp, pose, intrinsics)

    def move(self, corrections: Mapping[int, Sim3]) -> None:
        """Put what was written about frames where corrections of the map have put their submaps since.

        A bag of results stays as it is: it holds what the node would have said at the time.

        Args:
            corrections: ``world_now_from_world_then`` by index of the frame.
        """
        for index, correction in corrections.items():
            if self.files.pointmaps and (file := self._file(POINTMAPS, index, "npz")).exists():
                pointmap = _read_pointmap(file)
                points = np.asarray(correction.apply(pointmap.points), np.float32)
                self.add_pointmap(dataclasses.replace(pointmap, points=points))
            if self.files.depth and (file := self._file("depth", index, "tiff")).exists():
                _write_depth(file, cv2.imread(str(file), cv2.IMREAD_UNCHANGED) * np.float32(correction.scale))
            if index in self._images:
                image = self._images[index]
                moved = correction.carry(image.world_from_camera)
                self._images[index] = dataclasses.replace(image, world_from_camera=moved)

    def finish(self, cloud: PointCloud, poses: Iterable[StampedPose], record: RunRecord) -> None:
        """Write map, trajectory, exports and record of everything that was added."""
        unit = "meters" if record.metric else "the model's own, not meters"
        write_ply(self.path / CLOUD, cloud, [WORLD_AXES, f"unit: {unit}"])
        write_trajectory(self.path / TRAJECTORY, poses)
        images = [self._images[index] for index in sorted(self._images)]
        if self.files.colmap:
            write_colmap(self.path / "colmap", images, cloud)
        if self.files.transforms:
            write_transforms(self.path / "transforms.json", images, CLOUD)
        if self._bag is not None:
            self._bag.close()
        record.points = len(cloud)
        record.write(self.path / RECORD)

    def record(self) -> RunRecord:
        """The record; raises DataError when there is none."""
        return RunRecord.read(self.path / RECORD)

    def cloud(self) -> PointCloud:
        """The map."""
        return read_ply(self.path / CLOUD)

    def camera_path(self) -> CameraPath:
        """The estimated trajectory; raises DataError when no pose was recovered."""
        return read_camera_path(self.path / TRAJECTORY)

    def pointmaps(self) -> Iterator[StoredPointmap]:
        """The stored pointmaps, the first one's camera being the world; none when they were not written.

        They come in the order of the frames, of an unordered run in the order in which the images were taken.

        Raises:
            DataError: a damaged file.
        """
        named = sorted((self.path / POINTMAPS).glob("*.npz"))
        files = {int(file.stem): file for file in named if re.fullmatch("[0-9]{1,9}", file.stem)}
        order = self.record().order if (self.path / RECORD).exists() else None
        for file in [files[index] for index in order or files if index in files]:
            try:
                yield _read_pointmap(file)
            except DAMAGE as error:
                raise DataError(
                    f"pointmap {file} cannot be read",
                    got=error,
                    expected="a file of this version of the package",
                    next_step="Make the run again",
                ) from error

    def add_pointmap(self, pointmap: StoredPointmap) -> None:
        """Everything that a comparison with true depth needs of a frame; ``pointmaps`` reads it back."""
        k = pointmap.intrinsics
        np.savez(
            self._file(POINTMAPS, pointmap.index, "npz"),
            stamp=np.int64(pointmap.stamp),
            points=pointmap.points,
            confidence=pointmap.confidence,
            colors=pointmap.colors,
            size=np.array(pointmap.size),
            intrinsics=np.array([k.fx, k.fy, k.cx, k.cy] if k else []),
        )

    def _file(self, folder: str, index: int, suffix: str) -> Path:
        """Name of a frame's file; its folder is made."""
        (self.path / folder).mkdir(exist_ok=True)
        return self.path / folder / f"{index:06d}.{suffix}"


def _write_depth(file: Path, depth: NDArray[np.float32]) -> None:
    if not cv2.imwrite(str(file), depth):
        raise DataError("depth image cannot be written", got=str(file))


def _write_messages(bag: BagWriter, prediction: WorldPrediction, world_from_camera: Sim3) -> None:
    """One answer as the node would publish it."""
    stamp, camera = prediction.frame.stamp, prediction.frame.camera
    bag.pose(f"{NODE}/pose", stamp, WORLD, world_from_camera)
    bag.transforms(stamp, [(WORLD, camera, world_from_camera)])
    depth = depth_from_pointmap(prediction.points, world_from_camera)
    bag.depth(f"{NODE}/depth", stamp, camera, depth)
    if prediction.intrinsics is not None:
        bag.camera_info(f"{NODE}/depth/camera_info", stamp, camera, prediction.intrinsics)


def _read_pointmap(file: Path) -> StoredPointmap:
    """What ``add_pointmap`` wrote."""
    with open_arrays(file) as content:
        width, height = map(int, content["size"])
        points, confidence, colors = (content[name] for name in ("points", "confidence", "colors"))
        grid = confidence.shape
        if len(grid) != 2 or points.shape != (*grid, 3) or colors.shape != (*grid, 3):
            raise ValueError(f"points {points.shape}, confidence {grid}, colors {colors.shape}")
        kinds = [points.dtype.name, confidence.dtype.name, colors.dtype.name]
        if kinds != ["float32", "float32", "uint8"]:
            raise ValueError(f"arrays of {', '.join(kinds)}")
        intrinsics = None
        if len(content["intrinsics"]):
            fx, fy, cx, cy = map(float, content["intrinsics"])
            intrinsics = Intrinsics(fx, fy, cx, cy, width, height)
        return StoredPointmap(
            int(file.stem),
            int(content["stamp"]),
            points,
            confidence,
            colors,
            (width, height),
            intrinsics,
        )

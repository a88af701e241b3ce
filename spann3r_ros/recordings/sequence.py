"""What every source of frames looks like, and the one that is made of image files."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from spann3r_ros.config import ImageConfig
from spann3r_ros.errors import DataError, FrameError, GeometryError
from spann3r_ros.files.text import read_text
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.image_decoder import ImageDecoder
from spann3r_ros.geometry.image_file import decode_file
from spann3r_ros.geometry.rectification import Rectification
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import CameraPath

FRAME_PERIOD = 33_333_333
"""Nanoseconds between the frames of a dataset that has no stamps (30 frames/s)."""

FIRST_STAMP = 1_000_000_000
"""Its first stamp: one second, because zero means "not stamped" in ROS."""

METERS = {"m": 1.0, "mm": 1e-3}
"""Meters of each unit that a sequence can have."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff")

_log = logging.getLogger(__name__)

_log = logging.getLogger(__name__)


def image_decoder() -> ImageDecoder:
    """A decoder that logs what it had to assume."""
    return ImageDecoder(ImageConfig(), _log.warning)


@dataclass(frozen=True, eq=False)
class DepthImage:
    """True depth of one moment.

    Attributes:
        depth: (H, W) float32 along the optical axis, in the unit of the sequence; NaN where unknown.
        intrinsics: of this depth image, or None when unknown.
    """

    depth: NDArray[np.float32]
    intrinsics: Intrinsics | None


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What is known of the true world.

    Attributes:
        trajectory: true camera poses, or None.
        depth_stamps: (M,) int64 nanoseconds of the depth images, increasing; M = 0 when there are none.
        read_depth: gives the depth image of an index in ``depth_stamps``; each call reads the disk.
        origin: where it came from, for reports.
    """

    trajectory: CameraPath | None
    depth_stamps: NDArray[np.int64]
    read_depth: Callable[[int], DepthImage]
    origin: str

    def depth_at(self, stamp: int, max_gap: int) -> DepthImage | None:
        """The depth image nearest to a stamp, or None when it is more than ``max_gap`` nanoseconds away."""
        if len(self.depth_stamps) == 0:
            return None
        index = int(np.abs(self.depth_stamps - stamp).argmin())
        return self.read_depth(index) if abs(int(self.depth_stamps[index]) - stamp) <= max_gap else None


class Sequence(Protocol):
    """Frames in the order of their stamps, with or without ground truth.

    Attributes:
        name: short name for reports.
        layout: name of the format it was read from.
        path: the file or folder.
        unit: unit of its true lengths.
        skipped: what ``frames`` left out because it is no frame or must not be one, by reason.
        missing: frames that were promised and that ``frames`` could not deliver, by reason; complete when it has ended.
        decoder: of its images; whoever reads them may give it another configuration.
    """

    name: str
    layout: str
    path: Path
    unit: str

    @property
    def skipped(self) -> Counter[str]:
        """See above."""
        ...

    @property
    def missing(self) -> Counter[str]:
        """See above."""
        ...

    @property
    def decoder(self) -> ImageDecoder:
        """See above."""
        ...

    def count(self) -> int | None:
        """Number of frames, or None when it is not known beforehand."""
        ...

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Every N-th frame (N = ``every``), ``Frame.index`` counting 0, 1, 2 ...; the others are not decoded."""
        ...

    def ground_truth(self) -> GroundTruth | None:
        """None when the source has none."""
        ...


@dataclass(frozen=True)
class ImageFile:
    """One image file and what belongs to it."""

    stamp: int
    image: Path
    intrinsics: Intrinsics | None = None
    depth: Path | None = None
    mask: Path | None = None


@dataclass
class FileSequence:
    """A sequence of image files.

    Attributes:
        views: in the order of their stamps.
        trajectory: true poses, or None.
        read_depth: reads the depth of one view, in ``unit``, NaN where unknown; None when there is no depth.
        rectification: applied to every image, or None.
        camera: name of the camera's optical frame.
        skipped, left_out: files that are no frames, and frames that cannot be read as their form is not known, by
            reason.
        missing: see ``Sequence``.
        decoder: of the images.
    """

    name: str
    layout: str
    path: Path
    views: list[ImageFile]
    trajectory: CameraPath | None = None
    read_depth: Callable[[ImageFile], NDArray[np.float32]] | None = None
    rectification: Rectification | None = None
    unit: str = "m"
    camera: str = "camera_optical_frame"
    skipped: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    decoder: ImageDecoder = field(default_factory=image_decoder)

    def count(self) -> int:
        """Number of images."""
        return len(self.views)

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Every N-th image (N = ``every``); those that cannot be used are counted in ``missing`` and logged."""
        self.missing.clear()
        self.missing.update(self.left_out)
        index = 0
        for view in self.views[::every]:
            try:
                image, intrinsics = read_image(view.image, self.decoder), view.intrinsics
                if self.rectification is not None:
                    image, intrinsics = self.rectification.apply(image), self.rectification.intrinsics
                frame = Frame(index, view.stamp, self.camera, image, intrinsics)
            except (DataError, FrameError, GeometryError) as error:
                level = logging.INFO if self.missing[error.problem] else logging.WARNING
                _log.log(level, "%s is left out: %s", view.image, error)
                self.missing[error.problem] += 1
                continue
            yield frame
            index += 1

    def ground_truth(self) -> GroundTruth | None:
        """Poses and depth of the dataset; None when it has neither."""
        views = [view for view in self.views if view.depth is not None] if self.read_depth else []
        if self.trajectory is None and not views:
            return None

        def read(index: int) -> DepthImage:
            assert self.read_depth is not None
            return DepthImage(self.read_depth(views[index]), views[index].intrinsics)

        stamps = np.array([view.stamp for view in views], dtype=np.int64)
        return GroundTruth(self.trajectory, stamps, read, self.layout)


def invented_stamp(index: int) -> int:
    """Nanoseconds of the ``index``-th frame of a dataset that has no stamps."""
    return FIRST_STAMP + index * FRAME_PERIOD


def require(path: Path, layout: str, what: str) -> Path:
    """The path when it exists; raises DataError that tells which file of which layout was expected there."""
    try:
        there = path.exists()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise DataError(
            f"incomplete {layout} folder",
            got=f"no {str(path)[:200]}",
            expected=what,
            next_step="Check that the path is the sequence's own folder and that it was unpacked completely",
        )
    return path


def read_image(path: Path, decoder: ImageDecoder | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, turned as its EXIF tag says; raises DataError for a missing, damaged or too large file."""
    try:
        return (decoder or image_decoder()).file(path.read_bytes() if path.is_file() else b"")
    except (OSError, FrameError) as error:
        raise DataError("image cannot be read", got=f"{path} ({error})", expected="a whole image file") from error


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the file's header; raises DataError for a missing or damaged file."""
    try:
        with Image.open(path) as image:
            return int(image.width), int(image.height)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError("image cannot be read", got=str(path), expected="an image file") from error


def read_png_depth(path: Path, per_unit: float, largest: float = np.inf) -> NDArray[np.float32]:
    """Depth from a 16-bit image.

    Args:
        path: the file.
        per_unit: file values per unit of length (1000 for millimeters).
        largest: depths beyond this are unknown, in units of length; so are 0 and 65535.

    Returns:
        (H, W) float32, NaN where unknown; raises DataError for a file that is no 16-bit image.
    """
    try:
        raw = decode_file(path.read_bytes(), ImageConfig().max_pixels)
    except (OSError, FrameError) as error:
        raise DataError(f"depth image {path}", got=error, expected="a 16-bit gray PNG") from error
    if raw.dtype != np.uint16 or raw.ndim != 2:
        raise DataError(f"depth image {path}", got=f"{raw.dtype} {raw.shape}", expected="a 16-bit gray PNG")
    depth: NDArray[np.float32] = raw.astype(np.float32) / np.float32(per_unit)
    depth[(raw == 0) | (raw == 65535) | (depth > largest)] = np.nan
    return depth


def read_matrix(path: Path, rows: int, columns: int) -> NDArray[np.float64]:
    """Numbers of a text file as (rows, columns); raises DataError for another amount of numbers or other text."""
    try:
        numbers = np.array(read_text(path).split(), dtype=np.float64)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"text in {path}", got=error, expected=f"{rows} x {columns} numbers") from error
    if rows < 0 and len(numbers) and len(numbers) % columns == 0:
        return numbers.reshape(-1, columns)
    if len(numbers) != rows * columns:
        raise DataError(f"numbers in {path}", got=len(numbers), expected=f"{rows} x {columns}")
    return numbers.reshape(rows, columns)


def path_of(stamps: list[int], matrices: list[NDArray[np.float64]]) -> CameraPath:
    """Path of (4, 4) camera-to-world matrices; those with NaN or infinity, unknown poses, are ignored."""
    known = [(stamp, matrix) for stamp, matrix in zip(stamps, matrices, strict=True) if np.isfinite(matrix).all()]
    return CameraPath.from_poses([stamp for stamp, _ in known], [_rigid(matrix) for _, matrix in known])


def _rigid(matrix: NDArray[np.float64]) -> Sim3:
    """Pose whose rotation, rounded in a text file, is made orthonormal again."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    return Sim3.rigid(left @ right, matrix[:3, 3])


def natural_order(path: Path) -> tuple[object, ...]:
    """Sorting key of file names in which numbers count by value: 2 before 10."""
    parts = re.split(r"([0-9]+)", path.name)
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts))

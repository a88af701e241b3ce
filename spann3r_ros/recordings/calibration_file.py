"""The calibration of a camera that lies beside its images, in the forms that people write.

Text: ``fx fy cx cy``, with or without ``k1 k2 p1 p2 [k3]`` behind, or the nine numbers of K row by row. JSON: ``fx``,
``fy``, ``cx``, ``cy``. YAML of ROS (``camera_matrix``, ``distortion_coefficients``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spann3r_ros.errors import DataError
from spann3r_ros.files.text import read_text
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.rectification import rectification
from spann3r_ros.recordings.sequence import FileSequence, image_size
from spann3r_ros.recordings.structured import read_json, read_yaml

STEMS = ("calibration", "calib", "intrinsics", "intrinsic", "camera", "camera_info", "cam", "K")
SUFFIXES = (".json", ".yaml", ".yml", ".txt")
MOST_BYTES = 1 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileCalibration:
    """What a file says about the camera of images that lie beside it.

    Attributes:
        intrinsics: at the size of the images.
        model: of the distortion, as in ``sensor_msgs/CameraInfo``.
        distortion: its coefficients; empty without.
    """

    intrinsics: Intrinsics
    model: str = "plumb_bob"
    distortion: tuple[float, ...] = ()

    def applied(self, sequence: FileSequence) -> FileSequence:
        """The sequence with these intrinsics, rectified when the lens distorts."""
        maps = rectification(self.intrinsics, self.model, list(self.distortion))
        if maps is not None:
            return replace(sequence, rectification=maps)
        return replace(sequence, views=[replace(view, intrinsics=self.intrinsics) for view in sequence.views])


def find_calibration(folder: Path, image: Path) -> FileCalibration | None:
    """The first readable calibration file of a folder, at the size of one of its images.

    A file of that name that is none is ignored with a warning.
    """
    files = [folder / (stem + suffix) for suffix in SUFFIXES for stem in STEMS]
    for file in filter(Path.is_file, files):
        try:
            found = read_calibration(file, *image_size(image))
        except DataError as error:
            _log.warning("%s", error)
            continue
        _log.warning("%s: the camera is calibrated by %s", folder, file.name)
        return found
    return None


def read_calibration(path: Path, width: int, height: int) -> FileCalibration:
    """One file.

    Args:
        path: of the file.
        width, height: of the images in pixels; where the file tells another size, of which this is a clean fraction or
            multiple, the intrinsics are scaled.

    Raises:
        DataError: a file of another form, or numbers that describe no camera.
    """
    try:
        if path.suffix == ".json":
            numbers, rest = _from_mapping(read_json(path, MOST_BYTES))
        elif path.suffix in (".yaml", ".yml"):
            numbers, rest = _from_mapping(read_yaml(path, MOST_BYTES))
        else:
            numbers, rest = _from_text(read_text(path, MOST_BYTES))
        size = rest.pop("size", None) or (width, height)
        scale = width / size[0]
        if not np.isclose(scale, height / size[1], rtol=0.01):
            raise ValueError(f"it is of images of {size[0]} x {size[1]} pixels, these have {width} x {height}")
        fx, fy, cx, cy = (float(number) for number in numbers)
        cx, cy = (cx + 0.5) * scale - 0.5, (cy + 0.5) * scale - 0.5
        calibration = FileCalibration(Intrinsics(fx * scale, fy * scale, cx, cy, width, height), **rest)
        rectification(calibration.intrinsics, calibration.model, list(calibration.distortion))
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise DataError(
            f"calibration {path}",
            got=error,
            expected="fx fy cx cy [k1 k2 p1 p2 k3], the matrix K, or ROS's YAML",
            next_step="Correct or remove the file",
        ) from error
    return calibration


def _from_text(text: str) -> tuple[list[float], dict[str, Any]]:
    """Numbers in a row."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    numbers = [float(word) for line in lines for word in line.replace(",", " ").split()]
    if len(numbers) == 9 and numbers[6:] == [0, 0, 1] and numbers[3] == 0:
        return _of_matrix(numbers), {}
    if len(numbers) not in (4, 8, 9):
        raise ValueError(f"{len(numbers)} numbers")
    return numbers[:4], {"distortion": tuple(numbers[4:])}


def _from_mapping(content: Any) -> tuple[list[float], dict[str, Any]]:
    """Names and values."""
    if not isinstance(content, dict):
        raise ValueError(f"{type(content).__name__}, not names and values")
    size = _size(content)
    rest: dict[str, Any] = {"size": size} if size else {}
    if "camera_matrix" in content:
        matrix = content["camera_matrix"]
        numbers = _of_matrix(_numbers(matrix["data"] if isinstance(matrix, dict) else matrix))
        coefficients = content.get("distortion_coefficients", [])
        rest["distortion"] = tuple(_numbers(coefficients["data"] if isinstance(coefficients, dict) else coefficients))
        rest["model"] = str(content.get("distortion_model", "plumb_bob"))
        return numbers, rest
    names = ("fx", "fy", "cx", "cy") if "fx" in content else ("fl_x", "fl_y", "cx", "cy")
    return [float(content[name]) for name in names], rest


def _size(content: dict[str, Any]) -> tuple[int, int] | None:
    """Width and height where both are told, else None."""
    for names in (("width", "height"), ("image_width", "image_height"), ("w", "h")):
        if all(name in content for name in names):
            width, height = (int(content[name]) for name in names)
            if width < 1 or height < 1:
                raise ValueError(f"size {width} x {height}")
            return width, height
    return None


def _numbers(values: Any) -> list[float]:
    """Nested or flat lists as one."""
    if not isinstance(values, Iterable) or isinstance(values, str):
        return [float(values)]
    return [float(number) for number in np.asarray(list(values), dtype=np.float64).ravel()]


def _of_matrix(numbers: list[float]) -> list[float]:
    """fx, fy, cx, cy of K."""
    if len(numbers) != 9:
        raise ValueError(f"a camera matrix of {len(numbers)} numbers")
    return [numbers[0], numbers[4], numbers[2], numbers[5]]

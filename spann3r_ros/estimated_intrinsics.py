"""The calibration of cameras that publish none: a focal length, estimated once from the first answer of a world."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from spann3r_ros.errors import DataError, FrameError, GeometryError
from spann3r_ros.frame import Intrinsics
from spann3r_ros.geometry.camera import centered, resize
from spann3r_ros.geometry.focal import estimate_focal
from spann3r_ros.prediction import Prediction


@dataclasses.dataclass
class EstimatedIntrinsics:
    """Only the first frame's points are in the axes of its own camera; all cameras get the focal length they tell.

    Attributes:
        found: the calibration on the first answer's grid, or None.
        missing: why there is none.
        is_next_first: whether the next answer is the first in axes of its own.
    """

    found: Intrinsics | None = None
    missing: str = ""
    is_next_first: bool = True

    def calibrated(self, answer: Prediction, use_camera_info: bool) -> Prediction:
        """With the calibration of the answer's grid: the camera's, the model's, or the estimated one."""
        height, width = answer.confidence.shape
        if self.is_next_first:
            self.is_next_first = False
            try:
                self.found = centered(estimate_focal(answer.points, answer.confidence), width, height)
            except GeometryError as error:
                self.missing = f"no focal length from the first frame: {error}"
        is_unwanted = answer.intrinsics_source == "camera_info" and not use_camera_info
        if answer.intrinsics is not None and not is_unwanted:
            return answer
        if self.found is None:
            return dataclasses.replace(answer, intrinsics=None, intrinsics_source="")
        intrinsics = self.found
        if (intrinsics.width, intrinsics.height) != (width, height):
            intrinsics = resize(intrinsics, width, height)
        return dataclasses.replace(answer, intrinsics=intrinsics, intrinsics_source="estimated")

    def note(self) -> str:
        """A short text for a saved map, from which ``from_note`` makes the same."""
        return json.dumps(self.found and dataclasses.asdict(self.found))

    @classmethod
    def from_note(cls, note: str, path: Path) -> EstimatedIntrinsics:
        """What was estimated for the saved map ``path``; raises DataError for a note that is none."""
        try:
            values: Any = json.loads(note)
            if values is None:
                return cls()
            fx, fy, cx, cy = (float(values[name]) for name in ("fx", "fy", "cx", "cy"))
            width, height = values["width"], values["height"]
            if type(width) is not int or type(height) is not int:
                raise TypeError(f"image size {width} x {height}")
            found = Intrinsics(fx, fy, cx, cy, width, height)
            if not 0.1 <= fx / width <= 100 or not 0.1 <= fy / height <= 100:
                raise ValueError(f"focal lengths {fx:g}, {fy:g} of an image {width} x {height}")
            return cls(found)
        except (ValueError, KeyError, TypeError, RecursionError, FrameError) as error:
            raise DataError(
                f"estimated intrinsics of the map {path}",
                got=error,
                expected="those of the first frame, as save_map writes them",
                next_step="The manifest was changed: take the map from a backup",
            ) from error

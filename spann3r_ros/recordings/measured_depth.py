"""A recording whose frames carry the depth that was recorded with them, for networks that take depth."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spann3r_ros.errors import DataError, FrameError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.depth_fitting import fit_depth
from spann3r_ros.geometry.image_decoder import ImageDecoder
from spann3r_ros.recordings.sequence import METERS, GroundTruth, Sequence

DEPTH_GAP = 20_000_000
"""Nanoseconds between an image and the depth image that counts as its own."""


class MeasuredDepth:
    """A sequence with depth in its frames; see ``Sequence``.

    Frames without a depth image near their stamp have none.

    Args:
        sequence: with depth images, seen by the camera of its images.

    Raises:
        DataError: a sequence without depth.
    """

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence
        self.name, self.layout, self.path, self.unit = sequence.name, sequence.layout, sequence.path, sequence.unit
        truth = sequence.ground_truth()
        if truth is None or not len(truth.depth_stamps):
            raise DataError(f"depth of {sequence.path}", got="no depth images", expected="a recording that has them")
        self._truth: GroundTruth = truth

    name: str
    layout: str
    path: Path
    unit: str

    @property
    def skipped(self) -> Counter[str]:  # noqa: D102
        return self._sequence.skipped

    @property
    def missing(self) -> Counter[str]:  # noqa: D102
        return self._sequence.missing

    @property
    def decoder(self) -> ImageDecoder:  # noqa: D102
        return self._sequence.decoder

    def count(self) -> int | None:  # noqa: D102
        return self._sequence.count()

    def ground_truth(self) -> GroundTruth | None:  # noqa: D102
        return self._truth

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """As of the sequence; DataError where depth and images are of different aspects."""
        for frame in self._sequence.frames(every):
            found = self._truth.depth_at(frame.stamp, DEPTH_GAP)
            if found is None:
                yield frame
                continue
            try:
                depth = fit_depth(found.depth * np.float32(METERS[self.unit]), *frame.image.shape[:2])
            except FrameError as error:
                raise DataError(
                    f"depth images of {self.path}",
                    got=f"(H, W) = {found.depth.shape}",
                    expected=f"{frame.image.shape[:2]}, the size of the images, or one of the same aspect",
                    next_step="Register the depth to the images' camera first",
                ) from error
            yield dataclasses.replace(frame, depth=np.maximum(depth, np.float32(0)))

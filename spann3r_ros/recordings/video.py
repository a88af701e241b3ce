"""A video file, read by OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from spann3r_ros.errors import DataError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.image_decoder import ImageDecoder
from spann3r_ros.geometry.image_file import check_size
from spann3r_ros.recordings.sequence import FIRST_STAMP, FRAME_PERIOD, GroundTruth, image_decoder

LAYOUT = "video"
EXPECTED = "FILE.mp4|avi|mov|mkv|webm"
SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg")


@dataclass
class VideoSequence:
    """Frames of a video; stamps are nanoseconds since one second before its start."""

    name: str
    path: Path
    frame_count: int
    period: int
    layout: str = LAYOUT
    unit: str = "m"
    decoder: ImageDecoder = field(default_factory=image_decoder)

    def count(self) -> int | None:
        """What the file's header says, or None when it says nothing."""
        return self.frame_count or None

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Every N-th frame (N = ``every``); the file's own times where they increase, else its frame rate."""
        capture = cv2.VideoCapture(str(self.path))
        try:
            width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
            check_size(int(width), int(height), self.decoder.config.max_pixels)
            number, index, last = 0, 0, -1
            while capture.grab():
                if number % every == 0:
                    read, image = capture.retrieve()
                    if not read:
                        raise DataError(f"frame {number} of {self.path} cannot be decoded")
                    stamp = FIRST_STAMP + round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
                    stamp = stamp if stamp > last else max(FIRST_STAMP + number * self.period, last + 1)
                    last = stamp
                    pixels = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
                    yield Frame(index, stamp, "camera_optical_frame", pixels)
                    index += 1
                number += 1
        finally:
            capture.release()

    def ground_truth(self) -> GroundTruth | None:
        """None: a video knows nothing of the world."""
        return None


def matches(path: Path) -> bool:
    """A file with a video's suffix."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def load(path: Path) -> VideoSequence:
    """The video; raises DataError for a file without a readable frame."""
    capture = cv2.VideoCapture(str(path))
    try:
        readable = capture.grab()
        count, rate = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
    finally:
        capture.release()
    if not readable:
        raise DataError("video without a readable frame", got=str(path), expected=EXPECTED)
    return VideoSequence(path.stem, path, max(count, 0), round(1e9 / rate) if rate > 0 else FRAME_PERIOD)

"""A video file, read by OpenCV."""

from __future__ import annotations

import logging
from collections import Counter
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


ESTIMATED = (".mkv", ".webm", ".mpg")
"""Files whose header knows a duration, not a number of frames."""

MOST_FRAMES = 1 << 31
"""What claims more knows nothing of its length."""

MOST_DAMAGED = 100
"""Reads in sequence without a frame after which a video has ended."""

_log = logging.getLogger(__name__)


@dataclass
class VideoSequence:
    """Frames of a video; stamps are nanoseconds since one second before its start.

    Attributes:
        frame_count: as the file's header says; 0: nothing.
        counted: whether the header counts frames; else ``frame_count`` is an estimate by duration and rate.
        skipped, missing: see ``Sequence``.
    """

    name: str
    path: Path
    frame_count: int
    period: int
    counted: bool = True
    layout: str = LAYOUT
    unit: str = "m"
    skipped: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    decoder: ImageDecoder = field(default_factory=image_decoder)

    def count(self) -> int | None:
        """What the file's header says, or None when it says nothing."""
        return self.frame_count or None

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Every N-th frame (N = ``every``); the file's own times where they increase, else its frame rate."""
        self.missing.clear()
        capture = cv2.VideoCapture(str(self.path))
        try:
            width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
            check_size(int(width), int(height), self.decoder.config.max_pixels)
            number, index, last = 0, 0, -1
            while self._grab(capture, number):
                if number % every == 0:
                    read, image = capture.retrieve()
                    if not read:
                        self.missing["frame cannot be decoded"] += 1
                        number += 1
                        continue
                    stamp = FIRST_STAMP + round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
                    stamp = stamp if stamp > last else max(FIRST_STAMP + number * self.period, last + 1)
                    last = stamp
                    pixels = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
                    yield Frame(index, stamp, "camera_optical_frame", pixels)
                    index += 1
                number += 1
        finally:
            capture.release()
        lost = self.frame_count - number - (0 if self.counted else max(2, self.frame_count // 50))
        if lost > 0:
            lost = self.frame_count - number
            self.missing["frame that the video's header promises"] += lost
            _log.warning(
                "%s is cut off or damaged: %d of %d promised frames could be read", self.path, number, self.frame_count
            )

    def _grab(self, capture: cv2.VideoCapture, number: int) -> bool:
        """Whether there is a next frame; after a damaged part the frames that follow it are looked for."""
        for _ in range(min(MOST_DAMAGED, self.frame_count - number) if number < self.frame_count else 1):
            if capture.grab():
                return True
        return False

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
        head = path.read_bytes()[: 1 << 20] if path.stat().st_size else b""
        cut = path.suffix.lower() in (".mp4", ".mov", ".m4v") and b"moov" not in head
        raise DataError(
            "video without a readable frame",
            got=f"{path}, {path.stat().st_size} bytes",
            expected=EXPECTED,
            next_step="Its index (moov), which is written last, is missing: the recording was cut off. The program "
            "untrunc rebuilds it from another video of the same camera"
            if cut
            else "",
        )
    count = count if 0 < count < MOST_FRAMES else 0
    period = round(1e9 / rate) if 1e-3 < rate < 1e6 else FRAME_PERIOD
    return VideoSequence(path.stem, path, count, period, path.suffix.lower() not in ESTIMATED)

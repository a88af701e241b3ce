"""A folder of images, nothing else known; numbers in names count by value.

Files that accompany another image (its mask, its depth, its labels) are no frames, whatever their number; neither are
the hidden files of other systems. What is left out is counted by reason.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path

from spann3r_ros.errors import DataError
from spann3r_ros.recordings.calibration_file import find_calibration
from spann3r_ros.recordings.sequence import IMAGE_SUFFIXES, FileSequence, ImageFile, invented_stamp, natural_order

LAYOUT = "images"
EXPECTED = "FOLDER/*.jpg|png|..."

UNREADABLE = (".heic", ".heif", ".avif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".gif")
"""Photographs that OpenCV does not read everywhere."""

CONVERT = "convert them to JPEG, e.g. `magick mogrify -format jpg *.HEIC` (ImageMagick)"

COMPANIONS = re.compile(
    "masks?|depths?|disp|disparity|seg|segmentation|labels?|semantic|instance|normals?|conf|confidence|alpha|matte|thumb"
)
PICTURES = re.compile("rgb|colou?r|image|img|frame|pic|picture|photo|left")
"""Words that tell what a file is; what is left of two names without them is the same for an image and its mask."""

_log = logging.getLogger(__name__)


def matches(path: Path) -> bool:
    """A folder with at least one photograph."""
    return path.is_dir() and any(entry.suffix.lower() in IMAGE_SUFFIXES + UNREADABLE for entry in path.iterdir())


def load(path: Path) -> FileSequence:
    """The images at 30 frames/s; raises DataError when there is none."""
    files = sorted(filter(Path.is_file, path.iterdir()), key=natural_order) if path.is_dir() else []
    hidden = [file for file in files if file.name.startswith(".") and file.suffix.lower() in IMAGE_SUFFIXES]
    files = [file for file in files if not file.name.startswith(".")]
    unreadable = [file for file in files if file.suffix.lower() in UNREADABLE]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    companions = companions_among(images)
    images = [file for file in images if file not in companions]
    # A photograph that was converted beside the original is there twice.
    stems = {file.stem for file in images}
    converted = [file for file in unreadable if file.stem in stems]
    left_out = Counter(f"{file.suffix.upper()[1:]} file, which cannot be read here" for file in unreadable)
    left_out -= Counter(f"{file.suffix.upper()[1:]} file, which cannot be read here" for file in converted)
    if not images:
        raise DataError(
            f"no images in {path}",
            got=", ".join(f"{count} x {reason}" for reason, count in left_out.items()) or None,
            expected="files " + " ".join(IMAGE_SUFFIXES),
            next_step=CONVERT[0].upper() + CONVERT[1:] if left_out else "",
        )
    for reason, count in left_out.items():
        _log.warning("%s: %d x %s: %s", path, count, reason, CONVERT)
    skipped = Counter({"mask, depth or label of another image": len(companions), "hidden file": len(hidden)})
    views = [ImageFile(invented_stamp(index), image, None) for index, image in enumerate(images)]
    sequence = FileSequence(path.resolve().name, LAYOUT, path, views, skipped=+skipped, left_out=left_out)
    calibration = find_calibration(path, images[0])
    return sequence if calibration is None else calibration.applied(sequence)


def companions_among(images: list[Path]) -> set[Path]:
    """Files that belong to another image, as ``1_mask.png``, ``1.jpg.png`` and ``depth_1.png`` belong to ``1.jpg``."""
    names = {image.name for image in images}
    rests = {image: _rest(image) for image in images}
    plain = {rest for rest, accompanies in rests.values() if not accompanies}
    return {
        image for image, (rest, accompanies) in rests.items() if image.stem in names or (accompanies and rest in plain)
    }


def _rest(image: Path) -> tuple[tuple[str, ...], bool]:
    """The words of a name that do not say what the file is, and whether one says that it accompanies an image."""
    words = re.findall(r"[a-z]+|[0-9]+|[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", image.stem).lower())
    rest = tuple(word for word in words if not COMPANIONS.fullmatch(word) and not PICTURES.fullmatch(word))
    return rest, any(COMPANIONS.fullmatch(word) for word in words)

"""Videos that are cut off or damaged."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.recordings.layouts import open_sequence

PROMISED = "frame that the video's header promises"


def video(path: Path, fourcc: str, frames: int = 30) -> Path:
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), 10.0, (64, 48))
    for _ in range(frames):
        writer.write(cv2.GaussianBlur(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8), (9, 9), 0))
    writer.release()
    return path


@pytest.mark.fault("recordings", case="11")
@pytest.mark.parametrize("damage", ["none", "cut off", "hole"])
def test_frames_read_are_counted_against_frames_promised(tmp_path: Path, damage: str) -> None:
    path = video(tmp_path / "a.avi", "MJPG")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if damage == "cut off":
        del content[middle:]
    elif damage == "hole":
        content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    sequence = open_sequence(path)
    frames = list(sequence.frames())
    assert sequence.count() == 30
    assert len(frames) + sequence.missing.total() == 30
    assert (len(frames) == 30) == (damage == "none")
    if damage == "hole":
        assert len(frames) > 20, "what lies behind the hole is read, too"
    assert [frame.index for frame in frames] == list(range(len(frames)))


def test_every_nth_frame_of_a_whole_video_lacks_none(tmp_path: Path) -> None:
    sequence = open_sequence(video(tmp_path / "a.mp4", "mp4v"))
    assert len(list(sequence.frames(every=4))) == 8 and not sequence.missing


@pytest.mark.fault("recordings", case="11")
def test_a_video_without_its_index_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", "mp4v")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"without a readable frame.*moov"):
        open_sequence(path)

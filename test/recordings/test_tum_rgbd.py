"""Own recordings in the layout of the TUM benchmark."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from spann3r_ros.recordings.layouts import open_sequence


def own_recording(folder: Path, size: tuple[int, int] = (64, 48)) -> Path:
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    lines: dict[str, list[str]] = {"rgb": [], "depth": [], "groundtruth": []}
    for number in range(3):
        stamp = f"{1700000000 + number}.000000"
        cv2.imwrite(str(folder / "rgb" / f"{stamp}.png"), np.full((size[1], size[0], 3), 50, np.uint8))
        cv2.imwrite(str(folder / "depth" / f"{stamp}.png"), np.full((size[1], size[0]), 10000, np.uint16))
        lines["rgb"].append(f"{stamp} rgb/{stamp}.png")
        lines["depth"].append(f"{stamp} depth/{stamp}.png")
        lines["groundtruth"].append(f"{stamp} {number} 0 0 0 0 0 1")
    for name, rows in lines.items():
        (folder / f"{name}.txt").write_text("\n".join(rows))
    return folder


@pytest.mark.fault("recordings", case="17")
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("calibration.txt", "61.5 62 31 24"),
        ("calib.txt", "61.5, 62, 31, 24, 0, 0, 0, 0, 0"),
        ("K.txt", "61.5 0 31\n0 62 24\n0 0 1\n"),
        ("intrinsics.json", '{"fx": 61.5, "fy": 62, "cx": 31, "cy": 24, "width": 64, "height": 48}'),
        ("camera_info.yaml", "camera_matrix: {data: [61.5, 0, 31, 0, 62, 24, 0, 0, 1]}\nimage_width: 64\n"),
    ],
)
def test_a_calibration_that_lies_there_is_used(
    tmp_path: Path, file: str, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = own_recording(tmp_path / "mine")
    (folder / file).write_text(content)
    with caplog.at_level(logging.WARNING):
        frames = list(open_sequence(folder).frames())
    k = frames[0].intrinsics
    assert k is not None and (k.fx, k.fy, k.cx, k.cy) == (61.5, 62.0, 31.0, 24.0)
    assert f"calibrated by {file}" in caplog.text and "5000 per meter" in caplog.text


@pytest.mark.fault("recordings", case="17")
@pytest.mark.parametrize("name", ["mine", "rgbd_dataset_freiburg1_resized"])
def test_without_one_nothing_is_assumed(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sequence = open_sequence(own_recording(tmp_path / name))
    frames = list(sequence.frames())
    assert len(frames) == 3 and all(frame.intrinsics is None for frame in frames)
    assert "no calibration.txt" in caplog.text


@pytest.mark.fault("recordings", case="17")
def test_the_benchmarks_own_sequences_have_its_calibration(tmp_path: Path) -> None:
    (frame, *_) = open_sequence(own_recording(tmp_path / "rgbd_dataset_freiburg1_xyz", (640, 480))).frames()
    assert frame.intrinsics is not None and frame.intrinsics.fx == 525.0


@pytest.mark.fault("recordings", case="17")
def test_a_distorted_lens_is_rectified_and_a_broken_file_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = own_recording(tmp_path / "mine")
    (folder / "calibration.txt").write_text("61.5 62 31 24 -0.2 0.05 0 0 0")
    (frame, *_) = open_sequence(folder).frames()
    assert frame.intrinsics is not None and frame.intrinsics.fx != 61.5
    (folder / "calibration.txt").write_text("sixty one")
    with caplog.at_level(logging.WARNING):
        (frame, *_) = open_sequence(folder).frames()
    assert frame.intrinsics is None and "Correct or remove the file" in caplog.text

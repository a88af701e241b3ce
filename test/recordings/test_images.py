"""Folders of photographs as people have them."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.recordings.layouts import open_sequence


def folder_with(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ok, content = cv2.imencode(path.suffix if path.suffix else ".png", np.full((8, 8, 3), 10 * number, np.uint8))
        assert ok
        path.write_bytes(content.tobytes())
    return folder


def taken(folder: Path) -> list[str]:
    sequence = open_sequence(folder)
    assert sequence.layout == "images"
    return [view.image.name for view in sequence.views]  # type: ignore[attr-defined]


@pytest.mark.fault("recordings", case="13")
@pytest.mark.parametrize(
    ("pictures", "others"),
    [
        (["0.jpg", "1.jpg"], ["0_mask.png", "1_mask.png"]),
        (["0.jpg", "1.jpg"], ["0.jpg.png", "1.jpg.png"]),
        (["0.jpg", "1.jpg"], ["mask_0.png", "mask_1.png"]),
        (["frame1.png", "frame2.png"], ["depth1.png", "depth2.png"]),
        (["color_001.png"], ["depth_001.png", "segmentation_001.png"]),
        (["IMG1.jpg"], ["IMG1Mask.png", "IMG1-depth.png"]),
        (["depth_of_field_0.jpg", "depth_of_field_1.jpg"], []),
        (["masked_ball.jpg", "labels of wine.jpg", "deep\u00b2.jpg"], []),
        (["mask_1.jpg", "mask_2.jpg"], []),  # a folder of masks only was meant
    ],
)
def test_companions_of_images_are_no_frames(tmp_path: Path, pictures: list[str], others: list[str]) -> None:
    folder_with(tmp_path, *pictures, *others)
    sequence = open_sequence(tmp_path)
    assert sorted(taken(tmp_path)) == sorted(pictures)
    assert sequence.skipped.total() == len(others)
    assert len(list(sequence.frames())) == len(pictures) and not sequence.missing


@pytest.mark.fault("recordings", case="13")
def test_bad_files_are_left_out_and_counted(tmp_path: Path) -> None:
    folder_with(tmp_path, "1.jpg", "2.jpg", "10.jpg", "._1.jpg")
    (tmp_path / "3.jpg").write_bytes(b"")
    (tmp_path / "4.png").write_text("<html>")
    (tmp_path / "5.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.jpg").mkdir()
    sequence = open_sequence(tmp_path)
    assert [int(frame.image[0, 0, 0]) for frame in sequence.frames()] == pytest.approx([0, 10, 20], abs=3)
    assert dict(sequence.skipped) == {"hidden file": 1}
    assert dict(sequence.missing) == {"HEIC file, which cannot be read here": 1, "image cannot be read": 2}


@pytest.mark.fault("recordings", case="13")
def test_photographs_that_were_converted_beside_the_originals(tmp_path: Path) -> None:
    folder_with(tmp_path, "1.jpg", "2.jpg")
    for number in (1, 2):
        shutil.copy(tmp_path / f"{number}.jpg", tmp_path / f"{number}.heic")
    sequence = open_sequence(tmp_path)
    assert len(list(sequence.frames())) == 2 and not sequence.missing


@pytest.mark.fault("recordings", case="13")
def test_a_folder_of_heic_only_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "1.HEIC").write_bytes(b"x")
    with pytest.raises(DataError, match=r"1 x HEIC.*Convert them to JPEG"):
        open_sequence(tmp_path)


def test_a_calibration_beside_the_images_is_used(tmp_path: Path) -> None:
    folder_with(tmp_path, "1.jpg")
    (tmp_path / "intrinsics.json").write_text('{"fx": 20, "fy": 21, "cx": 8, "cy": 7, "width": 16, "height": 16}')
    (frame,) = open_sequence(tmp_path).frames()
    assert frame.intrinsics is not None
    assert (frame.intrinsics.fx, frame.intrinsics.fy, frame.intrinsics.cx) == (10.0, 10.5, 3.75)

"""Every layout read back from miniature folders, and what is wrong with them refused."""

import itertools
import logging
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from miniature_datasets import (
    FOCAL,
    HEIGHT,
    MAKERS,
    WIDTH,
    dtu,
    picture,
    plain,
    pose,
    seven_scenes,
    tum,
    with_small_intrinsics,
    write_image,
    write_matrix,
)

from spann3r_ros.config import ImageConfig
from spann3r_ros.errors import DataError
from spann3r_ros.recordings.layouts import open_sequence
from spann3r_ros.recordings.sequence import Sequence, invented_stamp, read_matrix


def open_miniature(layout: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> Sequence:
    with_small_intrinsics(layout, monkeypatch)
    sequence = open_sequence(MAKERS[layout](root))
    assert sequence.layout == layout
    return sequence


@pytest.mark.parametrize("layout", MAKERS)
def test_images_and_poses(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = open_miniature(layout, tmp_path, monkeypatch)
    frames = list(sequence.frames())
    assert sequence.count() == len(frames) == 3
    assert all(later.stamp > earlier.stamp for earlier, later in itertools.pairwise(frames))
    order = [2, 1, 0] if layout == "dtu" else [0, 1, 2]
    for frame, number in zip(frames, order, strict=True):
        expected = {"nrgbd": [0, 1, 1][number]}.get(layout, number)
        assert frame.image[HEIGHT // 2, WIDTH // 2].tolist() == [10 * expected, 100, 200]
        assert frame.intrinsics is not None
        if layout in FOCAL:
            # Published for images of 640 pixels, which the miniatures are made smaller than.
            scale = WIDTH / 640 if layout in ("7scenes", "nrgbd", "tum") else 1.0
            assert frame.intrinsics.fx == pytest.approx(scale * FOCAL[layout])
    truth = sequence.ground_truth()
    assert truth is not None and truth.trajectory is not None
    for index, number in enumerate(order):
        np.testing.assert_allclose(truth.trajectory.pose(index).matrix(), pose(number), atol=1e-7)


@pytest.mark.parametrize("layout", [name for name in MAKERS if name not in ("dtu", "euroc")])
def test_depth_in_meters(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = open_miniature(layout, tmp_path, monkeypatch)
    truth = sequence.ground_truth()
    assert truth is not None and len(truth.depth_stamps) == 3
    found = truth.depth_at(list(sequence.frames())[1].stamp, max_gap=20_000_000)
    assert found is not None and found.intrinsics is not None
    assert np.isnan(found.depth[0, :2]).all()
    np.testing.assert_allclose(found.depth[1:], 2.0, atol=1e-3)


def test_every_second_image_keeps_its_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = list(open_miniature("7scenes", tmp_path, monkeypatch).frames(every=2))
    assert [(frame.index, frame.stamp) for frame in frames] == [(0, invented_stamp(0)), (1, invented_stamp(2))]


def test_dtu_is_in_millimeters_inside_the_eroded_mask(tmp_path: Path) -> None:
    sequence = open_sequence(dtu(tmp_path))
    truth = sequence.ground_truth()
    assert truth is not None and sequence.unit == "mm"
    depth = truth.read_depth(0).depth
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, WIDTH // 2 :] = 1
    expected = (cv2.erode(mask, np.ones((10, 10), np.uint8)) > 0) & (np.arange(HEIGHT) > 0)[:, None]
    np.testing.assert_array_equal(np.isfinite(depth), expected)
    assert depth[expected].tolist() == [602.0] * int(expected.sum())
    assert next(sequence.frames()).intrinsics is not None
    assert next(sequence.frames()).intrinsics.fx == 32.0


def test_dtu_pfm_depth_without_mask(tmp_path: Path) -> None:
    folder = dtu(tmp_path)
    for file in [*folder.glob("depths/*"), *folder.glob("binary_masks/*")]:
        file.unlink()
    cv2.imwrite(str(folder / "depths" / "00000002.pfm"), np.full((HEIGHT, WIDTH), 7.0, np.float32))
    truth = open_sequence(folder).ground_truth()
    assert truth is not None and len(truth.depth_stamps) == 1
    np.testing.assert_array_equal(truth.read_depth(0).depth, 7.0)


def test_seven_scenes_poses_that_were_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = seven_scenes(tmp_path)
    write_matrix(folder / "frame-000001.pose.txt", np.full((4, 4), np.nan))
    with_small_intrinsics("7scenes", monkeypatch)
    truth = open_sequence(folder).ground_truth()
    assert truth is not None and truth.trajectory is not None
    assert truth.trajectory.stamps.tolist() == [invented_stamp(0), invented_stamp(2)]


def test_seven_scenes_raw_depth_is_said_to_be_unregistered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = seven_scenes(tmp_path)
    for file in folder.glob("*.depth.proj.png"):
        file.rename(file.with_name(file.name.replace(".proj", "")))
    with caplog.at_level(logging.WARNING):
        truth = open_sequence(folder).ground_truth()
    assert truth is not None and len(truth.depth_stamps) == 3
    assert "not registered" in caplog.text


def test_a_whole_scene_lists_its_sequences(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Choose one of seq-01"):
        open_sequence(seven_scenes(tmp_path).parent)


def test_tum_images_without_near_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_small_intrinsics("tum", monkeypatch)
    folder = tum(tmp_path)
    lines = (folder / "depth.txt").read_text().splitlines()
    (folder / "depth.txt").write_text("\n".join(lines[:2]))
    truth = open_sequence(folder).ground_truth()
    assert truth is not None and len(truth.depth_stamps) == 1


def test_plain_folder_without_stamps_goes_by_order(tmp_path: Path) -> None:
    folder = plain(tmp_path)
    for number, file in enumerate(sorted((folder / "images").iterdir())):
        file.rename(file.with_name(f"{number + 9}.png"))  # 9, 10, 11: by value, not by letter
    frames = list(open_sequence(folder).frames())
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 10, 20]
    assert frames[0].stamp == 1_700_000_000_500_000_000
    (folder / "images" / "11.png").unlink()
    with pytest.raises(DataError, match="2 images, 3 poses"):
        open_sequence(folder)


def test_images_only(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        write_image(tmp_path / f"view{number}.PNG", number)
    write_image(tmp_path / "view1_depth.png", 7)
    sequence = open_sequence(tmp_path)
    assert sequence.layout == "images" and sequence.ground_truth() is None
    assert [int(frame.image[0, 0, 0]) for frame in sequence.frames()] == [10, 20, 100]


@pytest.mark.fault("image judged before decoding", case="06")
def test_images_of_16_bits_and_the_largest_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    thermal = (7534 + np.arange(WIDTH * HEIGHT) % 70).astype(np.uint16).reshape(HEIGHT, WIDTH)
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), thermal)
    sequence = open_sequence(tmp_path)
    assert all(len(np.unique(frame.image)) == 70 for frame in sequence.frames())
    assert caplog.text.count("become 0..255") == 1
    sequence.decoder.config = ImageConfig(range="full")
    assert all(len(np.unique(frame.image)) == 1 for frame in sequence.frames())
    sequence.decoder.config = ImageConfig(max_pixels=WIDTH * HEIGHT - 1)
    assert not list(sequence.frames()) and sequence.missing == {"image cannot be read": 2}
    assert re.search(r"0\.png.*too large.*image\.max_pixels", caplog.text)


def test_video(tmp_path: Path) -> None:
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (WIDTH, HEIGHT))
    for number in range(6):
        writer.write(np.ascontiguousarray(picture(2 * number)[..., ::-1]))
    writer.release()
    sequence = open_sequence(path)
    assert (sequence.layout, sequence.name, sequence.count()) == ("video", "walk", 6)
    frames = list(sequence.frames(every=2))
    assert [frame.stamp for frame in frames] == [1_000_000_000, 1_200_000_000, 1_400_000_000]
    for frame, number in zip(frames, (0, 4, 8), strict=True):
        assert np.abs(frame.image.astype(int) - picture(number)).mean() < 6  # JPEG


@pytest.mark.parametrize(
    ("layout", "missing", "message"),
    [
        ("7scenes", "frame-000001.pose.txt", r"no .*frame-000001\.pose\.txt; expected the frame's pose"),
        ("nrgbd", "depth/depth10.png", r"no .*depth10\.png"),
        ("dtu", "cams/00000001_cam.txt", r"no .*00000001_cam\.txt; expected the view's camera file"),
        ("tum", "rgb/1305031101.175300.png", r"no .*1305031101\.175300\.png; expected a file listed in rgb\.txt"),
        ("euroc", "mav0/cam0/sensor.yaml", r"no .*sensor\.yaml"),
        ("replica", "results/depth000002.png", r"no .*depth000002\.png"),
        ("replica", "../cam_params.json", r"no .*cam_params\.json; expected camera parameters"),
        ("folder", "trajectory.txt", r"no .*trajectory\.txt"),
    ],
)
def test_incomplete_folder_names_what_is_missing(layout: str, missing: str, message: str, tmp_path: Path) -> None:
    folder = MAKERS[layout](tmp_path)
    (folder / missing).unlink()
    with pytest.raises(DataError, match=message):
        open_sequence(folder, layout)


@pytest.mark.parametrize(
    ("layout", "file", "content", "message"),
    [
        ("nrgbd", "poses.txt", "1 0 0 0\n" * 4, "4 lines for 3 images"),
        ("replica", "traj.txt", "1 " * 16, r"got 1; expected one an image, 3"),
        ("7scenes", "frame-000000.pose.txt", "1 2 3", r"got 3; expected 4 x 4"),
        ("7scenes", "frame-000000.pose.txt", "a b", "text in"),
        ("dtu", "cams/00000000_cam.txt", "intrinsic 1 2", "camera file"),
        ("tum", "rgb.txt", "1305031101.2 a b", "line 1"),
        ("tum", "rgb.txt", "# nothing\n", "no images listed"),
        ("tum", "groundtruth.txt", "1.0 0 0 0 0 0 0 nan", "line 1"),
        ("euroc", "mav0/cam0/sensor.yaml", "a: [", "YAML"),
        ("euroc", "mav0/cam0/sensor.yaml", "intrinsics: [1, 2]", "camera description"),
        ("euroc", "mav0/cam0/data.csv", "#only a comment\n", "rows of"),
        ("folder", "intrinsics.json", "{}", "'fx'"),
    ],
)
def test_malformed_files_are_refused(layout: str, file: str, content: str, message: str, tmp_path: Path) -> None:
    folder = MAKERS[layout](tmp_path)
    (folder / file).write_text(content)
    with pytest.raises(DataError, match=message):
        open_sequence(folder, layout)


def test_damaged_images_are_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = open_miniature("7scenes", tmp_path, monkeypatch)
    folder = sequence.path
    (folder / "frame-000001.color.png").write_bytes(b"no image")
    assert [frame.stamp for frame in sequence.frames()] == [invented_stamp(0), invented_stamp(2)]
    assert sequence.missing == {"image cannot be read": 1}
    write_image(folder / "frame-000001.depth.proj.png", 3)
    truth = sequence.ground_truth()
    assert truth is not None
    with pytest.raises(DataError, match="16-bit"):
        truth.read_depth(1)


@pytest.mark.fault("recordings", case="18")
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("a.bag.active", "without '.active'"),
        ("a.tar.gz", "Unpack"),
        ("a.jpg", "give the folder"),
        ("a.ply", "view"),
        ("metadata.yaml", "folder of the bag"),
    ],
)
def test_a_hint_per_cause(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=hint):
        open_sequence(tmp_path / name)


@pytest.mark.fault("recordings", case="18")
def test_a_folder_of_recordings_lists_them(tmp_path: Path) -> None:
    for number in range(2):
        write_image(tmp_path / f"walk{number}" / "1.png", 1)
    with pytest.raises(DataError, match="choose one: walk0, walk1"):
        open_sequence(tmp_path)


@pytest.mark.fault("hostile file")
def test_paths_that_are_none(tmp_path: Path) -> None:
    for path in (Path("~nosuchuser/bag"), tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(DataError):
            open_sequence(path)
    os.mkfifo(tmp_path / "pipe.mcap")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        open_sequence(tmp_path / "pipe.mcap")


def test_nothing_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_sequence(tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"nothing known.*notes\.txt[\s\S]*7scenes: SCENE"):
        open_sequence(tmp_path)
    with pytest.raises(DataError, match=r"layout.*kitti.*auto \| bag \| 7scenes"):
        open_sequence(tmp_path, "kitti")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="without a readable frame"):
        open_sequence(tmp_path / "broken.mp4")


def test_matrix_of_any_length(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("1 2\n3 4\n5 6\n")
    assert read_matrix(tmp_path / "m.txt", -1, 2).shape == (3, 2)

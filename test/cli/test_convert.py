import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from miniature_datasets import HEIGHT, MAKERS, WIDTH, picture, pose, with_small_intrinsics

from spann3r_ros.cli.main import main
from spann3r_ros.cli.run_progress import INCOMPLETE
from spann3r_ros.recordings.bag_writer import BagWriter
from spann3r_ros.recordings.layouts import open_sequence


@pytest.mark.parametrize("layout", MAKERS)
def test_a_bag_says_what_the_dataset_says(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_small_intrinsics(layout, monkeypatch)
    dataset = open_sequence(MAKERS[layout](tmp_path))
    meters = {"m": 1.0, "mm": 1e-3}[dataset.unit]
    assert main(["convert", str(dataset.path), "-o", str(tmp_path / "bag"), "--depth-encoding", "32FC1"]) == 0
    assert f"{layout}: 3 images, 3 poses" in capsys.readouterr().out
    bag = open_sequence(tmp_path / "bag")
    assert bag.layout == "bag"
    for before, after in zip(dataset.frames(), bag.frames(), strict=True):
        assert after.stamp == before.stamp and after.camera == before.camera
        np.testing.assert_array_equal(after.image, before.image)
        assert after.intrinsics == before.intrinsics
    expected, found = dataset.ground_truth(), bag.ground_truth()
    assert expected is not None and expected.trajectory is not None
    assert found is not None and found.trajectory is not None
    assert found.origin.startswith("/ground_truth/pose")
    np.testing.assert_array_equal(found.trajectory.stamps, expected.trajectory.stamps)
    np.testing.assert_allclose(found.trajectory.positions, expected.trajectory.positions * meters, atol=1e-12)
    np.testing.assert_allclose(found.trajectory.rotations, expected.trajectory.rotations, atol=1e-12)
    assert len(found.depth_stamps) == len(expected.depth_stamps) == (0 if layout == "euroc" else 3)
    for index, stamp in enumerate(found.depth_stamps):
        original = expected.depth_at(int(stamp), 20_000_000)
        assert original is not None
        np.testing.assert_allclose(found.read_depth(index).depth, original.depth * meters, rtol=1e-6)


def test_tf_leads_to_the_camera_too(tmp_path: Path) -> None:
    assert main(["convert", str(MAKERS["folder"](tmp_path)), "-o", str(tmp_path / "bag")]) == 0
    from spann3r_ros.recordings.bag_sequence import load

    truth = load(tmp_path / "bag", pose_topic="/tf").ground_truth()
    assert truth is not None and truth.trajectory is not None and truth.origin.startswith("tf map -> camera")
    np.testing.assert_allclose(truth.trajectory.pose(2).matrix(), pose(2), atol=1e-8)


def test_part_of_a_video_as_jpeg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (WIDTH, HEIGHT))
    for number in range(9):
        writer.write(np.ascontiguousarray(picture(number)[..., ::-1]))
    writer.release()
    arguments = ["convert", str(tmp_path / "v.avi"), "-o", str(tmp_path / "bag"), "--compressed"]
    assert main([*arguments, "--every", "2", "--limit", "3"]) == 0
    assert "3 images, 0 poses, 0 depth" in capsys.readouterr().out
    bag = open_sequence(tmp_path / "bag")
    assert [frame.stamp for frame in bag.frames()] == [1_000_000_000, 1_200_000_000, 1_400_000_000]
    assert bag.ground_truth() is None


@pytest.mark.fault("recordings", case="02")
def test_what_is_whole_of_a_torn_bag_is_converted_and_the_status_says_that_there_was_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, rng = tmp_path / "torn", np.random.default_rng(0)
    with BagWriter(source) as bag:
        for number in range(12):
            bag.image(
                "/camera/image_raw", 10**9 * (5 + number), "camera", rng.integers(0, 256, (200, 200, 3), np.uint8)
            )
    (file,) = source.glob("*.mcap")
    os.truncate(file, file.stat().st_size * 6 // 10)
    assert main(["convert", str(source), "-o", str(tmp_path / "bag")]) == INCOMPLETE == 3
    told = capsys.readouterr().out
    found = open_sequence(tmp_path / "bag")
    count = len(list(found.frames()))
    assert 4 < count < 9 and f"bag: {count} images" in told
    assert f"the source promised {12 - count} more frames that could not be read" in told and "cut off" in told


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = MAKERS["folder"](tmp_path)
    (tmp_path / "bag").mkdir()
    assert main(["convert", str(source), "-o", str(tmp_path / "bag")]) == 2
    assert "a new folder" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "nothing"), "-o", str(tmp_path / "other")]) == 2
    assert "no such file" in capsys.readouterr().err

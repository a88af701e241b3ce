"""Miniature folders of every layout, made on disk as the datasets' own descriptions say."""

import itertools
import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.datasets import layouts, open_sequence
from spann3r_ros.evaluation.datasets.sequence import FRAME_PERIOD, Sequence, read_matrix
from spann3r_ros.geometry.axes import quaternion_from_rotation

WIDTH, HEIGHT = 32, 24


def pose(number: int) -> np.ndarray:
    """Camera to world, optical axes."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [0.1 * number, -0.2, 0.3]).as_matrix()
    matrix[:3, 3] = [number, 2.0, -0.5 * number]
    return matrix


def picture(number: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), [10 * number, 100, 200], np.uint8)


def write_image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture(number)[..., ::-1])


def write_depth(path: Path, value: float, per_metre: float) -> None:
    """A depth of ``value`` with one pixel of 0 and one of 65535."""
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = np.full((HEIGHT, WIDTH), round(value * per_metre), np.uint16)
    depth[0, :2] = 0, 65535
    assert cv2.imwrite(str(path), depth)


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    path.write_text("\n".join(" ".join(f"{value:.9e}" for value in row) for row in matrix) + "\n")


def tum_line(stamp: str, matrix: np.ndarray) -> str:
    numbers = [*matrix[:3, 3], *quaternion_from_rotation(matrix[:3, :3])]
    return stamp + " " + " ".join(f"{number:.9f}" for number in numbers)


def seven_scenes(root: Path) -> Path:
    folder = root / "chess" / "seq-01"
    for number in range(3):
        stem = f"frame-{number:06d}"
        write_image(folder / f"{stem}.color.png", number)
        write_depth(folder / f"{stem}.depth.proj.png", 1.0 + number, 1000)
        write_matrix(folder / f"{stem}.pose.txt", pose(number))
    return folder


def nrgbd(root: Path) -> Path:
    folder = root / "whiteroom"
    for number in (0, 1, 10):
        write_image(folder / "images" / f"img{number}.png", number % 9)
        write_depth(folder / "depth" / f"depth{number}.png", 1.0 + number % 9, 1000)
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    write_matrix(folder / "poses.txt", np.vstack([pose(number) @ flip for number in range(3)]))
    return folder


def dtu(root: Path) -> Path:
    folder = root / "scan1"
    (folder / "cams").mkdir(parents=True)
    (folder / "depths").mkdir()
    for number in range(3):
        name = f"{number:08d}"
        write_image(folder / "images" / f"{name}.png", number)
        inverse = np.linalg.inv(pose(number))
        rows = "\n".join(" ".join(f"{value:.12f}" for value in row) for row in inverse)
        camera = f"extrinsic\n{rows}\n\nintrinsic\n{30 + number} 0 16\n0 31 12\n0 0 1\n\n425.0 2.5\n"
        (folder / "cams" / f"{name}_cam.txt").write_text(camera)
        depth = np.full((HEIGHT, WIDTH), 600.0 + number, np.float32)
        depth[0, :] = 0.0
        np.save(folder / "depths" / f"{name}.npy", depth)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[:, WIDTH // 2 :] = 255
        (folder / "binary_masks").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "binary_masks" / f"{name}.png"), mask)
    return folder


def tum(root: Path) -> Path:
    folder = root / "rgbd_dataset_freiburg3_office"
    colour, depth, truth = ["# color images"], ["# depth"], ["# timestamp tx ty tz qx qy qz qw"]
    for number in range(3):
        stamp, depth_stamp = f"130503110{number}.175300", f"130503110{number}.160407"
        write_image(folder / "rgb" / f"{stamp}.png", number)
        write_depth(folder / "depth" / f"{depth_stamp}.png", 1.0 + number, 5000)
        colour.append(f"{stamp} rgb/{stamp}.png")
        depth.append(f"{depth_stamp} depth/{depth_stamp}.png")
        truth.append(tum_line(f"130503110{number}.1758", pose(number)))
    for name, lines in (("rgb", colour), ("depth", depth), ("groundtruth", truth)):
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def euroc(root: Path) -> Path:
    folder = root / "MH_01_easy"
    camera, truth = folder / "mav0" / "cam0", folder / "mav0" / "state_groundtruth_estimate0"
    truth.mkdir(parents=True)
    body_from_camera = np.array([[0.0, 0, 1, 0.1], [-1, 0, 0, 0.2], [0, -1, 0, 0.3], [0, 0, 0, 1]])
    images, poses = ["#timestamp [ns],filename"], ["#timestamp, p_RS_R_x [m], ..."]
    for number in range(3):
        stamp = 1403636579763555584 + number * 50_000_000
        write_image(camera / "data" / f"{stamp}.png", number)
        images.append(f"{stamp},{stamp}.png")
        body = pose(number) @ np.linalg.inv(body_from_camera)
        x, y, z, w = quaternion_from_rotation(body[:3, :3])
        numbers = [*body[:3, 3], w, x, y, z, *[0.0] * 9]
        poses.append(f"{stamp + 1000}," + ",".join(f"{value:.12f}" for value in numbers))
    (camera / "data.csv").write_text("\r\n".join(images) + "\r\n")
    (truth / "data.csv").write_text("\n".join(poses) + "\n")
    (camera / "sensor.yaml").write_text(
        "sensor_type: camera\nT_BS:\n  cols: 4\n  rows: 4\n"
        f"  data: {body_from_camera.ravel().tolist()}\n"
        f"resolution: [{WIDTH}, {HEIGHT}]\ncamera_model: pinhole\nintrinsics: [20.0, 21.0, 16.0, 12.0]\n"
        "distortion_model: radial-tangential\n"
        "distortion_coefficients: [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05]\n"
    )
    return folder


def replica(root: Path) -> Path:
    folder = root / "office0"
    for number in range(3):
        write_image(folder / "results" / f"frame{number:06d}.png", number)
        write_depth(folder / "results" / f"depth{number:06d}.png", 1.0 + number, 6553.5)
    write_matrix(folder / "traj.txt", np.stack([pose(number).ravel() for number in range(3)]))
    camera = {"w": WIDTH, "h": HEIGHT, "fx": 30.0, "fy": 30.0, "cx": 15.5, "cy": 11.5, "scale": 6553.5}
    (root / "cam_params.json").write_text(json.dumps({"camera": camera}))
    return folder


def plain(root: Path) -> Path:
    folder = root / "mine"
    for number in range(3):
        write_image(folder / "images" / f"170000000{number}.500000.png", number)
        write_depth(folder / "depth" / f"170000000{number}.500000.png", 1.0 + number, 1000)
    lines = [tum_line(f"170000000{number}.5", pose(number)) for number in range(3)]
    (folder / "trajectory.txt").write_text("\n".join(lines))
    camera = {"fx": 30.0, "fy": 31.0, "cx": 15.5, "cy": 11.5, "width": WIDTH, "height": HEIGHT}
    (folder / "intrinsics.json").write_text(json.dumps(camera))
    return folder


MAKERS = {
    "7scenes": seven_scenes,
    "nrgbd": nrgbd,
    "dtu": dtu,
    "tum": tum,
    "euroc": euroc,
    "replica": replica,
    "folder": plain,
}
FOCAL = {"7scenes": 525.0, "nrgbd": 554.2562584220408, "tum": 535.4, "replica": 30.0, "folder": 30.0}


def with_small_intrinsics(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The datasets' constants are about 640 x 480 images; the miniatures are smaller."""
    import dataclasses

    module = layouts()[layout]
    for name in ("INTRINSICS", "FREIBURG3"):
        if hasattr(module, name):
            small = dataclasses.replace(getattr(module, name), width=WIDTH, height=HEIGHT)
            monkeypatch.setattr(module, name, small)


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
            assert frame.intrinsics.fx == FOCAL[layout]
    truth = sequence.ground_truth()
    assert truth is not None and truth.trajectory is not None
    for index, number in enumerate(order):
        np.testing.assert_allclose(truth.trajectory.pose(index).matrix(), pose(number), atol=1e-7)


@pytest.mark.parametrize("layout", [name for name in MAKERS if name not in ("dtu", "euroc")])
def test_depth_in_metres(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = open_miniature(layout, tmp_path, monkeypatch)
    truth = sequence.ground_truth()
    assert truth is not None and len(truth.depth_stamps) == 3
    found = truth.depth_at(list(sequence.frames())[1].stamp, max_gap=20_000_000)
    assert found is not None and found.intrinsics is not None
    assert np.isnan(found.depth[0, :2]).all()
    np.testing.assert_allclose(found.depth[1:], 2.0, atol=1e-3)


def test_every_second_image_keeps_its_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = list(open_miniature("7scenes", tmp_path, monkeypatch).frames(every=2))
    assert [(frame.index, frame.stamp) for frame in frames] == [(0, 0), (1, 2 * FRAME_PERIOD)]


def test_dtu_is_in_millimetres_inside_the_eroded_mask(tmp_path: Path) -> None:
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
    assert truth.trajectory.stamps.tolist() == [0, 2 * FRAME_PERIOD]


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


def test_video(tmp_path: Path) -> None:
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (WIDTH, HEIGHT))
    for number in range(6):
        writer.write(np.ascontiguousarray(picture(2 * number)[..., ::-1]))
    writer.release()
    sequence = open_sequence(path)
    assert (sequence.layout, sequence.name, sequence.count()) == ("video", "walk", 6)
    frames = list(sequence.frames(every=2))
    assert [frame.stamp for frame in frames] == [0, 200_000_000, 400_000_000]
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


def test_damaged_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = open_miniature("7scenes", tmp_path, monkeypatch)
    folder = sequence.path
    (folder / "frame-000001.color.png").write_bytes(b"no image")
    frames = sequence.frames()
    next(frames)
    with pytest.raises(DataError, match=r"cannot be read.*frame-000001"):
        next(frames)
    write_image(folder / "frame-000001.depth.proj.png", 3)
    truth = sequence.ground_truth()
    assert truth is not None
    with pytest.raises(DataError, match="16-bit"):
        truth.read_depth(1)


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

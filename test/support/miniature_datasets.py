"""Miniature folders of every dataset layout, made on disk as the datasets' own descriptions say."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.geometry.axes import quaternion_from_rotation
from spann3r_ros.geometry.camera import resize
from spann3r_ros.recordings.layouts import layouts

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


def write_depth(path: Path, value: float, per_meter: float) -> None:
    """A depth of ``value`` with one pixel of 0 and one of 65535."""
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = np.full((HEIGHT, WIDTH), round(value * per_meter), np.uint16)
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
    color, depth, truth = ["# color images"], ["# depth"], ["# timestamp tx ty tz qx qy qz qw"]
    for number in range(3):
        stamp, depth_stamp = f"130503110{number}.175300", f"130503110{number}.160407"
        write_image(folder / "rgb" / f"{stamp}.png", number)
        write_depth(folder / "depth" / f"{depth_stamp}.png", 1.0 + number, 5000)
        color.append(f"{stamp} rgb/{stamp}.png")
        depth.append(f"{depth_stamp} depth/{depth_stamp}.png")
        truth.append(tum_line(f"130503110{number}.1758", pose(number)))
    for name, lines in (("rgb", color), ("depth", depth), ("groundtruth", truth)):
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
    module = layouts()[layout]
    for name in ("INTRINSICS", "FREIBURG3"):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, resize(getattr(module, name), WIDTH, HEIGHT))

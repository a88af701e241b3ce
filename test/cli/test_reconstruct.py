import contextlib
import json
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from tiny_models import random_frames
from wall_network import HEIGHT, WIDTH, write_wall_checkpoint

from spann3r_ros.cli.main import main
from spann3r_ros.files.ply import read_ply
from spann3r_ros.files.tum import read_camera_path
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.image import decode_depth
from spann3r_ros.models.checkpoint.reading import write_checkpoint
from spann3r_ros.models.pi3x.architecture import TINY
from spann3r_ros.models.pi3x.model import Pi3x
from spann3r_ros.models.pi3x.network import Pi3xNetwork
from spann3r_ros.prediction import Prediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.recordings.bag_reader import BagReader
from spann3r_ros.recordings.bag_writer import BagWriter
from spann3r_ros.runs.record import RunRecord

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "wall.safetensors"
    write_wall_checkpoint(path)
    return path


def write_images(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", 6)


def command(source: Path, output: Path, checkpoint: Path, *options: str) -> list[str]:
    settings = [f"checkpoint={checkpoint}", "map.min_confidence=0.0", "device=cpu"]
    return [
        *("reconstruct", str(source), "-o", str(output)),
        *(part for setting in settings for part in ("--set", setting)),
        *options,
    ]


def test_everything_that_is_asked_for_is_written(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--depth", "--pointmaps", "--colmap", "--transforms"]
    assert main(command(images, out, checkpoint, *options)) == 0
    printed = capsys.readouterr()
    assert "6 frames at" in printed.out and "6 with a pose" in printed.out
    assert "6/6" in printed.err and "frame/s" in printed.err

    record = RunRecord.read(out / "run.json")
    assert record.finished and record.offered == len(record.frames) == 6
    assert record.source["layout"] == "images" and record.every == 1
    assert record.parameters["checkpoint"] == str(checkpoint)
    assert record.weights["sha256"] == _sha256(checkpoint)
    assert record.frames.posed == [True] * 6
    assert all(value is not None and value > 0 for value in record.frames.seconds)
    assert all(value is not None and 0 < value <= 1 for value in record.frames.confidence)
    assert record.versions["numpy"] == np.__version__ and record.machine["cores"] == os.cpu_count()
    assert record.peak_memory_bytes >= max(record.frames.memory_bytes) > 0

    cloud = read_ply(out / "map.ply")
    assert len(cloud) == record.points > 100
    path = read_camera_path(out / "trajectory.txt")
    assert path.stamps.tolist() == record.frames.stamp
    assert "amera-to-world" in (out / "trajectory.txt").read_text()

    with np.load(out / "pointmaps" / "000002.npz") as pointmap:
        points = pointmap["points"]
        assert int(pointmap["stamp"]) == record.frames.stamp[2]
    depth = cv2.imread(str(out / "depth" / "000002.tiff"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.float32
    pose = path.pose(2)
    np.testing.assert_allclose(depth, pose.inverse().apply(points)[..., 2], rtol=1e-4, atol=1e-4)

    transforms = json.loads((out / "transforms.json").read_text())
    assert [frame["file_path"] for frame in transforms["frames"]] == [f"images/{n:06d}.png" for n in range(6)]
    assert all((out / frame["file_path"]).exists() for frame in transforms["frames"])
    gl = np.array(transforms["frames"][2]["transform_matrix"])
    np.testing.assert_allclose(gl @ np.diag([1, -1, -1, 1]), pose.matrix(), atol=1e-12)

    lines = [line for line in (out / "colmap" / "images.txt").read_text().splitlines() if line and line[0] != "#"]
    w, x, y, z, *translation = map(float, lines[2].split()[1:8])
    inverse = pose.inverse()
    np.testing.assert_allclose(Rotation.from_quat([x, y, z, w]).as_matrix(), inverse.rotation, atol=1e-9)
    np.testing.assert_allclose(translation, inverse.translation, atol=1e-9)
    camera = (out / "colmap" / "cameras.txt").read_text().splitlines()[1].split()
    assert camera[1:4] == ["PINHOLE", str(WIDTH), str(HEIGHT)]
    assert float(camera[6]) == pytest.approx(transforms["frames"][0]["cx"]) == WIDTH / 2
    points3d = np.loadtxt(out / "colmap" / "points3D.txt")
    np.testing.assert_allclose(points3d[:, 1:4], cloud.points, rtol=1e-5)
    np.testing.assert_array_equal(points3d[:, 4:7], cloud.colors)


def test_results_as_a_bag(images: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(command(images, out, checkpoint, "--bag", "--depth")) == 0
    path = read_camera_path(out / "trajectory.txt")
    with BagReader(out / "results") as bag:
        assert {name: topic.count for name, topic in bag.topics.items()} == {
            "/spann3r/pose": 6,
            "/spann3r/depth": 6,
            "/spann3r/depth/camera_info": 6,
            "/tf": 6,
        }
        poses = [bag.decode(message) for message in bag.raw(["/spann3r/pose"])]
        depth = bag.decode(next(bag.raw(["/spann3r/depth"])))
    assert poses[0].header.frame_id == "map"
    position = poses[4].pose.position
    np.testing.assert_allclose([position.x, position.y, position.z], path.positions[4], atol=1e-12)
    values = decode_depth(depth.data, depth.encoding, depth.height, depth.width, depth.step)
    np.testing.assert_array_equal(values, cv2.imread(str(out / "depth" / "000000.tiff"), cv2.IMREAD_UNCHANGED))


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_runs_are_identical(images: Path, checkpoint: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert main(command(images, tmp_path / name, checkpoint, "--pointmaps")) == 0
    for file in ("map.ply", "trajectory.txt", "pointmaps/000003.npz"):
        first, second = ((tmp_path / name / file).read_bytes() for name in ("first", "second"))
        if file.endswith(".npz"):
            first, second = (np.load(tmp_path / name / file)["points"].tobytes() for name in ("first", "second"))
        assert first == second, file


def test_images_of_another_size_are_left_out_and_counted(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the network takes images of one size only; with the size set, all come out at it."""
    portrait = np.random.default_rng(2).integers(0, 256, (WIDTH, HEIGHT, 3), np.uint8)
    cv2.imwrite(str(images / "2.png"), portrait)
    command = ["reconstruct", str(images), "--set", "model=pi3", "--set", "checkpoint=random", "--set", "device=cpu"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    assert "left out: 1 x image size (H, W) differs from the memory's" in capsys.readouterr().out
    assert len(RunRecord.read(tmp_path / "out" / "run.json").frames) == 5
    size = ["--set", "image_width=56", "--set", "image_height=42"]
    assert main([*command, *size, "-o", str(tmp_path / "sized")]) == 0
    assert len(RunRecord.read(tmp_path / "sized" / "run.json").frames) == 6


def test_every_and_limit_and_intrinsics(images: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--every", "2", "--limit", "2", "--intrinsics", "60,61,32,24", "--pointmaps"]
    assert main(command(images, out, checkpoint, *options)) == 0
    record = RunRecord.read(out / "run.json")
    assert record.every == 2 and record.frames.stamp == [10**9, 10**9 + 2 * 33_333_333]
    with np.load(out / "pointmaps" / "000000.npz") as pointmap:
        assert pointmap["intrinsics"].tolist() == [60.0, 61.0, 32.0, 24.0]
        assert pointmap["size"].tolist() == [WIDTH, HEIGHT]


@pytest.mark.fault("recordings", case="13")
def test_a_damaged_image_is_left_out_and_the_run_is_incomplete(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "4.png").write_bytes(b"damaged")
    out = tmp_path / "out"
    assert main(command(images, out, checkpoint)) == 3
    printed = capsys.readouterr().out
    assert "left out: 1 x image cannot be read" in printed and "incomplete" in printed
    record = RunRecord.read(out / "run.json")
    assert record.finished and len(record.frames) == 5
    assert record.skipped == {"image cannot be read": 1} and record.missing == 1
    assert len(read_camera_path(out / "trajectory.txt")) == 5
    assert len(read_ply(out / "map.ply")) == record.points > 100


def test_ctrl_c_keeps_the_finished_part(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = write_images(tmp_path / "images", 12), tmp_path / "out"
    process = Reconstruction.process

    def process_and_interrupt(self: Reconstruction, frame: Frame) -> list[Prediction]:
        if frame.index == 6:
            signal.raise_signal(signal.SIGINT)
        return process(self, frame)

    monkeypatch.setattr(Reconstruction, "process", process_and_interrupt)
    assert main(command(images, out, checkpoint, "--pointmaps")) == 130
    assert "ended early" in capsys.readouterr().out
    record = RunRecord.read(out / "run.json")
    assert not record.finished
    assert len(record.frames) == 7, "the frame that was being worked on and all before it"
    assert len(read_camera_path(out / "trajectory.txt")) == sum(record.frames.posed)


def test_refusals(
    images: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "out"
    cases = {
        "no such file": command(tmp_path / "missing", out, checkpoint),
        "none of them": command(images, out, checkpoint, "--topic", "/camera", "--layout", "images"),
        "unknown parameter": command(images, out, checkpoint, "--set", "map.voxelsize=1.0"),
        "NAME=VALUE": command(images, out, checkpoint, "--set", "device"),
        "focal lengths are positive": command(images, out, checkpoint, "--intrinsics", "60,-1,2,3"),
        "options of a bag for a recording of layout images": command(images, out, checkpoint, "--topic", "/camera"),
        "expected float": command(images, out, checkpoint, "--set", "map.voxel_size=small"),
    }
    for message, arguments in cases.items():
        with contextlib.suppress(SystemExit):  # by argparse, with status 2, too
            assert main(arguments) == 2, message
        assert message in capsys.readouterr().err
        assert not out.exists()
    assert main(command(images, out, checkpoint, "--limit", "1")) == 0
    assert main(command(images, out, checkpoint, "--limit", "1")) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(command(images, tmp_path / "none", checkpoint, "--set", "image.max_pixels=1024")) == 2
    assert "image cannot be read" in capsys.readouterr().err and "image.max_pixels" in caplog.text


def test_the_shipped_model_is_named_as_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((96, 128, 3), 80 * number, np.uint8))
    options = ["--set", "tracking.enabled=false"]  # the pictures show nothing
    assert main(["reconstruct", str(tmp_path), "-o", str(tmp_path / "out"), *options]) == 0
    assert "demo weights: the model that ships knows one synthetic apartment" in capsys.readouterr().out


def test_recorded_depth_is_told_to_a_model_that_takes_it_and_refused_by_others(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_odometry = ["--set", "scale.source=odometry", "--use-depth"]
    assert main(command(images, tmp_path / "refused", checkpoint, *by_odometry)) == 2
    told_nothing = (
        "told no depth, with scale.source odometry: got spann3r; expected scale.source auto or depth, or pi3x"
    )
    assert told_nothing in capsys.readouterr().err
    torch.manual_seed(0)
    weights, bag, told = tmp_path / "pi3x.safetensors", tmp_path / "bag", []
    write_checkpoint(weights, Pi3xNetwork(TINY), TINY)
    with BagWriter(bag) as writer:
        for frame in random_frames(3, size=(112, 84)):
            stamp = 10**9 + frame.stamp
            writer.image("/camera/image_raw", stamp, "camera", frame.image)
            writer.depth("/camera/depth/image_raw", stamp, "camera", np.full((84, 112), 2.0, np.float32))
    known = Pi3x.conditions
    monkeypatch.setattr(Pi3x, "conditions", lambda self, views: told.append(known(self, views)) or told[-1])
    options = ["--set", "model=pi3x", "--set", "tracking.enabled=false", "--use-depth"]
    assert main(command(bag, tmp_path / "out", weights, *options)) == 0
    assert [conditions.depths.shape for conditions in told] == [(1, 3, 42, 56)]
    assert (told[0].depths == 2.0).all() and told[0].rays is None

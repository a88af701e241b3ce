"""A bag from the command line, read back and held against the renderer."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from spann3r_ros.cli.main import main
from spann3r_ros.recordings.bag_reader import BagReader
from spann3r_ros.recordings.bag_truth import read_truth
from spann3r_ros.synthetic.pinhole import synthetic_camera
from spann3r_ros.synthetic.recording import rig
from spann3r_ros.synthetic.renderer import Renderer
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories

SMALL = ["--frames", "4", "--rate", "2", "--width", "64", "--height", "48"]


def test_raw_bag_with_depth_is_what_the_renderer_saw(tmp_path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "bag"
    assert main(["make_bag", str(out), *SMALL, "--depth", "32FC1"]) == 0
    assert "4 frames at 2 Hz" in capsys.readouterr().out
    walk = Trajectories(Scene.apartment()).walk(EVALUATION_SEED, 4, 2.0, "robot")
    expected = Renderer(Scene.apartment()).render_batch(walk, synthetic_camera(64, 48), supersample=2)
    with BagReader(out) as reader:
        frames = list(reader.frames("/camera/image_raw"))
        assert [frame.stamp - frames[0].stamp for frame in frames] == [0, 500_000_000, 1_000_000_000, 1_500_000_000]
        for n, frame in enumerate(frames):
            np.testing.assert_array_equal(frame.image, expected.image[n])
            assert frame.intrinsics == synthetic_camera(64, 48)
            assert frame.camera == "camera_optical_frame"
        truth = read_truth(reader, "/camera/image_raw", "camera_optical_frame")
        assert truth is not None
        assert truth.trajectory is not None
        np.testing.assert_allclose(truth.trajectory.positions, [pose.translation for pose in walk], atol=1e-9)
        np.testing.assert_allclose(truth.trajectory.rotations, [pose.rotation for pose in walk], atol=1e-9)
        np.testing.assert_array_equal(truth.read_depth(2).depth, expected.depth[2])


def test_odometry_begins_at_zero_and_agrees_with_the_truth(tmp_path) -> None:
    out = tmp_path / "bag"
    assert main(["make_bag", str(out), *SMALL]) == 0
    walk = Trajectories(Scene.apartment()).walk(EVALUATION_SEED, 4, 2.0, "robot")
    with BagReader(out) as reader:
        truth = read_truth(reader, "/camera/image_raw", "camera_optical_frame", pose_topic="/tf")
        assert truth is not None
        assert truth.trajectory is not None
        first, last = (reader.decode(list(reader.raw(["/tf"]))[n]).transforms[0] for n in (0, 3))
        places = truth.trajectory.positions
    assert (first.header.frame_id, first.child_frame_id) == ("odom", "base_link")
    zero = first.transform.translation
    np.testing.assert_allclose([zero.x, zero.y, zero.z], 0.0, atol=1e-12)
    # The base stays on the floor, the camera above it at its height.
    assert abs(last.transform.translation.z) < 1e-9
    np.testing.assert_allclose(places[0], [0, 0, walk[0].translation[2]], atol=1e-9)
    moved = np.linalg.norm(walk[3].translation - walk[0].translation)
    assert np.linalg.norm(places[3] - places[0]) == pytest.approx(moved, abs=1e-9)


def test_two_compressed_cameras(tmp_path) -> None:
    out = tmp_path / "bag"
    options = ["--compressed", "--cameras", "2", "--style", "handheld", "--tf", "camera", "--seed", "3"]
    assert main(["make_bag", str(out), *SMALL, *options]) == 0
    walk = Trajectories(Scene.apartment()).walk(3, 4, 2.0, "handheld")
    with BagReader(out) as reader:
        assert set(reader.topics) == {
            "/tf_static",
            "/ground_truth/pose",
            "/camera/camera_info",
            "/camera/image_raw/compressed",
            "/camera_left/camera_info",
            "/camera_left/image_raw/compressed",
        }
        link = reader.decode(next(reader.raw(["/tf_static"]))).transforms[0]
        left = next(reader.frames("/camera_left/image_raw/compressed"))
    assert (link.header.frame_id, link.child_frame_id) == ("camera_optical_frame", "camera_left_optical_frame")
    # What the left camera saw, from its place by TF: 60 degrees to the left of the first.
    turn = link.transform.rotation
    assert 2 * math.atan2(turn.y, turn.w) == pytest.approx(-math.radians(60))
    forward = walk[0].rotation @ [-math.sin(math.radians(60)), 0, math.cos(math.radians(60))]
    pose = walk[0] @ rig(2)[1]
    np.testing.assert_allclose(pose.rotation[:, 2], forward, atol=1e-12)
    seen = Renderer(Scene.apartment()).render(pose, synthetic_camera(64, 48), 2).image
    assert np.abs(left.image.astype(int) - seen).mean() < 6  # JPEG


def test_the_same_seed_makes_the_same_bytes(tmp_path) -> None:
    def made(folder: str, *options: str) -> bytes:
        out = tmp_path / folder / "bag"
        assert main(["make_bag", str(out), *SMALL, "--compressed", "--scene", "random:5", *options]) == 0
        return (out / "bag.mcap").read_bytes()

    assert made("a", "--seed", "1") == made("b", "--seed", "1")
    assert made("a2", "--seed", "1") != made("c", "--seed", "2")


def test_a_scene_file_of_ones_own(tmp_path) -> None:
    import spann3r_ros.synthetic

    own = tmp_path / "own.yaml"
    text = (Path(spann3r_ros.synthetic.__file__).parent / "apartment.yaml").read_text()
    own.write_text(text.replace("name: apartment", "name: mine"))
    assert main(["make_bag", str(tmp_path / "bag"), *SMALL, "--scene", str(own)]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "0"], "'frames' of a recording: got 0; expected >= 1"),
        (["--rate", "-1"], "'rate' of a recording"),
        (["--quality", "101"], "'quality' of a recording: got 101; expected 1..100"),
        (["--scene", "castle"], "expected apartment, random:SEED or a scene file"),
        (["--scene", "random:x"], "random:SEED with a whole number"),
        (["--scene", "none.yaml"], "scene file none.yaml"),
    ],
)
def test_wrong_arguments_end_with_the_reason_and_leave_nothing(tmp_path, capsys, options, message) -> None:
    assert main(["make_bag", str(tmp_path / "bag"), *SMALL, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()


def test_an_existing_folder_is_not_touched(tmp_path, capsys) -> None:
    assert main(["make_bag", str(tmp_path), *SMALL]) == 2
    assert "expected a new folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

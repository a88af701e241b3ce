import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import DataError
from spann3r_ros.files.tum import read_trajectory, stamp_from_text, stamp_text, write_trajectory
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import StampedPose, Trajectory

STAMPS = [0, 1, 999_999_999, 1_700_000_000_123_456_789, 2**62]


def test_stamps_are_exact_to_the_nanosecond_and_the_rest_to_rounding(tmp_path):
    rng = np.random.default_rng(0)
    rotations = Rotation.random(len(STAMPS), random_state=0).as_matrix()
    poses = [
        StampedPose(number, stamp, "left", Sim3.rigid(rotation, rng.normal(0, 100, 3)))
        for number, (stamp, rotation) in enumerate(zip(STAMPS, rotations, strict=True))
    ]
    write_trajectory(tmp_path / "t.txt", Trajectory(poses))
    back = read_trajectory(tmp_path / "t.txt")
    assert [pose.stamp for pose in back] == STAMPS
    assert [pose.index for pose in back] == list(range(len(STAMPS)))
    for one, two in zip(poses, back, strict=True):
        np.testing.assert_array_equal(one.target_from_camera.translation, two.target_from_camera.translation)
        np.testing.assert_allclose(one.target_from_camera.rotation, two.target_from_camera.rotation, atol=1e-15)


def test_the_file_says_what_it_holds(tmp_path):
    quarter = Sim3.rigid(Rotation.from_euler("z", 90, degrees=True).as_matrix(), np.array([1.0, -2.5, 0.1]))
    write_trajectory(tmp_path / "t.txt", [StampedPose(0, 1_500_000_000, "", quarter)])
    *header, line = (tmp_path / "t.txt").read_text().splitlines()
    assert all(entry.startswith("#") for entry in header)
    assert "Camera-to-world" in header[1] and "optical axes" in header[1]
    words = line.split()
    assert words[:4] == ["1.500000000", "1.0", "-2.5", "0.1"]
    np.testing.assert_allclose([float(word) for word in words[4:]], [0, 0, 0.5**0.5, 0.5**0.5], atol=1e-15)


@pytest.mark.parametrize("stamp", [*STAMPS, -1, -1_500_000_000])
def test_stamp_text_is_exact_both_ways(stamp):
    assert stamp_from_text(stamp_text(stamp)) == stamp


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("1.5", 1_500_000_000),
        ("1305031102.175304", 1305031102175304000),
        ("1.305031e+09", 1305031 * 10**12),
        ("3", 3 * 10**9),
    ],
)
def test_other_spellings_of_stamps(text, stamp):
    assert stamp_from_text(text) == stamp


@pytest.mark.parametrize(
    "line",
    [
        "1.0 0 0 0 0 0 0",
        "1.0 0 0 0 0 0 0 1 9",
        "x 0 0 0 0 0 0 1",
        "nan 0 0 0 0 0 0 1",
        "1.0 nan 0 0 0 0 0 1",
        "1.0 0 0 0 0 0 0 0",
    ],
)
def test_wrong_lines_are_refused_by_their_number(tmp_path, line):
    (tmp_path / "t.txt").write_text(f"# header\n1.0 0 0 0 0 0 0 1\n{line}\n")
    with pytest.raises(DataError, match="line 3"):
        read_trajectory(tmp_path / "t.txt")


def test_no_poses_and_no_file(tmp_path):
    write_trajectory(tmp_path / "t.txt", [])
    assert len(read_trajectory(tmp_path / "t.txt")) == 0
    with pytest.raises(DataError, match="cannot be read"):
        read_trajectory(tmp_path / "none.txt")

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import DataError
from spann3r_ros.files.tum import read_camera_path, read_trajectory, stamp_from_text, stamp_text, write_trajectory
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


LINES = [
    "1403636579.763555584 2.0 0.5 0.25 0 0 0 1",
    "1403636579.813555584 2.5 0.5 0.25 0 0 0.6 0.8",
    "1403636579.863555584 3.0 0.5 0.25 0 0 1 0",
]
STAMPS_NS = [1403636579763555584, 1403636579813555584, 1403636579863555584]
HEADER_OF_EUROC = (
    "#timestamp,p_RS_R_x [m],p_RS_R_y [m],p_RS_R_z [m],q_RS_w [],q_RS_x [],q_RS_y [],q_RS_z [],v_RS_R_x [m s^-1]"
)


def in_unit(factor):
    words = [line.split() for line in LINES]
    return "\n".join(" ".join([str(stamp // factor), *row[1:]]) for stamp, row in zip(STAMPS_NS, words, strict=True))


def w_first(row, *more):
    stamp, x, y, z, qx, qy, qz, qw = row.split()
    return ",".join([stamp.replace(".", ""), x, y, z, qw, qx, qy, qz, *more])


@pytest.mark.fault("recordings", case="12")
@pytest.mark.parametrize(
    ("content", "rounding"),
    [
        ("\n".join(LINES), 1),
        ("\ufeff# stamp tx ty tz qx qy qz qw\r\n" + "\r\n".join(LINES), 1),
        ("\n".join(line.replace(" ", ",") for line in LINES), 1),
        ("\n".join(line.replace(" ", ";\t") for line in LINES), 1),
        ("timestamp tx ty tz qx qy qz qw\n" + "\n".join(LINES), 1),
        ("time,x,y,z,qw,qx,qy,qz\n" + "\n".join(w_first(line) for line in LINES), 1),
        (HEADER_OF_EUROC + "\n" + "\n".join(w_first(line, "0") for line in LINES), 1),
        ("\n".join(w_first(line, *"000000000") for line in LINES), 1),
        (in_unit(1), 1),
        (in_unit(1).replace("584 ", "584.000000 "), 1),
        (in_unit(10**3), 10**3),
        (in_unit(10**6), 10**6),
        ("\n".join(LINES).replace("0 0 0.6 0.8", "0 0 1.8 2.4"), 1),
        ("\n".join(LINES).replace("1403636579.763555584", "1.403636579763555584e+09"), 1),
        ("\n".join(LINES + LINES[2:]), 1),
        (("\n".join(LINES) + "\n").encode("utf-16"), 1),
    ],
    ids=[
        "TUM",
        "BOM and CRLF",
        "commas",
        "semicolons",
        "header without #",
        "w first by header",
        "EuRoC with header",
        "EuRoC's 17 columns",
        "ns",
        "ns with decimals",
        "us",
        "ms",
        "norm 3",
        "scientific",
        "repeated stamp",
        "UTF-16",
    ],
)
def test_forms_of_other_tools(tmp_path, content, rounding):
    path = tmp_path / "t.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_camera_path(path)
    assert found.stamps.tolist() == [stamp // rounding * rounding for stamp in STAMPS_NS]
    assert found.positions[:, 0].tolist() == [2.0, 2.5, 3.0]
    turned = [[1, 0, 0], [0.28, 0.96, 0], [-1, 0, 0]]
    np.testing.assert_allclose(found.rotations[:, :, 0], turned, atol=1e-12)


@pytest.mark.fault("recordings", case="12")
@pytest.mark.parametrize("lost", ["nan nan nan nan nan nan nan", "0 0 0 0 0 0 0", "2 1 1 0 0 0 0", "1 NaN 0 0 0 0 1"])
def test_lost_frames_are_gaps(tmp_path, lost, caplog):
    (tmp_path / "t.txt").write_text(f"{LINES[0]}\n1403636579.8 {lost}\n{LINES[1]}\n")
    assert read_camera_path(tmp_path / "t.txt").stamps.tolist() == STAMPS_NS[:2]
    assert "1 of 3 lines hold no pose" in caplog.text
    (tmp_path / "t.txt").write_text(f"1403636579.8 {lost}\n")
    with pytest.raises(DataError, match="no poses"):
        read_camera_path(tmp_path / "t.txt")


@pytest.mark.fault("recordings", case="12")
def test_poses_of_kitti_need_their_stamps(tmp_path):
    (tmp_path / "t.txt").write_text("1 0 0 5 0 1 0 6 0 0 1 7\n0 -1 0 5 1 0 0 6 0 0 1 8\n")
    with pytest.raises(DataError, match=r"line 1 .*KITTI.*times\.txt"):
        read_camera_path(tmp_path / "t.txt")
    (tmp_path / "times.txt").write_text("0.0\n1.000000e-01\n")
    found = read_camera_path(tmp_path / "t.txt")
    assert found.stamps.tolist() == [0, 10**8] and found.positions[1].tolist() == [5, 6, 8]
    np.testing.assert_allclose(found.rotations[1], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    (tmp_path / "times.txt").write_text("0.0\n")
    with pytest.raises(DataError, match="got 1; expected 2"):
        read_camera_path(tmp_path / "t.txt")


@pytest.mark.parametrize(
    ("stamps", "nanoseconds"),
    [
        (("0", "33333333", "66666667"), 33333333),  # a clock that began at zero
        (("0", "33333", "66667"), 33333000),
        (("0", "1", "2"), 10**9),
        (("0.0", "0.5", "1.0"), 5 * 10**8),
        (("0", "100", "200"), 100 * 10**9),
    ],
)
def test_units_of_clocks_that_began_at_zero(tmp_path, stamps, nanoseconds):
    (tmp_path / "t.txt").write_text("\n".join(f"{stamp} 1 2 3 0 0 0 1" for stamp in stamps))
    assert read_camera_path(tmp_path / "t.txt").stamps[1] == nanoseconds


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize("stamp", ["1e999999999", "-1e999999999", "1e-999999999", "9" * 4000, "1e30", "inf", "0x1"])
def test_hostile_stamps_are_refused_or_tiny(tmp_path, stamp):
    (tmp_path / "t.txt").write_text(f"1.0 0 0 0 0 0 0 1\n{stamp} 0 0 0 0 0 0 1\n")
    try:
        assert read_trajectory(tmp_path / "t.txt")[1].stamp == 0
    except DataError as error:
        assert "line 2" in str(error) and len(str(error)) < 400


def test_stamps_that_decrease_are_refused(tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(reversed(LINES)))
    with pytest.raises(DataError, match="do not increase"):
        read_camera_path(tmp_path / "t.txt")

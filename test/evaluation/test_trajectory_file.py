from pathlib import Path

import numpy as np
import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.trajectory_file import parse_stamp, read_trajectory

GOOD = """# timestamp tx ty tz qx qy qz qw
1305031102.175304001 1 2 3 0 0 0 1

1305031102.275304002,4,5,6,0,0,0.70710678,0.70710678
"""


def test_stamps_keep_their_nanoseconds(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(GOOD)
    trajectory = read_trajectory(tmp_path / "t.txt")
    assert trajectory.stamps.tolist() == [1305031102175304001, 1305031102275304002]
    np.testing.assert_array_equal(trajectory.positions, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_allclose(trajectory.rotations[1], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-8)
    assert parse_stamp("1.305e9", "a test") == 1305000000000000000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no poses"),
        ("1.0 0 0 0 0 0 0 1\n0.5 0 0 0 0 0 0 1\n", r"do not increase at line 2.*0\.5"),
        ("1.0 nan 0 0 0 0 0 1\n", "line 1.*all finite"),
        ("1.0 0 0 0 0 0 0\n", "line 1"),
        ("1.0 0 0 x 0 0 0 1\n", "line 1"),
        ("one 0 0 0 0 0 0 1\n", "stamp in line 1"),
        ("1.0 0 0 0 0 0 0 0\n", "quaternion"),
    ],
)
def test_other_text_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_trajectory(tmp_path / "t.txt")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_trajectory(tmp_path / "missing.txt")

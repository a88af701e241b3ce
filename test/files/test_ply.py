import struct

import numpy as np
import pytest

from spann3r_ros.errors import DataError
from spann3r_ros.files.ply import read_ply, write_ply
from spann3r_ros.point_cloud import PointCloud


def random_cloud(number: int) -> PointCloud:
    rng = np.random.default_rng(number)
    return PointCloud(
        rng.normal(0, 100, (number, 3)).astype(np.float32),
        rng.integers(0, 256, (number, 3), dtype=np.uint8),
        rng.uniform(0, 1, number).astype(np.float32),
    )


@pytest.mark.parametrize("number", [0, 1, 1000])
def test_a_cloud_comes_back_bit_for_bit(tmp_path, number):
    cloud = random_cloud(number)
    write_ply(tmp_path / "a.ply", cloud, ["world: x forward", "two\nlines"])
    back = read_ply(tmp_path / "a.ply")
    for name in ("points", "colors", "confidence"):
        assert getattr(back, name).dtype == getattr(cloud, name).dtype
        np.testing.assert_array_equal(getattr(back, name), getattr(cloud, name))


def test_the_bytes_are_those_of_the_format(tmp_path):
    cloud = PointCloud(np.float32([[1, 2, 3]]), np.uint8([[4, 5, 6]]), np.float32([0.5]))
    write_ply(tmp_path / "a.ply", cloud, ["note"])
    assert (tmp_path / "a.ply").read_bytes() == (
        b"ply\nformat binary_little_endian 1.0\ncomment note\nelement vertex 1\nproperty float x\nproperty float y\n"
        b"property float z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\nproperty float confidence\n"
        b"end_header\n" + struct.pack("<fffBBBf", 1, 2, 3, 4, 5, 6, 0.5)
    )


def test_ascii_with_faces_and_unknown_properties(tmp_path):
    (tmp_path / "a.ply").write_text(
        "ply\nformat ascii 1.0\ncomment by hand\nobj_info x\nelement vertex 2\nproperty double x\nproperty double y\n"
        "property double z\nproperty float nx\nproperty uchar red\nproperty uchar green\nproperty uchar blue\n"
        "property uchar alpha\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
        "0.5 1 -2e3 0 255 0 7 9\n3 4 5 0 1 2 3 9\n3 0 1 0\n"
    )
    cloud = read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(cloud.points, np.float32([[0.5, 1, -2000], [3, 4, 5]]))
    np.testing.assert_array_equal(cloud.colors, [[255, 0, 7], [1, 2, 3]])
    np.testing.assert_array_equal(cloud.confidence, [1, 1])


def test_bare_points_are_gray_also_big_endian_behind_another_element(tmp_path):
    header = (
        b"ply\r\nformat binary_big_endian 1.0\r\nelement camera 2\r\nproperty int id\r\nelement vertex 2\r\n"
        b"property float x\r\nproperty float y\r\nproperty float z\r\nend_header\r\n"
    )
    (tmp_path / "a.ply").write_bytes(header + struct.pack(">ii", 1, 2) + struct.pack(">6f", *range(6)))
    cloud = read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(cloud.points, [[0, 1, 2], [3, 4, 5]])
    assert (cloud.colors == 128).all()


HEAD = b"ply\nformat binary_little_endian 1.0\nelement vertex 2\n"
XYZ = b"property float x\nproperty float y\nproperty float z\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no PLY"),
        (b"<!DOCTYPE html>", "no PLY"),
        (HEAD, "ends in its header"),
        (HEAD + XYZ + b"end_header\n" + bytes(23), "got: 1 points|ends too early"),
        (HEAD + b"property float x\nproperty float y\nend_header\n" + bytes(16), "without z"),
        (HEAD + XYZ + b"end_header\n" + struct.pack("<6f", 0, 0, np.nan, 0, 0, np.inf), "not finite: got 2"),
        (HEAD + XYZ + b"property list uchar int l\nend_header\n" + bytes(64), "list"),
        (HEAD + b"property quaternion x\nend_header\n", "quaternion"),
        (HEAD.replace(b"2\n", b"-2\n") + XYZ + b"end_header\n", "-2 elements"),
        (HEAD.replace(b"2\n", b"99999999999999\n") + XYZ + b"end_header\n" + bytes(24), "ends too early"),
        (b"ply\nformat ascii 1.0\nelement vertex 2\n" + XYZ + b"end_header\n1 2 3\n", "vertex 1 is missing"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\n" + XYZ + b"end_header\n1 2 zebra\n", "vertices"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\n" + XYZ + b"end_header\n1 2 3 4\n", "vertex 0"),
        (b"ply\nelement vertex 0\n" + XYZ + b"end_header\n", "no format"),
        (b"ply\nformat ascii 1.0\nend_header\n", "no element 'vertex'"),
    ],
)
def test_damaged_and_foreign_files_are_refused(tmp_path, content, message):
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_ply(tmp_path / "a.ply")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_ply(tmp_path / "a.ply")


def ascii_ply(properties, *rows):
    lines = ["ply", "format ascii 1.0", f"element vertex {len(rows)}"]
    lines += [f"property {kind} {name}" for kind, name in (word.split(":") for word in properties.split())]
    return "\n".join([*lines, "end_header", *rows, ""]).encode()


@pytest.mark.fault("recordings", case="20")
@pytest.mark.parametrize(
    ("properties", "row", "color"),
    [
        ("uchar:red uchar:green uchar:blue", "10 20 30", [10, 20, 30]),
        ("uchar:diffuse_red uchar:diffuse_green uchar:diffuse_blue", "10 20 30", [10, 20, 30]),
        ("uchar:r uchar:g uchar:b", "10 20 30", [10, 20, 30]),
        ("float:red float:green float:blue", "0.2 0.4 1", [51, 102, 255]),
        ("double:r double:g double:b", "51 102 255", [51, 102, 255]),
        ("ushort:red ushort:green ushort:blue", "257 514 65535", [1, 2, 255]),
        ("int:red int:green int:blue", "1 2 300", [1, 2, 255]),
        ("float:intensity", "7", [128, 128, 128]),
        ("uchar:Red uchar:Green uchar:Blue uchar:Alpha", "10 20 30 40", [10, 20, 30]),
    ],
)
def test_colors_of_other_tools(tmp_path, properties, row, color):
    (tmp_path / "a.ply").write_bytes(ascii_ply("float:x float:y float:z " + properties, "1 2 3 " + row))
    assert read_ply(tmp_path / "a.ply").colors.tolist() == [color]


@pytest.mark.fault("recordings", case="20")
def test_points_that_are_not_finite_are_left_out_and_counted(tmp_path, caplog):
    content = ascii_ply(
        "double:x double:y double:z float:scalar_confidence", "1 2 3 0.5", "nan 0 0 1", "0 1e300 0 1", "4 5 6 nan"
    )
    (tmp_path / "a.ply").write_bytes(content)
    cloud = read_ply(tmp_path / "a.ply")
    assert cloud.points.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert cloud.confidence.tolist() == [0.5, 0.0]
    assert "2 of 4 points" in caplog.text and "1 of 2 confidences" in caplog.text


@pytest.mark.fault("recordings", case="20")
def test_confidences_of_another_measure_count_as_one(tmp_path, caplog):
    (tmp_path / "a.ply").write_bytes(ascii_ply("float:x float:y float:z float:confidence", "1 2 3 0.5", "4 5 6 7"))
    assert read_ply(tmp_path / "a.ply").confidence.tolist() == [1.0, 1.0]
    assert "from 0.5 to 7 are of another measure" in caplog.text


@pytest.mark.fault("hostile file")
@pytest.mark.parametrize("count", ["1099511627776", "9" * 4000, "9" * 5000, "-1", "\u00b2", "1e9"])
@pytest.mark.parametrize("before", [b"", b"element other COUNT\nproperty double a\n"])
def test_hostile_counts_are_refused(tmp_path, count, before):
    text = b"ply\nformat binary_little_endian 1.0\n" + before + b"element vertex COUNT\n"
    text += b"property float x\nproperty float y\nproperty float z\nend_header\n" + bytes(24)
    (tmp_path / "a.ply").write_bytes(text.replace(b"COUNT", count.encode()))
    with pytest.raises(DataError) as caught:
        read_ply(tmp_path / "a.ply")
    assert len(str(caught.value)) < 500

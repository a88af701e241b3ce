from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import frame_name
from spann3r_ros.geometry.transform_tree import TransformTree
from spann3r_ros.sim3 import Sim3

SECOND = 1_000_000_000


def pose(x: float, degrees: float = 0.0) -> Sim3:
    return Sim3(rotation=Rotation.from_euler("z", degrees, degrees=True).as_matrix(), translation=np.array([x, 0, 0]))


@pytest.fixture
def robot() -> TransformTree:
    tree = TransformTree()
    tree.insert(0, "base", "mast", pose(0.5), static=True)
    tree.insert(0, "mast", "camera", pose(0.0, 90.0), static=True)
    for second in range(3):
        tree.insert(second * SECOND, "odom", "base", pose(float(second), 30.0 * second))
    return tree


def test_static_links_hold_at_any_time(robot: TransformTree) -> None:
    found = robot.lookup("base", "camera", 77 * SECOND)
    np.testing.assert_allclose(found.matrix(), (pose(0.5) @ pose(0.0, 90.0)).matrix(), atol=1e-12)


def test_moving_links_are_taken_at_the_stamp_and_interpolated(robot: TransformTree) -> None:
    exact = robot.lookup("odom", "camera", SECOND)
    np.testing.assert_allclose(exact.matrix(), (pose(1, 30) @ pose(0.5) @ pose(0, 90)).matrix(), atol=1e-12)
    between = robot.lookup("odom", "base", SECOND + SECOND // 4)
    np.testing.assert_allclose(between.matrix(), pose(1.25, 37.5).matrix(), atol=1e-9)


def test_lookup_goes_up_and_down_the_tree(robot: TransformTree) -> None:
    robot.insert(0, "base", "lidar", pose(-0.25), static=True)
    np.testing.assert_allclose(robot.lookup("lidar", "mast", 0).translation, [0.75, 0, 0], atol=1e-12)
    forth, back = robot.lookup("camera", "odom", SECOND), robot.lookup("odom", "camera", SECOND)
    np.testing.assert_allclose((forth @ back).matrix(), np.eye(4), atol=1e-12)
    np.testing.assert_array_equal(robot.lookup("base", "base", 5).matrix(), np.eye(4))


@pytest.mark.parametrize(
    ("stamp", "edge"), [(-SECOND, "first one 1.000 s later"), (3 * SECOND, "last one 1.000 s earlier")]
)
def test_it_never_extrapolates(robot: TransformTree, stamp: int, edge: str) -> None:
    with pytest.raises(GeometryError, match=edge):
        robot.lookup("odom", "base", stamp)


def test_frames_of_different_trees_are_named(robot: TransformTree) -> None:
    with pytest.raises(GeometryError, match="no transform between 'odom' and 'moon'"):
        robot.lookup("odom", "moon", SECOND)


def test_a_loop_is_refused() -> None:
    tree = TransformTree()
    tree.insert(0, "a", "b", Sim3())
    tree.insert(0, "b", "a", Sim3())
    with pytest.raises(GeometryError, match="loop"):
        tree.lookup("a", "b", 0)


def test_history_is_bounded_and_ordered_whatever_the_order_of_arrival() -> None:
    tree = TransformTree(horizon=5 * SECOND)
    for second in (0, 2, 1, 3, 9, 8):
        tree.insert(second * SECOND, "odom", "base", pose(float(second)))
    np.testing.assert_allclose(tree.lookup("odom", "base", 17 * SECOND // 2).translation[0], 8.5)
    with pytest.raises(GeometryError):
        tree.lookup("odom", "base", 3 * SECOND)


def test_a_new_parent_replaces_the_old_one(robot: TransformTree) -> None:
    assert robot.parent("base") == "odom"
    robot.insert(0, "map", "base", pose(7.0))
    assert robot.parent("base") == "map"
    assert robot.parent("map") is None
    np.testing.assert_allclose(robot.lookup("map", "base", 0).translation[0], 7.0)


def test_clearing_keeps_what_never_moves(robot: TransformTree) -> None:
    robot.clear_moving()
    assert robot.parent("base") is None
    assert robot.parent("camera") == "mast"


def test_time_that_begins_anew_drops_the_old_history(robot: TransformTree) -> None:
    robot.insert(100 * SECOND, "odom", "base", pose(9.0))
    robot.insert(0, "odom", "base", pose(3.0))
    np.testing.assert_allclose(robot.lookup("odom", "base", 0).translation[0], 3.0)


def test_a_leading_slash_is_no_part_of_a_name() -> None:
    assert [frame_name(name) for name in ("/odom", "odom", "robot/odom", "")] == ["odom", "odom", "robot/odom", ""]

import numpy as np
import pytest

from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.mapping.voxel_view import VoxelView
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

pytestmark = pytest.mark.usefixtures("both_ways")

CAMERA = Intrinsics(40.0, 40.0, 31.5, 23.5, 64, 48)


def wall(depth: float = 2.0) -> np.ndarray:
    return np.full((48, 64), depth, np.float32)


def view(depth: np.ndarray) -> VoxelView:
    return VoxelView(Sim3(), CAMERA, depth)


def test_a_view_knows_how_deep_its_camera_saw():
    pose = Sim3.rigid(np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]), np.array([1.0, 2.0, 3.0]))
    points = pose.apply(backproject(wall(), CAMERA)).astype(np.float32)
    picture = np.zeros((48, 64, 3), np.uint8)
    prediction = Prediction(
        Frame(0, 0, "camera", picture), points, np.ones((48, 64), np.float32), picture, pose, intrinsics=CAMERA
    )
    found = VoxelView.of(prediction)
    assert found is not None
    np.testing.assert_allclose(found.depth, 2.0, atol=1e-5)
    assert VoxelView.of(Prediction(prediction.frame, points, prediction.confidence, picture)) is None


def test_pixels_at_the_edge_of_an_object_and_of_grazed_surfaces_are_slanted():
    box = wall(3.0)
    box[10:30, 20:40] = 1.5
    slanted = view(box).slanted(80.0)
    inside = np.zeros_like(slanted)
    inside[9:31, 19:41] = True
    inside[11:29, 21:39] = False
    assert (slanted == inside).all()
    # A floor 1 m below: a row sees it at an angle of arctan(40 / rows below the horizon) from its normal.
    below = np.arange(48, dtype=np.float32)[:, None] - 23.5
    floor = np.broadcast_to(np.where(below > 1, 40.0 / np.maximum(below, 1), 0), (48, 64)).astype(np.float32)
    kept = ~view(floor).slanted(75.0)
    assert kept[40:].all() and not kept[26:30].any()  # 67 and 82 degrees and more
    assert not view(wall()).slanted(10.0).any()


def test_what_lies_before_the_surface_is_looked_through_and_what_lies_behind_it_is_hidden():
    depths = np.array([0.5, 1.6, 1.8, 1.95, 2.0, 2.05, 2.25, 2.5, -1.0], np.float32)
    points = np.stack([0 * depths, 0 * depths, depths], axis=1)
    missed, through = view(wall(2.0)).judge(points, 0.02, 0.15)
    assert through.tolist() == [True, True, False, False, False, False, False, False, False]
    assert missed.tolist() == [True, True, True, False, False, False, True, False, False]
    aside = np.array([[5.0, 0, 1.0], [0, -5.0, 1.0]], np.float32)
    assert not np.any(view(wall()).judge(aside, 0.02, 0.15))


@pytest.mark.parametrize("unknown", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_an_unknown_depth_and_one_beside_an_edge_clear_nothing(unknown: float):
    depth = wall(4.0)
    depth[22, 31] = unknown
    depth[:, :10] = 1.0
    points = np.array([[0, 0, 1.0], [-0.51, 0.3, 1.0]], np.float32)  # pixels (24, 32) and (36, 11)
    _, through = view(depth).judge(points, 0.02, 0.15)
    assert not through.any()


def test_spheres_that_reach_into_the_pyramid_are_found():
    centers = np.array([[0, 0, 2], [0, 0, -2], [5, 0, 2], [2.2, 0, 2], [0, 9, 9]], np.float32)
    radii = np.full(5, 0.6, np.float32)
    assert view(wall()).reaches(centers, radii).tolist() == [True, False, False, True, False]
    assert view(wall()).reaches(np.zeros((1, 3), np.float32), np.array([0.1], np.float32)).all()

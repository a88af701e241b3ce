import numpy as np

from spann3r_ros.frame import Frame
from spann3r_ros.mapping.filters import cloud_from_prediction, confident, usable
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3


def prediction(pose: Sim3 | None = None) -> Prediction:
    points = np.zeros((2, 3, 3), np.float32)
    points[..., 0] = [[1, 2, 3], [4, 5, 6]]
    points[0, 1, 2] = np.nan
    points[1, 0, 1] = np.inf
    confidence = np.array([[0.2, 0.9, 0.5], [0.9, 0.3, 0.9]], np.float32)
    colors = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    return Prediction(Frame(0, 0, "camera", np.zeros((4, 6, 3), np.uint8)), points, confidence, colors, pose)


def test_only_finite_points_pass():
    assert usable(prediction()).tolist() == [[True, False, True], [False, True, True]]


def test_points_of_any_shape_are_confident_or_not():
    points = np.array([[0, 0, 1], [0, np.inf, 1], [0, 0, 2], [np.nan, 0, 1]], np.float32)
    confidence = np.array([0.5, 0.9, 0.49, np.nan], np.float32)
    assert confident(points, confidence, 0.5).tolist() == [True, False, False, False]
    assert confident(points.reshape(2, 2, 3), confidence.reshape(2, 2), 0.0).tolist() == [[True, False], [True, False]]


def test_the_threshold_itself_passes():
    confidence = np.float32(0.3)
    assert usable(prediction(), float(confidence)).tolist() == [[False, False, True], [False, True, True]]


def test_range_counts_from_the_camera():
    camera = Sim3(translation=np.array([5.5, 0.0, 0.0]))
    assert usable(prediction(camera), 0.0, 2.6).tolist() == [[False, False, True], [False, True, True]]
    assert usable(prediction(camera), 0.0, 2.4).tolist() == [[False, False, False], [False, True, True]]


def test_without_a_pose_a_range_lets_nothing_pass():
    assert not usable(prediction(None), 0.0, 100.0).any()


def test_the_cloud_keeps_each_point_with_its_color_and_confidence():
    cloud = cloud_from_prediction(prediction(), 0.4)
    np.testing.assert_array_equal(cloud.points, [[3, 0, 0], [6, 0, 0]])
    np.testing.assert_array_equal(cloud.colors, [[6, 7, 8], [15, 16, 17]])
    np.testing.assert_array_equal(cloud.confidence, np.array([0.5, 0.9], np.float32))
    assert cloud.points.dtype == np.float32


def test_nothing_usable_gives_an_empty_cloud():
    assert len(cloud_from_prediction(prediction(), 0.95)) == 0

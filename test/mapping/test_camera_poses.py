import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.config import PoseConfig
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.mapping.camera_poses import CameraPoses
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3

CAMERA = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
PERIOD = 100_000_000


def true_pose(index: int) -> Sim3:
    turn = Rotation.from_euler("y", 0.03 * index).as_matrix()
    return Sim3.rigid(turn, np.array([0.04 * index, 0.0, 0.02 * index]))


def prediction(index: int, camera: str = "camera", noise: float = 0.0, final: bool = True) -> Prediction:
    """What a camera sees of a wavy wall, displaced as a whole by the noise."""
    rows, columns = np.mgrid[:48, :64]
    depth = (2.0 + 0.5 * np.sin(rows / 7) + 0.4 * np.cos(columns / 9)).astype(np.float32)
    points = true_pose(index).apply(backproject(depth, CAMERA))
    points = points + np.random.default_rng(index).normal(0, noise, 3) if noise else points
    picture = np.zeros((48, 64, 3), np.uint8)
    frame = Frame(index, index * PERIOD, camera, picture, CAMERA)
    confidence = np.full((48, 64), 0.8, np.float32)
    return Prediction(frame, points.astype(np.float32), confidence, picture, intrinsics=CAMERA, final=final)


def step_error(first: Sim3, second: Sim3, index: int) -> float:
    true = true_pose(index).inverse() @ true_pose(index + 1)
    return float(np.linalg.norm((true.inverse() @ (first.inverse() @ second)).translation))


def test_poses_follow_the_camera_and_the_motion_steadies_them():
    rmse = {}
    for motion_prior in (False, True):
        poses, found = CameraPoses(), []
        for index in range(60):
            located, reason = poses.locate(prediction(index, noise=0.03), PoseConfig(motion_prior=motion_prior))
            assert reason == "" and located.pose_source == "pnp" and located.pose_covariance is not None
            assert located.submap_from_camera is not None
            found.append(located.submap_from_camera)
        errors = [step_error(found[index], found[index + 1], index) for index in range(20, 59)]
        rmse[motion_prior] = np.sqrt(np.mean(np.square(errors)))
    assert rmse[True] < 0.6 * rmse[False]


def test_each_camera_has_a_motion_of_its_own_and_an_early_answer_changes_none():
    alone, both = CameraPoses(), CameraPoses()
    for index in range(12):
        expected = alone.locate(prediction(index, noise=0.03), PoseConfig())[0].submap_from_camera
        both.locate(prediction(30 - index, "other", noise=0.03), PoseConfig())
        both.locate(prediction(index, noise=0.01, final=False), PoseConfig())
        found = both.locate(prediction(index, noise=0.03), PoseConfig())[0].submap_from_camera
        assert expected is not None and found is not None
        np.testing.assert_allclose(found.translation, expected.translation, atol=1e-4)


def test_a_model_knows_its_pose_best_and_points_that_tell_none_give_a_reason():
    poses = CameraPoses()
    known = dataclasses.replace(prediction(3), submap_from_camera=true_pose(3), pose_source="model")
    assert poses.locate(known, PoseConfig()) == (known, "")
    blank = dataclasses.replace(prediction(3), confidence=np.zeros((48, 64), np.float32))
    located, reason = poses.locate(blank, PoseConfig())
    assert located.submap_from_camera is None and reason.startswith("no pose")


def test_a_camera_that_was_lost_begins_anew():
    poses = CameraPoses()
    for index in range(10):
        poses.locate(prediction(index, noise=0.03), PoseConfig())
    poses.forget(prediction(9))
    found = poses.locate(prediction(40), PoseConfig())[0].submap_from_camera
    assert found is not None
    np.testing.assert_allclose(found.translation, true_pose(40).translation, atol=1e-3)
    for index in range(40):  # cameras without end are not remembered
        poses.locate(prediction(0, f"camera{index}"), PoseConfig())
    assert len(poses._known) <= 16


def test_poses_that_were_saved_go_on_as_if_nothing_had_happened():
    straight, before = CameraPoses(), CameraPoses()
    for index in range(9):
        for poses in (straight, before):
            poses.locate(prediction(index, noise=0.03), PoseConfig())
            poses.locate(prediction(index, "other", noise=0.02), PoseConfig())
    resumed = CameraPoses.restored(before.saved())
    for index in range(9, 14):
        for camera in ("camera", "other"):
            expected, found = (
                poses.locate(prediction(index, camera, noise=0.03), PoseConfig())[0] for poses in (straight, resumed)
            )
            assert expected.submap_from_camera is not None and found.submap_from_camera is not None
            np.testing.assert_array_equal(found.submap_from_camera.matrix(), expected.submap_from_camera.matrix())
            np.testing.assert_array_equal(found.pose_covariance, expected.pose_covariance)
    assert not CameraPoses.restored({}).saved() and not CameraPoses().saved()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("motions", lambda a: a[:, :-1]),
        ("motions", lambda a: a * np.nan),
        ("stamps", lambda a: a[:0]),
        ("stamps", lambda a: a.astype(float)),
        ("rotations", lambda a: a * 2),
        ("translations", lambda a: a * np.nan),
        ("cameras", None),
    ],
)
def test_a_state_of_other_arrays_is_refused(name, change):
    poses = CameraPoses()
    poses.locate(prediction(0), PoseConfig())
    state = poses.saved()
    state = {**state, name: change(state[name])} if change else {key: state[key] for key in state if key != name}
    with pytest.raises((ValueError, KeyError)):
        CameraPoses.restored(state)

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.geometry.motion_prior import LEAST_KNOWN, MotionPrior
from spann3r_ros.sim3 import Sim3

PERIOD = 100_000_000


def true_pose(index: int) -> Sim3:
    """A camera that walks and looks around, about 5 cm and 2 degrees a frame."""
    t = 0.1 * index
    turn = Rotation.from_euler("yx", [0.4 * np.sin(0.8 * t) + 0.2 * t, 0.1 * np.sin(t)]).as_matrix()
    return Sim3.rigid(turn, np.array([0.5 * t, 0.1 * np.sin(t), 0.4 * np.sin(0.5 * t)]))


def noisy(pose: Sim3, rng: np.random.Generator, shift: float, degrees: float) -> Sim3:
    turn = Rotation.from_rotvec(rng.normal(0, np.radians(degrees), 3)).as_matrix()
    return Sim3.rigid(turn @ pose.rotation, pose.translation + rng.normal(0, shift, 3))


def steps(poses: list[Sim3]) -> np.ndarray:
    """(N - 1, 2) errors of the motion from frame to frame: length and degrees."""
    found = []
    for index in range(len(poses) - 1):
        true = true_pose(index).inverse() @ true_pose(index + 1)
        error = true.inverse() @ (poses[index].inverse() @ poses[index + 1])
        found.append((np.linalg.norm(error.translation), np.degrees(error.rotation_angle())))
    return np.array(found)


@pytest.mark.parametrize("seed", range(4))
def test_a_shaking_camera_is_steadied(seed: int):
    rng, prior = np.random.default_rng(seed), MotionPrior()
    raw = [noisy(true_pose(index), rng, 0.04, 0.7) for index in range(150)]
    found = [prior.refine(index * PERIOD, pose)[0] for index, pose in enumerate(raw)]
    before, after = steps(raw)[20:], steps(found)[20:]
    assert (np.sqrt((after**2).mean(axis=0)) < 0.6 * np.sqrt((before**2).mean(axis=0))).all()
    away = [np.linalg.norm(pose.translation - true_pose(index).translation) for index, pose in enumerate(found)]
    assert np.mean(away[20:]) < 0.06, "it does not lag behind by more than the noise that it removes"


def test_exact_poses_pass_nearly_as_they_are():
    prior = MotionPrior()
    found = [prior.refine(index * PERIOD, true_pose(index))[0] for index in range(150)]
    away = np.array(
        [np.linalg.norm(pose.translation - true_pose(index).translation) for index, pose in enumerate(found)]
    )
    assert away.max() < 0.002 and steps(found)[:, 1].max() < 0.2


def test_one_wild_pose_does_not_carry_the_camera_away_and_a_new_place_is_followed():
    rng, prior = np.random.default_rng(0), MotionPrior()
    for index in range(40):
        prior.refine(index * PERIOD, noisy(true_pose(index), rng, 0.02, 0.3))
    wild = Sim3.rigid(true_pose(40).rotation, true_pose(40).translation + np.array([0.0, 2.0, 0.0]))
    found, _ = prior.refine(40 * PERIOD, wild)
    assert np.linalg.norm(found.translation - true_pose(40).translation) < 0.3
    elsewhere = Sim3.rigid(np.eye(3), np.array([9.0, 9.0, 9.0]))
    for index in range(41, 45):
        found, _ = prior.refine(index * PERIOD, elsewhere)
    np.testing.assert_allclose(found.translation, elsewhere.translation)


def test_the_covariance_has_the_size_that_the_poses_show():
    rng, prior = np.random.default_rng(0), MotionPrior()
    claimed = np.diag([1e-6, 2e-6, 3e-6, 1e-8, 1e-8, 1e-8])  # residuals that are not independent promise too much
    errors = []
    for index in range(200):
        found, covariance = prior.refine(index * PERIOD, noisy(true_pose(index), rng, 0.04, 0.7), claimed)
        errors.append(found.translation - true_pose(index).translation)
        if index < LEAST_KNOWN:
            assert covariance is claimed
    assert covariance is not None and np.allclose(covariance, covariance.T)
    assert covariance[1, 1] / covariance[0, 0] == pytest.approx(2.0)  # the shape is that of the estimate
    measured = np.sqrt(np.mean(np.square(errors[50:])))
    assert 0.4 < np.sqrt(np.trace(covariance[:3, :3]) / 3) / measured < 2.5


def test_without_a_time_before_there_is_no_prior():
    prior, covariance = MotionPrior(), np.eye(6)
    for stamp in (0, 0, 5 * 10**9, 4 * 10**9, 4 * 10**9 + 10):  # the first, a repetition, a pause, a jump back, a burst
        pose = true_pose(stamp % 7)
        found, same = prior.refine(stamp, pose, covariance)
        assert found is pose and same is covariance

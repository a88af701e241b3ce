import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Frame
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import StampedPose, Trajectory


def pose(index: int, x: float = 0.0, final: bool = True, stamp: int | None = None) -> StampedPose:
    return StampedPose(
        index, index * 100 if stamp is None else stamp, "camera", Sim3(translation=np.array([x, 0, 0])), final
    )


def xs(trajectory: Trajectory) -> list[float]:
    return [entry.target_from_camera.translation[0] for entry in trajectory]


def test_final_replaces_early_in_its_place_and_never_the_other_way():
    trajectory = Trajectory([pose(0, 1.0, False), pose(1, 2.0, False), pose(0, 10.0, True)])
    assert xs(trajectory) == [10.0, 2.0]
    trajectory.insert(pose(0, 99.0, False))
    assert xs(trajectory) == [10.0, 2.0]
    trajectory.insert(pose(0, 11.0, True))
    assert xs(trajectory) == [11.0, 2.0]


def test_indices_that_begin_anew_are_other_frames():
    trajectory = Trajectory([pose(0, 1.0), pose(1, 2.0), pose(0, 3.0, stamp=10_000)])
    assert xs(trajectory) == [1.0, 2.0, 3.0]


def test_it_is_a_sequence():
    trajectory = Trajectory([pose(index, float(index)) for index in range(10)])
    assert len(trajectory) == 10
    assert trajectory[-1].index == 9
    assert [entry.index for entry in trajectory[-3:]] == [7, 8, 9]
    trajectory.clear()
    assert len(trajectory) == 0 and not trajectory


def test_a_full_one_forgets_its_oldest_part(caplog):
    trajectory = Trajectory(max_poses=50)
    for index in range(1000):
        trajectory.insert(pose(index))
        assert len(trajectory) <= 50
    indices = [entry.index for entry in trajectory]
    assert indices == list(range(indices[0], 1000)) and len(indices) >= 45
    assert "the oldest 5 dropped" in caplog.text


def test_after_forgetting_a_final_pose_still_finds_its_frame():
    trajectory = Trajectory(max_poses=10)
    for index in range(11):
        trajectory.insert(pose(index, float(index), False))
    trajectory.insert(pose(10, 80.0))
    trajectory.insert(pose(3, 70.0))
    assert xs(trajectory) == [1.0, 2.0, 70.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 80.0]


def test_from_a_prediction():
    image = np.zeros((2, 2, 3), np.uint8)
    arguments = (np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), np.float32), image)
    frame = Frame(3, 12345678901, "left", image)
    known = StampedPose.of(Prediction(frame, *arguments, Sim3(), final=False))
    assert (known.index, known.stamp, known.camera, known.final) == (3, 12345678901, "left", False)
    with pytest.raises(GeometryError, match="pose"):
        StampedPose.of(Prediction(frame, *arguments, None))


def test_poses_seen_from_elsewhere_stay_rigid_one_by_one_and_together_bit_for_bit():
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    (moved,) = Trajectory([pose(1, 2.0)]).seen_from(Sim3(3.0, turn, np.array([1.0, 0.0, 0.0])))
    np.testing.assert_allclose(moved.target_from_camera.matrix(), Sim3.rigid(turn, np.array([1.0, 6.0, 0.0])).matrix())
    assert (moved.index, moved.stamp, moved.camera, moved.final) == (1, 100, "camera", True)

    rng = np.random.default_rng(0)
    turns = Rotation.random(200, random_state=1).as_matrix()
    poses = [StampedPose(i, i, "c", Sim3.rigid(turns[i], rng.normal(size=3)), True) for i in range(200)]
    place = Sim3(0.3, turns[7], np.array([3.0, -2.0, 1.0]))
    together = Trajectory(poses).seen_from(place)
    for known, found in zip(poses, together, strict=True):
        (alone,) = Trajectory([known]).seen_from(place)
        assert (alone.target_from_camera.matrix() == found.target_from_camera.matrix()).all()
        expected = place.carry(known.target_from_camera).matrix()
        np.testing.assert_allclose(found.target_from_camera.matrix(), expected, rtol=0, atol=1e-14)


def test_joined_is_what_inserting_one_by_one_gives():
    rng = np.random.default_rng(3)
    for _ in range(50):
        parts = [
            Trajectory(
                StampedPose(int(i), int(i) // 2, rng.choice(["a", "b", "c"]), at(rng.normal()), bool(rng.integers(2)))
                for i in rng.integers(0, 12, rng.integers(0, 9))
            )
            for _ in range(3)
        ]
        expected = Trajectory(pose for part in parts for pose in part)
        assert told(Trajectory.joined(parts)) == told(expected)
        for before, after in zip(parts, map(Trajectory.copied, parts), strict=True):
            assert told(before) == told(after)


def test_columns_give_the_same_trajectory_and_others_are_refused():
    trajectory = Trajectory([pose(3, 1.0), pose(1, 2.0, False), pose(2, 5.0)])
    columns = trajectory.columns()
    assert [column.shape for column in columns] == [(3,), (3,), (3,), (3,), (3, 3, 3), (3, 3)]
    assert told(Trajectory.of_columns(*columns)) == told(trajectory)
    assert told(Trajectory.of_columns(*Trajectory().columns())) == []
    for number, wrong in [
        (0, columns[0][:2]),
        (1, columns[5]),
        (2, columns[0]),
        (4, columns[5]),
        (5, columns[5][:, :2]),
    ]:
        changed = [*columns]
        changed[number] = wrong
        with pytest.raises(ValueError, match="poses"):
            Trajectory.of_columns(*changed)
    for number, wrong in [(4, 2 * columns[4]), (4, -columns[4]), (4, np.nan * columns[4]), (5, np.nan * columns[5])]:
        changed = [*columns]
        changed[number] = wrong
        with pytest.raises(GeometryError):
            Trajectory.of_columns(*changed)


def test_a_pose_takes_less_than_256_bytes():
    trajectory = Trajectory(pose(index, float(index)) for index in range(4000))
    assert trajectory._rows.nbytes < 4000 * 256


def at(x: float) -> Sim3:
    return Sim3(translation=np.array([x, 0, 0]))


def told(trajectory: Trajectory) -> list[tuple[object, ...]]:
    return [
        (each.index, each.stamp, each.camera, each.final, each.target_from_camera.matrix().tobytes())
        for each in trajectory
    ]

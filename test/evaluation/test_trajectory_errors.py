import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import DataError, GeometryError
from spann3r_ros.evaluation.trajectory_errors import ErrorStatistics, associate, evaluate_trajectory, path_marks
from spann3r_ros.files.tum import read_camera_path
from spann3r_ros.sim3 import Sim3
from spann3r_ros.trajectory import CameraPath

SECOND = 1_000_000_000


def walk(count: int, seed: int = 0) -> CameraPath:
    """A wandering camera at 10 Hz."""
    rng = np.random.default_rng(seed)
    positions = np.cumsum(rng.normal([0.05, 0.02, 0.0], 0.1, (count, 3)), axis=0)
    rotations = Rotation.from_rotvec(np.cumsum(rng.normal(0.0, 0.05, (count, 3)), axis=0)).as_matrix()
    return CameraPath(np.arange(count, dtype=np.int64) * SECOND // 10, positions, rotations)


def noisy(trajectory: CameraPath, seed: int = 1) -> CameraPath:
    rng = np.random.default_rng(seed)
    shake = Rotation.from_rotvec(rng.normal(0.0, 0.02, (len(trajectory), 3))).as_matrix()
    positions = trajectory.positions + rng.normal(0.0, 0.03, trajectory.positions.shape)
    return CameraPath(trajectory.stamps, positions, trajectory.rotations @ shake)


OTHER_WORLD = Sim3(0.37, Rotation.from_euler("xyz", [0.4, -1.1, 2.0]).as_matrix(), np.array([5.0, -3.0, 0.7]))


def test_perfect_estimate_has_no_error() -> None:
    truth = walk(50)
    for with_scale in (True, False):
        errors = evaluate_trajectory(truth, truth, with_scale=with_scale)
        assert errors.ate.maximum < 1e-12
        assert errors.reference_from_estimate.scale == pytest.approx(1.0, abs=1e-12)
        assert errors.rpe_frame_translation is not None and errors.rpe_frame_translation.maximum < 1e-12
        assert errors.rpe_meter_rotation is not None and errors.rpe_meter_rotation.maximum < 1e-6


def test_known_similarity_is_recovered() -> None:
    truth = walk(80)
    errors = evaluate_trajectory(truth.transformed(OTHER_WORLD), truth, with_scale=True)
    back = OTHER_WORLD.inverse()
    assert errors.ate.maximum < 1e-9
    assert errors.reference_from_estimate.scale == pytest.approx(back.scale, abs=1e-9)
    np.testing.assert_allclose(errors.reference_from_estimate.rotation, back.rotation, atol=1e-9)
    np.testing.assert_allclose(errors.reference_from_estimate.translation, back.translation, atol=1e-9)


def test_rigid_alignment_leaves_the_scale_error() -> None:
    truth = walk(80)
    twice = CameraPath(truth.stamps, 2.0 * truth.positions, truth.rotations)
    errors = evaluate_trajectory(twice, truth, with_scale=False)
    # Aligned about the common center, each position is off by its own distance from that center.
    expected = np.linalg.norm(truth.positions - truth.positions.mean(0), axis=1)
    np.testing.assert_allclose(errors.position_errors, expected, atol=1e-9)
    assert errors.reference_from_estimate.scale == 1.0


def test_drift_computed_by_hand() -> None:
    # A square of side 2 walked in 8 steps of 1; the estimate's heading is right, and its first step is 0.5 too long.
    corners = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [2, 2], [1, 2], [0, 2], [0, 1], [0, 0]], dtype=float)
    positions = np.column_stack([corners, np.zeros(9)])
    rotations = np.repeat(np.eye(3)[None], 9, axis=0)
    stamps = np.arange(9, dtype=np.int64) * SECOND
    truth = CameraPath(stamps, positions, rotations)
    drifted = positions + np.array([0.5, 0.0, 0.0])
    drifted[0] = 0.0
    errors = evaluate_trajectory(CameraPath(stamps, drifted, rotations), truth, with_scale=False, meter=2.0)
    assert errors.rpe_frame_translation is not None and errors.rpe_meter_translation is not None
    assert errors.rpe_frame_translation.count == 8
    assert errors.rpe_frame_translation.maximum == pytest.approx(0.5)
    assert errors.rpe_frame_translation.mean == pytest.approx(0.5 / 8)
    assert errors.rpe_frame_translation.rmse == pytest.approx(0.5 / np.sqrt(8))
    assert errors.rpe_frame_translation.median == pytest.approx(0.0, abs=1e-12)
    assert errors.rpe_meter_translation.count == 4  # every second step makes 2 of path
    assert errors.rpe_meter_translation.mean == pytest.approx(0.5 / 4)
    # ATE of one outlier: the same problem solved by scipy, with no code of ours.
    centered, target = drifted - drifted.mean(0), positions - positions.mean(0)
    turn, _ = Rotation.align_vectors(target, centered)
    expected = np.linalg.norm(turn.apply(centered) - target, axis=1)
    np.testing.assert_allclose(errors.position_errors, expected, atol=1e-7)


def test_rotation_drift_in_degrees() -> None:
    truth = walk(40)
    turns = Rotation.from_euler("z", np.arange(40)[:, None] * 0.5, degrees=True).as_matrix()
    turned = CameraPath(truth.stamps, truth.positions, truth.rotations @ turns)
    errors = evaluate_trajectory(turned, truth, with_scale=True)
    assert errors.rpe_frame_rotation is not None
    # Conjugated by the true motion in between, a turn of 0.5 degrees a frame stays about that.
    assert errors.rpe_frame_rotation.median == pytest.approx(0.5, rel=0.5)
    still = CameraPath(truth.stamps, truth.positions, np.repeat(np.eye(3)[None], 40, axis=0))
    spun = CameraPath(truth.stamps, truth.positions, turns)
    exact = evaluate_trajectory(spun, still, with_scale=True)
    assert exact.rpe_frame_rotation is not None
    assert exact.rpe_frame_rotation.mean == pytest.approx(0.5, abs=1e-9)


def test_association_takes_the_nearest_within_the_gap() -> None:
    truth = walk(10)
    late = CameraPath(truth.stamps[2:6] + 7_000_000, truth.positions[2:6], truth.rotations[2:6])
    reference, estimate = associate(truth, late, max_gap=10_000_000)
    np.testing.assert_array_equal(reference, [2, 3, 4, 5])
    np.testing.assert_array_equal(estimate, [0, 1, 2, 3])
    with pytest.raises(DataError, match=r"share no time.*0\.000 \.\. 0\.900 s \(10 poses\).*0\.005"):
        associate(truth, late, max_gap=5_000_000)


def test_a_single_pose_is_associated() -> None:
    truth = walk(5)
    reference, estimate = associate(truth[3:4], truth, max_gap=0)
    assert (reference.tolist(), estimate.tolist()) == ([0], [3])


def test_path_marks_restart_at_each_mark() -> None:
    positions = np.column_stack([np.arange(6) * 0.5, np.zeros(6), np.zeros(6)])
    np.testing.assert_array_equal(path_marks(positions, 1.2), [0, 3])
    np.testing.assert_array_equal(path_marks(positions, 0.5), [0, 1, 2, 3, 4, 5])


def test_too_short_a_path_has_no_meter_drift() -> None:
    truth = walk(5)
    errors = evaluate_trajectory(truth, truth, with_scale=True, meter=100.0)
    assert errors.rpe_meter_translation is None


def test_useless_trajectories_are_refused() -> None:
    truth = walk(5)
    positions = truth.positions.copy()
    positions[3] = np.nan
    with pytest.raises(DataError, match=r"1 of 5 poses.*pose 3"):
        CameraPath(truth.stamps, positions, truth.rotations)
    with pytest.raises(DataError, match=r"do not increase.*pose 1"):
        CameraPath(truth.stamps[::-1], truth.positions, truth.rotations)
    with pytest.raises(DataError, match="arrays"):
        CameraPath(truth.stamps[:4], truth.positions, truth.rotations)
    with pytest.raises(DataError, match="too few"):
        evaluate_trajectory(truth[:2], truth, with_scale=True)
    with pytest.raises(DataError, match="no poses in the estimate"):
        associate(truth, truth[:0], 0)
    line = CameraPath(truth.stamps, np.outer(np.arange(5), [1.0, 2.0, 3.0]), truth.rotations)
    with pytest.raises(GeometryError, match="one line"):
        evaluate_trajectory(line, line, with_scale=True)


def test_paths_are_read_with_all_their_nanoseconds(tmp_path: Path) -> None:
    text = "# stamp ...\n1305031102.175304001 1 2 3 0 0 0 1\n\n1305031102.275304002 4 5 6 0 0 0.70710678 0.70710678\n"
    (tmp_path / "t.txt").write_text(text)
    path = read_camera_path(tmp_path / "t.txt")
    assert path.stamps.tolist() == [1305031102175304001, 1305031102275304002]
    np.testing.assert_array_equal(path.positions, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_allclose(path.rotations[1], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing\n", "no poses"),
        ("1.0 0 0 0 0 0 0 1\n0.5 0 0 0 0 0 0 1\n", r"do not increase.*pose 1"),
        ("1.0 nan 0 0 0 0 0 1\n", "line 1"),
        ("1.0 0 0 0 0 0 0\n", "line 1"),
    ],
)
def test_files_that_hold_no_path_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_camera_path(tmp_path / "t.txt")


@pytest.mark.skipif(
    importlib.util.find_spec("evo") is None,
    reason="cross-check only: evo (GPL) is no dependency; `pip install evo` beside this package to run it",
)
@pytest.mark.parametrize("with_scale", [True, False])
@pytest.mark.parametrize("lengths", [(60, 60), (60, 45), (45, 60)])
def test_numbers_equal_those_of_evo(with_scale: bool, lengths: tuple[int, int]) -> None:
    from evo.core import metrics, sync
    from evo.core.trajectory import PoseTrajectory3D
    from evo.core.units import Unit

    def as_evo(trajectory: CameraPath) -> PoseTrajectory3D:
        poses = []
        for index in range(len(trajectory)):
            poses.append(trajectory.pose(index).matrix())
        return PoseTrajectory3D(poses_se3=poses, timestamps=trajectory.stamps / 1e9)

    rng = np.random.default_rng(2)
    truth = walk(max(lengths))
    estimate = noisy(truth).transformed(OTHER_WORLD if with_scale else Sim3.rigid(OTHER_WORLD.rotation))
    reference_part = np.sort(rng.permutation(len(truth))[: lengths[0]])
    estimate_part = np.sort(rng.permutation(len(truth))[: lengths[1]])
    shift = rng.integers(-4_000_000, 4_000_000, len(truth))
    estimate = CameraPath(estimate.stamps + shift, estimate.positions, estimate.rotations)
    reference, estimate = truth[reference_part], estimate[estimate_part]
    ours = evaluate_trajectory(estimate, reference, with_scale=with_scale)

    first, second = sync.associate_trajectories(as_evo(reference), as_evo(estimate), max_diff=0.01)
    rotation, translation, scale = second.align(first, correct_scale=with_scale)
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((first, second))
    theirs = {"ate": ape.get_all_statistics()}
    for name, relation in (
        ("translation", metrics.PoseRelation.translation_part),
        ("rotation", metrics.PoseRelation.rotation_angle_deg),
    ):
        for step, unit in (("frame", Unit.frames), ("meter", Unit.meters)):
            rpe = metrics.RPE(relation, delta=1, delta_unit=unit, pairs_from_reference=True)
            rpe.process_data((first, second))
            theirs[f"rpe_{step}_{name}"] = rpe.get_all_statistics()
    for name, expected in theirs.items():
        found = getattr(ours, name)
        assert isinstance(found, ErrorStatistics)
        got = [found.rmse, found.mean, found.median, found.maximum]
        np.testing.assert_allclose(got, [expected[key] for key in ("rmse", "mean", "median", "max")], atol=1e-9, rtol=0)
    np.testing.assert_allclose(ours.reference_from_estimate.rotation, rotation, atol=1e-9)
    np.testing.assert_allclose(ours.reference_from_estimate.translation, translation, atol=1e-9)
    assert ours.reference_from_estimate.scale == pytest.approx(scale, abs=1e-9)

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_up_run import FRAMES, STEP, true_pose, truth, write_run

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.protocol import PROTOCOLS, protocol
from spann3r_ros.evaluation.scores import evaluate_run, score_files
from spann3r_ros.files.ply import write_ply
from spann3r_ros.files.tum import write_trajectory
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.runs.folder import RunFolder
from spann3r_ros.trajectory import StampedPose

EXACT = protocol("every", max_points=0)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_perfect_prediction_scores_zero_zero_one(name: str, tmp_path: Path) -> None:
    scores = evaluate_run(write_run(tmp_path / "run"), truth(), PROTOCOLS[name])
    assert scores.geometry is not None and scores.sim3 is not None and scores.pointmaps is not None
    # The pointmaps are float32: 3 meters are known to 2e-7.
    assert scores.geometry.accuracy_mean < 1e-5 and scores.geometry.completion_mean < 1e-5
    assert scores.geometry.accuracy_normals_mean == pytest.approx(1.0, abs=1e-3)
    assert scores.geometry.completion_normals_mean == pytest.approx(1.0, abs=1e-3)
    assert scores.geometry.f_score == 1.0 and scores.geometry.chamfer < 1e-5
    assert scores.pointmaps.raw_mean < 1e-5
    assert scores.sim3.ate.maximum < 1e-9 and scores.se3 is not None and scores.se3.ate.maximum < 1e-9
    assert scores.notes == ()
    assert scores.geometry.predicted_points == FRAMES * (32 * 24 - 1)  # one pixel of each has no true depth


def test_a_known_scale_is_found(tmp_path: Path) -> None:
    scores = evaluate_run(write_run(tmp_path / "run", scale=0.25), truth(), EXACT)
    assert scores.sim3 is not None and scores.se3 is not None
    assert scores.pointmaps is not None and scores.geometry is not None
    assert scores.sim3.reference_from_estimate.scale == pytest.approx(4.0, abs=1e-9)
    assert scores.sim3.ate.maximum < 1e-9 < scores.se3.ate.rmse
    assert scores.geometry.chamfer < 1e-5 and scores.pointmaps.sim3_mean < 1e-5
    assert scores.pointmaps.raw_mean == pytest.approx(0.75, abs=0.01)  # a quarter of the true distance


def test_noise_shows(tmp_path: Path) -> None:
    scores = evaluate_run(write_run(tmp_path / "run", noise=0.05), truth(), EXACT)
    assert scores.geometry is not None and scores.pointmaps is not None
    assert 0.01 < scores.geometry.accuracy_mean < 0.08
    assert scores.geometry.f_score < 1.0
    expected = 0.05 * np.sqrt(8 / np.pi)  # mean length of a normal vector in 3D
    assert scores.pointmaps.raw_mean * scores.pointmaps.scale == pytest.approx(expected, rel=0.05)


def test_thinning_keeps_the_measure(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", noise=0.05)
    thinned = evaluate_run(run, truth(), protocol("every", max_points=800))
    assert thinned.geometry is not None and thinned.geometry.true_points == 800
    assert thinned.protocol.name == "every with max_points=800"


def test_quality_counts_and_percentiles(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    record = run.record()
    record.frames.posed[3] = False
    record.dropped, record.skipped = 2, {"image cannot be used": 2}
    record.offered = FRAMES + 2
    record.write(run.path / "run.json")
    quality = evaluate_run(run, None, EXACT).quality
    assert (quality.offered, quality.processed, quality.posed, quality.dropped) == (FRAMES + 2, FRAMES, FRAMES - 1, 2)
    assert quality.coverage == pytest.approx((FRAMES - 1) / (FRAMES + 2))
    milliseconds = 10.0 * np.arange(1, FRAMES + 1)
    np.testing.assert_allclose(quality.latency_ms, np.percentile(milliseconds, [50, 95, 99]))
    assert quality.frames_per_second == pytest.approx(FRAMES / milliseconds.sum() * 1e3)
    assert quality.tokens == 12 * FRAMES and quality.points == record.points > 0


def test_what_cannot_be_measured_is_noted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", finished=False)
    assert evaluate_run(run, None, EXACT).notes[-1].startswith("no ground truth")
    known = truth()
    no_depth = dataclasses.replace(known, depth_stamps=np.empty(0, np.int64))
    assert "no depth" in " ".join(evaluate_run(run, no_depth, EXACT).notes)
    later = dataclasses.replace(known.trajectory, stamps=known.trajectory.stamps + 10**12)  # type: ignore[union-attr]
    notes = " ".join(evaluate_run(run, dataclasses.replace(known, trajectory=later), EXACT).notes)
    assert "trajectory is not measured: reference and estimate share no time" in notes
    assert "geometry is not measured: no true pose of the first frame" in notes
    assert "ended early" in notes
    for file in (run.path / "pointmaps").iterdir():
        file.unlink()
    assert "stored no pointmaps" in " ".join(evaluate_run(run, known, EXACT).notes)


def test_another_stride_than_the_protocols_is_noted(tmp_path: Path) -> None:
    notes = evaluate_run(write_run(tmp_path / "run", every=2), truth(), EXACT).notes
    assert any("not comparable" in note and "one frame in 2" in note for note in notes)


def test_frames_without_truth_are_left_out_and_counted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    known = truth()
    assert known.trajectory is not None
    part = dataclasses.replace(known, trajectory=known.trajectory[:6])
    scores = evaluate_run(run, part, EXACT)
    assert scores.geometry is not None
    assert "geometry: 2 x frame without true pose" in scores.notes


def test_a_damaged_pointmap_is_noted_by_name(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run.path / "pointmaps" / "000004.npz").write_bytes(b"damaged")
    scores = evaluate_run(run, truth(), EXACT)
    assert scores.geometry is None and scores.sim3 is not None
    assert "000004.npz cannot be read" in " ".join(scores.notes)


def test_json_has_no_nan(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    content = evaluate_run(run, truth(), EXACT).as_json()
    assert content["geometry"]["f_score"] == 1.0
    assert content["trajectory"]["sim3"]["ate"]["count"] == FRAMES
    assert "frames" not in content["run"] and content["run"]["parameters"]["device"] == "cpu"
    broken = dataclasses.replace(evaluate_run(run, None, EXACT), path_length=float("nan")).as_json()
    assert broken["geometry"] is None


def test_two_files(tmp_path: Path) -> None:
    poses = [StampedPose(index, index * STEP, "", true_pose(index)) for index in range(FRAMES)]
    write_trajectory(tmp_path / "truth.txt", poses)
    write_trajectory(tmp_path / "estimate.txt", poses[1:])
    scores = score_files(tmp_path / "estimate.txt", tmp_path / "truth.txt", EXACT)
    assert scores.sim3 is not None and scores.sim3.ate.maximum < 1e-9
    assert scores.sim3.ate.count == FRAMES - 1


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run record cannot be read"):
        evaluate_run(RunFolder(tmp_path), None, EXACT)
    (tmp_path / "run.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="another format"):
        evaluate_run(RunFolder(tmp_path), None, EXACT)


def test_a_depth_image_of_another_size_is_noted(tmp_path: Path) -> None:
    known = truth()
    read = known.read_depth

    def smaller(index: int):  # type: ignore[no-untyped-def]
        found = read(index)
        return dataclasses.replace(found, depth=found.depth[::2, ::2])

    notes = evaluate_run(write_run(tmp_path / "run"), dataclasses.replace(known, read_depth=smaller), EXACT).notes
    assert "depth image of another size" in " ".join(notes)


def test_a_meter_of_path_is_a_meter_in_every_unit(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    meters = evaluate_run(run, truth(), EXACT)
    record = run.record()
    record.source["unit"] = "mm"  # the path is then three millimeters long
    record.write(tmp_path / "run" / "run.json")
    millimeters = evaluate_run(run, truth(), EXACT)
    assert meters.sim3 is not None and meters.sim3.rpe_meter_translation is not None
    assert millimeters.sim3 is not None and millimeters.sim3.rpe_meter_translation is None
    assert millimeters.ate_over_path == meters.ate_over_path


def test_the_published_map_is_scored_beside_the_pixels(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", scale=0.5)
    clean = evaluate_run(run, truth(), PROTOCOLS["every"])
    assert clean.map_geometry is not None and clean.map_geometry.accuracy_mean < 0.02  # its voxels have 2 cm
    cloud = run.cloud()
    astray = np.arange(0, len(cloud), 4)
    points = cloud.points.copy()
    points[astray, 2] += 1.0  # a quarter of the map is two meters too high
    write_ply(run.path / "map.ply", PointCloud(points, cloud.colors, cloud.confidence))
    spoiled = evaluate_run(run, truth(), PROTOCOLS["every"])
    assert clean.geometry is not None and spoiled.geometry == clean.geometry
    assert spoiled.map_geometry is not None and spoiled.map_geometry.precision == pytest.approx(0.75, abs=0.03)
    assert spoiled.map_geometry.predicted_points == len(cloud)
    (run.path / "map.ply").write_bytes(b"")
    lost = evaluate_run(run, truth(), PROTOCOLS["every"])
    assert lost.map_geometry is None and lost.geometry == clean.geometry
    assert any("the map is not measured" in note for note in lost.notes)

"""Everything that is measured about one run."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError, GeometryError
from spann3r_ros.evaluation.cloud_errors import GeometryErrors, compare_clouds, icp, median_alignment, normals
from spann3r_ros.evaluation.pointmap_errors import PairedPoints, PointmapErrors, paired_points
from spann3r_ros.evaluation.protocol import MEDIAN, SIM3, Protocol
from spann3r_ros.evaluation.trajectory_errors import TrajectoryErrors, evaluate_trajectory
from spann3r_ros.files.tum import read_camera_path
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.recordings.sequence import METERS, GroundTruth
from spann3r_ros.runs.folder import POINTMAPS, RunFolder
from spann3r_ros.runs.record import FILE, RunRecord
from spann3r_ros.sim3 import Sim3

DEFAULT_GAP = 10_000_000
"""Nanoseconds between an estimate and the truth that count as simultaneous."""


@dataclass(frozen=True)
class Quality:
    """How the run went.

    Attributes:
        offered: frames that the source gave; the others count those of them that...
        processed: ...went through the model,
        posed: ...got a camera pose,
        dropped: ...the node's queue dropped,
        owed: ...wait for a further frame, with which their result would have come,
        rejected: ...the memory did not store because they resembled others.
        skipped: ignored by the source or refused by the model, by reason.
        coverage: ``posed / offered``.
        latency_ms: p50, p95 and p99; offline: time per frame in the model, replay: from sending the image to receiving
            its result.
        frames_per_second: offline: of the model alone, replay: of the whole run.
        peak_memory_bytes, peak_gpu_bytes: of the process; None where unknown.
        tokens: most tokens in memory at once.
        resets: how often a new world was begun.
        points: in the map.
        finished: False when the run ended early.
    """

    offered: int
    processed: int
    posed: int
    dropped: int
    owed: int
    rejected: int
    skipped: dict[str, int]
    coverage: float
    latency_ms: tuple[float, float, float] | None
    frames_per_second: float | None
    peak_memory_bytes: int | None
    peak_gpu_bytes: int | None
    tokens: int
    resets: int
    points: int
    finished: bool

    @classmethod
    def of(cls, record: RunRecord) -> Quality:
        """From the record of a run."""
        frames = record.frames
        seconds = np.array([value for value in frames.seconds if value is not None], dtype=float)
        latency = None
        if len(seconds):
            p50, p95, p99 = (float(value) * 1e3 for value in np.percentile(seconds, [50, 95, 99]))
            latency = (p50, p95, p99)
        return cls(
            offered=record.offered,
            processed=len(frames),
            posed=sum(frames.posed),
            dropped=record.dropped,
            owed=record.owed,
            rejected=frames.rejected[-1] if frames.rejected else 0,
            skipped=record.skipped,
            coverage=sum(frames.posed) / record.offered if record.offered else 0.0,
            latency_ms=latency,
            frames_per_second=record.rate(),
            peak_memory_bytes=record.peak_memory_bytes,
            peak_gpu_bytes=record.peak_gpu_bytes,
            tokens=max(frames.tokens, default=0),
            resets=record.resets,
            points=record.points,
            finished=record.finished,
        )


@dataclass(frozen=True, eq=False)
class Scores:
    """One run against the truth; what could not be measured is None, and ``notes`` tell why.

    Attributes:
        record: of the run.
        folder: where its results lie, or None for a bare trajectory file.
        protocol: what was followed.
        unit: of all lengths.
        truth: origin of the ground truth, empty when there is none.
        sim3, se3: trajectory after alignment with and without scale.
        path_length: of the associated true trajectory.
        geometry: cloud of the pixels.
        map_geometry: the published map, which is what users get.
        pointmaps: pixel by pixel.
        quality: how the run went.
        notes: what was not measured or is not comparable, and why.
    """

    record: RunRecord
    folder: Path | None
    protocol: Protocol
    unit: str
    truth: str
    sim3: TrajectoryErrors | None
    se3: TrajectoryErrors | None
    path_length: float | None
    geometry: GeometryErrors | None
    map_geometry: GeometryErrors | None
    pointmaps: PointmapErrors | None
    quality: Quality
    notes: tuple[str, ...]

    @property
    def ate_over_path(self) -> float | None:
        """ATE after Sim(3) over the length of the associated true path; None when either is not known."""
        return self.sim3.ate_over(self.path_length) if self.sim3 else None

    def as_json(self) -> dict[str, Any]:
        """For report.json: plain numbers, None where a number is undefined; arrays are not in it."""
        trajectory = {
            name: None if errors is None else _trajectory_json(errors, self.path_length)
            for name, errors in (("sim3", self.sim3), ("se3", self.se3))
        }
        record = {
            key: value for key, value in dataclasses.asdict(self.record).items() if key not in ("frames", "pair_scores")
        }
        content = {
            "name": self.record.name,
            "protocol": dataclasses.asdict(dataclasses.replace(self.protocol, every=dict(self.protocol.every))),
            "unit": self.unit,
            "truth": self.truth,
            "trajectory": trajectory,
            "geometry": self.geometry and dataclasses.asdict(self.geometry),
            "map": self.map_geometry and dataclasses.asdict(self.map_geometry),
            "pointmaps": self.pointmaps and dataclasses.asdict(self.pointmaps),
            "quality": dataclasses.asdict(self.quality),
            "notes": list(self.notes),
            "run": record,
        }
        cleaned: dict[str, Any] = _without_nan(content)
        return cleaned


def evaluate_run(
    folder: RunFolder, truth: GroundTruth | None, protocol: Protocol, max_gap: int = DEFAULT_GAP
) -> Scores:
    """All scores of a run; what cannot be measured is noted, not raised.

    Args:
        folder: written by a run.
        truth: of its source, or None.
        protocol: which frames and which alignment.
        max_gap: nanoseconds between an estimate and the truth that count as simultaneous.

    Raises:
        DataError: a folder without a readable run record.
    """
    record = folder.record()
    unit = str(record.source.get("unit", "m"))
    notes = []
    stride = protocol.stride(str(record.source.get("layout")))
    if record.every != stride:
        notes.append(
            f"not comparable with other results of protocol {protocol.name}: the run used one frame in {record.every}, "
            f"the protocol one in {stride}"
        )
    if not record.finished:
        notes.append("the run ended early: these are the scores of its finished part")
    sim3 = se3 = geometry = map_geometry = pointmaps = None
    path_length = None
    if truth is None:
        notes.append("no ground truth: trajectory and geometry are not measured")
    else:
        sim3, se3, reasons = _trajectory_scores(folder, truth, unit, max_gap)
        path_length = sim3.reference.path_length() if sim3 else None
        notes += reasons
        try:
            geometry, map_geometry, pointmaps, details = _geometry_scores(folder, truth, protocol, unit, max_gap)
            notes += details
        except (DataError, GeometryError) as error:
            notes.append(f"geometry is not measured: {error}")
    return Scores(
        record=record,
        folder=folder.path,
        protocol=protocol,
        unit=unit,
        truth=truth.origin if truth else "",
        sim3=sim3,
        se3=se3,
        path_length=path_length,
        geometry=geometry,
        map_geometry=map_geometry,
        pointmaps=pointmaps,
        quality=Quality.of(record),
        notes=tuple(notes),
    )


def _trajectory_scores(
    folder: RunFolder, truth: GroundTruth, unit: str, max_gap: int
) -> tuple[TrajectoryErrors | None, TrajectoryErrors | None, list[str]]:
    """After Sim(3) and after SE(3), and why not."""
    if truth.trajectory is None:
        return None, None, ["trajectory is not measured: the ground truth has no poses"]
    try:
        estimate, meter = folder.camera_path(), 1.0 / METERS[unit]
        sim3 = evaluate_trajectory(estimate, truth.trajectory, with_scale=True, max_gap=max_gap, meter=meter)
        se3 = evaluate_trajectory(estimate, truth.trajectory, with_scale=False, max_gap=max_gap, meter=meter)
    except (DataError, GeometryError) as error:
        return None, None, [f"trajectory is not measured: {error}"]
    return sim3, se3, []


def _geometry_scores(
    folder: RunFolder, truth: GroundTruth, protocol: Protocol, unit: str, max_gap: int
) -> tuple[GeometryErrors | None, GeometryErrors | None, PointmapErrors | None, list[str]]:
    """Cloud of the pixels, published map and pointmaps, and notes on what could not be used."""
    if len(truth.depth_stamps) == 0:
        return None, None, None, ["geometry is not measured: the ground truth has no depth"]
    count = len(list((folder.path / POINTMAPS).glob("*.npz")))
    if count == 0:
        return None, None, None, ["geometry is not measured: the run stored no pointmaps (reconstruct --pointmaps)"]
    per_frame = math.ceil(protocol.max_points / count) if protocol.max_points else 0
    pairs = paired_points(folder.pointmaps(), truth, max_gap, per_frame)
    similarity = umeyama(pairs.predicted, pairs.true)
    alignment = _alignment(pairs, similarity, protocol.alignment)
    true_normals = normals(pairs.true)
    errors = _cloud_errors(alignment.apply(pairs.predicted), pairs.true, true_normals, protocol, unit)
    notes = [f"geometry: {n} x {why}" for why, n in pairs.left_out.items()]
    try:
        published = alignment.apply(_published_points(folder, protocol.max_points))
        map_errors = _cloud_errors(published, pairs.true, true_normals, protocol, unit)
    except DataError as error:
        return errors, None, PointmapErrors.of(pairs, similarity), [*notes, f"the map is not measured: {error}"]
    return errors, map_errors, PointmapErrors.of(pairs, similarity), notes


def _published_points(folder: RunFolder, most: int) -> NDArray[np.float64]:
    """(N, 3) points of the map in the optical frame of the first camera, at most ``most`` unless that is 0."""
    points = folder.cloud().points
    if most and len(points) > most:
        points = points[np.sort(np.random.default_rng(0).choice(len(points), most, replace=False))]
    return np.asarray(ROS_FROM_OPTICAL.inverse().apply(points.astype(np.float64)))


def _cloud_errors(
    predicted: NDArray[np.float64],
    true: NDArray[np.float64],
    true_normals: NDArray[np.float64],
    protocol: Protocol,
    unit: str,
) -> GeometryErrors:
    """Of an aligned cloud, after the ICP of the protocol."""
    distance = protocol.icp_distance.get(unit, 0.0)
    if distance > 0 and len(predicted):
        predicted = icp(predicted, true, distance).apply(predicted)
    return compare_clouds(predicted, true, true_normals=true_normals, threshold=protocol.threshold[unit])


def _alignment(pairs: PairedPoints, similarity: Sim3, kind: str) -> Sim3:
    """``true_from_predicted`` as the protocol says."""
    if kind == MEDIAN:
        return median_alignment(pairs.predicted, pairs.true)
    return similarity if kind == SIM3 else Sim3()


def score_files(estimate: Path, reference: Path, protocol: Protocol, max_gap: int = DEFAULT_GAP) -> Scores:
    """Trajectory scores of two files in TUM's format.

    Raises:
        DataError: files that cannot be read, or share no time.
        GeometryError: a path on one line.
    """
    found, truth = read_camera_path(estimate), read_camera_path(reference)
    sim3 = evaluate_trajectory(found, truth, with_scale=True, max_gap=max_gap)
    se3 = evaluate_trajectory(found, truth, with_scale=False, max_gap=max_gap)
    source = {"path": str(estimate.resolve()), "layout": "trajectory", "name": estimate.stem, "unit": "m"}
    record = RunRecord(estimate.stem, FILE, source, 1, {}, {}, False, offered=len(found), finished=True)
    length = sim3.reference.path_length()
    quality = Quality.of(record)
    return Scores(record, None, protocol, "m", str(reference), sim3, se3, length, None, None, None, quality, ())


def _trajectory_json(errors: TrajectoryErrors, path_length: float | None) -> dict[str, Any]:
    """The numbers of one alignment."""
    parts = ("ate", "rpe_frame_translation", "rpe_frame_rotation", "rpe_meter_translation", "rpe_meter_rotation")
    statistics = {name: getattr(errors, name) for name in parts}
    return {
        "scale": errors.reference_from_estimate.scale,
        "matched": len(errors.position_errors),
        "path_length": path_length,
        "ate_over_path": errors.ate_over(path_length),
        **{name: value and dataclasses.asdict(value) for name, value in statistics.items()},
    }


def _without_nan(value: Any) -> Any:
    """The same structure with None in the place of NaN and infinity, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

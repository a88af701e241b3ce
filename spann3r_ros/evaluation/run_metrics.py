"""A run in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

from spann3r_ros.evaluation.scores import Scores


@dataclass(frozen=True)
class RunMetrics:
    """The figures of one run by name; None or NaN where nobody could measure.

    Attributes:
        frames: that the source gave.
        frames_lost: of them, those that the node dropped or refused, or that were skipped before.
        frames_posed: of them, those with a camera pose.
        rate_hz: frames a second.
        latency_p50_ms, latency_p95_ms: see ``Quality.latency_ms``.
        pointmap_error_raw, pointmap_error_sim3: median over all points, over the scale of the scene.
        ate_over_path: ATE after Sim(3) over the length of the true path.
        rpe_frame, rpe_frame_deg: root mean square drift of the camera from one frame to the next after Sim(3), in the
            unit of the truth and in degrees.
        pixels_f_score: of all pixels, at the threshold of the protocol (5 cm).
        map_accuracy, map_completion, map_f_score: of the published map; means, in the unit of the truth.
        points: in the map.
        weights: where they came from.
    """

    frames: int
    frames_lost: int
    frames_posed: int
    rate_hz: float | None
    latency_p50_ms: float
    latency_p95_ms: float
    pointmap_error_raw: float | None
    pointmap_error_sim3: float | None
    ate_over_path: float | None
    rpe_frame: float | None
    rpe_frame_deg: float | None
    pixels_f_score: float | None
    map_accuracy: float | None
    map_completion: float | None
    map_f_score: float | None
    points: int
    weights: str | None

    @classmethod
    def of(cls, scores: Scores) -> RunMetrics:
        """Out of all scores of the run."""
        quality, pointmaps = scores.quality, scores.pointmaps
        published = scores.map_geometry
        drift = scores.sim3.rpe_frame_translation if scores.sim3 else None
        turn = scores.sim3.rpe_frame_rotation if scores.sim3 else None
        latency = quality.latency_ms or (float("nan"),) * 3
        return cls(
            frames=quality.offered,
            frames_lost=quality.dropped + sum(quality.skipped.values()),
            frames_posed=quality.posed,
            rate_hz=quality.frames_per_second,
            latency_p50_ms=latency[0],
            latency_p95_ms=latency[1],
            pointmap_error_raw=pointmaps.raw_median if pointmaps else None,
            pointmap_error_sim3=pointmaps.sim3_median if pointmaps else None,
            ate_over_path=scores.ate_over_path,
            rpe_frame=drift.rmse if drift else None,
            rpe_frame_deg=turn.rmse if turn else None,
            pixels_f_score=scores.geometry.f_score if scores.geometry else None,
            map_accuracy=published.accuracy_mean if published else None,
            map_completion=published.completion_mean if published else None,
            map_f_score=published.f_score if published else None,
            points=quality.points,
            weights=scores.record.weights.get("description"),
        )

import dataclasses
from pathlib import Path

import pytest
from made_up_run import FRAMES, truth, write_run

from spann3r_ros.evaluation.protocol import protocol
from spann3r_ros.evaluation.run_metrics import RunMetrics
from spann3r_ros.evaluation.scores import evaluate_run


def test_a_dozen_numbers_of_a_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", scale=0.5)
    scores = evaluate_run(run, truth(), protocol("every", max_points=0))
    scores = dataclasses.replace(
        scores, quality=dataclasses.replace(scores.quality, dropped=2, owed=1, skipped={"refused by the node": 3})
    )
    metrics = RunMetrics.of(scores)
    assert (metrics.frames, metrics.frames_posed, metrics.frames_lost) == (FRAMES, FRAMES, 5)  # owed is not lost
    assert metrics.latency_p50_ms == pytest.approx(45.0) and metrics.rate_hz == pytest.approx(8 / 0.36)
    assert metrics.pointmap_error_sim3 is not None and metrics.pointmap_error_sim3 < 1e-5
    assert metrics.pointmap_error_raw == pytest.approx(0.5, abs=0.05)
    assert metrics.ate_over_path is not None and metrics.ate_over_path < 1e-9
    assert metrics.map_f_score == pytest.approx(1.0, abs=0.01) and metrics.pixels_f_score == pytest.approx(1.0)
    assert metrics.rpe_frame is not None and metrics.rpe_frame < 1e-9
    bare = RunMetrics.of(evaluate_run(run, None, protocol("every")))
    assert (
        bare.pointmap_error_raw is None
        and bare.map_f_score is None
        and bare.rpe_frame is None
        and bare.ate_over_path is None
    )

from pathlib import Path

import numpy as np
import pytest
from miniature_datasets import plain, pose

from spann3r_ros.errors import DataError
from spann3r_ros.runs.record import FILE, RunRecord
from spann3r_ros.runs.source_truth import source_truth, trajectory_truth


def test_the_recording_of_a_run_is_opened_again(tmp_path: Path) -> None:
    source = {"path": str(plain(tmp_path)), "layout": "folder"}
    truth = source_truth(RunRecord("a", "offline", source, 1, {}, {}, False))
    assert truth is not None and truth.trajectory is not None and len(truth.depth_stamps) > 0
    np.testing.assert_allclose(truth.trajectory.pose(1).matrix(), pose(1), atol=1e-6)
    with pytest.raises(DataError, match="no such file"):
        source_truth(RunRecord("a", FILE, {**source, "path": str(tmp_path / "gone")}, 1, {}, {}, False))


def test_a_trajectory_file_is_a_truth_without_depth(tmp_path: Path) -> None:
    (tmp_path / "truth.txt").write_text("1.0 0 0 0 0 0 0 1\n2.5 1 2 3 0 0 0 1\n")
    truth = trajectory_truth(tmp_path / "truth.txt")
    assert truth.trajectory is not None and truth.trajectory.stamps.tolist() == [10**9, 25 * 10**8]
    assert truth.depth_at(10**9, 10**9) is None and truth.origin == str(tmp_path / "truth.txt")
    with pytest.raises(DataError, match="no depth"):
        truth.read_depth(0)

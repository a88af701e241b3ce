"""What a run is compared with: the ground truth of its recording, or a trajectory file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spann3r_ros.errors import DataError
from spann3r_ros.files.tum import read_camera_path
from spann3r_ros.recordings.sequence import DepthImage, GroundTruth
from spann3r_ros.recordings.source import BAG_OPTIONS, SourceOptions, open_source
from spann3r_ros.runs.record import RunRecord


def source_truth(record: RunRecord) -> GroundTruth | None:
    """Ground truth of the recording that a run was made from; raises DataError when that is gone."""
    source = record.source
    options = {name: str(source[name]) for name in BAG_OPTIONS if name in source}
    return open_source(SourceOptions(Path(str(source["path"])), str(source["layout"]), **options)).ground_truth()


def trajectory_truth(path: Path) -> GroundTruth:
    """A trajectory file in TUM's format as ground truth without depth; raises DataError when it cannot be read."""

    def no_depth(index: int) -> DepthImage:
        raise DataError("a trajectory file has no depth", got=index)

    return GroundTruth(read_camera_path(path), np.empty(0, np.int64), no_depth, str(path))

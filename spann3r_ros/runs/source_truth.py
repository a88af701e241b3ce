"""The ground truth of the recording that a run was made from."""

from __future__ import annotations

from pathlib import Path

from spann3r_ros.recordings.sequence import GroundTruth
from spann3r_ros.recordings.source import BAG_OPTIONS, SourceOptions, open_source
from spann3r_ros.runs.record import RunRecord


def source_truth(record: RunRecord) -> GroundTruth | None:
    """Ground truth of the recording that a run was made from; raises DataError when that is gone."""
    source = record.source
    options = {name: str(source[name]) for name in BAG_OPTIONS if name in source}
    return open_source(SourceOptions(Path(str(source["path"])), str(source["layout"]), **options)).ground_truth()

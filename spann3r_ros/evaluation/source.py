"""Opening a recording by its path and options, and finding its ground truth again from a run's record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.datasets import bag, open_sequence
from spann3r_ros.evaluation.datasets.sequence import GroundTruth, Sequence
from spann3r_ros.evaluation.run_record import RunRecord


@dataclass(frozen=True)
class SourceOptions:
    """Where frames come from.

    Attributes:
        path: file or folder.
        layout: one of ``datasets.layouts()``, or ``auto``.
        topic, camera_info, pose_topic, depth_topic: of a bag, where they are not to be found by themselves.
    """

    path: Path
    layout: str = "auto"
    topic: str | None = None
    camera_info: str | None = None
    pose_topic: str | None = None
    depth_topic: str | None = None


BAG_OPTIONS = ("topic", "camera_info", "pose_topic", "depth_topic")


def open_source(options: SourceOptions) -> Sequence:
    """The sequence; raises DataError for what ``open_sequence`` refuses, and for options of a bag on anything else."""
    chosen = {name: getattr(options, name) for name in BAG_OPTIONS if getattr(options, name)}
    if not chosen:
        return open_sequence(options.path, options.layout)
    if options.layout not in ("auto", bag.LAYOUT):
        raise DataError(
            f"options of a bag with layout {options.layout}", got=", ".join(chosen), expected="none of them"
        )
    return bag.load(options.path, **chosen)


def source_truth(record: RunRecord) -> GroundTruth | None:
    """Ground truth of the recording that a run was made from; raises DataError when that is gone."""
    source = record.source
    options = {name: str(source[name]) for name in BAG_OPTIONS if name in source}
    return open_source(SourceOptions(Path(str(source["path"])), str(source["layout"]), **options)).ground_truth()

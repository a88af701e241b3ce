"""A sequence through a model without a ROS graph: every frame, in order, into a run folder."""

from __future__ import annotations

import dataclasses
import importlib.resources
import logging
import math
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from spann3r_ros.config import RANDOM_WEIGHTS, SIMULATED, Config, to_mapping
from spann3r_ros.errors import DataError, FrameError, Spann3rError
from spann3r_ros.files.checksum import sha256
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models.loading import shipped_model
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.recordings.sequence import Sequence
from spann3r_ros.runs.folder import OptionalFiles, RunFolder
from spann3r_ros.runs.record import OFFLINE, RunRecord, resident_bytes
from spann3r_ros.sim3 import Sim3

_log = logging.getLogger(__name__)


class OfflineRun:
    """One pass over a sequence.

    Args:
        sequence: where the frames come from.
        reconstruction: fresh, with the model loaded.
        folder: where the results go.
        files: which optional files are written.
        name: for reports.
        every: only every N-th frame.
        limit: most frames; 0: all.
        intrinsics: (fx, fy, cx, cy) in pixels of the images, instead of what the recording says, or None.

    Attributes:
        record: grows with every frame.
        expected: frames to come, or None when that is not known.
    """

    mode = OFFLINE

    def __init__(
        self,
        sequence: Sequence,
        reconstruction: Reconstruction,
        folder: Path,
        files: OptionalFiles | None = None,
        *,
        name: str = "",
        every: int = 1,
        limit: int = 0,
        intrinsics: tuple[float, float, float, float] | None = None,
    ) -> None:
        self.sequence, self.reconstruction = sequence, reconstruction
        sequence.decoder.config = reconstruction.config.image
        self.folder = RunFolder(folder, files)
        self.record = new_record(sequence, reconstruction, name or sequence.name, every, self.mode)
        self._every, self._limit, self._intrinsics = every, limit, intrinsics
        count = sequence.count()
        self.expected = None if count is None else -(-count // every)
        if limit:
            self.expected = limit if self.expected is None else min(limit, self.expected)
        self._places: dict[int, int] = {}
        self._told: dict[int, tuple[int, Sim3]] = {}  # submap of each frame, and where it lay when it was written
        self._refused: Counter[str] = Counter()

    def run(
        self, progress: Callable[[RunRecord], None] = lambda _: None, stop: Callable[[], bool] = lambda: False
    ) -> RunRecord:
        """Process the frames and write everything; what was done so far is written, too, when it ends early.

        Args:
            progress: called after every frame.
            stop: asked before every frame; True ends the run (``record.finished`` stays False).

        Raises:
            DataError: a source that cannot be read to its end, or gives no frame that the model can take.
        """
        self.folder.create()
        begin = time.perf_counter()
        failure: Spann3rError | None = None
        try:
            self.record.finished = self._process_all(progress, stop)
        except Spann3rError as error:
            failure = error
        try:
            self._collect(self.reconstruction.flush())
            self.folder.move(self._corrections())
        except Spann3rError as error:
            failure, self.record.finished = failure or error, False
        self.record.seconds = time.perf_counter() - begin
        self._close_record()
        world = self.reconstruction.map
        poses = sorted(world.trajectory(), key=lambda pose: pose.stamp)
        self.folder.finish(world.cloud(), poses, self.record)
        if failure is not None:
            raise failure
        if not self.record.frames and self.record.finished:
            raise DataError(
                f"no frame of {self.sequence.path} could be used", got=self.record.skipped or "no frames at all"
            )
        return self.record

    def _process_all(self, progress: Callable[[RunRecord], None], stop: Callable[[], bool]) -> bool:
        """Whether the sequence was used to its end (or to the limit)."""
        for frame in self.sequence.frames(self._every):
            if stop():
                return False
            if self._limit and self.record.offered >= self._limit:
                break
            self.record.offered += 1
            self._process(self._calibrated(frame))
            progress(self.record)
        return True

    def _process(self, frame: Frame) -> None:
        """One frame through the model and into the log."""
        begin = time.perf_counter()
        try:
            predictions = self.reconstruction.process(frame)
        except FrameError as error:
            level = logging.INFO if self._refused[error.problem] else logging.WARNING
            _log.log(level, "frame %d refused: %s", frame.index, error)
            self._refused[error.problem] += 1
            return
        seconds = time.perf_counter() - begin
        memory = self.reconstruction.status()
        self._places[frame.index] = len(self.record.frames)
        # An unordered run takes its time at the end, for all frames together.
        measured = seconds if self.mode == OFFLINE else None
        self.record.frames.add(frame.stamp, measured, memory.rejected, memory.tokens, resident_bytes())
        scale = self.reconstruction.scale.value
        self.record.frames.scale[-1] = round(scale, 9) if math.isfinite(scale) else None
        self._collect(predictions)

    def _collect(self, predictions: list[WorldPrediction]) -> None:
        """Answers into files and log."""
        for prediction in predictions:
            self.folder.add(prediction)
            place = self._places[prediction.frame.index]
            self._told[prediction.frame.index] = prediction.submap, prediction.world_from_submap
            self.record.frames.confidence[place] = round(float(prediction.confidence.mean()), 6)
            pose = prediction.world_from_camera
            self.record.frames.tell(place, None if pose is None else pose.translation)

    def _corrections(self) -> dict[int, Sim3]:
        """``world_now_from_world_then`` of the frames whose submaps were moved after they had been written."""
        now = {submap.id: submap.world_from_submap for submap in self.reconstruction.map.submaps}
        return {
            index: now[submap] @ then.inverse()
            for index, (submap, then) in self._told.items()
            if submap in now and now[submap] is not then
        }

    def _calibrated(self, frame: Frame) -> Frame:
        """The frame with the caller's intrinsics, where there are any: they know better than the recording."""
        if self._intrinsics is None:
            return frame
        height, width = frame.image.shape[:2]
        return dataclasses.replace(frame, intrinsics=Intrinsics(*self._intrinsics, width=width, height=height))

    def _close_record(self) -> None:
        """What is only known at the end."""
        self.record.skipped = {**self.sequence.skipped, **self.sequence.missing, **self._refused}
        self.record.missing = self.sequence.missing.total()
        self.record.keep_graph(self.reconstruction.pose_graph())
        self.record.metric, self.record.scale_source = self.reconstruction.metric, self.reconstruction.scale_source
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = peak if sys.platform == "darwin" else peak * 1024  # macOS counts in bytes, Linux in KiB
        sizes = [size for size in self.record.frames.memory_bytes if size is not None]
        self.record.peak_memory_bytes = max([peak, *sizes])
        if torch.cuda.is_available():
            self.record.peak_gpu_bytes = torch.cuda.max_memory_allocated()


def new_record(sequence: Sequence, reconstruction: Reconstruction, name: str, every: int, mode: str) -> RunRecord:
    """An empty record of a run in this process."""
    config, model = reconstruction.config, reconstruction.model
    source: dict[str, Any] = {
        "path": str(sequence.path.resolve()),
        "layout": sequence.layout,
        "name": sequence.name,
        "unit": sequence.unit,
        "count": sequence.count(),
    }
    for option in ("topic", "camera_info", "pose_topic", "depth_topic", "stamp"):
        if getattr(sequence, option, None):
            source[option] = getattr(sequence, option)
    return RunRecord(
        name=name,
        mode=mode,
        source=source,
        every=every,
        parameters=to_mapping(config),
        weights=weights(config, model.weights),
        metric=bool(model.metric),
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def weights(config: Config, description: str) -> dict[str, Any]:
    """Description, file name and SHA-256 of the weights that a configuration asks for."""
    if config.checkpoint == RANDOM_WEIGHTS or config.model == SIMULATED:
        return {"description": description, "file": "", "sha256": None}
    where = Path(config.checkpoint).expanduser() if config.checkpoint else shipped_model()
    with importlib.resources.as_file(where) as path:
        return {"description": description, "file": path.name, "sha256": sha256(path) if path.is_file() else None}

"""run.json: what was reconstructed from what, with which parameters, weights and versions, where, and how fast."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.files.atomic import replacing_file
from spann3r_ros.mapping.graph_corrections import EdgeView, GraphView
from spann3r_ros.recordings.structured import read_json

FORMAT = 1

LATER = ("scale", "told_x", "told_y", "told_z")
"""Columns of the frames that records of the first version do not have."""

OFFLINE, REPLAY, UNORDERED, FILE = "offline", "replay", "unordered", "file"
"""Modes of a run: every frame, in order, in this process; through a running node; all images together; no run at all,
only a trajectory file."""

NOT_TRUSTED = "answered, but not believed (tracking was lost)"
"""Reason of frames of a replay about which the node published nothing, because the answer did not fit."""

WITHOUT_RESULT = "without a result"
"""Reason of frames of a replay that the node neither answered nor reported as dropped or refused."""

OLD_OWED = "without a result (the node owes the last image's)"
"""Under which reason the first version counted ``RunRecord.owed`` as skipped."""


@dataclass
class FrameLog:
    """One entry for each frame that was given to the model, in order.

    Attributes:
        stamp: nanoseconds.
        seconds: time in the model (offline), or from sending the image to receiving its result (replay); None where
            nobody measured it.
        confidence: mean confidence of the frame's last pointmap; None when there is none.
        posed: whether a camera pose was recovered.
        rejected: frames so far that the memory refused as too similar.
        tokens: tokens in the memory afterwards.
        memory_bytes: resident size of the process afterwards; None where it is another process.
        scale: meters of one unit of the network, as known then; None while the world is not metric, or unknown.
        told_x, told_y, told_z: where the camera was in the world, as it was told with its last answer, before whatever
            corrected the world later; None without a pose.
    """

    stamp: list[int] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)
    confidence: list[float | None] = field(default_factory=list)
    posed: list[bool] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    memory_bytes: list[int | None] = field(default_factory=list)
    scale: list[float | None] = field(default_factory=list)
    told_x: list[float | None] = field(default_factory=list)
    told_y: list[float | None] = field(default_factory=list)
    told_z: list[float | None] = field(default_factory=list)

    def add(self, stamp: int, seconds: float | None, rejected: int, tokens: int, memory_bytes: int | None) -> None:
        """A frame whose pointmap may come later."""
        self.stamp.append(stamp)
        self.seconds.append(seconds)
        self.confidence.append(None)
        self.posed.append(False)
        self.rejected.append(rejected)
        self.tokens.append(tokens)
        self.memory_bytes.append(memory_bytes)
        for unknown in (self.scale, self.told_x, self.told_y, self.told_z):
            unknown.append(None)

    def tell(self, place: int, position: NDArray[np.float64] | None) -> None:
        """Where the camera of a frame was (3,), as it was told."""
        self.posed[place] = position is not None
        told = [None] * 3 if position is None else [round(float(value), 6) for value in position]
        self.told_x[place], self.told_y[place], self.told_z[place] = told

    def __len__(self) -> int:
        return len(self.stamp)


@dataclass
class RunRecord:
    """Everything that must be known to repeat or to judge a run.

    Attributes:
        name: for reports.
        mode: ``OFFLINE``, ``REPLAY``, ``UNORDERED`` or ``FILE``.
        source: path, layout, name and unit of what was read, and its options.
        every: which frames were used.
        parameters: dotted names and values of the configuration.
        weights: where the weights came from, their file and its SHA-256.
        metric: whether the unit of the world is the meter, at the end.
        scale_source: what made it so; empty when nothing did, or nobody knows.
        versions: of this package and of the libraries below it.
        machine: processor, cores, memory, GPU, system.
        frames: log of each frame.
        offered: frames that the source gave.
        skipped: frames that the source ignored or the model refused, by reason.
        missing: how many of ``skipped`` are frames that the source promised and could not deliver.
        dropped: frames that the node's queue dropped (replay).
        owed: frames whose result would have come with a further frame: with refined output the last one (replay).
        resets: how often a new world was begun.
        seconds: from the first frame to the last result.
        peak_memory_bytes: of the process that ran the model; None where that is not known (replay).
        peak_gpu_bytes: of the GPU when there is one.
        points: in the map at the end.
        order: of an unordered run: numbers of the frames in the order in which they were taken; else None.
        pair_scores: of an unordered run: how sure the network is of each ordered pair of ``frames``, 0 .. 2; else None.
        graph: the pose graph at the end as it lies in the world, see ``graph_view``; None for a world of one submap.
        finished: False when it was interrupted.
        started: UTC, ISO 8601.
    """

    name: str
    mode: str
    source: dict[str, Any]
    every: int
    parameters: dict[str, Any]
    weights: dict[str, Any]
    metric: bool
    versions: dict[str, str] = field(default_factory=lambda: versions())
    machine: dict[str, Any] = field(default_factory=lambda: machine())
    frames: FrameLog = field(default_factory=FrameLog)
    offered: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    missing: int = 0
    dropped: int = 0
    owed: int = 0
    resets: int = 0
    seconds: float = 0.0
    peak_memory_bytes: int | None = None
    peak_gpu_bytes: int | None = None
    points: int = 0
    order: list[int] | None = None
    pair_scores: list[list[float]] | None = None
    finished: bool = False
    started: str = ""
    scale_source: str = ""
    graph: dict[str, Any] | None = None

    def graph_view(self) -> GraphView:
        """The pose graph at the end, for pictures; raises ValueError, KeyError or TypeError for what no run writes."""
        if self.graph is None:
            return GraphView()
        edges = [
            EdgeView(str(edge["kind"]), _position(edge["first"]), _position(edge["second"]), bool(edge["holds"]))
            for edge in self.graph["edges"]
        ]
        return GraphView([_position(middle) for middle in self.graph["submaps"]], edges)

    def keep_graph(self, view: GraphView) -> None:
        """Remember a pose graph, unless there is nothing to see of it."""
        if len(view.submaps) > 1:
            edges = [
                {**edge._asdict(), "first": edge.first.tolist(), "second": edge.second.tolist()} for edge in view.edges
            ]
            self.graph = {"submaps": [middle.tolist() for middle in view.submaps], "edges": edges}

    def rate(self) -> float | None:
        """Frames a second: offline, of the model alone, without reading and writing; else, of the whole run.

        None before the first frame.
        """
        seconds = [value for value in self.frames.seconds if value is not None]
        spent = sum(seconds) if self.mode == OFFLINE else self.seconds
        return len(seconds) / spent if seconds and spent > 0 else None

    def write(self, path: Path) -> None:
        """As JSON; an older file stays whole until the new one is."""
        content = {"format": FORMAT, **dataclasses.asdict(self)}
        with replacing_file(path) as draft:
            draft.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Raises DataError for a missing or damaged file, or one of another format."""
        try:
            content = read_json(path)
            if content.pop("format") != FORMAT:
                raise ValueError("another format")
            unknown = dict.fromkeys(LATER, [None] * len(content["frames"]["stamp"]))  # to older records
            frames = {name: list(column) for name, column in {**unknown, **content["frames"]}.items()}
            record = cls(**{**content, "frames": FrameLog(**frames)})
            _check_types(record)
            return _renewed(record) if record.mode == REPLAY else record
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(
                "run record cannot be read", got=f"{path}: {error}", expected=f"run.json, format {FORMAT}"
            ) from error


def _check_types(record: RunRecord) -> None:
    """Raise TypeError or ValueError for values that no run writes."""
    empty = RunRecord("", OFFLINE, {}, 1, {}, {}, False, versions={}, machine={})
    for entry in dataclasses.fields(RunRecord):
        value, default = getattr(record, entry.name), getattr(empty, entry.name)
        kinds = (int, float) if isinstance(default, float) else (type(default),)
        if default is not None and type(value) not in kinds:
            raise TypeError(f"'{entry.name}' is {type(value).__name__}")
    if not all(type(count) is int for count in record.skipped.values()):
        raise TypeError("'skipped' holds something else than counts")
    for value in (record.peak_memory_bytes, record.peak_gpu_bytes):
        if value is not None and type(value) is not int:
            raise TypeError("a peak of memory is no number")
    columns = dataclasses.asdict(record.frames)
    if not all(isinstance(column, list) for column in columns.values()):
        raise TypeError("'frames' holds something else than lists")
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("the lists of 'frames' are not equally long")
    numbers = [value for column in columns.values() for value in column]
    if not all(value is None or isinstance(value, int | float) for value in numbers):
        raise TypeError("'frames' holds something else than numbers")
    if any(type(stamp) is not int or abs(stamp) >= 2**63 for stamp in record.frames.stamp):
        raise ValueError("a stamp of 'frames' is none")
    record.graph_view()
    if record.order is not None and not all(type(number) is int for number in record.order):
        raise TypeError("'order' holds something else than numbers")


def _position(numbers: Any) -> NDArray[np.float64]:
    """(3,) finite numbers; raises ValueError or TypeError for others."""
    position = np.array(numbers, dtype=np.float64)
    if position.shape != (3,) or not np.isfinite(position).all():
        raise ValueError(f"a position of 'graph' is {numbers}")
    return position


def _renewed(record: RunRecord) -> RunRecord:
    """A replay's record as it is written now: the first version wrote 0 for unknown and counted ``owed`` as skipped."""
    record.peak_memory_bytes = record.peak_memory_bytes or None
    unanswered = record.skipped.pop(OLD_OWED, 0)
    if unanswered:
        record.owed = 1
        lost = unanswered - record.owed - record.dropped
        if lost > 0:
            record.skipped[WITHOUT_RESULT] = lost
    return record


def versions() -> dict[str, str]:
    """Of Python, this package and the libraries that can change a result, as far as they are installed."""
    found = {"python": platform.python_version()}
    try:
        found["spann3r_ros"] = metadata.version("spann3r_ros")
    except metadata.PackageNotFoundError:
        found["spann3r_ros"] = "from source"
    for module in ("numpy", "scipy", "torch", "cv2", "PIL", "rosbags"):
        loaded = sys.modules.get(module) or import_module(module)
        version = getattr(loaded, "__version__", None)
        found[module] = str(version) if version else metadata.version(module)
    return found


def machine() -> dict[str, Any]:
    """Processor, cores, memory, GPU and system."""
    import torch

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    cuda = torch.cuda.is_available()
    return {
        "system": platform.platform(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpu": torch.cuda.get_device_name() if cuda else None,
    }


def resident_bytes() -> int | None:
    """Resident size of this process now (Linux), else None."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return None
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

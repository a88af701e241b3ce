"""The scores of one or several runs as rows of text, for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spann3r_ros.evaluation.cloud_errors import GeometryErrors
from spann3r_ros.evaluation.scores import Scores
from spann3r_ros.evaluation.trajectory_errors import ErrorStatistics, TrajectoryErrors
from spann3r_ros.runs.record import REPLAY

MISSING = "–"


@dataclass(frozen=True)
class Row:
    """One measure: its name and one text for each run."""

    label: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """Measures that belong together."""

    title: str
    rows: tuple[Row, ...]


def sections(runs: Sequence[Scores]) -> list[Section]:
    """All measures of all runs; a measure that no run has gets no row; where only some lack it, they get a dash."""
    units = {run.unit for run in runs}
    unit = units.pop() if len(units) == 1 else "unit of the source"
    parts = [
        Section("Run", tuple(_run_rows(runs))),
        Section(f"Trajectory after Sim(3) [{unit}]", tuple(_trajectory_rows(runs, "sim3"))),
        Section(f"Trajectory after SE(3) [{unit}]", tuple(_trajectory_rows(runs, "se3"))),
        Section(f"Geometry of all pixels [{unit}]", tuple(_geometry_rows(runs, "geometry"))),
        Section(f"Geometry of the published map [{unit}]", tuple(_geometry_rows(runs, "map_geometry"))),
        Section("Pointmaps, over the scale of the scene", tuple(_pointmap_rows(runs))),
    ]
    found = []
    for part in parts:
        rows = tuple(row for row in part.rows if any(value != MISSING for value in row.values))
        if rows:
            found.append(Section(part.title, rows))
    return found


def as_text(runs: Sequence[Scores]) -> str:
    """A compact table for a terminal, a column for each run, and the notes."""
    lines = [columns_as_text([run.record.name for run in runs], sections(runs))]
    for run in runs:
        lines += [f"note, {run.record.name}: {note}" for note in run.notes]
    return "\n".join(lines)


def columns_as_text(names: Sequence[str], parts: Sequence[Section]) -> str:
    """Sections under named columns."""
    width = max([len(row.label) for part in parts for row in part.rows], default=0) + 2
    longest = [max([len(row.values[i]) for part in parts for row in part.rows], default=0) for i in range(len(names))]
    columns = [max(12, len(name), length) + 2 for name, length in zip(names, longest, strict=True)]
    lines = [" " * width + "".join(name.rjust(column) for name, column in zip(names, columns, strict=True))]
    for part in parts:
        lines.append(part.title)
        for row in part.rows:
            cells = "".join(value.rjust(column) for value, column in zip(row.values, columns, strict=True))
            lines.append(f"  {row.label}".ljust(width) + cells)
    return "\n".join(lines)


def _row(label: str, runs: Sequence[Scores], value: Callable[[Scores], str | None]) -> Row:
    """A row; None is a dash."""
    return Row(label, tuple(value(run) or MISSING for run in runs))


def _run_rows(runs: Sequence[Scores]) -> list[Row]:
    def latency(which: int) -> Callable[[Scores], str | None]:
        return lambda run: None if run.quality.latency_ms is None else f"{run.quality.latency_ms[which]:.0f}"

    return [
        _row("protocol", runs, lambda run: run.protocol.name),
        _row("alignment of clouds", runs, lambda run: run.protocol.alignment if run.geometry else None),
        _row("one frame in", runs, lambda run: str(run.record.every)),
        _row("ground truth", runs, lambda run: run.truth),
        _row("frames offered", runs, lambda run: str(run.quality.offered)),
        _row("frames processed", runs, lambda run: str(run.quality.processed)),
        _row("frames with a pose", runs, lambda run: f"{run.quality.posed} ({run.quality.coverage:.1%})"),
        _row("frames dropped", runs, lambda run: str(run.quality.dropped)),
        _row("frames owed at the end", runs, lambda run: str(run.quality.owed) if run.quality.owed else None),
        _row("frames skipped", runs, lambda run: str(sum(run.quality.skipped.values()))),
        _row("frames not stored (similar)", runs, lambda run: str(run.quality.rejected)),
        _row("resets", runs, lambda run: str(run.quality.resets)),
        _row("frames/s", runs, lambda run: _number(run.quality.frames_per_second)),
        _row("latency p50 [ms]", runs, latency(0)),
        _row("latency p95 [ms]", runs, latency(1)),
        _row("latency p99 [ms]", runs, latency(2)),
        _row("peak memory [MB]", runs, _peak_memory),
        _row("peak GPU memory [MB]", runs, lambda run: _mega(run.quality.peak_gpu_bytes)),
        _row("most tokens in memory", runs, lambda run: str(run.quality.tokens) if run.quality.tokens else None),
        _row("points in the map", runs, lambda run: str(run.quality.points) if run.quality.points else None),
    ]


def _peak_memory(run: Scores) -> str | None:
    """Of the process; that of a node that runs elsewhere is unknown."""
    return _mega(run.quality.peak_memory_bytes) or ("unknown" if run.record.mode == REPLAY else None)


def _trajectory_rows(runs: Sequence[Scores], alignment: str) -> list[Row]:
    def statistic(name: str, which: str) -> Callable[[Scores], str | None]:
        def value(run: Scores) -> str | None:
            errors = getattr(run, alignment)
            found: ErrorStatistics | None = errors and getattr(errors, name)
            return None if found is None else _number(getattr(found, which))

        return value

    def scale(run: Scores) -> str | None:
        errors = getattr(run, alignment)
        return errors and _number(errors.reference_from_estimate.scale)

    def over_path(run: Scores) -> str | None:
        errors: TrajectoryErrors | None = getattr(run, alignment)
        share = errors and errors.ate_over(run.path_length)
        return None if share is None else f"{share:.2%}"

    return [
        _row("poses compared", runs, lambda run: _count(run, alignment)),
        _row("scale, truth / estimate", runs, scale) if alignment == "sim3" else Row("", (MISSING,) * len(runs)),
        _row("length of the path", runs, lambda run: getattr(run, alignment) and _number(run.path_length)),
        _row("ATE rmse", runs, statistic("ate", "rmse")),
        _row("ATE mean", runs, statistic("ate", "mean")),
        _row("ATE median", runs, statistic("ate", "median")),
        _row("ATE max", runs, statistic("ate", "maximum")),
        _row("ATE rmse / path", runs, over_path),
        _row("RPE 1 frame, rmse", runs, statistic("rpe_frame_translation", "rmse")),
        _row("RPE 1 frame, rmse [deg]", runs, statistic("rpe_frame_rotation", "rmse")),
        _row("RPE 1 m, rmse", runs, statistic("rpe_meter_translation", "rmse")),
        _row("RPE 1 m, rmse [deg]", runs, statistic("rpe_meter_rotation", "rmse")),
    ]


def _count(run: Scores, alignment: str) -> str | None:
    """How many poses were compared."""
    errors = getattr(run, alignment)
    return None if errors is None else str(len(errors.position_errors))


def _geometry_rows(runs: Sequence[Scores], cloud: str) -> list[Row]:
    def field(name: str) -> Callable[[Scores], str | None]:
        def value(run: Scores) -> str | None:
            errors: GeometryErrors | None = getattr(run, cloud)
            return None if errors is None else _number(getattr(errors, name))

        return value

    names = {
        "accuracy mean": "accuracy_mean",
        "accuracy median": "accuracy_median",
        "completion mean": "completion_mean",
        "completion median": "completion_median",
        "chamfer (mean of both)": "chamfer",
        "normal consistency 1 mean": "accuracy_normals_mean",
        "normal consistency 1 median": "accuracy_normals_median",
        "normal consistency 2 mean": "completion_normals_mean",
        "normal consistency 2 median": "completion_normals_median",
        "F-score threshold": "threshold",
        "precision": "precision",
        "recall": "recall",
        "F-score": "f_score",
    }
    return [_row(label, runs, field(name)) for label, name in names.items()]


def _pointmap_rows(runs: Sequence[Scores]) -> list[Row]:
    def field(name: str) -> Callable[[Scores], str | None]:
        return lambda run: None if run.pointmaps is None else f"{getattr(run.pointmaps, name):.2%}"

    def raw(name: str) -> Callable[[Scores], str | None]:
        return lambda run: field(name)(run) if run.record.metric else None

    return [
        _row("scale of the scene", runs, lambda run: None if run.pointmaps is None else _number(run.pointmaps.scale)),
        _row("error as predicted, mean", runs, raw("raw_mean")),
        _row("error as predicted, median", runs, raw("raw_median")),
        _row("error after Sim(3), mean", runs, field("sim3_mean")),
        _row("error after Sim(3), median", runs, field("sim3_median")),
    ]


def _number(value: float | None) -> str | None:
    """Four significant digits."""
    return None if value is None else f"{value:.4g}"


def _mega(value: int | None) -> str | None:
    """Bytes as megabytes; None when not measured."""
    return f"{value / 1e6:.0f}" if value else None

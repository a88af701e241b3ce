"""The pictures of a report, as PNG files in memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.scores import Scores
from spann3r_ros.evaluation.trajectory_errors import TrajectoryErrors
from spann3r_ros.geometry.axes import ROS_FROM_OPTICAL
from spann3r_ros.mapping.pose_graph import LOOP
from spann3r_ros.pictures.splat import default_camera, overview, render
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.runs.folder import TRAJECTORY, RunFolder
from spann3r_ros.runs.record import REPLAY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VIEWS = (("from above", -90.0, 75.0), ("from the side", -135.0, 25.0))
"""Name, azimuth and elevation in degrees of the pictures of the map."""

NOTICEABLE = 1e-3
"""Share of the path's length by which a correction must have moved the camera to be shown."""


def trajectory_plot(runs: Sequence[Scores]) -> bytes | None:
    """Estimated paths after Sim(3) over the true one, from above and from the side; None without any."""
    paths = [(run.record.name, run.sim3) for run in runs if run.sim3 is not None]
    if not paths:
        return None
    unit = runs[0].unit
    first = paths[0][1]

    def draw(axes: Any) -> None:
        for plot, (across, title) in zip(axes, ((1, "from above"), (2, "from the side")), strict=True):
            truth = _first_camera_axes(first, first.reference.positions)
            plot.plot(truth[:, 0], truth[:, across], color="black", linewidth=2, label="truth")
            for name, errors in paths:
                found = _first_camera_axes(first, errors.estimate.positions)
                plot.plot(found[:, 0], found[:, across], linewidth=1.2, marker=".", markersize=3, label=name)
            plot.set_title(f"{title}, in the axes of the first true camera")
            plot.set_xlabel(f"forward [{unit}]")
            plot.set_ylabel(f"{'left' if across == 1 else 'up'} [{unit}]")
            plot.set_aspect("equal", adjustable="datalim")
            plot.grid(alpha=0.3)
        axes[0].legend(fontsize=8)

    return _figure(draw, columns=2, size=(11, 4.6))


def _first_camera_axes(errors: TrajectoryErrors, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions of the reference's world as seen from its first camera: x forward, y left, z up."""
    ros_from_world = ROS_FROM_OPTICAL @ errors.reference.pose(0).inverse()
    return np.asarray(ros_from_world.apply(positions), dtype=np.float64)


def error_plot(runs: Sequence[Scores]) -> bytes | None:
    """Position error after Sim(3) over time; None without any."""
    found = [(run.record.name, run.sim3) for run in runs if run.sim3 is not None]
    if not found:
        return None

    def draw(axes: Any) -> None:
        start = min(errors.estimate.stamps[0] for _, errors in found)
        for name, errors in found:
            axes.plot(
                (errors.estimate.stamps - start) / 1e9, errors.position_errors, marker=".", markersize=3, label=name
            )
        axes.set_xlabel("time [s]")
        axes.set_ylabel(f"position error [{runs[0].unit}]")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)

    return _figure(draw)


def confidence_plot(runs: Sequence[Scores]) -> bytes | None:
    """Mean confidence of every frame, and which frames got no pose; None without any."""
    runs = [run for run in runs if any(value is not None for value in run.record.frames.confidence)]

    def draw(axes: Any) -> None:
        for run in runs:
            values = np.array([np.nan if v is None else v for v in run.record.frames.confidence], dtype=float)
            (line,) = axes.plot(values, marker=".", markersize=3, label=run.record.name)
            lost = np.flatnonzero(~np.array(run.record.frames.posed))
            if len(lost):
                axes.plot(lost, values[lost], "x", color=line.get_color(), label=f"{run.record.name}: no pose")
        axes.set_xlabel("frame")
        axes.set_ylabel("mean confidence")
        axes.set_ylim(0, 1)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)

    return _figure(draw) if runs else None


def latency_plot(runs: Sequence[Scores]) -> bytes | None:
    """Histogram of the time per frame; None without any."""
    found = []
    for run in runs:
        values = np.array([value for value in run.record.frames.seconds if value is not None], dtype=float) * 1e3
        if len(values):
            found.append((run.record, values))

    def draw(axes: Any) -> None:
        longest = max(float(np.percentile(values, 99.5)) for _, values in found)
        bins = np.linspace(0.0, max(longest, 1e-3), 41)
        for record, values in found:
            what = "from sending to result" if record.mode == REPLAY else "in the model"
            axes.hist(np.minimum(values, bins[-1]), bins=bins.tolist(), alpha=0.6, label=f"{record.name}, {what}")
        axes.set_xlabel("time per frame [ms]")
        axes.set_ylabel("frames")
        axes.legend(fontsize=8)

    return _figure(draw) if found else None


def memory_plot(runs: Sequence[Scores]) -> bytes | None:
    """Resident size of the process and tokens in memory over the frames; None without any."""
    runs = [run for run in runs if len(run.record.frames)]

    def draw(axes: Any) -> None:
        for run in runs:
            frames = run.record.frames
            axes[0].plot(np.array(frames.memory_bytes, dtype=float) / 1e6, label=run.record.name)
            axes[1].plot(frames.tokens, label=run.record.name)
        for plot, label in zip(axes, ("resident memory [MB]", "tokens in memory"), strict=True):
            plot.set_xlabel("frame")
            plot.set_ylabel(label)
            plot.set_ylim(bottom=0)
            plot.grid(alpha=0.3)
        axes[0].legend(fontsize=8)

    return _figure(draw, columns=2) if runs else None


def scale_plot(runs: Sequence[Scores]) -> bytes | None:
    """Meters of one unit of the network over the frames; None where no run measured them."""
    runs = [run for run in runs if len(set(run.record.frames.scale) - {None}) > 1]

    def draw(axes: Any) -> None:
        for run in runs:
            axes.plot(np.array(run.record.frames.scale, dtype=float), label=run.record.name)
        axes.set_xlabel("frame")
        axes.set_ylabel("one unit of the network [m]")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)

    return _figure(draw) if runs else None


def correction_plot(run: Scores) -> bytes | None:
    """The camera's path from above as it was told frame by frame and as it is in the end, with submaps and loops.

    None where nothing was corrected.
    """
    frames, view = run.record.frames, run.record.graph_view()
    told = np.array([frames.told_x, frames.told_y], dtype=float).T.reshape(-1, 2)
    if run.folder is None or not (run.folder / TRAJECTORY).exists() or not np.isfinite(told).any():
        return None
    path = RunFolder(run.folder).camera_path()
    is_known = np.isin(path.stamps, np.array(frames.stamp))
    last = {stamp: place for place, stamp in enumerate(frames.stamp)}
    before = told[[last[int(stamp)] for stamp in path.stamps[is_known]]]
    after = path.positions[is_known, :2]
    moved = np.linalg.norm(after - before, axis=1)
    if not len(moved) or not np.nanmax(moved, initial=0.0) > NOTICEABLE * max(path.path_length(), 1e-9):
        return None

    def draw(axes: Any) -> None:
        axes.plot(*told.T, color="0.6", linewidth=1, label="as it was told")
        axes.plot(*after.T, color="tab:blue", linewidth=1, label="corrected")
        if view.submaps:
            axes.plot(*np.array(view.submaps)[:, :2].T, ".", color="tab:orange", label=f"{len(view.submaps)} submaps")
        for text, color, style, edges in (
            ("loops", "tab:green", "-", [edge for edge in view.edges if edge.kind == LOOP and edge.holds]),
            ("rejected", "tab:red", ":", [edge for edge in view.edges if not edge.holds]),
        ):
            for number, edge in enumerate(edges):
                ends = np.stack([edge.first, edge.second])[:, :2]
                label = f"{len(edges)} {text}" if number == 0 else None
                axes.plot(*ends.T, style, color=color, linewidth=1, label=label)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel("x [m]" if run.record.metric else "x [map units]")
        axes.set_ylabel("y")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)

    return _figure(draw, size=(11, 5.5))


def map_views(cloud: PointCloud) -> list[tuple[str, bytes]]:
    """The cloud from two angles; the upper fifth of its height is cut off so that ceilings do not hide rooms."""
    if len(cloud) == 0:
        return []
    low, high = np.percentile(cloud.points[:, 2], [1, 99])
    cut = float(high - 0.2 * (high - low))
    pictures = []
    for name, azimuth, elevation in VIEWS:
        pose = overview(cloud, np.radians(azimuth), np.radians(elevation))
        picture = render(cloud, pose, default_camera(), cut_above=cut)
        encoded, content = cv2.imencode(".png", picture[..., ::-1])
        if not encoded:
            raise DataError("picture of the map cannot be encoded")
        pictures.append((name, content.tobytes()))
    return pictures


def _figure(draw: Callable[[Any], None], columns: int = 1, size: tuple[float, float] = (11, 3.4)) -> bytes:
    """A drawn figure as PNG; ``draw`` gets the axes, or an array of them."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DataError(
            "plots need matplotlib", next_step="pip install matplotlib, or evaluate with --no-plots"
        ) from error
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Axes | NDArray[Any] = figure.subplots(1, columns)
    draw(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()

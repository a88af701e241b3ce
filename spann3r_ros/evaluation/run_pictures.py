"""Pictures of a run: beside the truth, growing frame by frame, and a page that shows it from all sides."""

from __future__ import annotations

from spann3r_ros.errors import DataError
from spann3r_ros.evaluation.pointmap_errors import true_from_run
from spann3r_ros.mapping.filters import confident
from spann3r_ros.pictures.side_by_side import Scenery, beside, write_growing_map, write_picture
from spann3r_ros.pictures.viewer import write_viewer
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.recordings.sequence import Sequence
from spann3r_ros.recordings.true_cloud import true_cloud
from spann3r_ros.runs.folder import RunFolder, StoredPointmap


def write_run_pictures(run: RunFolder, sequence: Sequence, name: str, title: str, max_gap: int) -> None:
    """``NAME.png``, ``NAME.gif`` and ``view.html`` in the folder of a run, brought onto the truth by a similarity.

    Args:
        run: finished, with pointmaps.
        sequence: what it was made from, with true poses and depth.
        name: of the pictures' files.
        title: of the page.
        max_gap: nanoseconds between an image and the true pose and depth that count as its own.

    Raises:
        DataError: a recording without truth, a run without pointmaps, or files that cannot be written.
    """
    truth = sequence.ground_truth()
    if truth is None or truth.trajectory is None:
        raise DataError(f"{sequence.path} has no true poses", next_step="There is nothing to compare with")
    pointmaps = list(run.pointmaps())
    true_from_world = true_from_run(pointmaps, truth, max_gap)
    true = true_cloud(sequence, truth, max_gap)
    true_path = [truth.trajectory.pose(index) for index in range(len(truth.trajectory))]
    estimate = run.camera_path()
    path = [true_from_world.carry(estimate.pose(index)) for index in range(len(estimate))]
    found = run.cloud().transformed(true_from_world)
    picture = beside(found, true, path, true_path, ("reconstructed", "true"))
    write_picture(run.path / f"{name}.png", picture)
    least = float(run.record().parameters["map.min_confidence"])
    clouds = (confident_cloud(pointmap, least).transformed(true_from_world) for pointmap in pointmaps)
    write_growing_map(run.path / f"{name}.gif", clouds, path, Scenery(true), every=4)
    graph = run.record().graph_view().transformed(true_from_world)
    write_viewer(run.path / "view.html", found, path, title, graph=graph)


def confident_cloud(pointmap: StoredPointmap, least: float) -> PointCloud:
    """The points of a pointmap whose confidence lets them into a map, in the world of the run."""
    keep = confident(pointmap.points, pointmap.confidence, least)
    return PointCloud(pointmap.points[keep], pointmap.colors[keep], pointmap.confidence[keep])

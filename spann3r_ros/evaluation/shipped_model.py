"""How good the model that ships is, on motions it never saw, in the apartment it knows and in rooms it does not.

Every frame goes through ``Stream.step`` as on a robot. Motions come from seeds that training never uses.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spann3r_ros.config import Config
from spann3r_ros.errors import ConfigError, DataError, GeometryError
from spann3r_ros.evaluation.pointmap_errors import PairedPoints, PointmapErrors
from spann3r_ros.evaluation.trajectory_errors import evaluate_trajectory
from spann3r_ros.files.atomic import replacing_file
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.geometry.pnp import estimate_pose
from spann3r_ros.models.base import Stream
from spann3r_ros.models.spann3r.parameters import Spann3rParameters
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.pinhole import synthetic_camera
from spann3r_ros.synthetic.renderer import Renderer
from spann3r_ros.synthetic.rooms import random_scene
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, STYLES, Trajectories
from spann3r_ros.trajectory import CameraPath

MakeStream = Callable[[Config], Stream]

TABLE, FIGURES = "table.md", "figures.json"

IMAGE_SIZE = (256, 192)
"""(width, height) of the rendered camera images; the model scales them down itself."""

PERIOD = 200_000_000
"""Nanoseconds between frames: five a second."""

ALIGNED_POINTS = 40_000
"""Points per walk from which its similarity is computed."""

TIMED, WARM_UP = 40, 2
"""Frames of the walk whose steps are timed, at most; the first are not counted."""


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        clips: five-frame clips in the apartment; a third as many in random rooms.
        walks: walks in the apartment; a third as many in random rooms.
        frames: of a walk.
    """

    clips: int = 60
    walks: int = 10
    frames: int = 100

    def __post_init__(self) -> None:
        if self.clips < 1 or self.walks < 1 or self.frames < 3:
            raise ConfigError(
                "clips, walks and frames of the table",
                got=(self.clips, self.walks, self.frames),
                expected=">= 1, >= 1 and >= 3",
            )


@dataclass(frozen=True)
class SequenceErrors:
    """How one sequence came out. Errors are over its scale: the mean distance of true points from the first camera.

    Attributes:
        raw: mean distance between predicted and true points, as predicted.
        aligned: the same after the best similarity of the whole sequence.
        median: median distance, as predicted.
        ate: root mean square distance of camera positions after the best similarity, over the length of the path; NaN
            when fewer than three poses were recovered.
        poses: share of the frames whose pose was recovered.
        depth: median relative error of the first frame's depth.
    """

    raw: float
    aligned: float
    median: float
    ate: float
    poses: float
    depth: float


@dataclass(frozen=True)
class Figures:
    """Many sequences together.

    Attributes:
        errors: one per sequence.
    """

    errors: tuple[SequenceErrors, ...]

    def median(self, name: str) -> float:
        """Median over the sequences of an attribute of ``SequenceErrors``."""
        return float(np.median(self._known(name)))

    def mean(self, name: str) -> float:
        """Mean over the sequences, likewise."""
        return float(np.mean(self._known(name)))

    def _known(self, name: str) -> list[float]:
        """The values that are numbers; a single NaN where none is."""
        values = [float(getattr(error, name)) for error in self.errors]
        return [value for value in values if not np.isnan(value)] or [float("nan")]


@dataclass(frozen=True)
class ModelTable:
    """All figures of one model.

    Attributes:
        clips: five frames each in the apartment.
        walks: a hundred frames each in the apartment.
        forgetful: the same walks with a memory of one frame.
        random_clips, random_walks: in rooms that no training saw.
        seconds: median time of a step at the model's own image size.
        seconds_224: at 224 x 224.
    """

    clips: Figures
    walks: Figures
    forgetful: Figures
    random_clips: Figures
    random_walks: Figures
    seconds: float
    seconds_224: float

    def rows(self) -> list[str]:
        """The table, in Markdown. Sequence errors are means over points; a set is summed up by its median."""
        clips, walks, forgetful = self.clips, self.walks, self.forgetful
        worse = forgetful.median("aligned") / walks.median("aligned")
        table = [
            (f"apartment, {len(clips.errors)} unseen clips: pointmap error / scene scale, no alignment", clips, "raw"),
            ("same clips, the median point instead of the mean over the points", clips, "median"),
            ("same clips, after Sim(3)", clips, "aligned"),
            ("same clips, depth of the first frame", clips, "depth"),
            (f"apartment, {len(walks.errors)} unseen walks: pointmap error after Sim(3)", walks, "aligned"),
            ("same walks, no alignment", walks, "raw"),
            ("same walks: ATE after Sim(3) / path length", walks, "ate"),
            ("same walks: share of the frames with a pose", walks, "poses"),
            (f"same walks, memory of one frame: pointmap error after Sim(3) ({worse:.1f} times)", forgetful, "aligned"),
            ("same walks, memory of one frame: ATE / path length", forgetful, "ate"),
            (f"unseen random rooms, {len(self.random_clips.errors)} clips, no alignment", self.random_clips, "raw"),
            ("same clips, after Sim(3)", self.random_clips, "aligned"),
            (f"unseen random rooms, {len(self.random_walks.errors)} walks, after Sim(3)", self.random_walks, "aligned"),
            ("same walks: ATE after Sim(3) / path length", self.random_walks, "ate"),
        ]
        rows = ["| on motions never used in training | median | mean |", "|---|---|---|"]
        rows += [f"| {text} | {figures.median(name):.1%} | {figures.mean(name):.1%} |" for text, figures, name in table]
        for text, seconds in (("its own image size", self.seconds), ("224 x 224", self.seconds_224)):
            rows.append(f"| time per frame at {text} | {1e3 * seconds:.1f} ms ({1 / seconds:.0f} frames/s) | |")
        return rows


def evaluate(make_stream: MakeStream, config: Config, extent: Extent) -> ModelTable:
    """Everything that the table of the model that ships says.

    Args:
        make_stream: loads the model for a configuration.
        config: which model, and its memory.
        extent: how many sequences, and how long the walks are.
    """
    clips, walks, walk_frames = extent.clips, extent.walks, extent.frames
    stream = make_stream(config)
    apartment = Scene.apartment()
    short = copy.deepcopy(config)
    forgetful = short.of(Spann3rParameters)
    forgetful.working_frames, forgetful.long_term_tokens = 1, 0
    wide = copy.deepcopy(config)
    wide.image_width = wide.image_height = 224
    timed = min(max(walk_frames, WARM_UP + 1), TIMED)
    random_clips = [clip_errors(stream, random_scene(EVALUATION_SEED + i), 1, i) for i in range(max(1, clips // 3))]
    random_walks = [
        walk_errors(stream, random_scene(EVALUATION_SEED + i), 1, walk_frames, i) for i in range(max(1, walks // 3))
    ]
    return ModelTable(
        clips=clip_errors(stream, apartment, clips),
        walks=walk_errors(stream, apartment, walks, walk_frames),
        forgetful=walk_errors(make_stream(short), apartment, walks, walk_frames),
        random_clips=Figures(tuple(error for figures in random_clips for error in figures.errors)),
        random_walks=Figures(tuple(error for figures in random_walks for error in figures.errors)),
        seconds=seconds_per_frame(stream, apartment, timed),
        seconds_224=seconds_per_frame(make_stream(wide), apartment, timed),
    )


def clip_errors(stream: Stream, scene: Scene, count: int, first: int = 0, frames: int = 5) -> Figures:
    """Short clips first..first+count of a scene."""
    renderer, trajectories = Renderer(scene), Trajectories(scene)
    motions = [
        trajectories.sample_clip(np.random.default_rng(EVALUATION_SEED + i), frames)
        for i in range(first, first + count)
    ]
    return Figures(tuple(sequence_errors(stream, renderer, motion) for motion in motions))


def walk_errors(stream: Stream, scene: Scene, count: int, frames: int, first: int = 0) -> Figures:
    """Walks first..first+count of a scene, by a robot and by hand in turn, five frames per second."""
    renderer, trajectories = Renderer(scene), Trajectories(scene)
    styles = sorted(STYLES)
    motions = [
        trajectories.walk(EVALUATION_SEED + i, frames, style=styles[i % len(styles)])
        for i in range(first, first + count)
    ]
    return Figures(tuple(sequence_errors(stream, renderer, motion) for motion in motions))


def sequence_errors(stream: Stream, renderer: Renderer, motion: Sequence[Sim3]) -> SequenceErrors:
    """Send one motion through the model and compare."""
    return errors_of(predict(stream, renderer, motion), renderer, motion)


def errors_of(predictions: Sequence[Prediction], renderer: Renderer, motion: Sequence[Sim3]) -> SequenceErrors:
    """What a model said about the frames of a motion, compared with what the renderer knows."""
    first_from_world = motion[0].inverse()
    cameras = [first_from_world @ pose for pose in motion]
    predicted, true = [], []
    found: dict[int, Sim3] = {}
    depth = float("nan")
    for prediction in predictions:
        index = prediction.frame.index
        if prediction.intrinsics is None:
            raise GeometryError("intrinsics of a prediction", expected="those of the rendered frame")
        rendering = renderer.render(motion[index], prediction.intrinsics)
        points = first_from_world.apply(rendering.points)
        predicted.append(prediction.points.reshape(-1, 3).astype(np.float64))
        true.append(points.reshape(-1, 3))
        if index == 0:
            depth = float(np.median(np.abs(prediction.points[..., 2] / rendering.depth - 1)))
        pose = estimate_pose(prediction.points, prediction.confidence, prediction.intrinsics).world_from_camera
        if pose is not None:
            found[prediction.frame.stamp] = pose
    pairs = PairedPoints(np.concatenate(predicted), np.concatenate(true), len(predicted), {})
    stride = max(1, len(pairs.true) // ALIGNED_POINTS)
    errors = PointmapErrors.of(pairs, umeyama(pairs.predicted[::stride], pairs.true[::stride]))
    truth = CameraPath.from_poses([index * PERIOD for index in range(len(motion))], cameras)
    return SequenceErrors(
        raw=errors.raw_mean,
        aligned=errors.sim3_mean,
        median=errors.raw_median,
        ate=_ate(CameraPath.from_poses(list(found), list(found.values())), truth),
        poses=len(found) / len(motion),
        depth=depth,
    )


def predict(stream: Stream, renderer: Renderer, motion: Sequence[Sim3]) -> list[Prediction]:
    """The model's final answer for every frame of a motion, with a new memory."""
    stream = stream.fresh()
    camera = synthetic_camera(*IMAGE_SIZE)
    answers: list[Prediction] = []
    for index, pose in enumerate(motion):
        image = renderer.render(pose, camera).image
        answers += stream.step(Frame(index, index * PERIOD, "camera_optical_frame", image, camera))
    return answers + stream.flush()


def seconds_per_frame(stream: Stream, scene: Scene, frames: int = TIMED) -> float:
    """Median time of ``step`` over a walk, rendering and the first two frames not counted."""
    renderer, camera = Renderer(scene), synthetic_camera(*IMAGE_SIZE)
    stream, times = stream.fresh(), []
    for index, pose in enumerate(Trajectories(scene).walk(EVALUATION_SEED, frames)):
        frame = Frame(index, index, "camera_optical_frame", renderer.render(pose, camera).image, camera)
        begun = time.perf_counter()
        stream.step(frame)
        times.append(time.perf_counter() - begun)
    return float(np.median(times[WARM_UP:]))


def _ate(found: CameraPath, truth: CameraPath) -> float:
    """Root mean square position error after the best similarity, over the length of the whole true path."""
    try:
        errors = evaluate_trajectory(found, truth, with_scale=True, max_gap=0)
    except (DataError, GeometryError):  # too few poses, or positions in one place, tell no similarity
        return float("nan")
    over_path = errors.ate_over(truth.path_length())
    return float("nan") if over_path is None else over_path


def write_table(table: ModelTable, folder: Path) -> str:
    """The table as ``table.md`` and the figures of every sequence as ``figures.json`` in a folder; the table's text."""
    text = "\n".join(table.rows()) + "\n"
    with replacing_file(folder / TABLE) as draft:
        draft.write_text(text, encoding="utf-8")
    with replacing_file(folder / FIGURES) as draft:
        draft.write_text(json.dumps(dataclasses.asdict(table), indent=1), encoding="utf-8")
    return text

"""A network that is none: it answers from the truth of a recording, as wrong as it is told to be.

The back end (submaps, joints, loops, scale) can be measured with it where no real weights are at hand. No figure that
comes of it is one of a network.

Each memory is in a frame and a unit of its own, as those of real networks: the first camera, and the mean distance of
the first points. From frame to frame it adds up the true motion, with an error of the direction, the position and the
unit that grows steadily while ``drift_frames`` last and then goes another way: neither shared frames nor anything else
within a submap reveal it, only what is seen again does.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from spann3r_ros.config import SIMULATED
from spann3r_ros.errors import GeometryError, MemoryMismatchError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.alignment import align_pointmaps
from spann3r_ros.models.base import Relation
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.appearance import appearance
from spann3r_ros.synthetic.frame_truth import RecordedTruth, TrueView
from spann3r_ros.synthetic.simulated_memory import Belief, SimulatedMemory
from spann3r_ros.synthetic.simulated_parameters import SimulatedParameters

NEAREST, FARTHEST = 0.3, 3.0
"""Depths of an outlier, times the true one."""

LEAST_SHARED = 0.25
"""Share of the points of one image that another must show for a network to tell how the two lie to each other."""

FULLY_SHARED = 0.6
"""From this share on it is as sure as it gets."""

MOST_VIEWS = 4
"""Of each group that ``relate`` looks at, spread evenly."""

DRIFT, FRAME, LOSS, PAIR = range(4)
"""What a random number is for; each use has a sequence of its own."""


class SimulatedNetwork:
    """See ``StreamingModel`` and ``Relating``; ``SimulatedWindows`` is the same for windows.

    Args:
        truth: of the recording whose frames will come; no other frames can be answered.
        settings: how wrong the answers are.
    """

    name, metric, device = SIMULATED, False, torch.device("cpu")

    def __init__(self, truth: RecordedTruth, settings: SimulatedParameters) -> None:
        self.truth, self.settings = truth, settings
        self.weights = f"{SIMULATED}: no network, but the recording's truth with errors of seed {settings.seed}"
        self.fingerprint = f"{SIMULATED} {zlib.crc32(repr(settings).encode()):08x}"
        self._lost = _lost_stamps(truth.stamps, settings)

    def new_memory(self) -> SimulatedMemory:
        """An empty memory."""
        return SimulatedMemory(self.fingerprint)

    def load_memory(self, path: Path) -> SimulatedMemory:
        """A memory written by ``SimulatedMemory.save`` with the same settings."""
        return SimulatedMemory.load(path, self.fingerprint)

    def step(self, frame: Frame, memory: SimulatedMemory) -> list[Prediction]:
        """Answer about one frame, finally and at once; raises FrameError for one about which the truth is unknown."""
        if memory.owner != self.fingerprint:
            raise MemoryMismatchError(
                "memory of another model", got=memory.owner, expected=self.fingerprint, next_step="Use new_memory()"
            )
        view = self.truth.of(frame)
        belief = self._moved(memory.belief, view, frame)
        is_lost = frame.stamp in self._lost
        answer = self._nonsense(frame, view, belief) if is_lost else self._answer(frame, view, belief)
        if is_lost:
            belief = dataclasses.replace(belief, submap_from_camera=answer.submap_from_camera or Sim3())
        memory.belief, memory.lost = belief, memory.lost + is_lost
        return [answer]

    def flush(self, memory: SimulatedMemory) -> list[Prediction]:  # noqa: ARG002
        """Nothing: no answer is owed."""
        return []

    def relate(self, a: Sequence[Prediction], b: Sequence[Prediction]) -> Relation | None:
        """See ``Relating``: right but for noise where images of both show the same; wrong where they only look so.

        Images of different places that look alike (``relate_fooled``) are taken for the same view, with confidence: a
        real network knows no better.
        """
        pairs = [(one, other) for one in _spread(a) for other in _spread(b)]
        if not pairs:
            return None
        views = {id(answer): self.truth.behind(answer) for pair in pairs for answer in pair}
        shared = [_shared(views[id(one)], views[id(other)]) for one, other in pairs]
        best = int(np.argmax(shared))
        if shared[best] >= LEAST_SHARED:
            one, other = pairs[best]
            sure = min(1.0, shared[best] / FULLY_SHARED)
            a_from_b = _placed(one, views[id(one)])
            b_from_world = _placed(other, views[id(other)])
            if a_from_b is None or b_from_world is None:
                return None
            return Relation(self._noisy(a_from_b, one, other) @ b_from_world.inverse(), sure)
        alike = [_likeness(one, other) for one, other in pairs]
        one, other = pairs[int(np.argmax(alike))]
        if max(alike) < self.settings.relate_fooled:
            return None
        fooled = _as_one_view(one, views[id(one)], other, views[id(other)])
        return None if fooled is None else Relation(fooled, max(alike))

    def _random(self, purpose: int, *stamps: int) -> np.random.Generator:
        """Random numbers that depend on the seed, their purpose and on what was seen, not on what was asked before."""
        return np.random.default_rng([self.settings.seed, purpose, *stamps])

    def _moved(self, belief: Belief | None, view: TrueView, frame: Frame) -> Belief:
        """The belief after a frame: the true motion was added, and some drift."""
        true = view.world_from_camera
        if belief is None:
            unit = 1.0 / float(np.nanmean(np.linalg.norm(view.points, axis=-1)))
            return Belief(frame.stamp, 1, true, Sim3(), unit)
        log_scale, turn, shift = self._drift(belief)
        scale = belief.scale * math.exp(log_scale)
        moved, known = belief.world_from_camera.inverse() @ true, belief.submap_from_camera
        position = known.translation + scale * (known.rotation @ moved.translation + shift)
        rotation = turn @ known.rotation @ moved.rotation
        return Belief(belief.first_stamp, belief.frames + 1, true, Sim3.rigid(rotation, position), scale)

    def _drift(self, belief: Belief) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Of one frame: logarithm of the scale, rotation (3, 3) and shift (3,) in meters, along the submap's axes."""
        rules = self.settings
        rng = self._random(DRIFT, belief.first_stamp, belief.frames // rules.drift_frames)
        log_scale = rules.scale_drift * rng.standard_normal()
        angle, distance = rules.rotation_drift * rng.standard_normal(), rules.translation_drift * rng.standard_normal()
        turn = Rotation.from_rotvec(_direction(rng) * math.radians(angle) / rules.drift_frames).as_matrix()
        return log_scale / rules.drift_frames, turn, _direction(rng) * distance / rules.drift_frames

    def _answer(self, frame: Frame, view: TrueView, belief: Belief) -> Prediction:
        rules, size = self.settings, view.points.shape[:2]
        rng = self._random(FRAME, belief.first_stamp, frame.stamp)
        factor = 1.0 + rules.depth_noise * rng.standard_normal(size)
        confidence = (
            rules.confidence * math.exp(-(belief.frames - 1) / rules.fading_frames) * rng.uniform(0.9, 1.0, size)
        )
        outlier = rng.random(size) < rules.outliers
        factor[outlier] *= rng.uniform(NEAREST, FARTHEST, int(outlier.sum()))
        # A network suspects half of its outliers.
        confidence[outlier & (rng.random(size) < 0.5)] *= 0.2
        return self._prediction(frame, view, belief.submap_from_camera, belief.scale * factor, confidence)

    def _nonsense(self, frame: Frame, view: TrueView, belief: Belief) -> Prediction:
        """About a frame that the network does not understand: anything, anywhere, and it is not sure of it."""
        rng, size = self._random(LOSS, belief.first_stamp, frame.stamp), view.points.shape[:2]
        turn = Rotation.from_rotvec(_direction(rng) * rng.uniform(0.2, 1.0)).as_matrix()
        jump = Sim3.rigid(turn, belief.scale * _direction(rng) * rng.uniform(0.3, 2.0))
        factor = belief.scale * rng.uniform(NEAREST, FARTHEST, size)
        return self._prediction(frame, view, belief.submap_from_camera @ jump, factor, rng.uniform(0.02, 0.15, size))

    def _prediction(
        self,
        frame: Frame,
        view: TrueView,
        submap_from_camera: Sim3,
        factor: NDArray[np.float64],
        confidence: NDArray[np.float64],
    ) -> Prediction:
        """With points (h, w, 3) that are the true ones of the camera times ``factor`` (h, w)."""
        known = view.known
        points = submap_from_camera.apply(np.where(known[..., None], view.points * factor[..., None], 0.0))
        return Prediction(
            frame=frame,
            points=points.astype(np.float32),
            confidence=np.where(known, confidence, 0.0).astype(np.float32),
            colors=view.colors,
            submap_from_camera=submap_from_camera,
            pose_source="model",
            intrinsics=view.intrinsics,
            intrinsics_source="model" if frame.intrinsics is None else "camera_info",
            descriptor=appearance(frame.image),
        )

    def _noisy(self, a_from_world: Sim3, one: Prediction, other: Prediction) -> Sim3:
        """A relation with the noise of one that was measured; ``a_from_world`` is that of the submap of ``one``."""
        rng, much = self._random(PAIR, one.frame.stamp, other.frame.stamp), self.settings.relate_noise
        # About the camera, so that the noise of the rotation does not depend on how far the world's origin is.
        here = a_from_world.inverse().apply(_center(one))
        turn = Rotation.from_rotvec(_direction(rng) * math.radians(0.5 * much) * rng.standard_normal()).as_matrix()
        scale = math.exp(0.01 * much * rng.standard_normal())
        shift = _direction(rng) * 0.02 * much * rng.standard_normal()
        return a_from_world @ Sim3(scale, turn, here - scale * (turn @ here) + shift)


class SimulatedWindows:
    """The simulated network as a ``WindowModel``: every window is a memory of its own.

    Args:
        network: what answers.
    """

    def __init__(self, network: SimulatedNetwork) -> None:
        self.network = network
        self.name, self.metric, self.weights, self.device = (
            network.name,
            network.metric,
            network.weights,
            network.device,
        )
        self.fingerprint = f"windows of {network.fingerprint}"

    def answer_size(self, frame: Frame) -> tuple[int, int]:
        """(h, w) of the answer about a frame."""
        return self.network.truth.grid_size(frame)

    def infer(self, frames: Sequence[Frame]) -> list[Prediction]:
        """See ``WindowModel``."""
        memory = self.network.new_memory()
        return [answer for frame in frames for answer in self.network.step(frame, memory)]

    def relate(self, a: Sequence[Prediction], b: Sequence[Prediction]) -> Relation | None:
        """See ``SimulatedNetwork``."""
        return self.network.relate(a, b)


def _lost_stamps(stamps: NDArray[np.int64], settings: SimulatedParameters) -> frozenset[int]:
    """Stamps of the frames at which the network is lost: each loss begins at random, and lasts."""
    begins = np.random.default_rng([settings.seed, LOSS]).random(len(stamps)) < settings.loss_rate
    lost = np.convolve(begins, np.ones(settings.loss_frames))[: len(stamps)] > 0
    lost[:1] = False  # a recording begins with something
    return frozenset(int(stamp) for stamp in stamps[lost])


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    """(3,) of unit length."""
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))


def _spread(answers: Sequence[Prediction]) -> list[Prediction]:
    """At most ``MOST_VIEWS`` of them, evenly."""
    places = np.unique(np.linspace(0, len(answers) - 1, min(MOST_VIEWS, len(answers))).round().astype(int))
    return [answers[place] for place in places]


def _shared(one: TrueView, other: TrueView) -> float:
    """Share of the points that both views show, of the one that shows less of the other."""
    points = [view.in_world()[::4, ::4].reshape(-1, 3) for view in (one, other)]
    known = [each[np.isfinite(each).all(axis=1)] for each in points]
    return min(one.shares(known[1]), other.shares(known[0]))


def _placed(answer: Prediction, view: TrueView) -> Sim3 | None:
    """``submap_from_world`` as the answer would have it; None where it means nothing."""
    try:
        known = view.known.astype(np.float32)
        return align_pointmaps(view.in_world(), answer.points, known, answer.confidence).target_from_source
    except GeometryError:
        return None


def _likeness(one: Prediction, other: Prediction) -> float:
    first, second = (
        appearance(answer.colors) if answer.descriptor is None else answer.descriptor for answer in (one, other)
    )
    return float(first @ second)


def _center(answer: Prediction) -> NDArray[np.float64]:
    """(3,) where the camera of an answer is, in its submap; without a pose the middle of its points."""
    if answer.submap_from_camera is not None:
        return answer.submap_from_camera.translation
    return np.asarray(np.median(answer.points.reshape(-1, 3).astype(np.float64), axis=0))


def _as_one_view(a: Prediction, view_a: TrueView, b: Prediction, view_b: TrueView) -> Sim3 | None:
    """``a_from_b`` if the two images had been taken from one place."""
    a_from_world, b_from_world = _placed(a, view_a), _placed(b, view_b)
    if a_from_world is None or b_from_world is None:
        return None
    world_from_elsewhere = view_a.world_from_camera @ view_b.world_from_camera.inverse()
    return a_from_world @ world_from_elsewhere @ b_from_world.inverse()

"""How two submaps lie to each other, by any model: it is shown frames of both at once.

A model that looks at all frames together (VGGT, pi^3, Fast3R), at two of them (DUSt3R), or one after the other with a
memory of its own (Spann3R, CUT3R, StreamVGGT) answers in one frame. How that lies to each of the submaps follows from
the pixels of their own frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spann3r_ros.errors import GeometryError
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.alignment import PointmapSample, RobustAlignment, align_samples
from spann3r_ros.models.base import Model, ModelStream, Relating, Relation, Stream
from spann3r_ros.prediction import Prediction
from spann3r_ros.streaming.pairwise import Pairwise
from spann3r_ros.streaming.segmented import Segmented
from spann3r_ros.streaming.windowed import Windowed

SAME_TURN, SAME_PLACE, SAME_SCALE = np.radians(15.0), 0.3, 0.3
"""How far the answers to both orders may differ: radians, a share of the scene's extent, of the scale. A network that
is shown two different places invents a relation, and another one when their order is another."""


class Together:
    """Relates submaps by a model that was not made for it; see ``Relating``.

    It is asked twice, with either group first: the two answers must agree.

    Args:
        stream: of any model; its own memory is not used.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def relate(self, a: Sequence[Prediction], b: Sequence[Prediction]) -> Relation | None:
        """See ``Relating``; the confidence is the share of pixels that agree, in the worst of the alignments."""
        forward, backward = self._asked(a, b), self._asked(b, a)
        if forward is None or backward is None:
            return None
        a_from_b, other = forward.a_from_b, backward.a_from_b.inverse()
        step = other.inverse() @ a_from_b
        clouds = np.concatenate([answer.points[answer.confidence > 0] for answer in b])
        extent = float(np.median(np.linalg.norm(clouds - np.median(clouds, axis=0), axis=1)))
        center = np.median(clouds, axis=0).astype(np.float64)
        shift = float(np.linalg.norm(step.apply(center) - center))
        if step.rotation_angle() > SAME_TURN or shift > SAME_PLACE * extent or abs(np.log(step.scale)) > SAME_SCALE:
            return None
        return Relation(a_from_b, min(forward.confidence, backward.confidence))

    def _asked(self, first: Sequence[Prediction], second: Sequence[Prediction]) -> Relation | None:
        """How the second group's submap lies to the first's, shown in this order."""
        shown = [*first, *second]
        frames = [Frame(each.frame.index, each.frame.stamp, each.frame.camera, each.colors) for each in shown]
        answers = answered_together(self._stream, frames)
        pairs = [(answers.get(id(frame)), known) for frame, known in zip(frames, shown, strict=True)]
        numbers = {answer.submap for answer, _ in pairs if answer is not None}
        groups = [
            [(answer, known) for answer, known in group if answer is not None]
            for group in (pairs[: len(first)], pairs[len(first) :])
        ]
        if len(numbers) != 1 or not all(groups):
            return None
        try:
            one, other = (_aligned(group) for group in groups)
        except GeometryError:
            return None
        sure = min(float(one.inliers.mean()), float(other.inliers.mean()))
        return Relation(one.target_from_source @ other.target_from_source.inverse(), sure)


def relating(stream: Stream) -> Relating:
    """Whatever a stream's model can tell about how submaps lie; a model that was made for that is asked itself."""
    inner = ModelStream(stream.model.inner) if isinstance(stream.model, Segmented) else stream
    model: Model = inner.model
    if isinstance(model, Pairwise):
        model = model.pairs
    elif isinstance(model, Windowed):
        model = model.windows
    return model if isinstance(model, Relating) else Together(inner)


def answered_together(stream: Stream, frames: Sequence[Frame]) -> dict[int, Prediction]:
    """Final answers about frames that the model sees with nothing before, by ``id`` of the frame.

    Whatever the model raises comes through.
    """
    model = stream.model
    if isinstance(model, Windowed):
        answers = model.windows.infer(frames)
    else:
        fresh = stream.fresh()
        answers = [answer for frame in frames for answer in fresh.step(frame)] + fresh.flush()
    return {id(answer.frame): answer for answer in answers if answer.final}


def _aligned(group: Sequence[tuple[Prediction, Prediction]]) -> RobustAlignment:
    """How the answers of one call lie to what is known of the same frames: ``submap_from_call``."""
    samples = [[PointmapSample.of(each.points, each.confidence) for each in pair] for pair in group]
    return align_samples([pair[0] for pair in samples], [pair[1] for pair in samples])

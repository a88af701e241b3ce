from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from geometric_models import FakePairModel, FakeStreamingModel, FakeWindowModel, frames_of_the_path, truth_of

from spann3r_ros.geometry.sim3_algebra import sim3_log
from spann3r_ros.models.base import ModelStream, Relation, Stream
from spann3r_ros.prediction import Prediction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.pairwise import Pairwise
from spann3r_ros.streaming.relating import Together, relating
from spann3r_ros.streaming.segmented import Segmented, Segments
from spann3r_ros.streaming.windowed import Windowed


@dataclass
class Windows:
    window: int = 8
    overlap: int = 3
    join: str = "submaps"


@dataclass
class Pairs:
    reference: str = "first"
    keyframe_confidence: float = 0.0


def stream(kind: str, **errors: object) -> Stream:
    if kind == "streaming":
        return ModelStream(Segmented(FakeStreamingModel(**errors), Segments(20, 3)))
    if kind == "window":
        return ModelStream(Windowed(FakeWindowModel(**errors), Windows()))
    return ModelStream(Pairwise(FakePairModel(**errors), Pairs()))


def group(start: int, submap: int, **errors: object) -> list[Prediction]:
    """Answers of a call of its own, in a unit of its own."""
    answers = FakeWindowModel(**errors).infer(frames_of_the_path(3, start))
    return [dataclasses.replace(answer, submap=submap) for answer in answers]


@pytest.mark.parametrize("kind", ["streaming", "window", "pairs"])
def test_any_model_tells_how_two_submaps_lie(kind: str) -> None:
    a, b = group(0, 0, noise=0.01), group(6, 1, noise=0.01)
    outliers = 0.0 if kind == "pairs" else 0.05  # they would spoil how pairs are joined
    found = relating(stream(kind, noise=0.01, outliers=outliers)).relate(a, b)
    assert found is not None and found.confidence > 0.7
    expected = truth_of(a).inverse() @ truth_of(b)
    assert np.abs(sim3_log(expected.inverse() @ found.a_from_b)).max() < 0.03


@pytest.mark.parametrize("kind", ["streaming", "window", "pairs"])
def test_what_a_model_makes_of_other_images_than_those_of_the_submaps_is_no_relation(kind: str) -> None:
    """The submaps know one geometry of the frames, the model sees another: nothing can be brought together."""
    a, b = group(0, 0), group(6, 1)
    noise = [
        dataclasses.replace(answer, points=np.random.default_rng(n).normal(0, 1, answer.points.shape).astype("f"))
        for n, answer in enumerate(b)
    ]
    assert relating(stream(kind)).relate(a, noise) is None


class Inventive(FakeWindowModel):
    """Brings any two groups together, each time by another relation: what comes second is shifted."""

    def infer(self, frames: Sequence) -> list[Prediction]:
        answers = super().infer(frames)
        shift = Sim3(translation=np.array([2.0, 0.0, 0.0]))
        half = len(answers) // 2
        return [
            dataclasses.replace(answer, points=shift.apply(answer.points) if n >= half else answer.points)
            for n, answer in enumerate(answers)
        ]


def test_a_relation_that_depends_on_the_order_of_the_images_is_invented() -> None:
    a, b = group(0, 0), group(6, 1)
    assert Together(ModelStream(Windowed(Inventive(), Windows()))).relate(a, b) is None


def test_a_model_that_was_made_for_it_is_asked_itself() -> None:
    class Made(FakePairModel):
        def relate(self, *_groups: Sequence[Prediction]) -> Relation:
            return Relation(Sim3(3.0), 0.5)

    made = Made()
    assert relating(ModelStream(Pairwise(made, Pairs()))) is made


def test_the_memory_of_the_stream_is_not_touched() -> None:
    running = stream("streaming")
    for frame in frames_of_the_path(5, 40):
        running.step(frame)
    before = running.status()
    assert relating(running).relate(group(0, 0), group(6, 1)) is not None
    assert running.status() == before


def test_an_error_of_the_network_comes_through() -> None:
    with pytest.raises(RuntimeError, match="the network failed"):
        relating(stream("window", failing={7})).relate(group(0, 0), group(6, 1))

"""Loops in a reconstruction whose model drifts, and relations that are wrong in every way."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from drifting_model import DriftingModel, path_error_in, there_and_back

from spann3r_ros.complaints import Complaints, Severity
from spann3r_ros.config import Config
from spann3r_ros.frame import Frame
from spann3r_ros.geometry.sim3_algebra import sim3_exp
from spann3r_ros.mapping.background import Background
from spann3r_ros.mapping.graph_corrections import GraphCorrections
from spann3r_ros.mapping.joints import SubmapJoints
from spann3r_ros.mapping.loop_closure import LoopClosure
from spann3r_ros.mapping.loop_search import Describe
from spann3r_ros.mapping.pose_graph import PoseGraph
from spann3r_ros.models.base import ModelStream, Relation
from spann3r_ros.prediction import Prediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.relating import relating
from spann3r_ros.streaming.segmented import Segmented, Segments

pytestmark = pytest.mark.skipif(importlib.util.find_spec("gtsam") is None, reason="GTSAM has no wheel for this Python")

COUNT = 40

Relate = Callable[[Sequence[Prediction], Sequence[Prediction]], "Relation | None"]


@dataclass
class Run:
    """A reconstruction and its correctors."""

    reconstruction: Reconstruction
    loops: LoopClosure
    graph: GraphCorrections
    log: list[tuple[Severity, str]] = field(default_factory=list)

    def take(self, frames: Sequence[Frame]) -> float:
        for frame in frames:
            self.reconstruction.process(frame)
        self.reconstruction.flush()
        return path_error_in(self.reconstruction.map)


def made(
    relate: Relate | None = None, is_live: bool = False, describe: Describe | None = None, **settings: object
) -> Run:
    config = Config()
    config.map.voxel_size, config.tracking.enabled = 0.2, False
    config.loops.enabled, config.loops.similarity, config.loops.min_gap = True, 0.9, 20
    for name, value in settings.items():
        setattr(config.loops, name, value)
    stream = ModelStream(Segmented(DriftingModel(), Segments(12, 3)))
    graph, background = PoseGraph(), Background(is_live)
    log: list[tuple[Severity, str]] = []
    complaints = Complaints(lambda *entry: log.append(entry))
    asked = relate or relating(stream).relate
    loops = LoopClosure(config.loops, graph, asked, background, describe, complaints)
    corrections = GraphCorrections(graph, background, complaints)
    joints = SubmapJoints(graph)
    return Run(Reconstruction(stream, config, [joints, loops, corrections], complaints), loops, corrections, log)


@pytest.fixture(scope="module")
def without_loops() -> float:
    return made(enabled=False).take(there_and_back(COUNT))


def test_loops_take_most_of_the_drift_away_and_are_counted(without_loops: float) -> None:
    run = made()
    with_loops = run.take(there_and_back(COUNT))
    status = run.reconstruction.loops()
    assert with_loops < 0.25 * without_loops
    assert status.closed == run.loops.counts.accepted > 2 and status.rejected == 0
    assert "loops" in run.reconstruction.map.reason
    view = run.reconstruction.pose_graph()
    assert len(view.submaps) == len(run.reconstruction.map.submaps)
    assert sum(edge.kind == "loop" and edge.holds for edge in view.edges) == status.closed


def test_a_live_stream_does_not_wait_for_a_loop(without_loops: float) -> None:
    asked, go_on = threading.Event(), threading.Event()
    model = relating(ModelStream(Segmented(DriftingModel(), Segments(12, 3))))

    def slow(a: Sequence[Prediction], b: Sequence[Prediction]) -> Relation | None:
        asked.set()
        assert go_on.wait(60)
        return model.relate(a, b)

    run = made(slow, is_live=True)
    frames = there_and_back(COUNT)
    for frame in frames:
        run.reconstruction.process(frame)
    assert asked.is_set(), "all frames went through while the first relation was being asked for"
    assert run.reconstruction.loops().closed == 0 and run.loops.counts.skipped > 0
    go_on.set()
    run.reconstruction.flush()
    assert run.reconstruction.loops().closed > 0
    assert path_error_in(run.reconstruction.map) < 0.6 * without_loops
    run.reconstruction.close()


def test_relations_that_do_not_fit_the_surfaces_are_rejected(without_loops: float) -> None:
    wrong = Sim3.rigid(np.diag([-1.0, 1.0, -1.0]), np.zeros(3))
    run = made(lambda _a, _b: Relation(wrong, 1.0))
    assert run.take(there_and_back(COUNT)) == pytest.approx(without_loops, rel=1e-9)
    assert run.loops.counts.unfitting == run.loops.counts.candidates > 0
    assert run.reconstruction.loops().rejected == run.loops.counts.candidates


def test_when_every_loop_that_is_accepted_is_wrong_the_graph_leaves_the_map_unharmed(without_loops: float) -> None:
    rng = np.random.default_rng(0)
    run = made(
        lambda _a, _b: Relation(sim3_exp(rng.normal(0, 1.0, 7)), 1.0),
        min_overlap=0.0,
        min_agreement=0.0,
        max_scale=99.0,
    )
    assert run.take(there_and_back(COUNT)) == pytest.approx(without_loops, rel=1e-3)
    status = run.reconstruction.loops()
    assert status.closed == 0 and status.rejected >= run.loops.counts.accepted > 2
    assert any("contradicts the others: it is rejected" in text for _, text in run.log)


@pytest.mark.parametrize("answer", [None, Relation(Sim3(), 0.1)], ids=["none", "unsure"])
def test_what_the_model_cannot_relate_is_no_loop_and_is_asked_a_few_times_only(answer: Relation | None) -> None:
    asked: list[tuple[int, int]] = []

    def relate(a: Sequence[Prediction], b: Sequence[Prediction]) -> Relation | None:
        asked.append((a[0].submap, b[0].submap))
        return answer

    run = made(relate)
    run.take(there_and_back(COUNT))
    assert run.loops.counts.unrelated == len(asked) > 0
    assert max(asked.count(pair) for pair in asked) <= 3
    assert all(len({*range(a, b)}) > 1 for a, b in asked), "neighbors are joined already"


def test_scale_out_of_bounds_is_no_loop() -> None:
    stream = ModelStream(Segmented(DriftingModel(), Segments(12, 3)))
    run = made(relating(stream).relate, max_scale=1.0)
    run.take(there_and_back(COUNT))
    assert run.loops.counts.unfitting > 0 and run.loops.counts.accepted == 0


def test_an_error_of_the_network_is_counted_and_said_and_the_stream_goes_on(without_loops: float) -> None:
    def fail(_a: Sequence[Prediction], _b: Sequence[Prediction]) -> Relation | None:
        raise RuntimeError("CUDA out of memory")

    run = made(fail)
    assert run.take(there_and_back(COUNT)) == pytest.approx(without_loops, rel=1e-9)
    assert run.loops.counts.failed > 0
    assert any("a loop could not be verified: CUDA out of memory" in text for _, text in run.log)


def test_another_network_may_describe_the_places() -> None:
    described: list[int] = []

    def alike(frames: Sequence[Frame]) -> np.ndarray:
        described.extend(frame.index for frame in frames)
        return np.tile(np.eye(1, 6, dtype=np.float32), (len(frames), 1))

    run = made(lambda _a, _b: None, describe=alike)
    run.take(there_and_back(COUNT))
    assert run.loops.counts.candidates > 0
    assert len(described) < 2 * len(there_and_back(COUNT)), "each keyframe once"


def test_without_gtsam_the_map_grows_and_it_is_said_once(monkeypatch: pytest.MonkeyPatch, without_loops: float) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    run = made()
    assert run.take(there_and_back(COUNT)) == pytest.approx(without_loops, rel=1e-9)
    assert [severity for severity, text in run.log if "spann3r_ros[mapping]" in text] == [Severity.WARNING]


def test_a_saved_state_goes_on_with_the_same_keyframes_and_loops() -> None:
    frames = there_and_back(COUNT)
    run, other = made(), made()
    run.take(frames[: len(frames) * 3 // 4])
    other.loops.restore(run.loops.saved())
    other.graph.restore(run.graph.saved())
    for one, again in ((run.loops, other.loops), (run.graph, other.graph)):
        state = one.saved()
        assert state.keys() == again.saved().keys() and len(state) > 4
        for name, value in state.items():
            np.testing.assert_allclose(again.saved()[name], value, atol=1e-12)
    state = run.loops.saved()
    with pytest.raises((ValueError, KeyError)):
        other.loops.restore(state | {"tries": np.zeros(3)})
    with pytest.raises((ValueError, KeyError)):
        other.loops.restore(state | {"0.points": np.zeros(3)})
    assert other.loops.saved().keys() == state.keys()
    other.loops.restore({})
    assert other.loops.saved() == {}


def test_a_new_world_takes_up_nothing_of_the_old_one() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow(_a: Sequence[Prediction], _b: Sequence[Prediction]) -> Relation | None:
        asked.set()
        assert go_on.wait(60)
        return Relation(Sim3(), 1.0)

    run = made(slow, is_live=True, min_overlap=0.0, min_agreement=0.0)
    for frame in there_and_back(COUNT):
        run.reconstruction.process(frame)
    assert asked.wait(10)
    run.reconstruction.reset()
    go_on.set()
    time.sleep(0.1)
    for frame in there_and_back(4):
        run.reconstruction.process(frame)
    assert run.loops.counts.candidates == 0 and len(run.graph.graph) == 0
    run.reconstruction.close()

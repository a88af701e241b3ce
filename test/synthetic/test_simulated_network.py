"""The simulated network is as wrong as it is told to be, the same every time, and can be fooled as real ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from spann3r_ros.errors import MemoryMismatchError
from spann3r_ros.geometry.alignment import align_pointmaps
from spann3r_ros.models.base import MarkedMemory, ModelStream, Relating, WindowModel
from spann3r_ros.prediction import Prediction
from spann3r_ros.streaming.segmented import Segmented, Segments
from spann3r_ros.synthetic.frame_truth import RecordedTruth
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.rooms import look_alike_scene
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.simulated_network import SimulatedNetwork, SimulatedWindows
from spann3r_ros.synthetic.simulated_parameters import SimulatedParameters
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories, camera_pose

EXACT = {"scale_drift": 0.0, "rotation_drift": 0.0, "translation_drift": 0.0, "depth_noise": 0.0, "outliers": 0.0}


@pytest.fixture(scope="module")
def walk() -> RenderedWalk:
    scene = Scene.apartment()
    return RenderedWalk(scene, Trajectories(scene).walk(EVALUATION_SEED, 60), 32, 24)


def network(walk: RenderedWalk, **settings: float) -> SimulatedNetwork:
    return SimulatedNetwork(RecordedTruth(walk, 64), SimulatedParameters(**settings))  # type: ignore[arg-type]


def answers(model: SimulatedNetwork, walk: RenderedWalk, first: int = 0, count: int = 60) -> list[Prediction]:
    memory = model.new_memory()
    frames = list(walk.frames())[first : first + count]
    return [answer for frame in frames for answer in model.step(frame, memory)]


def scale_of(answer: Prediction, walk: RenderedWalk) -> float:
    """Units per meter, by depths along the optical axis."""
    pose = answer.submap_from_camera
    assert pose is not None
    depth = pose.inverse().apply(answer.points.astype(np.float64))[..., 2]
    return float(np.median(depth / walk.rendering(answer.frame.index).depth))


def test_without_errors_it_tells_the_truth_in_a_unit_of_its_own(walk: RenderedWalk) -> None:
    found = answers(network(walk, **EXACT), walk)
    unit = 1.0 / np.linalg.norm(found[0].points, axis=-1).mean() * scale_of(found[0], walk)
    assert np.linalg.norm(found[0].points, axis=-1).mean() == pytest.approx(1.0, abs=1e-5)
    first = walk.poses[0].inverse()
    for answer in (found[7], found[-1]):
        truth = unit * first.apply(walk.rendering(answer.frame.index).points.astype(np.float64))
        np.testing.assert_allclose(answer.points, truth, atol=1e-4)
        assert answer.submap_from_camera is not None and answer.final
        expected = (first @ walk.poses[answer.frame.index]).rotation
        np.testing.assert_allclose(answer.submap_from_camera.rotation, expected, atol=1e-9)


def test_it_drifts_by_what_it_is_told_once_its_frames_are_over(walk: RenderedWalk) -> None:
    scales, turns, shifts = [], [], []
    for seed in range(60):
        last = answers(network(walk, **{**EXACT, "seed": seed, "drift_frames": 59, "scale_drift": 0.05}), walk)[-1]
        scales.append(np.log(scale_of(last, walk) / scale_of(answers(network(walk, **EXACT), walk, 0, 1)[0], walk)))
        turned = answers(network(walk, **{**EXACT, "seed": seed, "drift_frames": 59, "rotation_drift": 2.0}), walk)[-1]
        moved = answers(network(walk, **{**EXACT, "seed": seed, "drift_frames": 59, "translation_drift": 0.03}), walk)
        true = walk.poses[0].inverse() @ walk.poses[-1]
        assert turned.submap_from_camera is not None and moved[-1].submap_from_camera is not None
        turns.append(np.degrees((turned.submap_from_camera @ true.inverse()).rotation_angle()))
        unit = scale_of(moved[-1], walk)
        shifts.append(np.linalg.norm(moved[-1].submap_from_camera.translation / unit - true.translation))
    # Root mean squares of 60 numbers are within a third of the deviation, but for one time in thousands.
    for found, told in ((scales, 0.05), (turns, 2.0), (shifts, 0.03)):
        assert np.sqrt(np.mean(np.square(found))) == pytest.approx(told, rel=0.35)


def test_the_same_seed_gives_the_same_and_another_one_something_else(walk: RenderedWalk) -> None:
    one, same, other = (answers(network(walk, seed=seed), walk, 0, 20)[-1] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.points, same.points)
    assert np.abs(one.points - other.points).max() > 1e-3


def test_noise_outliers_and_confidence_are_those_of_the_settings(walk: RenderedWalk) -> None:
    clean, dirty = (
        answers(network(walk, **{**EXACT, "fading_frames": 40.0, **errors}), walk)
        for errors in ({}, {"outliers": 0.2, "depth_noise": 0.01})
    )
    ratio = [
        np.linalg.norm(b.points - b.submap_from_camera.translation, axis=-1)
        / np.linalg.norm(a.points - a.submap_from_camera.translation, axis=-1)
        for a, b in zip(clean, dirty, strict=True)
        if a.submap_from_camera is not None and b.submap_from_camera is not None
    ]
    off = np.abs(np.array(ratio) - 1)
    assert np.mean(off > 0.06) == pytest.approx(0.2, abs=0.03)
    assert np.median(off) == pytest.approx(0.01 * 0.845, rel=0.15)  # the median of |N(0, 1)| with a fifth of outliers
    means = [float(answer.confidence.mean()) for answer in clean]
    assert means[0] == pytest.approx(0.9 * 0.95, abs=0.01)
    assert means[40] / means[0] == pytest.approx(np.exp(-1), abs=0.02)


def test_a_loss_is_nonsense_that_spoils_the_memory_unless_it_goes_back(walk: RenderedWalk) -> None:
    model = network(walk, **{**EXACT, "loss_rate": 0.05, "loss_frames": 4})
    memory, frames = model.new_memory(), list(walk.frames())
    found, marks = [], []
    for frame in frames:
        assert isinstance(memory, MarkedMemory)
        marks.append(memory.mark())
        found += model.step(frame, memory)
    lost = [answer.frame.index for answer in found if answer.confidence.max() < 0.2]
    assert 4 <= len(lost) < 40 and lost[0] > 0
    assert model.new_memory().status().counters["simulated_losses"] == 0
    assert memory.status().counters["simulated_losses"] == len(lost)
    begin = lost[0]
    end = next(index for index in range(begin, 60) if index not in lost)
    right = answers(network(walk, **EXACT), walk)[end].points
    assert np.median(np.abs(found[end].points - right)) > 0.05
    marks[begin]()
    np.testing.assert_allclose(model.step(frames[end], memory)[0].points, right, atol=1e-6)


def test_segments_are_submaps_that_joints_can_join(walk: RenderedWalk) -> None:
    stream = ModelStream(Segmented(network(walk), Segments(20, 4)))
    found = [answer for frame in walk.frames() for answer in stream.step(frame)]
    assert sorted({answer.submap for answer in found}) == [0, 1, 2, 3]
    shared = [[a for a in found if a.submap == n and a.frame.index in range(16, 20)] for n in (0, 1)]
    assert [len(group) for group in shared] == [4, 4]
    one, other = shared[0][1], shared[1][1]
    joined = align_pointmaps(other.points, one.points, other.confidence, one.confidence).target_from_source
    assert one.submap_from_camera is not None and other.submap_from_camera is not None
    np.testing.assert_allclose(
        joined.carry(other.submap_from_camera).translation, one.submap_from_camera.translation, atol=0.01
    )


def test_windows_answer_all_their_frames_in_the_first_ones(walk: RenderedWalk) -> None:
    windows, frames = SimulatedWindows(network(walk)), list(walk.frames())[10:14]
    assert isinstance(windows, WindowModel) and isinstance(windows, Relating)
    found = windows.infer(frames)
    assert [answer.frame.index for answer in found] == [10, 11, 12, 13]
    assert found[0].submap_from_camera is not None and found[0].submap_from_camera.is_identity()
    assert windows.answer_size(frames[0]) == found[0].confidence.shape == (24, 32)


def test_a_memory_goes_on_from_its_file_and_refuses_another_networks(walk: RenderedWalk, tmp_path: Path) -> None:
    model, frames = network(walk), list(walk.frames())
    memory = model.new_memory()
    for frame in frames[:5]:
        model.step(frame, memory)
    memory.save(tmp_path / "memory.safetensors")
    again = model.load_memory(tmp_path / "memory.safetensors")
    np.testing.assert_array_equal(model.step(frames[5], memory)[0].points, model.step(frames[5], again)[0].points)
    with pytest.raises(MemoryMismatchError):
        network(walk, seed=1).load_memory(tmp_path / "memory.safetensors")
    with pytest.raises(MemoryMismatchError, match="another model"):
        network(walk, seed=1).step(frames[6], memory)


def views_of(scene: Scene, places: Sequence[tuple[float, float, float, float]]) -> RenderedWalk:
    return RenderedWalk(scene, [camera_pose(*place) for place in places], 64, 48)


def test_it_relates_two_submaps_that_see_the_same(walk: RenderedWalk) -> None:
    model = network(walk, relate_noise=0.0, depth_noise=0.0, outliers=0.0)
    one, other = answers(model, walk, 0, 12), answers(model, walk, 8, 12)
    relation = model.relate(one[8:], other[:4])
    assert relation is not None and relation.confidence > 0.9
    a, b = one[-1].submap_from_camera, other[3].submap_from_camera
    assert a is not None and b is not None
    np.testing.assert_allclose(relation.a_from_b.carry(b).translation, a.translation, atol=0.01)
    noisy = network(walk, relate_noise=3.0, depth_noise=0.0, outliers=0.0).relate(one[8:], other[:4])
    assert noisy is not None
    assert 1e-3 < np.linalg.norm(noisy.a_from_b.carry(b).translation - a.translation) < 0.5
    lost = [dataclasses.replace(each, points=np.random.default_rng(0).normal(size=each.points.shape)) for each in other]
    assert model.relate(one[8:], lost[:4]) is None and model.relate([], other) is None


def test_rooms_that_look_the_same_fool_it_and_others_do_not() -> None:
    scene = look_alike_scene(2)
    first, _, twin = scene.rooms
    by = twin.low[0] - first.low[0]
    x, y = first.low[0] + 1.2, (first.low[1] + first.high[1]) / 2
    pairs = views_of(scene, [(x, y, 1.4, 1.5), (x + by, y, 1.4, 1.5), (x, y, 1.4, -1.5)])
    model = network(pairs)
    here, same_looking, away = (model.step(frame, model.new_memory())[0] for frame in pairs.frames())
    assert here.descriptor is not None and same_looking.descriptor is not None and away.descriptor is not None
    assert here.descriptor @ same_looking.descriptor > 0.9 > here.descriptor @ away.descriptor
    fooled = model.relate([here], [same_looking])
    assert fooled is not None and fooled.confidence > 0.9
    assert np.linalg.norm(fooled.a_from_b.translation) < 0.05  # as if both cameras were in one place
    assert model.relate([here], [away]) is None
    assert network(pairs, relate_fooled=2.0).relate([here], [same_looking]) is None

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from geometric_models import (
    FakePairModel,
    FakeStreamingModel,
    FakeWindowModel,
    frames_of_the_path,
    path_error,
    true_points,
    true_pose,
)

from spann3r_ros.config import Config, MapConfig
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.geometry.irls import align_irls
from spann3r_ros.mapping.joints import SHARED, SubmapJoints
from spann3r_ros.mapping.map import Map
from spann3r_ros.models.base import ModelStream, Stream
from spann3r_ros.prediction import Prediction, WorldPrediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.pairwise import Pairwise
from spann3r_ros.streaming.segmented import Segmented, Segments
from spann3r_ros.streaming.windowed import Windowed


@dataclass
class Windows:
    window: int = 8
    overlap: int = 3
    join: str = "submaps"


@dataclass
class Pairs:
    reference: str = "keyframe"
    keyframe_confidence: float = 1.0


def world_with(answers: list[Prediction]) -> Map:
    world = Map(MapConfig(voxel_size=0.1))
    for answer in answers:
        world.insert(answer)
    return world


def answers_in(submap: int, start: int, count: int, **errors: object) -> list[Prediction]:
    answers = FakeWindowModel(**errors).infer(frames_of_the_path(count, start))
    return [dataclasses.replace(answer, submap=submap) for answer in answers]


def test_a_new_submap_is_placed_by_the_first_shared_frame_and_refined_by_the_next() -> None:
    before, after = answers_in(0, 0, 6), answers_in(1, 4, 6, noise=0.01)
    joints, world = SubmapJoints(), world_with(before)
    for answer in before:
        assert joints.observe(answer, world) == []
    truth_from_world = true_pose(0) @ Sim3(1 / scale_of(before[0])) @ world.submap(0).world_from_submap.inverse()
    errors = []
    for answer in after:
        world.insert(answer)
        for correction in joints.observe(answer, world):
            assert correction.submap == 1
            assert correction.reason == f"submap 1 joined to submap 0 over {len(errors) + 1} shared frames"
            world.move(correction.submap, correction.world_from_submap)
            expected = true_pose(4) @ Sim3(1 / scale_of(after[0]))
            error = expected.inverse() @ truth_from_world @ correction.world_from_submap
            errors.append(abs(np.log(error.scale)) + error.rotation_angle())
    assert len(errors) == 2 and errors[0] < 5e-3 and errors[1] < 5e-3


def scale_of(answer: Prediction) -> float:
    """Of a call whose first frame this is about."""
    depth = true_pose(answer.frame.index).inverse().apply(true_points(answer.frame.index))
    return umeyama(depth.reshape(-1, 3), answer.points.reshape(-1, 3)).scale


def test_the_published_alignment_is_that_of_all_shared_frames_with_the_confidences_of_the_network() -> None:
    """Twelve frames are shared, more than are remembered unless more are; what is not finite counts nowhere."""
    before, after = answers_in(0, 0, 20, noise=0.02), answers_in(1, 8, 20, noise=0.02)
    before[10].points[3, 4] = np.nan
    joints, world = SubmapJoints(alignment="irls", shared=12), world_with(before)
    for answer in before:
        joints.observe(answer, world)
    corrections = []
    for answer in after:
        world.insert(answer)
        corrections += joints.observe(answer, world)
    assert corrections[-1].reason == "submap 1 joined to submap 0 over 12 shared frames"
    source, target = (np.stack([each.points for each in part]) for part in (after[:12], before[8:]))
    one, other = (np.stack([1 / (1 - each.confidence) for each in part]) for part in (after[:12], before[8:]))
    expected = align_irls(source, target, one, other).target_from_source
    found = world.submap(0).world_from_submap.inverse() @ corrections[-1].world_from_submap
    np.testing.assert_allclose(found.matrix(), expected.matrix(), rtol=1e-6, atol=1e-9)
    robust, world = SubmapJoints(shared=12), world_with(before + after)
    other_way = [each for answer in before + after for each in robust.observe(answer, world)][-1]
    assert not np.allclose(other_way.world_from_submap.matrix(), corrections[-1].world_from_submap.matrix(), rtol=1e-6)


def test_a_moved_submap_carries_those_that_follow() -> None:
    first, second, third = answers_in(0, 0, 4), answers_in(1, 3, 4), answers_in(2, 6, 4)
    world, joints = world_with(first), SubmapJoints()
    for answer in first:
        joints.observe(answer, world)
    for number, answers in ((1, second), (2, third)):
        for answer in answers:
            world.insert(answer)
            for correction in joints.observe(answer, world):
                world.move(number, correction.world_from_submap)
        # A loop closure moves the submap in the meantime.
        world.move(number, Sim3(1.0, np.eye(3), np.array([0.0, 0.0, 5.0])) @ world.submap(number).world_from_submap)
    shared = [world.in_world(answer).points for answer in (second[-1], third[0])]
    np.testing.assert_allclose(shared[1] - [0.0, 0.0, 5.0], shared[0], atol=1e-5)


def test_frames_that_do_not_agree_join_nothing_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    before, after = answers_in(0, 0, 6), answers_in(1, 4, 6, elsewhere={9})
    joints, world = SubmapJoints(), world_with(before)
    with caplog.at_level(logging.WARNING):
        for answer in before + after:
            world.insert(answer)
            assert joints.observe(answer, world) == []
    assert "submap 1 is not joined to submap 0: pixels that agree" in caplog.text


def test_early_and_late_answers_and_other_sizes_are_ignored() -> None:
    before, after = answers_in(0, 0, 6), answers_in(1, 4, 6)
    joints, world = SubmapJoints(), world_with(before + after)
    for answer in before:
        joints.observe(answer, world)
    assert joints.observe(dataclasses.replace(after[0], final=False), world) == []
    small = [
        dataclasses.replace(answer, points=answer.points[::2, ::2], confidence=answer.confidence[::2, ::2])
        for answer in after
    ]
    assert joints.observe(small[0], world) == []
    assert joints.observe(before[0], world) == []
    joints.clear()
    assert joints.observe(after[1], world) == []


def test_what_is_remembered_is_bounded() -> None:
    joints, world = SubmapJoints(), Map(MapConfig(voxel_size=0.1))
    answer = answers_in(0, 0, 1)[0]
    world.insert(answer)
    for index in range(300):
        frame = dataclasses.replace(answer.frame, index=index, stamp=index)
        joints.observe(dataclasses.replace(answer, frame=frame), world)
    assert joints._newest is not None and list(joints._newest.frames) == [(i, i) for i in range(300 - SHARED, 300)]


def streams(**errors: object) -> list[Stream]:
    windows = FakeWindowModel(**errors)
    return [
        ModelStream(Windowed(windows, Windows())),
        ModelStream(Windowed(windows, Windows(join="frame"))),
        ModelStream(Segmented(FakeStreamingModel(**errors), Segments(frames=10, overlap=3))),
        ModelStream(Segmented(Windowed(windows, Windows(5, 2, "frame")), Segments(frames=12, overlap=4))),
        ModelStream(Pairwise(FakePairModel(**errors), Pairs())),
    ]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("poses", [True, False])
def test_map_and_path_of_a_stream_lie_on_the_truth(number: int, poses: bool) -> None:
    reconstruction = run(streams(poses=poses)[number])
    tolerance = 1e-5 if poses else 3e-3
    assert_true(reconstruction, path_tolerance=tolerance, cloud_tolerance=0.02)
    assert (len(reconstruction.map.submaps) > 1) == (number in (0, 2, 3))


@pytest.mark.parametrize("number", range(4))
def test_map_and_path_stay_true_with_noise_and_outliers(number: int) -> None:
    reconstruction = run(streams(noise=0.01, outliers=0.2)[number])
    assert_true(reconstruction, path_tolerance=0.01)


def test_a_loaded_world_is_joined_in_itself_and_not_to_what_was_seen_before(tmp_path: Path) -> None:
    reconstruction = Reconstruction(streams()[0], Config(), [SubmapJoints()])
    reconstruction.save(tmp_path / "empty")
    for frame in frames_of_the_path(13):
        reconstruction.process(frame)
    reconstruction.load(tmp_path / "empty")
    answers = [answer for frame in frames_of_the_path(13, start=20) for answer in reconstruction.process(frame)]
    assert [submap.id for submap in reconstruction.map.submaps] == [0, 1]
    assert reconstruction.map.reason == "submap 1 joined to submap 0 over 3 shared frames"
    before, after = ([answer for answer in answers if answer.frame.index == 26][number] for number in (0, -1))
    np.testing.assert_allclose(after.points, before.points, atol=1e-5)


@pytest.mark.parametrize("stop", [7, 8, 9, 13, 14])
def test_a_run_that_stops_between_two_windows_is_joined_after_it_went_on(stop: int, tmp_path: Path) -> None:
    whole = Reconstruction(streams()[0], Config(), [SubmapJoints()])
    parts = [Reconstruction(streams()[0], Config(), [SubmapJoints()]) for _ in range(2)]
    for number, frame in enumerate(frames_of_the_path(24)):
        whole.process(frame)
        if number == stop:
            parts[0].save(tmp_path / "map")
            parts[1].load(tmp_path / "map")
        parts[number >= stop].process(frame)
    places = [[submap.world_from_submap.matrix() for submap in each.map.submaps] for each in (whole, parts[1])]
    assert len(places[0]) > 3 and not np.array_equal(places[0][0], places[0][1])
    np.testing.assert_array_equal(places[1], places[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("newest.frames", np.zeros((1, 2), np.int64)),
        ("newest.0.points", np.zeros((3, 3), np.float32)),
        ("newest.0.points", np.full((63, 84, 3), np.nan, np.float32)),
        ("newest.frames", None),
    ],
)
def test_a_state_of_other_arrays_is_refused_and_changes_nothing(name: str, value: np.ndarray | None) -> None:
    joints, world = SubmapJoints(), world_with(answers_in(0, 0, 6))
    for answer in answers_in(0, 0, 6):
        joints.observe(answer, world)
    state = dict(joints.saved())
    good = dict(state)
    if value is None:
        del state[name]
    else:
        state[name] = value
    with pytest.raises((ValueError, KeyError)):
        joints.restore(state)
    assert joints.saved().keys() == good.keys()
    joints.restore({})
    assert not joints.saved()


def run(stream: Stream) -> Reconstruction:
    config = Config()
    config.map.voxel_size = 0.05
    config.pose.motion_prior = False  # which needs some frames to learn how the camera of a new submap moves
    reconstruction = Reconstruction(stream, config, [SubmapJoints()])
    answers: list[WorldPrediction] = []
    for frame in frames_of_the_path(40):
        answers += reconstruction.process(frame)
    answers += reconstruction.flush()
    assert {answer.frame.index for answer in answers} == set(range(40))
    return reconstruction


def assert_true(reconstruction: Reconstruction, path_tolerance: float, cloud_tolerance: float | None = None) -> None:
    """Path, over its length, and cloud, over the mean depth, after one similarity on the path."""
    poses = sorted(reconstruction.trajectory, key=lambda pose: pose.index)
    assert [pose.index for pose in poses] == list(range(40))
    found = np.array([pose.target_from_camera.translation for pose in poses])
    truth = np.array([true_pose(index).translation for index in range(40)])
    truth_from_world = umeyama(found, truth)
    length = np.linalg.norm(truth[-1] - truth[0])
    assert np.linalg.norm(truth_from_world.apply(found) - truth, axis=1).max() / length < path_tolerance
    if cloud_tolerance is not None:
        x, y, z = truth_from_world.apply(reconstruction.map.cloud().points.astype(np.float64)).T
        surface = 4.0 + 0.3 * np.sin(1.7 * x) + 0.25 * np.cos(1.3 * y + 0.4 * x)
        assert np.abs(z - surface).max() / 4.0 < cloud_tolerance
        assert len(x) > 1000


def test_path_error_is_zero_for_the_truth() -> None:
    """The yardstick itself."""
    assert path_error(answers_in(0, 0, 6)) < 1e-9
    answers = answers_in(0, 0, 6)
    wrong = dataclasses.replace(answers[3], submap_from_camera=Sim3())
    assert path_error([*answers[:3], wrong, *answers[4:]]) > 0.05

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from geometric_models import FakeStreamingModel, FakeWindowModel, frames_of_the_path
from scipy.spatial.transform import Rotation
from tiny_models import random_frames

from spann3r_ros.complaints import Complaints, Severity
from spann3r_ros.config import Config, TrackingConfig
from spann3r_ros.errors import UnusableImageError
from spann3r_ros.frame import Frame
from spann3r_ros.models.base import ModelStream
from spann3r_ros.prediction import Prediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.windowed import Windowed
from spann3r_ros.tracking import (
    CONFIRMATIONS,
    INITIALISING,
    LOST,
    MOST_CAMERAS,
    SHORT_LOSS,
    TRACKING,
    VIEWS,
    Tracking,
)


def answers(count: int, start: int = 0) -> list[Prediction]:
    """Answers of a network that is right, with poses."""
    model = FakeStreamingModel(poses=True)
    memory = model.new_memory()
    frames = frames_of_the_path(count + 1, start)
    return [answer for frame in frames for answer in model.step(frame, memory)][:count]


@dataclass
class Windows:
    """See ``WindowSettings``."""

    window: int
    overlap: int
    join: str


class Bench:
    """A tracking that has heard of some answers."""

    def __init__(self, **config: float) -> None:
        self.log: list[tuple[Severity, str]] = []
        self.complaints = Complaints(lambda severity, text: self.log.append((severity, text)))
        self.tracking = Tracking(TrackingConfig(**config), self.complaints)

    def hear(self, given: list[Prediction]) -> list[bool]:
        return [self.tracking.trusts(answer) for answer in given]


def elsewhere(answer: Prediction, shift: float) -> Prediction:
    """The answer, points and pose, at another place of the world."""
    assert answer.submap_from_camera is not None
    moved = Sim3(translation=np.array([0.0, 0.0, shift]))
    points = np.asarray(moved.apply(answer.points), np.float32)
    return dataclasses.replace(answer, points=points, submap_from_camera=moved.carry(answer.submap_from_camera))


def painted(answer: Prediction, light: float = 1.0) -> Prediction:
    """The surface has colors, in more or less light."""
    x, y, _ = np.moveaxis(answer.points.astype(np.float64), -1, 0)
    gray = light * (120 + 60 * np.sin(2.0 * x) * np.cos(3.0 * y))
    return dataclasses.replace(answer, colors=np.repeat(gray.astype(np.uint8)[..., None], 3, axis=-1))


def without_pose(answer: Prediction) -> Prediction:
    return dataclasses.replace(answer, submap_from_camera=None)


def turn_away(answer: Prediction) -> Prediction:
    """The same surface half the scene's depth to the side, seen by a camera that turned by 50 degrees."""
    assert answer.submap_from_camera is not None
    turn = Sim3.rigid(Rotation.from_euler("y", 50, degrees=True).as_matrix(), np.array([3.5, 0.0, 0.0]))
    moved = answer.submap_from_camera @ turn @ answer.submap_from_camera.inverse()
    points = np.asarray(moved.apply(answer.points), np.float32)
    return dataclasses.replace(answer, points=points, submap_from_camera=moved.carry(answer.submap_from_camera))


def partly_right(answer: Prediction, share: float, shift: float = 0.0) -> Prediction:
    """The answer with this share of the points where they are, the others half as far from the camera again."""
    assert answer.submap_from_camera is not None
    center = answer.submap_from_camera.translation
    wrong = np.random.default_rng(0).random(answer.confidence.shape) >= share
    farther = np.where(wrong, 1.5, 1.0)[..., None]
    points = np.asarray(center + farther * (answer.points - center), np.float32)
    return elsewhere(dataclasses.replace(answer, points=points), shift)


@pytest.mark.fault("first images")
def test_the_world_has_begun_when_the_first_answers_agree() -> None:
    bench = Bench()
    assert bench.tracking.state == INITIALISING
    assert bench.hear(answers(2)) == [True, True] and bench.tracking.state == INITIALISING
    assert bench.hear(answers(3)[2:]) == [True] and bench.tracking.state == TRACKING
    assert not bench.log


@pytest.mark.fault("first images")
def test_first_answers_that_do_not_agree_begin_anew_and_later_ones_do_not() -> None:
    bench, given = Bench(), answers(8)
    assert bench.hear([given[0], without_pose(given[1])]) == [True, False]
    assert bench.tracking.must_begin_anew and bench.tracking.state == INITIALISING
    bench.tracking.begin_anew()
    bench.hear(given[2:5])
    assert bench.tracking.state == TRACKING and not bench.tracking.must_begin_anew
    bench.hear([without_pose(given[5])])
    assert bench.tracking.state == LOST and not bench.tracking.must_begin_anew
    never = Bench(first_frames=0)
    never.hear([without_pose(given[0])])
    assert not never.tracking.must_begin_anew


@pytest.mark.fault("lost")
@pytest.mark.parametrize("kind", ["no pose", "another depth", "noise", "a jump"])
def test_an_answer_that_does_not_fit_is_not_trusted_until_one_does(kind: str) -> None:
    bench, given = Bench(), answers(8)
    noise = np.random.default_rng(0).uniform(0.3, 3.0, (*given[4].confidence.shape, 1)).astype(np.float32)
    bad = {
        "no pose": without_pose(given[4]),
        "another depth": dataclasses.replace(given[4], points=given[4].points * np.float32(1.3)),
        "noise": dataclasses.replace(given[4], points=given[4].points * noise),
        "a jump": elsewhere(given[4], 60.0),
    }[kind]
    assert bench.hear(given[:4]) == [True] * 4
    reason = "no pose: nothing agrees" if kind == "no pose" else ""
    assert not bench.tracking.trusts(bad, reason)
    assert bench.tracking.state == LOST and bench.tracking.reason and bench.tracking.lost_frames == 1
    (worst,) = bench.complaints.current()
    assert worst.kind == "tracking" and bench.tracking.reason in worst.text
    assert bench.hear(given[5:]) == [True] * 3 and bench.tracking.state == TRACKING and not bench.tracking.reason
    assert not bench.complaints.current()
    assert [severity for severity, _ in bench.log] == [Severity.WARNING, Severity.INFO], "once per change"


@pytest.mark.fault("lost")
def test_answers_must_agree_better_after_a_loss() -> None:
    """More than half of the points agree by chance, too; while the camera is tracked its motion speaks for the rest."""
    given = answers(8)
    bench = Bench()
    assert bench.hear([*given[:3], partly_right(given[3], 0.7)]) == [True] * 4
    assert not bench.tracking.trusts(without_pose(given[4]))
    assert bench.hear([partly_right(given[5], 0.7)]) == [False] and bench.tracking.state == LOST
    assert bench.hear([partly_right(given[6], 0.9), partly_right(given[7], 0.7)]) == [True, True]
    asked = Bench(min_agreement=0.95)
    assert asked.hear([*given[:3], partly_right(given[3], 0.9)]) == [True] * 3 + [False]


@pytest.mark.fault("lost")
def test_one_camera_that_is_lost_does_not_make_another_doubtful() -> None:
    given = answers(8)
    bench = Bench()
    right = [dataclasses.replace(each, frame=dataclasses.replace(each.frame, camera="right")) for each in given]
    assert bench.hear([*given[:3], *right[:3]]) == [True] * 6
    with pytest.raises(UnusableImageError):
        bench.tracking.check(Frame(9, 9, given[0].frame.camera, np.zeros((48, 64, 3), np.uint8)))
    assert bench.hear([partly_right(right[3], 0.7), partly_right(given[3], 0.7)]) == [True, False]


@pytest.mark.fault("lost")
def test_after_a_loss_a_place_that_was_not_in_view_is_no_place_that_was_known() -> None:
    """A step to the side, past everything that was seen, is believed, also when an image or two were lost; after a long
    loss the camera may be anywhere."""
    given = answers(14)
    turned = [turn_away(answer) for answer in given]
    bench = Bench()
    assert bench.hear(given[:5]) == [True] * 5 and bench.hear(turned[5:6]) == [True]
    shortly, lost = Bench(), Bench()
    shortly.hear([*given[:4], *map(without_pose, given[4 : 4 + SHORT_LOSS])])
    assert shortly.tracking.state == LOST and shortly.hear(turned[8:9]) == [True]
    lost.hear([*given[:4], *map(without_pose, given[4 : 5 + SHORT_LOSS])])
    assert lost.hear(turned[8:10]) == [False, False]
    assert lost.tracking.reason == "nothing of what was seen before the loss is in view"
    assert lost.hear(given[10:12]) == [True, True] and lost.tracking.state == TRACKING
    assert lost.hear([without_pose(given[12]), turned[13]]) == [False, True], "another loss begins anew"


@pytest.mark.fault("lost")
def test_an_answer_of_before_the_loss_that_comes_late_does_not_end_it() -> None:
    """Refined answers come with the next frame: the one about the last good image after any number of black ones."""
    bench, given = Bench(), answers(12)
    bench.hear(given[:4])
    black = dataclasses.replace(given[5].frame, image=np.zeros_like(given[5].frame.image))
    for _ in range(SHORT_LOSS + 1):
        with pytest.raises(UnusableImageError):
            bench.tracking.check(black)
    assert bench.hear(given[4:5]) == [True] and bench.tracking.state == LOST
    assert bench.hear([turn_away(given[6])]) == [False]
    assert bench.hear(given[7:8]) == [True] and bench.tracking.state == TRACKING


@pytest.mark.fault("lost")
def test_a_long_loss_is_said_once() -> None:
    bench, given = Bench(), answers(40)
    bench.hear(given[:4])
    bench.hear([without_pose(answer) for answer in given[4:]])
    assert len(bench.log) == 1 and bench.tracking.lost_frames == 36


@pytest.mark.fault("lost")
def test_answers_that_agree_with_each_other_are_believed_in_the_end() -> None:
    bench, given = Bench(), answers(30)
    bench.hear(given[:4])
    moved = [elsewhere(answer, 60.0) for answer in given[4:]]
    verdicts = bench.hear(moved[:5]) + bench.hear([elsewhere(moved[5], 60.0)]) + bench.hear(moved[6:])
    first = verdicts.index(True)
    assert first == 6 + CONFIRMATIONS - 1, "and one that does not agree makes the count begin anew"
    assert all(verdicts[first:]) and bench.tracking.state == TRACKING
    assert [text for _, text in bench.log][-1].startswith(
        "tracking since frame 17, somewhere else: a new submap begins"
    )


@pytest.mark.fault("lost")
def test_what_is_seen_elsewhere_after_a_loss_is_a_submap_of_its_own_and_the_one_of_before_stays_as_it_is(
    tmp_path: Path,
) -> None:
    class Carried(FakeStreamingModel):
        """The camera is carried away after frame 9: everything lies a hundred units ahead then."""

        def step(self, frame, memory):  # type: ignore[no-untyped-def]
            return [
                elsewhere(answer, 100.0) if answer.frame.index > 9 else answer for answer in super().step(frame, memory)
            ]

    reconstruction = Reconstruction(ModelStream(Carried(poses=True)), Config())
    frames = frames_of_the_path(40)
    for frame in frames[:11]:
        reconstruction.process(frame)
    before, poses = reconstruction.map.cloud(), len(reconstruction.trajectory)
    taken = [answer for frame in frames[11:30] for answer in reconstruction.process(frame)]
    assert [submap.id for submap in reconstruction.map.submaps] == [0, 1]
    first, second = reconstruction.map.submaps
    np.testing.assert_array_equal(first.cloud(reconstruction.config.map.min_observations).points, before.points)
    assert [pose.index for pose in second.poses] == list(range(10 + CONFIRMATIONS - 1, 29))
    assert len(first.poses) == poses == 10 and sum(answer.is_tracked for answer in taken) == len(second.poses)
    assert second.cloud().points.min(axis=0)[0] > 50.0, "x is ahead in the world"

    reconstruction.save(tmp_path / "map")
    other = Reconstruction(ModelStream(Carried(poses=True)), Config())
    other.load(tmp_path / "map")
    for frame in frames[30:]:
        answers = [each.process(frame) for each in (reconstruction, other)]
        assert [answer.is_tracked for answer in answers[0]] == [answer.is_tracked for answer in answers[1]]
    assert len(reconstruction.map.submaps) == len(other.map.submaps) == 2
    assert [pose.index for pose in other.map.submaps[1].poses] == list(range(10 + CONFIRMATIONS - 1, 39))


def test_an_answer_that_is_not_final_is_judged_and_changes_nothing() -> None:
    bench, given = Bench(), answers(6)
    bench.hear(given[:4])
    early = [dataclasses.replace(answer, final=False) for answer in (given[4], elsewhere(given[4], 60.0))]
    assert bench.hear(early) == [True, False]
    assert (bench.tracking.state, bench.tracking.lost_frames) == (TRACKING, 0)


def test_cameras_and_submaps_are_judged_by_what_they_saw_themselves() -> None:
    bench, given = Bench(), answers(6)
    bench.hear(given[:4])
    far = elsewhere(given[4], 60.0)
    left = dataclasses.replace(far, frame=dataclasses.replace(far.frame, camera="left"))
    assert bench.hear([left, dataclasses.replace(far, submap=1), far]) == [True, True, False]


@pytest.mark.fault("lost")
def test_one_wrong_answer_among_the_last_does_not_make_the_right_ones_wrong() -> None:
    bench, given = Bench(min_agreement=0.0), answers(8)
    wrong = dataclasses.replace(given[3], points=given[3].points * np.float32(1.3))
    assert bench.hear([*given[:3], wrong]) == [True] * 4
    bench.tracking.config.min_agreement = 0.9
    assert bench.hear(given[4:6]) == [True] * 2


@pytest.mark.fault("first images", case="23")
def test_a_young_world_begins_anew_when_as_many_answers_speak_against_it_as_for_it() -> None:
    bench, given = Bench(), answers(20)
    moved = [elsewhere(answer, 60.0) for answer in given]
    assert bench.hear(given[:3]) == [True] * 3 and bench.tracking.state == TRACKING
    assert bench.hear(moved[3:5]) == [False] * 2 and not bench.tracking.must_begin_anew
    assert bench.hear([given[5], moved[6]]) == [True, False] and not bench.tracking.must_begin_anew
    assert bench.hear(moved[7:8]) == [False] and bench.tracking.must_begin_anew, (
        "four of eight, one after the other or not"
    )
    bench.tracking.begin_anew()
    assert bench.tracking.state == INITIALISING and bench.tracking.lost_frames == 8, "those that were believed, too"
    assert bench.hear(moved[8:]) == [True] * 12 and bench.tracking.state == TRACKING
    old = Bench()
    old.hear(given[:CONFIRMATIONS])
    old.hear([without_pose(answer) for answer in given[CONFIRMATIONS:]])
    assert old.tracking.state == LOST and not old.tracking.must_begin_anew


@pytest.mark.fault("first images")
@pytest.mark.parametrize("ends", [False, True])
def test_of_a_batch_in_which_the_world_begins_anew_nothing_is_published(ends: bool) -> None:
    class Sees(FakeWindowModel):
        """Answers nonsense about the third image."""

        def infer(self, frames: Sequence[Frame]) -> list[Prediction]:
            noise = np.random.default_rng(0).uniform(0.2, 5.0, (*frames[0].image.shape[:2], 1))
            return [
                dataclasses.replace(answer, points=(answer.points * noise).astype(np.float32))
                if answer.frame.index == 2
                else answer
                for answer in super().infer(frames)
            ]

    stream = ModelStream(Windowed(Sees(poses=True), Windows(4, 1, "frame")))
    reconstruction = Reconstruction(stream, Config())
    frames = frames_of_the_path(4)
    taken = [answer for frame in frames[: 3 + (not ends)] for answer in reconstruction.process(frame)]
    taken += reconstruction.flush() if ends else []
    assert [answer.frame.index for answer in taken] == list(range(3 + (not ends)))
    assert not any(answer.is_tracked or answer.world_from_camera for answer in taken)
    assert not len(reconstruction.map) and not len(reconstruction.trajectory)
    assert reconstruction.tracking.state == INITIALISING


def test_what_is_remembered_is_bounded() -> None:
    bench = Bench()
    for answer in answers(20):
        for number in range(MOST_CAMERAS + 5):
            bench.hear([dataclasses.replace(answer, frame=dataclasses.replace(answer.frame, camera=str(number)))])
    cameras = bench.tracking._cameras
    assert len(cameras) == MOST_CAMERAS and all(len(camera.trusted) <= VIEWS for camera in cameras.values())


@pytest.mark.fault("first images", case="23")
@pytest.mark.parametrize(
    ("level", "contrast", "message"),
    [
        (0, 0, "no contrast: got 0.0 gray levels"),
        (255, 0, "no contrast"),
        (4, 2, "no contrast"),
        (120, -60, "no detail"),
        (150, -250, "overexposed: got [56].% of it white"),
    ],
)
def test_an_image_that_shows_nothing_is_not_shown_to_the_network(level: int, contrast: int, message: str) -> None:
    frame = random_frames(1, size=(640, 480))[0]
    ramp = np.broadcast_to(np.linspace(0, abs(contrast), 640)[None, :, None], (480, 640, 3))
    shown = level + (ramp if contrast < 0 else frame.image / 255 * contrast)
    image = np.clip(shown, 0, 255).astype(np.uint8)
    bench = Bench()
    with pytest.raises(UnusableImageError, match=message) as caught:
        bench.tracking.check(dataclasses.replace(frame, image=image))
    assert "(tracking.m" in str(caught.value) and bench.tracking.lost_frames == 1
    assert bench.tracking.state == INITIALISING and bench.tracking.reason and not bench.tracking.must_begin_anew
    bench.tracking.config.enabled = False
    bench.tracking.check(dataclasses.replace(frame, image=image))


@pytest.mark.fault("first images", case="23")
def test_a_world_that_began_with_another_room_begins_anew_and_is_the_true_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Sees(FakeStreamingModel):
        """Answers nonsense about one frame."""

        wrong = -1

        def step(self, frame, memory):  # type: ignore[no-untyped-def]
            given = super().step(frame, memory)
            scale = np.random.default_rng(0).uniform(0.2, 5.0, (*given[0].confidence.shape, 1)) if given else 1.0
            return [
                dataclasses.replace(answer, points=(answer.points * scale).astype(np.float32))
                if answer.frame.index == self.wrong
                else answer
                for answer in given
            ]

    def run(first: int, wrong: int) -> Reconstruction:
        model = Sees(poses=True)
        model.wrong = wrong
        reconstruction = Reconstruction(ModelStream(model), Config())
        reconstruction.config.map.voxel_size = 0.05
        for frame in frames_of_the_path(20 - first, first):
            reconstruction.process(frame)
        return reconstruction

    with caplog.at_level(logging.INFO):
        spoiled, clean = run(first=0, wrong=1), run(first=2, wrong=-1)
    assert spoiled.tracking.state == TRACKING and spoiled.tracking.lost_frames == 2, (
        "and the one that was believed first"
    )
    assert [pose.index for pose in spoiled.trajectory] == [pose.index for pose in clean.trajectory]
    np.testing.assert_array_equal(spoiled.map.cloud().points, clean.map.cloud().points)
    assert "the world has not begun yet, at frame 1" in caplog.text


@pytest.mark.fault("lost")
def test_what_is_not_trusted_is_neither_in_the_map_nor_on_the_path() -> None:
    reconstruction = Reconstruction(ModelStream(FakeStreamingModel(poses=True)), Config())
    frames = frames_of_the_path(12)
    for frame in frames[:6]:
        reconstruction.process(frame)
    held, path = reconstruction.map.cloud(), len(reconstruction.trajectory)
    black = dataclasses.replace(frames[6], image=np.zeros_like(frames[6].image))
    with pytest.raises(UnusableImageError):
        reconstruction.process(black)
    assert reconstruction.tracking.state == LOST
    np.testing.assert_array_equal(reconstruction.map.cloud().points, held.points)
    assert len(reconstruction.trajectory) == path
    assert all(answer.is_tracked for frame in frames[7:] for answer in reconstruction.process(frame))
    assert reconstruction.tracking.state == TRACKING


@pytest.mark.fault("lost")
def test_points_that_lie_where_they_were_seen_but_look_different_are_not_believed() -> None:
    bench, given = Bench(), [painted(answer) for answer in answers(8)]
    assert all(bench.hear(given[:5]))
    noise = np.random.default_rng(0).integers(0, 256, given[5].colors.shape, np.uint8)
    turned = np.ascontiguousarray(given[5].colors[::-1, ::-1])
    for colors in (noise, turned, 255 - given[5].colors):
        assert bench.hear([dataclasses.replace(given[5], colors=colors)]) == [False]
        assert "look different: the correlation of their gray levels" in bench.tracking.reason
    assert bench.hear([given[6]]) == [True] and bench.tracking.state == TRACKING
    config = Bench(min_likeness=-1.0)
    assert all(config.hear([*given[:5], dataclasses.replace(given[5], colors=noise)]))


@pytest.mark.fault("lost")
def test_more_or_less_light_is_no_other_place_and_a_flat_wall_tells_nothing() -> None:
    bench = Bench()
    given = [painted(answer, light) for answer, light in zip(answers(6), (1.0, 1.0, 0.4, 1.4, 0.5, 1.0), strict=True)]
    assert all(bench.hear(given))
    gray = np.full_like(given[0].colors, 128)
    assert bench.hear([dataclasses.replace(answers(7)[6], colors=gray)]) == [True]


@pytest.mark.fault("lost")
def test_a_camera_that_sends_noise_only_is_not_expected_to_send_anything_else() -> None:
    assert all(Bench().hear(answers(8)))  # whose frames are noise

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from geometric_models import FakeWindowModel, frames_of_the_path

from spann3r_ros.mapping.keyframes import Keyframe, Keyframes, nearest
from spann3r_ros.prediction import Prediction


def answer(index: int, submap: int = 0, **changes: object) -> Prediction:
    (found,) = FakeWindowModel().infer(frames_of_the_path(1, index))
    return dataclasses.replace(found, submap=submap, descriptor=np.eye(8, dtype=np.float32)[index % 8], **changes)


def keyframe(order: int, submap: int = 0) -> Keyframe:
    made = Keyframe.of(answer(order % 20, submap), order)
    assert made is not None
    return made


def test_an_answer_comes_back_good_to_a_thousandth() -> None:
    before = answer(3)
    made = Keyframe.of(before, 17)
    assert made is not None
    after = made.prediction()
    assert made.nbytes < 0.6 * (before.points.nbytes + before.confidence.nbytes + before.colors.nbytes)
    assert np.abs(after.points - before.points).max() < 2e-3 * made.depth
    assert np.abs(after.confidence - before.confidence).max() < 0.003
    np.testing.assert_array_equal(after.colors, before.colors)
    assert (after.frame.index, after.frame.stamp, after.frame.camera) == (3, 3 * 10**8, "camera")
    assert after.intrinsics == before.intrinsics and after.frame.image.shape == (32, 48, 3)


@pytest.mark.parametrize("far", [np.nan, np.inf, 1e30])
def test_points_that_no_half_float_can_hold_count_as_unsure(far: float) -> None:
    before = answer(0)
    before.points[0, 0] = far
    made = Keyframe.of(before, 0)
    assert made is not None and made.confidence[0, 0] == 0 and made.confidence[1, 1] > 0
    assert np.isfinite(made.prediction().points).all()


def test_an_answer_without_pose_or_calibration_or_points_ahead_is_none() -> None:
    assert Keyframe.of(answer(0, submap_from_camera=None), 0) is None
    assert Keyframe.of(answer(0, intrinsics=None), 0) is None
    assert Keyframe.of(answer(0, confidence=np.zeros((32, 48), np.float32)), 0) is None


def test_saved_and_loaded_it_is_the_same() -> None:
    made = keyframe(5, 2)
    again = Keyframe.load(made.saved())
    for name, value in made.saved().items():
        np.testing.assert_array_equal(again.saved()[name], value)


@pytest.mark.parametrize(
    "damage",
    [
        {"points": np.zeros((32, 48, 3), np.float32)},
        {"colors": np.zeros((3, 4, 3), np.uint8)},
        {"descriptor": np.array([np.nan], np.float32)},
        {"pose": np.zeros((4, 4))},
        {"numbers": np.array([1.0, -1.0, 1.0, 1.0, 1.0])},
        {"counts": np.array([1, 2], np.int64)},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_damaged_arrays_are_refused(damage: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError):
        Keyframe.load(keyframe(0).saved() | damage)


def test_of_a_long_submap_a_few_are_kept_spread_over_it() -> None:
    kept = Keyframes(8, 10**9)
    for order in range(200):
        kept.add(0, lambda order=order: keyframe(order))
    orders = [each.order for each in kept.all()]
    assert 4 <= len(orders) <= 8 and orders[0] == 0 and orders[-1] > 120
    assert max(np.diff(orders)) <= 2 * min(np.diff(orders))
    assert kept.nbytes == sum(each.nbytes for each in kept.all())


def test_bytes_of_all_submaps_are_bounded_and_none_is_forgotten_while_another_has_two() -> None:
    size = keyframe(0).nbytes
    kept = Keyframes(8, 20 * size)
    for submap in range(15):
        for order in range(30):
            kept.add(submap, lambda order=order, submap=submap: keyframe(30 * submap + order, submap))
        assert kept.nbytes <= 20 * size
    assert {each.submap for each in kept.all()} == set(range(15)) and kept.dropped > 0
    for submap in range(15, 40):
        kept.add(submap, lambda submap=submap: keyframe(0, submap))
    assert len(kept) == 20 and min(each.submap for each in kept.all()) == 20


def test_one_that_cannot_be_made_leaves_its_turn_to_the_next() -> None:
    kept = Keyframes(2, 10**9)
    assert kept.add(0, lambda: None) is None
    assert kept.add(0, lambda: keyframe(1)) is not None and len(kept) == 1


def test_the_nearest_in_time_are_of_the_same_submap_and_in_order() -> None:
    kept = [keyframe(order, order // 10) for order in range(20)]
    assert [each.order for each in nearest(kept, kept[10], 3)] == [10, 11, 12]
    assert [each.order for each in nearest(kept, kept[5], 3)] == [4, 5, 6]

"""Photographs of a known surface, answered pair by pair in units of their own, come out where they were taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from described_surface import camera_of, surface_frame, surface_model
from geometric_models import true_points, true_pose

from spann3r_ros.alignment import edge_predictions
from spann3r_ros.alignment.photographs import align_globally, align_sparsely
from spann3r_ros.errors import AnswerError, ConfigError, GeometryError
from spann3r_ros.geometry.alignment import umeyama
from spann3r_ros.models.mast3r.model import DescribedView, Mast3r
from spann3r_ros.models.mast3r.network import Descriptors
from spann3r_ros.models.pointmap import EncodedView
from spann3r_ros.prediction import Prediction

NUMBERS = (4, 9, 1, 6)


class Unequal(Mast3r):
    """Each pair in a unit of its own: e^-0.3 .. e^0.3, whose geometric mean over the pairs here is near 1."""

    broken = False

    def infer(self, a: EncodedView, b: EncodedView) -> tuple[Prediction, Prediction]:
        number = 10 * a.view.frame.index + b.view.frame.index
        unit = np.float32(np.exp(0.3 * np.sin(number)))
        unit = np.float32("nan") if self.broken else unit
        first, second = (dataclasses.replace(p, points=p.points * unit) for p in super().infer(a, b))
        return first, second


def unequal_model() -> Unequal:
    plain = surface_model()
    model = Unequal.__new__(Unequal)
    model.__dict__.update(plain.__dict__)
    return model


def check(answers: Sequence[Prediction], numbers: Sequence[int], tolerance: float) -> None:
    """Poses and points equal the truth but for one scale, in the first image's camera."""
    first = true_pose(numbers[0]).inverse()
    poses = [answer.submap_from_camera for answer in answers]
    truth = np.array([(first @ true_pose(number)).translation for number in numbers])
    found = np.array([pose.translation for pose in poses if pose is not None])
    assert found.shape == truth.shape and np.abs(found[0]).max() < 1e-9
    scale = np.linalg.norm(found) / np.linalg.norm(truth)
    np.testing.assert_allclose(found / scale, truth, atol=tolerance)
    assert 0.7 < scale < 1.4  # the unit of the average pair
    for answer, number in zip(answers, numbers, strict=True):
        assert answer.frame.index == number and answer.pose_source == "model" and answer.intrinsics is not None
        focal = answer.intrinsics.fx
        assert focal == pytest.approx(camera_of(64, 48).fx, rel=0.03)
        sure = answer.confidence > 0
        assert sure.mean() > 0.5


@pytest.mark.parametrize("pairs", ["complete", "oneref-1", "swin-1"])
def test_all_cameras_are_found(pairs: str) -> None:
    steps: list[int] = []
    frames = [surface_frame(number) for number in NUMBERS]
    result = align_globally(unequal_model(), frames, pairs=pairs, iterations=60, stepped=lambda: steps.append(1))
    assert result.order == [0, 1, 2, 3]
    count = {"complete": 12, "oneref-1": 6, "swin-1": 8}[pairs]
    assert len(steps) == count + 60 and (result.pair_scores > 0).sum() == count
    check(result.predictions, NUMBERS, 0.05)


def test_two_images_need_no_iterations() -> None:
    steps: list[int] = []
    frames = [surface_frame(number) for number in NUMBERS[:2]]
    result = align_globally(surface_model(), frames, stepped=lambda: steps.append(1))
    assert len(steps) == 2
    check(result.predictions, NUMBERS[:2], 0.05)


class Inverted(Mast3r):
    """Points left where they are right, as a network that was never trained may answer: no camera sees that."""

    def infer(self, a: EncodedView, b: EncodedView) -> tuple[Prediction, Prediction]:
        flip = np.float32([-1, -1, 1])
        first, second = (dataclasses.replace(p, points=p.points * flip) for p in super().infer(a, b))
        return first, second


def test_two_images_that_no_camera_explains_are_refused_in_words() -> None:
    model = Inverted.__new__(Inverted)
    model.__dict__.update(surface_model().__dict__)
    with pytest.raises(GeometryError, match=r"focal length that explains .*: got -\d.* px; expected > 0 px"):
        align_globally(model, [surface_frame(number) for number in NUMBERS[:2]])


def test_calibrated_images_keep_their_calibration() -> None:
    camera = camera_of(64, 48)
    frames = [dataclasses.replace(surface_frame(number), intrinsics=camera) for number in NUMBERS]
    result = align_globally(surface_model(), frames, iterations=150)
    assert {answer.intrinsics_source for answer in result.predictions} == {"camera_info"}
    assert all(answer.intrinsics == camera for answer in result.predictions)
    check(result.predictions, NUMBERS, 0.03)


def test_the_same_photograph_twice_does_no_harm() -> None:
    frames = [surface_frame(number) for number in (4, 4, 7)]
    result = align_globally(surface_model(), frames, iterations=20)
    poses = [answer.submap_from_camera for answer in result.predictions]
    assert poses[0] is not None and poses[1] is not None
    np.testing.assert_allclose(poses[0].matrix(), poses[1].matrix(), atol=0.06)


def test_answers_that_do_not_fit_into_memory_are_refused_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_predictions, "MOST_BYTES", 1_000_000)
    frames, steps = [surface_frame(number) for number in NUMBERS], list[int]()
    with pytest.raises(ConfigError, match=r"12 ordered pairs.*--pairs swin-3"):
        align_globally(surface_model(), frames, stepped=lambda: steps.append(1))
    assert not steps


def test_an_answer_that_is_not_finite_ends_it() -> None:
    model = unequal_model()
    model.broken = True
    with pytest.raises(AnswerError, match="about images 1 and 0 is not finite"):
        align_globally(model, [surface_frame(number) for number in NUMBERS])


def test_matches_give_the_surface() -> None:
    """Matches are whole pixels, of which there are few here: cameras are only as exact as that."""
    steps: list[int] = []
    numbers = (4, 9, 1)
    frames = [surface_frame(number) for number in numbers]
    result = align_sparsely(surface_model(6.0), frames, iterations=30, stepped=lambda: steps.append(1))
    assert result.order == [0, 1, 2] and len(steps) == 3 + 60 and (result.pair_scores > 0).sum() == 6
    found = np.concatenate([answer.points.reshape(-1, 3)[::7] for answer in result.predictions])
    truth = np.concatenate([true_points(number, camera_of(64, 48)).reshape(-1, 3)[::7] for number in numbers])
    errors = np.linalg.norm(umeyama(found, truth).apply(found) - truth, axis=1)
    assert np.median(errors) < 0.15  # at a depth of 4
    first = true_pose(numbers[0]).inverse()
    for answer, number in zip(result.predictions, numbers, strict=True):
        pose = answer.submap_from_camera
        assert pose is not None and answer.pose_source == "model" and answer.intrinsics_source == "model"
        assert (pose.inverse() @ first @ true_pose(number)).rotation_angle() < 0.1


def test_photographs_without_a_match_to_the_others_are_named() -> None:
    frames = [surface_frame(number) for number in (4, 6, 200)]
    model = surface_model()
    real = model.describe

    def describe(a: EncodedView, b: EncodedView) -> tuple[DescribedView, DescribedView]:
        first, second = real(a, b)
        if (a.view.frame.index == 200) != (b.view.frame.index == 200):
            unsure = (
                Descriptors(d.vectors, 0.5 * torch.ones_like(d.confidence))
                for d in (first.descriptors, second.descriptors)
            )
            return DescribedView(first.pointmap, next(unsure)), DescribedView(second.pointmap, next(unsure))
        return first, second

    model.describe = describe  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"share no match with the others: got c\.png.*--align global"):
        align_sparsely(model, frames, iterations=1, names=["a.png", "b.png", "c.png"])

"""Photographs of a known surface, answered pair by pair in units of their own, come out where they were taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from described_surface import camera_of, surface_frame, surface_model
from geometric_models import true_pose

from spann3r_ros.alignment import edge_predictions
from spann3r_ros.alignment.photographs import align_globally
from spann3r_ros.errors import AnswerError, ConfigError
from spann3r_ros.models.mast3r.model import Mast3r
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
    assert found.shape == truth.shape and not found[0].any()
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


def test_calibrated_images_keep_their_calibration() -> None:
    camera = camera_of(64, 48)
    frames = [dataclasses.replace(surface_frame(number), intrinsics=camera) for number in NUMBERS]
    result = align_globally(surface_model(), frames, iterations=20)
    assert {answer.intrinsics_source for answer in result.predictions} == {"camera_info"}
    assert all(answer.intrinsics == camera for answer in result.predictions)
    check(result.predictions, NUMBERS, 0.02)


def test_the_same_photograph_twice_does_no_harm() -> None:
    frames = [surface_frame(number) for number in (4, 4, 7)]
    result = align_globally(surface_model(), frames, iterations=20)
    poses = [answer.submap_from_camera for answer in result.predictions]
    assert poses[0] is not None and poses[1] is not None
    np.testing.assert_allclose(poses[0].matrix(), poses[1].matrix(), atol=0.02)


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

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from described_surface import surface_answer, surface_frame, surface_model
from tiny_models import random_frames

from spann3r_ros.config import Config
from spann3r_ros.errors import FrameError
from spann3r_ros.frame import Frame
from spann3r_ros.models.base import PairModel, Relating
from spann3r_ros.models.mast3r.architecture import TINY
from spann3r_ros.models.mast3r.model import Mast3r
from spann3r_ros.models.mast3r.network import Mast3rNetwork
from spann3r_ros.sim3 import Sim3
from spann3r_ros.streaming.stream import stream_of

TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
A_FROM_TRUTH = Sim3(1.3, TURN, np.array([0.4, -2.0, 1.0]))
B_FROM_TRUTH = Sim3(0.4, TURN.T, np.array([5.0, 0.0, 0.3]))


def make(size: tuple[int, int] = (384, 512)) -> Mast3r:
    torch.manual_seed(0)
    network = Mast3rNetwork(dataclasses.replace(TINY, image_size=size)).eval().requires_grad_(False)
    return Mast3r(network, Config(model="mast3r"), "random")


def test_it_is_a_metric_model_of_pairs_that_relates() -> None:
    model = make()
    assert isinstance(model, PairModel) and isinstance(model, Relating)
    assert model.metric and model.name == "mast3r" and model.mixed_sizes


def test_both_orders_are_two_decodings_of_images_encoded_once() -> None:
    model, frames = make((48, 64)), random_frames(2)
    a, b = (model.encode(frame) for frame in frames)
    both = model.describe_symmetric(a, b)
    answers = model.infer(b, a)
    np.testing.assert_array_equal(both.b_in_b.pointmap.points[0].numpy(), answers[0].points)
    np.testing.assert_array_equal(both.a_in_b.pointmap.points[0].numpy(), answers[1].points)
    assert torch.equal(both.a_in_a.descriptors.vectors, model.describe(a, b)[0].descriptors.vectors)


@pytest.mark.parametrize(
    ("width", "height", "grid"), [(640, 480, (24, 32)), (480, 640, (32, 24)), (900, 300, (10, 32))]
)
def test_images_are_cut_as_published(width: int, height: int, grid: tuple[int, int]) -> None:
    assert make().encode(random_frames(1, (width, height))[0]).grid == grid


def test_an_image_too_narrow_is_refused() -> None:
    with pytest.raises(FrameError, match="too narrow"):
        make().encode(Frame(0, 0, "camera", np.zeros((20, 900, 3), np.uint8)))


def test_two_submaps_are_related_by_their_matches() -> None:
    ours = [surface_answer(number, A_FROM_TRUTH) for number in (10, 12, 14)]
    theirs = [surface_answer(number, B_FROM_TRUTH) for number in (13, 15)]
    relation = surface_model().relate(ours, theirs)
    assert relation is not None and 0.5 < relation.confidence <= 1.0
    expected = A_FROM_TRUTH @ B_FROM_TRUTH.inverse()
    # A match is off by up to half a pixel, a hundredth of the image.
    assert relation.a_from_b.scale == pytest.approx(expected.scale, rel=5e-3)
    assert (relation.a_from_b.rotation @ expected.rotation.T).trace() > 3 - 1e-3
    center = B_FROM_TRUTH.apply(np.array([1.2, 0.0, 4.0]))
    np.testing.assert_allclose(relation.a_from_b.apply(center), expected.apply(center), atol=0.03)


def test_outliers_do_not_hurt() -> None:
    ours, theirs = surface_answer(10, A_FROM_TRUTH), surface_answer(13, B_FROM_TRUTH)
    wrong = np.random.default_rng(0).random(theirs.confidence.shape) < 0.25
    points = np.where(wrong[..., None], np.float32(9.0), theirs.points)
    clean, noisy = (surface_model().relate([ours], [b]) for b in (theirs, dataclasses.replace(theirs, points=points)))
    assert clean is not None and noisy is not None and noisy.confidence < clean.confidence
    np.testing.assert_allclose(noisy.a_from_b.matrix(), clean.a_from_b.matrix(), atol=0.05)


def test_points_of_another_network_on_another_grid_are_related_too() -> None:
    ours = [surface_answer(10, A_FROM_TRUTH, 96, 72)]
    theirs = [surface_answer(13, B_FROM_TRUTH, 128, 96)]
    relation = surface_model().relate(ours, theirs)
    expected = A_FROM_TRUTH @ B_FROM_TRUTH.inverse()
    assert relation is not None and relation.a_from_b.scale == pytest.approx(expected.scale, rel=1e-2)


def test_other_places_are_not_related() -> None:
    ours = [surface_answer(number, A_FROM_TRUTH) for number in (10, 14)]
    far = [surface_answer(number, B_FROM_TRUTH) for number in (200, 204)]
    assert surface_model().relate(ours, far) is None
    assert surface_model(sure=1.0).relate(ours, ours) is None  # nor where the network is not sure of its descriptors


def test_the_same_image_twice_lies_where_it_lies() -> None:
    answer = surface_answer(10, A_FROM_TRUTH)
    relation = surface_model().relate([answer], [answer])
    assert relation is not None and relation.confidence > 0.9
    np.testing.assert_allclose(relation.a_from_b.matrix(), np.eye(4), atol=1e-4)


def test_a_stream_follows_keyframes_in_the_unit_of_the_first_pair() -> None:
    model = surface_model()
    running = stream_of(model, Config(model="mast3r", image_width=64, image_height=48))
    answers = [answer for number in range(6) for answer in running.step(surface_frame(number))]
    assert [answer.frame.index for answer in answers] == [0, 1, 2, 3, 4, 5]
    for answer in answers:  # all in the first camera's axes, in its unit
        expected = surface_answer(answer.frame.index, surface_pose(0)).points
        np.testing.assert_allclose(answer.points, expected, atol=1e-3)


def surface_pose(number: int) -> Sim3:
    from geometric_models import true_pose

    return true_pose(number).inverse()

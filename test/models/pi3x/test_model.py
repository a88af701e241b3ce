from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import random_frames

from spann3r_ros.config import Config
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models.pi3x.architecture import TINY
from spann3r_ros.models.pi3x.conditions import Conditions
from spann3r_ros.models.pi3x.model import Pi3x
from spann3r_ros.models.pi3x.network import Pi3xNetwork
from spann3r_ros.models.pi3x.parameters import Pi3xParameters
from spann3r_ros.sim3 import Sim3

CAMERA = Intrinsics(120.0, 118.0, 57.0, 40.0, 112, 84)


def model(conditioned: bool = True, **settings: Any) -> Pi3x:
    torch.manual_seed(0)
    network = Pi3xNetwork(dataclasses.replace(TINY, conditioned=conditioned)).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
    config = Config(model="pi3x")
    for name, value in {"window": 4, "overlap": 2, "edge_filter": False, "use_poses": True, **settings}.items():
        setattr(config.of(Pi3xParameters), name, value)
    return Pi3x(network, config, "random")


def known_frames(count: int = 3) -> list[Frame]:
    """Frames that come with all that can be known."""
    return [
        dataclasses.replace(
            frame,
            intrinsics=CAMERA,
            prior=Sim3.rigid(np.eye(3), np.array([1000.0 + 0.1 * frame.index, 0.0, 0.0])),
            depth=np.full((84, 112), 2.0 + frame.index, np.float32),
        )
        for frame in random_frames(count, size=(112, 84))
    ]


def told(ours: Pi3x, frames: list[Frame]) -> Conditions:
    conditions = ours.conditions(ours.views(frames))
    assert conditions is not None
    return conditions


def test_it_is_metric_and_answers_without_anything_known() -> None:
    ours = model()
    assert ours.metric and ours.name == "pi3x"
    frames = random_frames(3, size=(112, 84))
    assert ours.conditions(ours.views(frames)) is None
    answers = ours.infer(frames)
    assert [answer.frame for answer in answers] == frames
    assert all(np.isfinite(answer.points).all() and answer.pose_source == "model" for answer in answers)


def test_everything_that_is_known_is_told() -> None:
    conditions = told(model(), known_frames())
    assert conditions.rays is not None and conditions.depths is not None and conditions.poses is not None
    assert (conditions.has_rays, conditions.has_depth, conditions.has_pose) == (None, None, None)
    # Pixel (0, 0) of the half as large image, whose principal point lies at (57.5 / 2 - 0.5, 40.5 / 2 - 0.5).
    np.testing.assert_allclose(conditions.rays[0, 1, :, 0, 0], [-28.25 / 60, -19.75 / 59], rtol=1e-5)
    np.testing.assert_array_equal(conditions.depths[0, :, 3, 4], [2.0, 3.0, 4.0])
    np.testing.assert_allclose(conditions.poses[0, :, 0, 3], [0.0, 0.1, 0.2], atol=1e-6)


def test_parameters_decide_what_is_told() -> None:
    frames, ours = known_frames(), model(use_intrinsics=False, use_poses=False, use_depth=False)
    assert ours.conditions(ours.views(frames)) is None
    answers = [model(**{name: False}).infer(frames) for name in ("use_intrinsics", "use_poses", "use_depth")]
    everything = model().infer(frames)
    for one in answers:
        assert not np.allclose(one[1].confidence, everything[1].confidence, atol=1e-4)


def test_what_is_known_of_some_frames_is_masked_in_the_others() -> None:
    frames = known_frames(4)
    frames[1] = dataclasses.replace(frames[1], intrinsics=None, depth=None, prior=None)
    frames[0] = dataclasses.replace(frames[0], prior=None)
    conditions = told(model(), frames)
    for mask, expected in (
        (conditions.has_rays, [True, False, True, True]),
        (conditions.has_depth, [True, False, True, True]),
        (conditions.has_pose, [False, False, True, True]),
    ):
        assert mask is not None and mask.tolist() == [expected]
    assert conditions.depths is not None and not conditions.depths[0, 1].any()
    assert conditions.poses is not None
    np.testing.assert_allclose(conditions.poses[0, :, 0, 3], [0.0, 0.0, 0.0, 0.1], atol=1e-6)
    assert all(np.isfinite(answer.points).all() for answer in model().infer(frames))


def test_one_pose_tells_nothing() -> None:
    frames = [dataclasses.replace(frame, intrinsics=None, depth=None) for frame in known_frames(3)]
    alone = [frames[0], *(dataclasses.replace(frame, prior=None) for frame in frames[1:])]
    ours = model()
    assert ours.conditions(ours.views(alone)) is None


def test_depth_is_never_mixed_across_an_edge() -> None:
    frames = known_frames(2)
    depth = np.where(np.arange(112) < 50, 1.0, 9.0).astype(np.float32) * np.ones((84, 1), np.float32)
    conditions = told(model(), [dataclasses.replace(frame, depth=depth) for frame in frames])
    assert conditions.depths is not None and set(conditions.depths.unique().tolist()) == {1.0, 9.0}


def test_weights_for_images_only_say_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ours = model(conditioned=False)
    assert "take images only" in caplog.text
    plain = [dataclasses.replace(frame, intrinsics=None, prior=None, depth=None) for frame in known_frames()]
    for one, other in zip(ours.infer(known_frames()), ours.infer(plain), strict=True):
        np.testing.assert_array_equal(one.points, other.points)

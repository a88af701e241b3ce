from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny_models import TINY_TRUNK, random_frames

from spann3r_ros.config import Config
from spann3r_ros.models.dust3r.model import Dust3r
from spann3r_ros.models.dust3r.network import Dust3rNetwork
from spann3r_ros.models.preprocess import preprocess


def make() -> Dust3r:
    torch.manual_seed(0)
    return Dust3r(Dust3rNetwork(TINY_TRUNK).eval().requires_grad_(False), Config(), "random")


def test_a_pair_is_the_network_itself() -> None:
    model, frames = make(), random_frames(2)
    answers = model.infer(*(model.encode(frame) for frame in frames))
    images = [preprocess(frame, model.image_size).pixels for frame in frames]
    with torch.no_grad():
        expected = model.network(*images)
    for answer, pointmap, frame in zip(answers, expected, frames, strict=True):
        assert answer.frame is frame and answer.final and answer.submap == 0
        np.testing.assert_allclose(answer.points, pointmap.points[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(answer.confidence, 1 - 1 / pointmap.confidence[0], rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "expected"), [((640, 480), (384, 512)), ((480, 640), (512, 384)), ((512, 288), (288, 512))]
)
def test_the_official_size_follows_the_aspect_of_the_image(size: tuple[int, int], expected: tuple[int, int]) -> None:
    torch.manual_seed(0)
    architecture = dataclasses.replace(TINY_TRUNK, image_size=(384, 512))
    model = Dust3r(Dust3rNetwork(architecture).eval().requires_grad_(False), Config(), "random")
    answers = model.infer(*(model.encode(frame) for frame in random_frames(2, size=size)))
    assert [answer.points.shape[:2] for answer in answers] == [expected] * 2 and model.mixed_sizes

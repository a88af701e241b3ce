from __future__ import annotations

import numpy as np
import torch
from tiny_models import tiny_network

from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models.pointmap import Pointmap, View, fingerprint, to_prediction


def view() -> View:
    generator = np.random.default_rng(0)
    camera = Intrinsics(10.0, 11.0, 3.5, 2.5, 8, 6)
    frame = Frame(7, 1_234_567_890_123_456_789, "left", generator.integers(0, 256, (6, 8, 3), np.uint8), camera)
    return View(frame, generator.integers(0, 256, (3, 4, 3), np.uint8), Intrinsics(5.0, 5.5, 1.5, 1.0, 4, 3))


def test_confidence_becomes_a_share() -> None:
    pointmap = Pointmap(torch.zeros(1, 3, 4, 3), torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1).expand(1, 3, 4))
    prediction = to_prediction(pointmap, view(), final=True)
    assert prediction.confidence[:, 0].tolist() == [0.0, 0.5, 0.75]
    assert (
        prediction.intrinsics == view().intrinsics
        and prediction.submap_from_camera is None
        and prediction.intrinsics_source == "camera_info"
    )


def test_the_mean_direction_of_the_tokens_describes_the_place() -> None:
    pointmap = Pointmap(torch.zeros(1, 3, 4, 3), torch.full((1, 3, 4), 2.0))
    tokens = torch.tensor([[[3.0, 0.0, 0.0], [0.0, 0.5, 0.0]]])
    prediction = to_prediction(pointmap, view(), final=True, features=tokens)
    assert prediction.descriptor is not None and prediction.descriptor.dtype == np.float32
    np.testing.assert_allclose(prediction.descriptor, [0.5**0.5, 0.5**0.5, 0.0], atol=1e-6)
    assert prediction.confidence.shape == (3, 4) and (prediction.confidence == 0.5).all()
    assert to_prediction(pointmap, view(), final=True).descriptor is None


def test_a_view_survives_a_file() -> None:
    original, tensors = view(), {}
    again = View.load(tensors, original.save(tensors))
    assert np.array_equal(again.frame.image, original.frame.image) and np.array_equal(again.colors, original.colors)
    assert (again.frame.stamp, again.frame.camera, again.frame.index) == (1_234_567_890_123_456_789, "left", 7)
    assert again.frame.intrinsics == original.frame.intrinsics and again.intrinsics == original.intrinsics


def test_fingerprints_tell_weights_sizes_and_precisions_apart() -> None:
    one, other = tiny_network(), tiny_network()
    names = ("spann3r", one.architecture, [one.norm_k], torch.float32)
    assert fingerprint(*names) == fingerprint("spann3r", other.architecture, [other.norm_k], torch.float32)
    other.norm_k.bias[0] += 1e-6
    different = [
        fingerprint("spann3r", other.architecture, [other.norm_k], torch.float32),
        fingerprint("spann3r", one.architecture.trunk, [one.norm_k], torch.float32),
        fingerprint("spann3r", one.architecture, [one.norm_k], torch.bfloat16),
    ]
    assert fingerprint(*names) not in different

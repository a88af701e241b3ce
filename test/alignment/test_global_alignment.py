"""Global alignment on pairs of a known surface: starts, known cameras, gradients in parts, refusals.

Equality with the published stages is in test/evaluation/parity/test_dust3r_alignment.py.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from described_surface import camera_of
from geometric_models import true_points, true_pose

from spann3r_ros.alignment import global_alignment
from spann3r_ros.alignment.descent import descend
from spann3r_ros.alignment.edge_predictions import EdgePrediction
from spann3r_ros.alignment.global_alignment import AlignmentOptions, GlobalAlignment, KnownCameras
from spann3r_ros.alignment.pair_graph import pair_graph
from spann3r_ros.alignment.spanning_tree import chained
from spann3r_ros.errors import AnswerError, ConfigError

NUMBERS, CAMERA = (4, 9, 1), camera_of(32, 24)


def predictions(focals: tuple[float, ...] = (24.0, 24.0, 24.0)) -> list[EdgePrediction]:
    """Exact answers, each pair in a unit of its own, of cameras with these focal lengths."""
    cameras = [dataclasses.replace(CAMERA, fx=focal, fy=focal, cx=16.0, cy=12.0) for focal in focals]
    found = []
    for place, (i, j) in enumerate(pair_graph("complete", len(NUMBERS))):
        unit = 1.0 + 0.1 * place
        maps = [
            (unit * true_pose(NUMBERS[i]).inverse().apply(true_points(NUMBERS[k], cameras[k]))).astype(np.float32)
            for k in (i, j)
        ]
        confidence = np.full(maps[0].shape[:2], 5.0 + place, np.float32)
        found.append(EdgePrediction((i, j), maps[0], confidence, maps[1], confidence))
    return found


def known(poses: bool = True) -> KnownCameras:
    images = range(len(NUMBERS))
    return KnownCameras(
        {image: true_pose(NUMBERS[image]).matrix() for image in images} if poses else {},
        dict.fromkeys(images, 24.0),
    )


def test_exact_answers_need_no_motion() -> None:
    scene = GlobalAlignment(predictions())
    scene.start_from_tree()
    scene.parameters()
    assert scene.backward() < 1e-3
    torch.testing.assert_close(scene.focal_lengths().detach(), torch.full((3, 1), 24.0), rtol=1e-3, atol=0)
    assert float(scene.pair_scales().log().mean().exp()) == pytest.approx(0.5, rel=1e-5)


def test_chunks_change_neither_loss_nor_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for chunk in (1, 1 << 22):
        monkeypatch.setattr(global_alignment, "CHUNK", chunk)
        scene = GlobalAlignment(predictions((24.0, 30.0, 20.0)), AlignmentOptions(adapt_pairs=True, distance="l2"))
        scene.start_from_tree()
        scene.poses += 0.01
        parameters = scene.parameters()
        loss = scene.backward()
        found.append((loss, [tensor.grad.clone() for tensor in parameters if tensor.grad is not None]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5) and found[0][0] > 1e-4
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_known_cameras_stay_where_they_are() -> None:
    scene = GlobalAlignment(predictions(), known=known())
    scene.start_from_known_poses()
    before = [scene.poses.clone(), scene.focals.clone(), scene.depths.clone()]
    losses, _ = descend(scene.parameters(), scene.backward, 10, rate=0.01)
    assert torch.equal(scene.poses, before[0]) and torch.equal(scene.focals, before[1])
    assert not torch.equal(scene.depths, before[2]) and losses[0] < 0.2
    points = scene.point_maps()[1].detach().numpy()
    np.testing.assert_allclose(points, true_points(9, dataclasses.replace(CAMERA, cx=16.0, cy=12.0)), atol=0.15)


def test_two_known_poses_place_the_third() -> None:
    every = known()
    some = KnownCameras({image: every.poses[image] for image in (0, 2)}, {1: 24.0})
    scene = GlobalAlignment(predictions(), known=some)
    scene.start_from_tree()
    np.testing.assert_allclose(scene.camera_poses()[1].numpy(), every.poses[1], atol=2e-2)


def test_the_published_mistake_takes_a_focal_length_from_another_image() -> None:
    focals = (24.0, 32.0, 18.0)
    found = predictions(focals)
    confidences = [np.full((24, 32), 9.0, np.float32)] * 3
    right, stale = (chained(found, confidences, stale_focals=published).focals for published in (False, True))
    np.testing.assert_allclose(right, focals, rtol=2e-3)
    assert np.abs(stale - focals).max() > 1.0


def test_a_point_behind_the_camera_begins_at_depth_one() -> None:
    found = predictions()
    for prediction in found:
        prediction.first_points[3, 4, 2] *= -1
        prediction.second_points[3, 4, 2] *= -1
    scene = GlobalAlignment(found)
    scene.start_from_tree()
    depths = torch.stack(scene.depth_maps())
    assert torch.isfinite(depths).all() and (depths[:, 3, 4] == 1.0).any()


def test_what_cannot_be_aligned_is_refused() -> None:
    found = predictions()
    with pytest.raises(ConfigError, match=r"images without a pair: got \[0\]"):
        GlobalAlignment([p for p in found if 0 not in p.edge])
    smaller = dataclasses.replace(
        found[0], first_points=found[0].first_points[:16], first_confidence=np.ones((16, 32), "f4")
    )
    with pytest.raises(ConfigError, match="size of image"):
        GlobalAlignment([smaller, *found[1:]])
    one = GlobalAlignment(found, known=KnownCameras({1: np.eye(4)}))
    with pytest.raises(ConfigError, match="known poses of a global alignment: got 1"):
        one.start_from_tree()
    with pytest.raises(ConfigError, match="all but"):
        GlobalAlignment(found, known=known(poses=False)).start_from_known_poses()
    for wrong in ({"distance": "l3"}, {"weight": "cube"}):
        with pytest.raises(ConfigError):
            AlignmentOptions(**wrong)  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_ends_it() -> None:
    with pytest.raises(AnswerError, match="diverged: got loss nan in step 0"):
        descend([torch.zeros(1, requires_grad=True)], lambda: float("nan"), 3, rate=0.1)
    with pytest.raises(ConfigError, match="schedule"):
        descend([torch.zeros(1, requires_grad=True)], lambda: 0.0, 3, rate=0.1, schedule="steps")

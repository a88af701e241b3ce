"""The losses equal the published model's numbers, and the default normalizer is the right one."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import GOLDEN

from spann3r_ros.errors import ConfigError
from spann3r_ros.training.losses import Answers, Truth, mean_distance, pointmap_loss, scales


def golden(case: str) -> tuple[Answers, Truth, dict]:
    tensors = load_file(GOLDEN / "loss_golden.safetensors")
    expected = json.loads((GOLDEN / "loss_golden.json").read_text())[case]

    def stacked(side: str, name: str) -> torch.Tensor:
        return torch.stack([tensors[f"{case}.pred{i}.{side}.{name}"] for i in range(3)], 1)

    first_from_world = torch.linalg.inv(tensors[f"{case}.gt0.camera_pose"])
    world = torch.stack([tensors[f"{case}.gt{i}.pts3d"] for i in range(4)], 1)
    points = torch.einsum("bij,bthwj->bthwi", first_from_world[:, :3, :3], world)
    points = points + first_from_world[:, None, None, None, :3, 3]
    valid = torch.stack([tensors[f"{case}.gt{i}.valid_mask"] for i in range(4)], 1).bool()
    answers = Answers(
        stacked("left", "pts"), stacked("left", "conf"), stacked("right", "pts"), stacked("right", "conf")
    )
    return answers, Truth(points, valid), expected


@pytest.mark.parametrize("case", ["b1", "b2", "b2big"])
def test_upstream_loss_equals_the_published_numbers(case: str) -> None:
    answers, truth, expected = golden(case)
    predicted, true = scales(answers, truth, "upstream")
    assert predicted.tolist() == pytest.approx(expected["pr_factor"], rel=1e-4, abs=1e-5)
    assert true.tolist() == pytest.approx(expected["gt_factor"], rel=1e-4, abs=1e-5)
    loss = pointmap_loss(answers, truth, normalizer="upstream")
    assert float(loss.confidence) == pytest.approx(expected["train_conf_loss"], rel=1e-4, abs=1e-5)
    assert float(loss.penalty) == pytest.approx(expected["factor_loss"], rel=1e-4, abs=1e-5)
    assert float(loss.total) == pytest.approx(expected["total"], rel=1e-4, abs=1e-5)


def test_sequence_normalizer_does_not_depend_on_the_batch() -> None:
    answers, truth, _ = golden("b2")
    both = scales(answers, truth, "sequence")[1]
    alone = mean_distance(truth.points[:1], truth.valid[:1])
    assert float(both[0]) == pytest.approx(float(alone[0]))
    assert float(both[0]) == pytest.approx(float(truth.points[0][truth.valid[0]].norm(dim=-1).mean()), rel=1e-5)


def test_sequence_normalizer_forgives_scale_and_metric_does_not() -> None:
    _, truth, _ = golden("b2")
    ones = torch.ones_like(truth.valid[:, 1:], dtype=torch.float32)
    half = Answers(0.5 * truth.points[:, :-1], ones, 0.5 * truth.points[:, 1:], ones)
    assert float(pointmap_loss(half, truth, normalizer="sequence").total) == pytest.approx(0.0, abs=1e-5)
    assert float(pointmap_loss(half, truth, normalizer="metric").total) == pytest.approx(1.0, abs=0.3)


def test_plain_regression_keeps_confidence_out_of_the_points_gradient() -> None:
    answers, truth, _ = golden("b1")
    gradients = []
    for confidence in (1.0, 5.0):
        left = answers.left.clone().requires_grad_()
        sure = torch.full_like(answers.left_confidence, confidence, requires_grad=True)
        loss = pointmap_loss(
            Answers(left, sure, answers.right, answers.right_confidence), truth, normalizer="metric", blend=0.0
        )
        loss.total.backward()
        assert left.grad is not None and sure.grad is not None and float(sure.grad.abs().sum()) > 0
        gradients.append(left.grad)
    assert torch.equal(*gradients)


def test_unknown_normalizer_is_refused_with_the_allowed_ones() -> None:
    answers, truth, _ = golden("b1")
    with pytest.raises(ConfigError, match="sequence"):
        pointmap_loss(answers, truth, normalizer="none")

from __future__ import annotations

import pytest
import torch

from spann3r_ros.errors import ConfigError
from spann3r_ros.models.posenet.loss import pose_loss, pose_loss_parts
from spann3r_ros.models.posenet.network import PoseAnswer


def answers(count: int = 3) -> list[PoseAnswer]:
    generator = torch.Generator().manual_seed(0)
    return [
        PoseAnswer(torch.randn(5, 3, generator=generator), torch.randn(5, 4, generator=generator)) for _ in range(count)
    ]


TARGET = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))


def test_the_published_weights() -> None:
    parts = pose_loss_parts(answers(), TARGET)
    weights = torch.tensor([0.3, 150, 0.3, 150, 1, 500])
    torch.testing.assert_close(pose_loss(answers(), TARGET), weights @ parts)
    difference = answers()[2].position - TARGET[:, :3]
    torch.testing.assert_close(parts[4], (difference**2).sum() / 10)


def test_the_forms_of_the_paper_and_the_port() -> None:
    found = answers(1)
    difference = found[0].quaternion - TARGET[:, 3:]
    torch.testing.assert_close(pose_loss_parts(found, TARGET, "norm")[1], difference.norm(dim=1).mean())
    torch.testing.assert_close(pose_loss_parts(found, TARGET, "mean")[1], (difference**2).mean())


@pytest.mark.parametrize("form", ["squared", "norm", "mean"])
def test_the_truth_costs_nothing_and_its_negative_does(form: str) -> None:
    true = [PoseAnswer(TARGET[:, :3], TARGET[:, 3:])]
    assert float(pose_loss(true, TARGET, form=form)) == 0
    assert float(pose_loss([PoseAnswer(TARGET[:, :3], -TARGET[:, 3:])], TARGET, form=form)) > 1


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"form of the loss: got 'huber'; expected squared \| norm \| mean"):
        pose_loss(answers(), TARGET, form="huber")

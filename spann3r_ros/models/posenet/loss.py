"""What PoseNet's training minimizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from spann3r_ros.errors import ConfigError
from spann3r_ros.models.posenet.network import PoseAnswer

AUXILIARY_WEIGHT = 0.3
"""Of each auxiliary regressor, beside 1 of the last one."""

FORMS = ("squared", "norm", "mean")
"""squared: Caffe's half squared distance, as released; norm: the distance, as in the paper (eq. 2); mean: the mean of
the squares of all numbers, as in the PyTorch port, which weighs position and rotation otherwise."""


def pose_loss_parts(answers: Sequence[PoseAnswer], target: Tensor, form: str = "squared") -> Tensor:
    """Errors of position and quaternion of each regressor, means over the batch: (2 * len(answers),), unweighted.

    Args:
        answers: of the regressors, the last one last.
        target: (B, 7) true positions and unit quaternions (w, x, y, z), of one sign throughout the scene: a quaternion
            and its negative turn alike, but not for this loss.
        form: one of ``FORMS``.
    """
    if form not in FORMS:
        raise ConfigError("form of the loss", got=repr(form), expected=" | ".join(FORMS))
    parts = []
    for answer in answers:
        for found, true in ((answer.position, target[:, :3]), (answer.quaternion, target[:, 3:])):
            if form == "squared":
                parts.append((found - true).square().sum() / (2 * len(target)))
            elif form == "mean":
                parts.append(functional.mse_loss(found, true))
            else:
                parts.append(torch.linalg.vector_norm(found - true, dim=1).mean())
    return torch.stack(parts)


def pose_loss(answers: Sequence[PoseAnswer], target: Tensor, beta: float = 500.0, form: str = "squared") -> Tensor:
    """The weighted sum of ``pose_loss_parts``: ``beta`` weighs rotation, ``AUXILIARY_WEIGHT`` the auxiliary ones."""
    parts = pose_loss_parts(answers, target, form).view(-1, 2)
    weights = parts.new_full((len(answers),), AUXILIARY_WEIGHT)
    weights[-1] = 1.0
    return weights @ (parts @ parts.new_tensor([1.0, beta]))

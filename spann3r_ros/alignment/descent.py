"""Adam with a falling step, as both alignments use it (Kingma and Ba 2015)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from spann3r_ros.errors import AnswerError, ConfigError

BETAS = (0.9, 0.9)
SCHEDULES = ("cosine", "linear")


def learning_rate(schedule: str, begin: float, end: float, progress: float) -> float:
    """Step at a progress in [0, 1): from ``begin`` to ``end`` along half a cosine or a line."""
    if schedule == "cosine":
        return end + (begin - end) * (1 + math.cos(math.pi * progress)) / 2
    if schedule == "linear":
        return begin + (end - begin) * progress
    raise ConfigError("schedule of the optimization", got=repr(schedule), expected=" | ".join(SCHEDULES))


def descend(
    parameters: Sequence[Tensor],
    backward: Callable[[], float],
    rounds: int,
    *,
    rate: float,
    least_rate: float = 0.0,
    schedule: str = "cosine",
    stepped: Callable[[], None] = lambda: None,
) -> tuple[list[float], list[float]]:
    """Move parameters so that a loss falls.

    Args:
        parameters: leaves with gradients.
        backward: computes the gradients and returns the loss.
        rounds: steps.
        rate, least_rate, schedule: of the steps.
        stepped: called after each step.

    Returns:
        The losses before each step, and the rates.

    Raises:
        AnswerError: a loss that is not finite; the parameters are those of the last finite one.
    """
    optimizer = torch.optim.Adam(parameters, lr=rate, betas=BETAS)
    losses, rates = [], []
    for number in range(rounds):
        rates.append(learning_rate(schedule, rate, least_rate, number / rounds))
        for group in optimizer.param_groups:
            group["lr"] = rates[-1]
        optimizer.zero_grad()
        loss = backward()
        if not math.isfinite(loss):
            raise AnswerError("the alignment diverged", got=f"loss {loss} in step {number}")
        losses.append(loss)
        optimizer.step()
        stepped()
    return losses, rates

"""Training in several processes, as ``torchrun`` starts them: each has a share of every batch, all have one network.

A loss of theirs is made so that its mean over the processes is the loss of the whole batch, even where that is a mean
over pixels or sequences of which the processes do not have equally many: what it is divided by is averaged first.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

from spann3r_ros.errors import ConfigError

PATIENCE = datetime.timedelta(hours=1)
"""For which the others wait while the first process measures held-out sequences."""

SEEDS = 2**40
"""Between those of the noise of two processes."""


class Processes:
    """All the processes of a training, as one of them sees them. This class is that of a training in one process.

    Attributes:
        rank: number of this process; that of rank 0 writes files.
        count: how many there are.
    """

    rank, count = 0, 1

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the processes of a tensor of any shape, without gradients."""
        return value

    def gathered(self, value: Tensor) -> Tensor:
        """The rows of all processes, in their order, without gradients."""
        return value

    def mine(self, rows: Tensor) -> Tensor:
        """Of rows that were drawn for the whole batch those of this process."""
        own = len(rows) // self.count
        return rows[self.rank * own : (self.rank + 1) * own]

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give each parameter the mean of its gradients in all processes."""

    def collected(self, thing: Any) -> list[Any]:
        """What each process has, in their order, in the first one; an empty list in the others."""
        return [thing]

    def seed_noise(self, seed: int) -> None:
        """Let what is drawn from now on differ from process to process."""


class SeveralProcesses(Processes):
    """Those that have joined PyTorch's default group."""

    def __init__(self) -> None:
        self.rank, self.count = distributed.get_rank(), distributed.get_world_size()

    def mean(self, value: Tensor) -> Tensor:  # noqa: D102
        total = value.detach().to(torch.get_default_dtype(), copy=True)
        distributed.all_reduce(total)
        return total / self.count

    def gathered(self, value: Tensor) -> Tensor:  # noqa: D102
        rows = [torch.empty_like(value) for _ in range(self.count)]
        distributed.all_gather(rows, value.detach().contiguous())
        return torch.cat(rows)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:  # noqa: D102
        # One message for all: a network has hundreds of small tensors. Where a stage trains a part, it does everywhere.
        gradients = [each.grad for each in parameters if each.grad is not None]
        if not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.count
        for gradient, averaged in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(averaged.view_as(gradient))

    def collected(self, thing: Any) -> list[Any]:  # noqa: D102
        found: list[Any] = [None] * self.count
        distributed.gather_object(thing, found if self.rank == 0 else None)
        return found if self.rank == 0 else []

    def seed_noise(self, seed: int) -> None:  # noqa: D102
        torch.manual_seed(seed + SEEDS * self.rank)


def started_by_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there are others."""
    return int(environment.get("WORLD_SIZE", "1")) > 1


def own_device(asked: str) -> str:
    """The device of this process: with CUDA each one of a machine has its own.

    Args:
        asked: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ConfigError: more processes on this machine than it has CUDA devices.
    """
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cpu" or not started_by_torchrun():
        return asked
    number, devices = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= devices:
        raise ConfigError(
            "--nproc-per-node of torchrun",
            got=f"process {number}, counted from 0",
            expected=f"at most {devices}, one for each CUDA device",
            next_step="Give fewer, or --device cpu",
        )
    return f"cuda:{number}"


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes of this training, while the context lasts: of ``torchrun``, or this one alone."""
    if not started_by_torchrun():
        yield Processes()
        return
    if device != "cpu":
        torch.cuda.set_device(device)
    distributed.init_process_group("gloo" if device == "cpu" else "nccl", timeout=PATIENCE)
    try:
        yield SeveralProcesses()
    finally:
        distributed.destroy_process_group()

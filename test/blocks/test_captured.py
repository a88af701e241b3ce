"""What holds on every device; test/gpu has what only a CUDA device can show."""

from __future__ import annotations

import torch
from torch import Tensor

from spann3r_ros.blocks.captured import Captured


def test_on_the_cpu_it_is_the_function() -> None:
    calls = []

    def scaled(x: Tensor, *, by: int) -> tuple[Tensor]:
        calls.append(by)
        return (x * by,)

    captured, x = Captured(scaled), torch.ones(2)
    assert [captured(x, by=by)[0].sum().item() for by in (1, 2, 2, 2)] == [2.0, 4.0, 4.0, 4.0]
    assert calls == [1, 2, 2, 2]


def test_it_knows_whether_another_function_does_the_work() -> None:
    captured = Captured(lambda x: (x,))
    assert not captured.is_replaced
    captured.let(lambda x: (x + 1,))
    assert captured.is_replaced and captured(torch.zeros(1))[0].item() == 1.0

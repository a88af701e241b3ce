"""What modules of a network give while it runs, under the names that recordings have for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.recorded_set import Recording


@contextmanager
def probed(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """A dictionary that holds the last output of each module by name while the context lasts."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _arguments: Any, output: Tensor) -> None:
            outputs[name] = output

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def compare_found(
    report: ParityReport,
    case: str,
    found: Mapping[str, Tensor],
    recorded: Recording,
    inputs: str,
    allowed: float | None = None,
) -> None:
    """Compare all recorded tensors of a case with those found by the same name.

    A recorded name may end with ``_sN``: of an image-like tensor only every N-th row and column was recorded. Images
    with channels last or without any have them at axes 1 and 2, those named ``raw`` at the last two.

    Args:
        report: is added to; its kinds are the names without numbers of steps and views.
        case: for people.
        found: by recorded name without the stride.
        recorded: of the case.
        inputs: regular expression of names that were given, not computed.
        allowed: tolerance of this case where it has one of its own.
    """
    for name, tensor in recorded.items():
        if re.fullmatch(inputs, name):
            continue
        match = re.fullmatch(r"(.*)_s(\d+)", name)
        kind, stride = (match.group(1), int(match.group(2))) if match else (name, 1)
        if kind not in found:
            report.unknown.add(f"{case}/{name}")
            continue
        ours = found[kind]
        if stride > 1:
            ours = ours[..., ::stride, ::stride] if "raw" in kind else ours[:, ::stride, ::stride]
        row = re.sub(r"(step|view)_\d+\.|_view_\d+", "", kind)
        report.compare(row if allowed is None else f"{row} ({case})", f"{case}/{name}", ours, tensor, allowed=allowed)

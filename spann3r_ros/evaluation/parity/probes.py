"""Hooks that keep what goes into modules and comes out of them, by recorded name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from spann3r_ros.evaluation.parity.comparison import ParityReport
from spann3r_ros.evaluation.parity.recorded_set import Recording


class Probes:
    """A context whose end removes all hooks.

    Attributes:
        found: tensors by name, one for each call of the module, in the order of the calls.
    """

    def __init__(self) -> None:
        self.found: dict[str, list[Tensor]] = {}
        self._hooks: list[Any] = []

    def __enter__(self) -> Probes:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        for hook in self._hooks:
            hook.remove()

    def output(self, module: nn.Module, name: str) -> None:
        """Keep what a module returns."""

        def keep(_module: nn.Module, _arguments: Any, result: Tensor) -> None:
            self._keep(name, result)

        self._hooks.append(module.register_forward_hook(keep))

    def input(self, module: nn.Module, name: str) -> None:
        """Keep the first argument of a module."""
        self.arguments(module, lambda arguments: {name: arguments[0]})

    def arguments(self, module: nn.Module, tensors: Callable[[tuple[Any, ...]], dict[str, Tensor]]) -> None:
        """Keep what a function makes of a module's arguments."""

        def keep(_module: nn.Module, arguments: tuple[Any, ...]) -> None:
            for name, tensor in tensors(arguments).items():
                self._keep(name, tensor)

        self._hooks.append(module.register_forward_pre_hook(keep))

    def _keep(self, name: str, tensor: Tensor) -> None:
        # A copy: what follows may change it in place.
        self.found.setdefault(name, []).append(tensor.detach().clone())


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

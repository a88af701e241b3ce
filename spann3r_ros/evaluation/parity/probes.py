"""Hooks that keep what goes into modules and comes out of them, by recorded name."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from torch import Tensor, nn


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

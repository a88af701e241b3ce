"""ONNX Runtime: the only module that knows it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spann3r_ros.errors import AnswerError, CheckpointError, ConfigError
from spann3r_ros.models.onnx.manifest import EXPORT

logger = logging.getLogger(__name__)

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
"""What stages run on, the best first; each is for the operators that the ones before it do not take."""


def chosen_providers(device: str) -> list[str]:
    """Those of ``PROVIDERS`` that this ONNX Runtime has, as the parameter ``device`` allows.

    Raises:
        ConfigError: no ONNX Runtime, or one without a GPU's provider where ``cuda`` is asked for.
    """
    available = _onnxruntime().get_available_providers()
    chosen = [name for name in PROVIDERS if name in available and (device != "cpu" or name.startswith("CPU"))]
    if device == "cuda" and len(chosen) < 2:
        raise ConfigError(
            "parameter 'device' with backend onnxruntime",
            got="cuda",
            expected="auto or cpu, because this ONNX Runtime has no provider for CUDA",
            next_step=f"It has {', '.join(available)}. `pip install onnxruntime-gpu`; on a Jetson, NVIDIA's wheel",
        )
    return chosen


class StageSession:
    """One exported stage in ONNX Runtime.

    Args:
        path: of the .onnx; its weights may lie beside it.
        providers: of ``chosen_providers``.

    Raises:
        CheckpointError: a file that ONNX Runtime does not take.
    """

    def __init__(self, path: Path, providers: list[str]) -> None:
        runtime, self._path = _onnxruntime(), path
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors, which are raised besides
        # Threads that wait for the next stage would take the cores from the memory's arithmetic between two stages.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # its errors have no base of their own
            raise CheckpointError(
                f"ONNX Runtime does not take {path}", got=_first_line(error), next_step=EXPORT
            ) from error
        self._inputs = {entry.name for entry in self._session.get_inputs()}

    def run(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs, on the device of the first input; on the CPU nothing is copied on the way.

        What a stage does not look at is no input of the file. Raises AnswerError where ONNX Runtime fails.
        """
        arrays: Mapping[str, NDArray[Any]] = {
            name: np.ascontiguousarray(tensor.cpu().numpy())
            for name, tensor in zip(input_names(len(inputs)), inputs, strict=True)
            if name in self._inputs
        }
        try:
            outputs = self._session.run(None, arrays)
        except Exception as error:
            raise AnswerError(f"ONNX Runtime failed in {self._path}", got=_first_line(error)) from error
        return tuple(torch.from_numpy(output).to(inputs[0].device) for output in outputs)


def input_names(count: int) -> list[str]:
    """What the inputs of a stage are called in its file."""
    return [f"input_{number}" for number in range(count)]


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "ONNX Runtime is not installed",
            got=error,
            next_step="`pip install onnxruntime`; with an NVIDIA GPU onnxruntime-gpu, on a Jetson NVIDIA's wheel of it",
        ) from error
    return onnxruntime


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300] or type(error).__name__

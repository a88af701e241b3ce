"""From a model to a folder of its stages as ONNX, each compared with PyTorch before anything is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from spann3r_ros.blocks.captured import Captured
from spann3r_ros.errors import CheckpointError, ConfigError
from spann3r_ros.files.atomic import replacing_folder
from spann3r_ros.files.checksum import sha256
from spann3r_ros.frame import Frame, Intrinsics
from spann3r_ros.models.base import ModelStream, PairModel, PlaceDescriptor, Relating, Relocalizer, WindowModel
from spann3r_ros.models.checkpoint.tensor_file import write_tensor_file
from spann3r_ros.models.onnx.exported_model import Staged, staged
from spann3r_ros.models.onnx.manifest import ANY, MANIFEST, OUTSIDE, Manifest, StageCall, read_manifest
from spann3r_ros.models.onnx.runtime import StageSession, input_names
from spann3r_ros.models.onnx.trial import ExportTrial
from spann3r_ros.sim3 import Sim3

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""Largest difference to PyTorch, relative to the largest number of a tensor, of a stage that is kept."""

OPSET = 17
"""The first with layer normalization, and the last that the oldest PyTorch knows."""

EXTERNAL_BYTES = 64 << 20
"""Weights beyond this lie beside the .onnx: ONNX Runtime maps such a file, where it would hold the others twice while
it loads them; and a protocol buffer ends at 2 GB."""

DATA = ".data"
"""What the name of a file of weights ends with, after that of its .onnx."""


@dataclass(frozen=True)
class StageReport:
    """What became of one call of a stage.

    Attributes:
        call: what the file is for.
        file: its name.
        outputs: shapes of the outputs.
        size: bytes of the file and of the weights beside it.
        difference: largest difference to PyTorch on an input that the export did not see, relative to the largest
            number of the tensor.
    """

    call: StageCall
    file: str
    outputs: tuple[tuple[int, ...], ...]
    size: int
    difference: float


@dataclass(frozen=True, eq=False)
class _Call:
    """One call of a stage, of whose batch the first item."""

    fixed: dict[str, Hashable]
    inputs: list[Tensor]
    outputs: list[Tensor]

    def numbers(self) -> int:
        """How many there are in the inputs."""
        return sum(tensor.numel() for tensor in self.inputs)


def export_model(
    trial: ExportTrial, folder: Path, progress: Callable[[StageReport], None] = lambda _: None
) -> list[StageReport]:
    """Write every stage that a model runs.

    The model takes two walks of random images; what its stages are called with in the first one is what they are
    exported for, and what they answer in the second is what ONNX Runtime's answers are compared with.

    Args:
        trial: the model, and the size of the images.
        folder: to write; an older export is replaced when the new one is whole.
        progress: called after each stage.

    Returns:
        A report of each file. When one differs by more than ``TOLERANCE``, nothing was written.

    Raises:
        ConfigError: a model that runs in one piece, a PyTorch without the exporter, or no ONNX Runtime.
        CheckpointError: a stage that cannot be exported.
        DataError: something else is where the folder should be.
    """
    inner = staged(trial.model)
    with _recording(inner) as noted:
        for seed in (0, 1):
            _walk(trial, seed)
    recorded = _merged(noted)
    files: dict[StageCall, str] = {}
    for call in recorded:
        number = sum(other.stage == call.stage for other in files) + 1
        files[call] = f"{call.stage}{f'_{number}' if number > 1 else ''}.onnx"
    own = [MANIFEST, OUTSIDE, *(name for file in files.values() for name in (file, f"{file}{DATA}"))]
    own += _files_of_older(folder)
    reports: list[StageReport] = []
    try:
        with replacing_folder(folder, own) as draft:
            for call, calls in recorded.items():
                reports.append(_exported(inner.stages[call.stage], trial.network, call, calls, draft / files[call]))
                progress(reports[-1])
            if not all(report.difference <= TOLERANCE for report in reports):
                raise _TooDifferentError
            _describe(inner, trial, files, draft)
    except _TooDifferentError:
        logger.warning("%s was not written: a stage differs by more than %g", folder, TOLERANCE)
    return reports


def _files_of_older(folder: Path) -> list[str]:
    """Names of the files of an export that is whole, which may have stages that the new one lacks."""
    try:
        return list(read_manifest(folder).sha256)
    except CheckpointError:
        return []


class _TooDifferentError(Exception):
    """Gives up a folder that is being written."""


def _describe(model: Staged, trial: ExportTrial, files: dict[StageCall, str], folder: Path) -> None:
    """Write what stands beside the stages: the tensors outside of them, and the manifest."""
    outside = {name: tensor for name, tensor in trial.network.state_dict().items() if name.startswith(model.outside)}
    write_tensor_file(folder / OUTSIDE, outside, {})
    described: Any = trial.network
    manifest = Manifest(
        architecture=described.architecture,
        weights=model.weights,
        image_size=trial.image_size,
        opset=OPSET,
        exporter=f"torch {torch.__version__}",
        stages=files,
        sha256={file.name: sha256(file) for file in sorted(folder.iterdir())},
    )
    (folder / MANIFEST).write_text(manifest.to_json())


@contextmanager
def _recording(model: Staged) -> Iterator[dict[StageCall, list[_Call]]]:
    """Note every call of a model's stages, in the order in which they first come."""
    recorded: dict[StageCall, list[_Call]] = {}

    def noted(name: str, function: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Tensor, ...]]:
        def run(*inputs: Tensor, **fixed: Hashable) -> tuple[Tensor, ...]:
            outputs = function(*inputs, **fixed)
            noticed = _Call(fixed, *([_plain(tensor[:1]) for tensor in tensors] for tensors in (inputs, outputs)))
            call = StageCall.of(name, fixed, tuple(tuple(tensor.shape) for tensor in noticed.inputs))
            recorded.setdefault(call, [])[1:] = [noticed]
            return outputs

        return run

    functions = {name: stage.function for name, stage in model.stages.items()}
    for name, stage in model.stages.items():
        stage.function = noted(name, stage.function)
    try:
        yield recorded
    finally:
        for name, stage in model.stages.items():
            stage.function = functions[name]


def _merged(recorded: dict[StageCall, list[_Call]]) -> dict[StageCall, list[_Call]]:
    """Calls that differ in lengths alone as one; that of the longest inputs comes first, to be traced."""
    found: dict[StageCall, list[_Call]] = {}
    for call, calls in recorded.items():
        ranks = [len(shape) for shape in call.shapes]
        for known in found:
            if known[:2] == call[:2] and [len(shape) for shape in known.shapes] == ranks:
                calls = found.pop(known) + calls
                call = known.merged(call)
                break
        found[call] = calls
    return {call: sorted(calls, key=_Call.numbers, reverse=True) for call, calls in found.items()}


def _plain(tensor: Tensor) -> Tensor:
    """A copy that was not made in inference mode, which the exporter does not take."""
    return torch.from_numpy(tensor.cpu().numpy().copy())


@torch.inference_mode()
def _walk(trial: ExportTrial, seed: int) -> None:
    """Let a model take noise, so that each of its stages runs."""
    model, frames = trial.model, _noise(trial.images, max(3, trial.window), seed)
    if isinstance(model, PairModel):
        answers = model.infer(model.encode(frames[0]), model.encode(frames[1]))
        if isinstance(model, Relating):
            model.relate(answers[:1], answers[1:])
    elif isinstance(model, WindowModel):
        known = [_known(frame, seed) for frame in _noise(trial.images, max(4, trial.window), seed)]
        # The last window of a stream is a shorter one; a frame alone has no pose to any other.
        for count in {max(3, trial.window), max(2, trial.window - 1), 1}:
            model.infer(known[:count])
        for count in (4, 3):  # nothing is known of one of them
            model.infer([frames[0], *known[1:count]])
    elif isinstance(model, ModelStream):
        stream = model.fresh()
        for frame in frames:
            stream.step(frame)
        stream.flush()
    elif isinstance(model, Relocalizer):
        model.locate(frames[0])
    elif isinstance(model, PlaceDescriptor):
        model.describe(frames[:1])


def _noise(size: tuple[int, int], count: int, seed: int) -> list[Frame]:
    generator = np.random.default_rng(seed)
    return [Frame(index, index, "camera", generator.integers(0, 256, (*size, 3), np.uint8)) for index in range(count)]


def _known(frame: Frame, seed: int) -> Frame:
    """A frame with a calibration, a pose and a depth image, for a model that is told them; noise as well."""
    generator, (height, width) = np.random.default_rng((seed, frame.index)), frame.image.shape[:2]
    focal, rotation = generator.uniform(0.8, 1.2) * width, Rotation.from_rotvec(generator.normal(size=3))
    return dataclasses.replace(
        frame,
        intrinsics=Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height),
        prior=Sim3.rigid(rotation.as_matrix(), generator.uniform(-1, 1, 3)),
        depth=generator.uniform(1, 5, (height, width)).astype(np.float32),
    )


def _exported(stage: Captured, network: nn.Module, call: StageCall, calls: Sequence[_Call], path: Path) -> StageReport:
    """Write one file, and compare what it answers to the last call with PyTorch's answer."""
    seen, *unseen = calls
    try:
        _write(_StageModule(stage.function, network, seen.fixed).eval(), seen, call, path)
    except ImportError as error:
        raise ConfigError(
            "exporting to ONNX", got=error, next_step="`pip install onnx onnxruntime` (the extra `onnx`)"
        ) from error
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"stage {call} cannot be exported by PyTorch {torch.__version__}",
            got=str(error).strip().partition("\n")[0][:300],
            next_step="Use the parameter backend: torch",
        ) from error
    session = StageSession(path, ["CPUExecutionProvider"])
    found = [session.run(*other.inputs) for other in unseen]
    pairs = [pair for ours, other in zip(found, unseen, strict=True) for pair in zip(ours, other.outputs, strict=True)]
    return StageReport(
        call,
        path.name,
        tuple(tuple(tensor.shape) for tensor in found[0]),
        sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*")),
        max(_difference(ours, theirs) for ours, theirs in pairs),
    )


class _StageModule(nn.Module):
    """A stage as the exporter takes it; the weights are initializers, since the network is a part of it."""

    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], network: nn.Module, fixed: dict[str, Hashable]
    ) -> None:
        super().__init__()
        self.network, self._function, self._fixed = network, function, fixed

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the stage gives."""
        return self._function(*inputs, **self._fixed)


def _write(module: nn.Module, example: _Call, call: StageCall, path: Path) -> None:
    """The tracing exporter: no stage branches on values, so that the trace is the stage; the comparison tells.

    PyTorch's other exporter (``dynamo=True``) gave the same numbers in eight times the time, and needs PyTorch 2.5.
    """
    import onnx

    names = input_names(len(example.inputs))
    exporting: Any = torch.onnx.export
    options = {"dynamo": False} if "dynamo" in inspect.signature(exporting).parameters else {}
    with (
        tempfile.TemporaryDirectory(dir=path.parent.parent) as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),  # where a failure prints the whole graph
        torch.no_grad(),
        _operators(),
    ):
        warnings.simplefilter("ignore")  # of constants that the trace holds: the comparison tells
        traced = Path(folder) / path.name  # beside weights of more than 2 GB there are many files
        exporting(
            *(module, tuple(example.inputs), str(traced)),
            input_names=names,
            output_names=[f"output_{number}" for number in range(len(example.outputs))],
            dynamic_axes={
                name: {axis: f"{name}_{axis}" for axis, side in enumerate(shape) if side == ANY}
                for name, shape in zip(names, call.shapes, strict=True)
            },
            opset_version=OPSET,
            **options,
        )
        model = onnx.load(str(traced))
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    onnx.save_model(
        *(model, str(path)),
        save_as_external_data=size > EXTERNAL_BYTES,
        all_tensors_to_one_file=True,
        location=f"{path.name}{DATA}",
        size_threshold=1024,
    )


@contextmanager
def _operators() -> Iterator[None]:
    """Teach the exporter what ONNX has no operator for; e^x - 1 = tanh(x / 2) (e^x + 1), exact near 0 as well."""

    def expm1(graph: Any, x: Any) -> Any:
        half = graph.op("Mul", x, graph.op("Constant", value_t=torch.tensor(0.5)))
        one = graph.op("Constant", value_t=torch.tensor(1.0))
        return graph.op("Mul", graph.op("Tanh", half), graph.op("Add", graph.op("Exp", x), one))

    exporting: Any = torch.onnx
    exporting.register_custom_op_symbolic("aten::expm1", expm1, OPSET)
    try:
        yield
    finally:
        exporting.unregister_custom_op_symbolic("aten::expm1", OPSET)


def _difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference over the largest number; infinite for other shapes, and for what is not finite."""
    if found.shape != expected.shape or not bool(torch.isfinite(found).all()):
        return float("inf")
    largest = float(expected.abs().max())
    difference = float((found.double() - expected.double()).abs().max())
    return difference / largest if largest else difference

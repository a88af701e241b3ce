"""Files of tensors: PyTorch's .pth, .safetensors, and those of older networks; nothing that is in them is run.

Tensors of the first two are mapped, not read: a file costs memory only as far as its tensors are looked at. They change
and go with the file: whoever keeps them takes copies.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from spann3r_ros.errors import CheckpointError
from spann3r_ros.files.arrays import DAMAGE
from spann3r_ros.files.atomic import replacing_file
from spann3r_ros.files.location import kind_of
from spann3r_ros.models.checkpoint.caffe_file import looks_like_network, read_network
from spann3r_ros.models.checkpoint.pickled_arrays import NPY, OLD_PICKLES, read_arrays
from spann3r_ros.models.checkpoint.stand_ins import PLAIN_TYPES, StandIn, is_setting, setting

FETCH = "Fetch it again: `python -m spann3r_ros models fetch NAME` (`models list` shows the names)"

# What official files hold besides tensors and plain values: the training command's arguments.
_CLASSES = [argparse.Namespace]

# Since PyTorch 2.6 a class may stand in for one of another name.
_STAND_INS = hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint")

_WANTED = re.compile(r"(?:GLOBAL|[Uu]nsupported class) ([\w.]+)")

SUFFIXES = (".pth", ".safetensors", ".caffemodel", ".npy", ".pickle")
"""Of the files that are read here; which of them a file is, its content tells."""

# What a pickle of PyTorch begins with, before version 1.6 zipped it.
_PYTORCH_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")

# Of a network trained on several GPUs, and of one that is a part of a training module.
_WRAPPERS = ("module.", "net.")


@dataclass(frozen=True, eq=False)
class TensorFile:
    """The content of a file of weights.

    Attributes:
        path: where it is.
        tensors: by name, mapped from the file.
        model: the constructor string of the network in the training arguments of a .pth, or None.
        metadata: the text entries of a .safetensors; empty for the others.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    model: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def read_tensor_file(path: Path) -> TensorFile:
    """Open a file of one of ``SUFFIXES``; which of them it is, its content tells, not its name.

    A .caffemodel gives ``LAYER.weight`` and ``LAYER.bias``; pickled and saved dictionaries of NumPy arrays give theirs.

    Raises:
        CheckpointError: a missing file, a folder, a truncated or damaged file, a Git LFS pointer, a web page, a pickle
            that wants more than tensors and plain values, or no tensors at all.
    """
    head = _first_bytes(path)
    # A .safetensors begins with the length of its header (8 bytes, of any value), then the header's opening brace.
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head.startswith((NPY, *OLD_PICKLES)) or (head[:1] == b"\x80" and _PYTORCH_MAGIC not in head):
        return TensorFile(path, read_arrays(path))
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _read_pytorch(path, zipped=head[:2] == b"PK")
    text = head.lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is a Git LFS pointer, not the weights themselves",
            next_step="Run `git lfs pull` in the folder that it was cloned into",
        )
    if text.startswith(b"<"):
        raise CheckpointError(
            f"{path} is a web page, not weights",
            got=repr(head[:40].decode(errors="replace")),
            next_step=f"The download link led to a page (a login, a quota, a virus warning?). {FETCH}",
        )
    if path.suffix in (".index", ".meta", ".ckpt") or ".data-0000" in path.name:
        raise CheckpointError(
            f"{path} seems to belong to a checkpoint of TensorFlow, which is not read",
            got=f"first bytes {head[:8]!r}",
            expected=" | ".join(SUFFIXES),
            next_step="Where TensorFlow is installed, save its variables with numpy.save as a dictionary of arrays",
        )
    if looks_like_network(head):
        return TensorFile(path, read_network(path))
    raise CheckpointError(
        f"{path} is neither a .pth nor a .safetensors file",
        got=f"first bytes {head[:8]!r}",
        expected=" | ".join(SUFFIXES),
        next_step=FETCH,
    )


def _first_bytes(path: Path) -> bytes:
    what = kind_of(path)
    if what == "nothing":
        raise CheckpointError(
            f"there is no file {path}",
            next_step="Check the parameter `checkpoint`, or fetch weights: `python -m spann3r_ros models fetch NAME`",
        )
    if what == "a folder":
        names = sorted(entry.name for entry in path.iterdir() if entry.suffix in SUFFIXES)
        holds = f"It holds {', '.join(names)}" if names else "It holds no such file"
        raise CheckpointError(f"{path} is a folder", expected="a .pth or .safetensors file", next_step=holds)
    if what != "a file":  # nor is it opened: a pipe waits for a writer, and a device may never end
        raise CheckpointError(f"{path} is {what}", expected="a .pth or .safetensors file")
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read", got=error, next_step="Check its permissions") from error
    if len(head) < 16:
        raise CheckpointError(f"{path} is cut short", got=f"{len(head)} bytes", next_step=FETCH)
    return head


@contextlib.contextmanager
def _allowed_classes(settings: Collection[str]) -> Iterator[None]:
    """Let torch.load accept _CLASSES; PyTorch before 2.4 cannot be told, and refuses files that hold them.

    Args:
        settings: full names of classes that a ``StandIn`` takes the place of.
    """
    serialization: Any = torch.serialization
    named = (*settings, *PLAIN_TYPES) if settings else ()
    if hasattr(serialization, "safe_globals"):
        with serialization.safe_globals([*_CLASSES, *((StandIn, name) for name in named)]):
            yield
    elif hasattr(serialization, "add_safe_globals"):  # PyTorch 2.4: until the process ends
        serialization.add_safe_globals(_CLASSES)
        yield
    else:
        yield


def _read_pytorch(path: Path, zipped: bool) -> TensorFile:
    if zipped and not _has_end(path):
        size = path.stat().st_size
        raise CheckpointError(f"{path} is cut short", got=f"{size:,} bytes without an end", next_step=FETCH)
    if zipped:
        _refuse_archive(path)
    settings: list[str] = []
    while True:
        try:
            with _allowed_classes(settings):
                # Only the zipped layout (since PyTorch 1.6) can be mapped; older files are small enough to read.
                content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=zipped or None)
            return TensorFile(path, *_tensors_and_model(path, content))
        except CheckpointError:
            raise
        except Exception as error:  # a damaged or hostile pickle can raise anything
            wanted = _WANTED.search(str(error))
            is_setting_class = wanted is not None and is_setting(wanted.group(1)) and wanted.group(1) not in settings
            if wanted is None or not is_setting_class or not _STAND_INS:
                raise _pytorch_refusal(path, error, is_setting_class) from error
            settings.append(wanted.group(1))


def _has_end(path: Path) -> bool:
    """Whether an archive is not cut short, as far as its end tells."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # an end that speaks of several disks
        return False


def _refuse_archive(path: Path) -> None:
    """Raise CheckpointError for a zip of other files; PyTorch's own holds one pickle of a known name."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGE:
        return  # damaged, which reading it will tell
    if not any(name.endswith("data.pkl") for name in names):
        raise CheckpointError(
            f"{path} is an archive, not weights",
            got=", ".join(names[:5]) + (", ..." if len(names) > 5 else ""),
            next_step="Unpack it, and name the file of weights in it",
        )


def _pytorch_refusal(path: Path, error: Exception, is_setting_class: bool) -> CheckpointError:
    wanted = _WANTED.search(str(error))
    if wanted is None:
        reason = str(error).strip().splitlines()
        return CheckpointError(
            f"{path} is damaged", got=f"{type(error).__name__}: {reason[0][:200] if reason else ''}", next_step=FETCH
        )
    if is_setting_class or wanted.group(1) in {f"{kind.__module__}.{kind.__qualname__}" for kind in _CLASSES}:
        least = "2.6" if is_setting_class else "2.4"
        return CheckpointError(
            f"{path} needs a newer PyTorch to be opened safely",
            got=f"PyTorch {torch.__version__}",
            expected=f"{least} or newer",
            next_step=f"`pip install 'torch>={least}'`, or convert the file to .safetensors on another machine",
        )
    return CheckpointError(
        f"{path} wants to run code when it is opened; nothing was run",
        got=f"a use of {wanted.group(1)}",
        expected="tensors, numbers, texts and argparse.Namespace only",
        next_step="Do not trust this file. Take the weights from their authors (`python -m spann3r_ros models list`)",
    )


def _tensors_and_model(path: Path, content: Any) -> tuple[dict[str, torch.Tensor], str | None]:
    """The state dict of what was in a .pth, and the constructor string in its training arguments."""
    model = None
    state = content
    if isinstance(content, dict):
        # Beside `model` lie the optimizer's tensors; they stay untouched in the file.
        state = next((content[key] for key in ("model", "state_dict") if isinstance(content.get(key), dict)), content)
        model = setting(content.get("args"), "model")
    tensors = state if isinstance(state, dict) else {}
    odd = [name for name, value in tensors.items() if not isinstance(value, torch.Tensor) or not isinstance(name, str)]
    if odd or not tensors:
        what = f"entries {', '.join(map(str, odd[:5]))}" if odd else f"{type(state).__name__} without tensors"
        raise CheckpointError(
            f"{path} holds no network's weights",
            got=what,
            expected="tensors by name, at the top or under 'model'",
            next_step=FETCH,
        )
    return _unwrapped(tensors), model if isinstance(model, str) else None


def _unwrapped(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors without the prefix that training frameworks put before every name."""
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def _read_safetensors(path: Path) -> TensorFile:
    size = path.stat().st_size
    header = int.from_bytes(_first_bytes(path)[:8], "little")
    if header + 8 > size:
        raise CheckpointError(
            f"{path} is cut short", got=f"{size:,} bytes, {header + 8:,} of them its header", next_step=FETCH
        )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        problem = "cut short" if "not fully covered" in str(error) else "damaged"
        raise CheckpointError(f"{path} is {problem}", got=f"{size:,} bytes, {error}", next_step=FETCH) from error
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors", next_step=FETCH)
    return TensorFile(path, tensors, None, metadata)


def write_tensor_file(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any], dtype: torch.dtype | None = None
) -> None:
    """Write a .safetensors file, whole or not at all.

    Args:
        path: its folder is made; an existing file is replaced in one step.
        tensors: on any device; those that share storage are written apart.
        metadata: texts as they are, anything else as JSON.
        dtype: convert floating point tensors to this, or keep them.

    Raises:
        CheckpointError: a value that becomes infinite or NaN in ``dtype``, or was so before.
    """
    stored: dict[str, torch.Tensor] = {}
    addresses: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu()
        if value.is_floating_point():
            value = value.to(dtype or value.dtype)
            if not bool(torch.isfinite(value).all()):
                raise CheckpointError(
                    f"tensor {name} cannot be written", got=f"values that are not finite as {value.dtype}"
                )
        value = value.contiguous()
        stored[name] = value.clone() if value.untyped_storage().data_ptr() in addresses else value
        addresses.add(value.untyped_storage().data_ptr())
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    with replacing_file(path) as draft:
        save_file(stored, draft, texts)

"""The mean image of a scene, which lies in a file of its own beside PoseNet's weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spann3r_ros.errors import CheckpointError
from spann3r_ros.files.arrays import DAMAGE

if TYPE_CHECKING:
    import torch

MEAN_IMAGE = "mean_image"
CAFFE_SUFFIX = ".binaryproto"

_EXPECTED = "an array (H, W, 3) of finite numbers 0 .. 255, RGB: the mean of the scene's training images"
_EXPECTED_BLOB = "one image of three channels with finite numbers 0 .. 255"


def mean_beside(weights: Path) -> torch.Tensor:
    """(3, H, W) float32 RGB, 0..255, of the mean image in the folder of a file of weights.

    It is ``mean_image.npy`` ((H, W, 3) RGB), or Caffe's (blue first): ``mean_image.binaryproto``, one with the name of
    the weights, or the only one there.

    Raises:
        CheckpointError: none, several that may be meant, or one that cannot be read.
    """
    own = weights.with_name(f"{MEAN_IMAGE}.npy")
    if own.is_file():
        return _saved(own)
    named = (weights.with_name(f"{MEAN_IMAGE}{CAFFE_SUFFIX}"), weights.with_suffix(CAFFE_SUFFIX))
    there = sorted(path for path in weights.parent.glob(f"*{CAFFE_SUFFIX}") if path.is_file())
    chosen = [path for path in named if path in there][:1] or there
    if len(chosen) == 1:
        return _caffes(chosen[0])
    several = f"{', '.join(path.name for path in there[:5])}, and none is called {named[0].name} or {named[1].name}"
    raise CheckpointError(
        f"no mean image beside {weights}",
        got=several if there else f"no file {own.name} or *{CAFFE_SUFFIX}",
        expected=_EXPECTED,
        next_step=f"Call that of this scene {named[0].name}"
        if there
        else "PoseNet's weights mean nothing without it: take it from the data set of the scene",
    )


def _saved(path: Path) -> torch.Tensor:
    import torch

    try:
        mean = np.load(path, allow_pickle=False)
    except DAMAGE as error:
        raise CheckpointError(f"mean image {path}", got=error, expected=_EXPECTED) from error
    fits = isinstance(mean, np.ndarray) and mean.ndim == 3 and mean.shape[2] == 3 and mean.dtype.kind in "uif"
    if not fits or not _is_image(mean):
        got = f"{getattr(mean, 'dtype', type(mean).__name__)} {getattr(mean, 'shape', '')}"
        raise CheckpointError(f"mean image {path}", got=got, expected=_EXPECTED)
    return torch.from_numpy(np.ascontiguousarray(mean.transpose(2, 0, 1), np.float32))


def _caffes(path: Path) -> torch.Tensor:
    from spann3r_ros.models.checkpoint.caffe_file import read_blob

    blob = read_blob(path)
    mean = blob[0] if blob.ndim == 4 and len(blob) == 1 else blob
    if mean.ndim != 3 or len(mean) != 3 or not _is_image(mean.numpy()):
        raise CheckpointError(f"mean image {path}", got=f"shape {list(blob.shape)}", expected=_EXPECTED_BLOB)
    return mean.flip(0).contiguous()


def _is_image(values: np.ndarray[Any, Any]) -> bool:
    return bool(values.size and np.isfinite(values).all() and values.min() >= 0 and values.max() <= 255)

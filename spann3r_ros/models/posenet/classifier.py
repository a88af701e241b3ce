"""GoogLeNet as a classifier, whose trunk a training of PoseNet may begin with, as the published one did.

Its layers have the names of GoogLeNet's definition for Caffe. A Caffe file says ``LAYER.weight`` and ``LAYER.bias``,
the dictionary of arrays that the PyTorch port begins with ``LAYER_0`` and ``LAYER_1``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from spann3r_ros.models.posenet.architecture import MODULES

if TYPE_CHECKING:
    import torch

NAMES = ("conv1/7x7_s2", "inception_3a/1x1", "inception_5b/pool_proj")
"""Beginnings of tensor names, all of which occur in a file."""

_STEM = {"conv1/7x7_s2": "conv1", "conv2/3x3_reduce": "conv2", "conv2/3x3": "conv3"}
_BRANCHES = {
    "1x1": "branch1",
    "3x3_reduce": "branch2.0",
    "3x3": "branch2.1",
    "5x5_reduce": "branch3.0",
    "5x5": "branch3.1",
    "pool_proj": "branch4.1",
}
_KINDS = {"_0": "weight", "_1": "bias", ".weight": "weight", ".bias": "bias"}

LAYERS = _STEM | {
    f"inception_{module}/{branch}": f"inception{module}.{ours}"
    for module in MODULES
    for branch, ours in _BRANCHES.items()
}
"""Our name of each layer of the trunk."""


def is_classifier(names: Collection[str]) -> bool:
    """Whether tensors of these names are of such a network."""
    return all(any(name.startswith(beginning) for name in names) for beginning in NAMES)


def trunk(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The trunk's tensors by our names; the classifiers' are left out."""
    found = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"(.*?)(_0|_1|\.weight|\.bias)", name)
        if match and match[1] in LAYERS:
            kind = _KINDS[match[2]]
            # Old files of Caffe write biases with four axes.
            found[f"{LAYERS[match[1]]}.{kind}"] = tensor.reshape(-1) if kind == "bias" else tensor
    return found

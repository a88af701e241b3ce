"""PoseNet's official files: where they are, the three ways in which their tensors are called, and what these tell.

A file holds one scene. The mean image, which the authors keep beside the weights, belongs to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.download import POSENET_LICENSE, UNSTATED, OfficialFile, Url
from spann3r_ros.models.family import Shapes
from spann3r_ros.models.posenet.architecture import MODULES, PosenetArchitecture

if TYPE_CHECKING:
    import torch

    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

MEAN_IMAGE = "mean_image"

OWN = ("conv1.weight", "inception3a.branch1.", "pose3.fc_xyz.")
AUTHORS = ("conv1.", "reduction2.", "icp1_out0.", "cls3_fc_pose_xyz.")
PORT = ("before_inception.0.", "inception_3a.branch_x1.0.", "cls3_fc.cls_fc_xy.")
"""Beginnings of tensor names that tell the way in which they are called."""

_PORT_HOST = "https://vision.in.tum.de/webarchive/hazirbas/poselstm-pytorch/posenet"
_BY_HAND = "Unpack the archive and check the .pth in it, with mean_image.npy of the data set beside it"

OFFICIAL_FILES = (
    OfficialFile(
        "posenet-cambridge",
        "PoseNet.zip",
        Url("https://mi.eng.cam.ac.uk/~agk34/resources/PoseNet.zip"),
        0.05,
        POSENET_LICENSE,
        commercial=False,
        note="The authors' scenes as Caffe models, 50 MB each or more: convert them to tensors named after the layers",
    ),
    *(
        OfficialFile(
            f"posenet-{name}",
            f"{scene}.zip",
            Url(f"{_PORT_HOST}/{scene}.zip"),
            0.05,
            UNSTATED,
            commercial=False,
            note=f"The PyTorch port's weights of one scene. {_BY_HAND}",
        )
        for name, scene in (
            ("kings-college", "KingsCollege"),
            ("old-hospital", "OldHospital"),
            ("shop-facade", "ShopFacade"),
            ("st-marys-church", "StMarysChurch"),
        )
    ),
)


def _layers() -> dict[str, tuple[str, str]]:
    """Our name of each layer: the authors' and the port's."""
    names = {
        "conv1": ("conv1", "before_inception.0"),
        "conv2": ("reduction2", "before_inception.4"),
        "conv3": ("conv2", "before_inception.6"),
    }
    branches = {
        "branch1": ("out0", "branch_x1.0"),
        "branch2.0": ("reduction1", "branch_x3.0"),
        "branch2.1": ("out1", "branch_x3.2"),
        "branch3.0": ("reduction2", "branch_x5.0"),
        "branch3.1": ("out2", "branch_x5.2"),
        "branch4.1": ("out3", "branch_proj.1"),
    }
    for number, module in enumerate(MODULES, start=1):
        for ours, (authors, port) in branches.items():
            names[f"inception{module}.{ours}"] = (f"icp{number}_{authors}", f"inception_{module}.{port}")
    for head in (1, 2, 3):
        if head < 3:
            names[f"pose{head}.conv"] = (f"cls{head}_reduction_pose", f"cls{head}_fc.projection.1")
        # Head 2 lacks the suffix in the authors' definition.
        names[f"pose{head}.fc"] = (
            f"cls{head}_fc1" + ("" if head == 2 else "_pose"),
            f"cls{head}_fc.cls_fc_pose.0",
        )
        names[f"pose{head}.fc_xyz"] = (f"cls{head}_fc_pose_xyz", f"cls{head}_fc.cls_fc_xy")
        names[f"pose{head}.fc_wpqr"] = (f"cls{head}_fc_pose_wpqr", f"cls{head}_fc.cls_fc_wpqr")
    return names


LAYERS = _layers()
"""Our name of each layer, the authors' and the port's."""


def naming(names: Any) -> str:
    """Which way tensors are called: ``own``, ``authors`` or ``port``."""
    for way, beginnings in (("port", PORT), ("authors", AUTHORS)):
        if all(any(name.startswith(beginning) for name in names) for beginning in beginnings):
            return way
    return "own"


def published_tensors(file: TensorFile) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The tensors by our names, and those that are stored a second time (the port's ``model.N.``).

    The mean image is taken from ``mean_image.npy`` (RGB, (H, W, 3), 0..255) beside a file that does not hold it.

    Raises:
        CheckpointError: no mean image anywhere, or one that cannot be read.
    """
    way = naming(file.tensors)
    ours = {names[way != "authors"]: own for own, names in LAYERS.items()} if way != "own" else {}
    state: dict[str, torch.Tensor] = {}
    unused = []
    for name, tensor in file.tensors.items():
        layer, _, kind = name.rpartition(".")
        if name == MEAN_IMAGE or way == "own":
            state[name] = tensor
        elif way == "port" and re.match(r"model\.\d+\.", name):
            unused.append(name)
        else:
            # Caffe keeps the matrix of an inner product behind two axes of length one.
            flat = tensor.squeeze(0).squeeze(0) if way == "authors" and "fc" in layer and tensor.ndim == 4 else tensor
            state[f"{ours.get(layer, layer)}.{kind}"] = flat
    if MEAN_IMAGE not in state:
        state[MEAN_IMAGE] = _mean_beside(file)
    return state, tuple(unused)


def _mean_beside(file: TensorFile) -> torch.Tensor:
    """(3, H, W) float32 of the mean image in the file's folder."""
    import torch

    path = file.path.with_name(f"{MEAN_IMAGE}.npy")
    expected = "an array (H, W, 3) of finite numbers 0 .. 255, RGB: the mean of the scene's training images"
    if not path.is_file():
        raise CheckpointError(
            f"no mean image beside {file.path}",
            got=f"no file {path.name}",
            expected=expected,
            next_step="PoseNet's weights mean nothing without it: take it from the data set of the scene",
        )
    try:
        mean = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CheckpointError(f"mean image {path}", got=error, expected=expected) from error
    fits = isinstance(mean, np.ndarray) and mean.ndim == 3 and mean.shape[2] == 3 and mean.dtype.kind in "uif"
    if not fits or mean.size == 0 or not np.isfinite(mean).all() or mean.min() < 0 or mean.max() > 255:
        got = f"{getattr(mean, 'dtype', type(mean).__name__)} {getattr(mean, 'shape', '')}"
        raise CheckpointError(f"mean image {path}", got=got, expected=expected)
    return torch.from_numpy(np.ascontiguousarray(mean.transpose(2, 0, 1), np.float32))


def architecture_of(file: TensorFile, shapes: Shapes) -> tuple[PosenetArchitecture, str]:
    """Sizes by the shapes; colors, pools and the quaternion's length by the way in which the tensors are called.

    What nothing tells is as in the authors' weights: labels whose quaternion is the camera's rotation in the world.

    Raises:
        CheckpointError: a tensor that tells a size is missing or has the wrong number of axes.
    """

    def outputs(layer: str, axes: int = 4) -> int:
        shape = shapes.get(f"{layer}.weight")
        if shape is None or len(shape) != axes:
            raise CheckpointError(
                f"tensor {layer}.weight, which tells a size of the network,",
                got="nothing" if shape is None else f"shape {list(shape)}",
                expected=f"{axes} axes",
            )
        return shape[0]

    branches = ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")
    auxiliary = any(name.startswith("pose1.") for name in shapes)
    mean = shapes.get(MEAN_IMAGE, ())
    if len(mean) != 3:
        raise CheckpointError("tensor mean_image", got=f"shape {list(mean)}", expected="(3, height, width)")
    fields: dict[str, Any] = {
        "stem": tuple(outputs(layer) for layer in ("conv1", "conv2", "conv3")),
        "inceptions": tuple(tuple(outputs(f"inception{module}.{branch}") for branch in branches) for module in MODULES),
        "hidden": outputs("pose3.fc", 2),
        "auxiliary": auxiliary,
        "mean_size": mean[1:],
    }
    if auxiliary:
        fields |= {"projection": outputs("pose1.conv"), "auxiliary_hidden": outputs("pose1.fc", 2)}
    if naming(file.tensors) == "port":
        fields |= {"pool": "padded", "channels": "rgb", "unit_quaternion": True}
    return PosenetArchitecture(**fields), "shapes"

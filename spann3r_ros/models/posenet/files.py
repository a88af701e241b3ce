"""PoseNet's official files: where they are, the ways in which their tensors are called and lie, and what these tell.

A file holds one scene. The mean image, which the authors keep beside the weights, belongs to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.download import POSENET_LICENSE, UNSTATED, OfficialFile, Url
from spann3r_ros.models.family import Shapes
from spann3r_ros.models.posenet.architecture import MODULES, PosenetArchitecture
from spann3r_ros.models.posenet.mean_image import MEAN_IMAGE, mean_beside

if TYPE_CHECKING:
    import torch

    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

OWN = ("conv1.weight", "inception3a.branch1.", "pose3.fc_xyz.")
AUTHORS = ("conv1.", "reduction2.", "icp1_out0.", "cls3_fc_pose_xyz.")
PORT = ("before_inception.0.", "inception_3a.branch_x1.0.", "cls3_fc.cls_fc_xy.")
TENSORFLOW = ("conv1.weights", "reduction2.weights", "icp1_out0.weights", "cls3_fc_pose_xyz.weights")
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
        note="The authors' scenes as Caffe models, 50 MB or more. Unpack and check a .caffemodel, its mean beside it",
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
    """Which way tensors are called: ``own``, ``authors``, ``tensorflow`` (their layers, converted) or ``port``."""
    for way, beginnings in (("port", PORT), ("tensorflow", TENSORFLOW), ("authors", AUTHORS)):
        if all(any(name.startswith(beginning) for name in names) for beginning in beginnings):
            return way
    return "own"


def published_tensors(file: TensorFile) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The tensors by our names, and those that are stored a second time (the port's ``model.N.``).

    The mean image is taken from beside a file that does not hold it, see ``mean_image.mean_beside``.

    Raises:
        CheckpointError: no mean image anywhere, or one that cannot be read.
    """
    way = naming(file.tensors)
    ours = {names[way == "port"]: own for own, names in LAYERS.items()} if way != "own" else {}
    state: dict[str, torch.Tensor] = {}
    unused = []
    for name, tensor in file.tensors.items():
        layer, _, kind = name.rpartition(".")
        if name == MEAN_IMAGE or way == "own":
            state[name] = tensor
            continue
        if way == "port" and re.match(r"model\.\d+\.", name):
            unused.append(name)
            continue
        if way == "tensorflow":
            kind = {"weights": "weight", "biases": "bias"}.get(kind, kind)
            tensor = from_tensorflow(layer, tensor, file.tensors)
        elif way == "authors":
            tensor = from_caffe(tensor, "fc" in layer)
        state[f"{ours.get(layer, layer)}.{kind}"] = tensor
    if MEAN_IMAGE not in state:
        state[MEAN_IMAGE] = mean_beside(file.path)
    return state, tuple(unused)


def from_caffe(tensor: torch.Tensor, linear: bool) -> torch.Tensor:
    """A blob as a layer of ours has it: old ones have four axes, of which biases and matrices need one and two."""
    if tensor.ndim == 4 and tensor.shape[:3] == (1, 1, 1):
        return tensor.reshape(-1)
    return tensor.squeeze(0).squeeze(0) if linear and tensor.ndim == 4 else tensor


def from_tensorflow(layer: str, tensor: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What was converted from Caffe for TensorFlow, as Caffe has it.

    TensorFlow has a convolution's axes as (row, column, in, out), a matrix as (in, out), and flattens features by
    (row, column, channel), so that the rows of the auxiliary regressors' hidden layers lie in another order.
    """
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1).contiguous()
    if tensor.ndim != 2:
        return tensor
    projection = tensors.get(f"{layer[:4]}_reduction_pose.weights")
    if layer[:8] in ("cls1_fc1", "cls2_fc1") and projection is not None and len(tensor) == 16 * projection.shape[-1]:
        tensor = tensor.reshape(4, 4, projection.shape[-1], -1).permute(2, 0, 1, 3).flatten(0, 2)
    return tensor.T.contiguous()


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

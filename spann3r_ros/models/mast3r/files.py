"""MASt3R's official files: where they are, and how they tell the network's sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.download import CC_BY_NC_SA, HubRepository, OfficialFile, Url
from spann3r_ros.models.dust3r.files import config_beside, trunk_fields
from spann3r_ros.models.family import Shapes
from spann3r_ros.models.mast3r.architecture import Mast3rArchitecture
from spann3r_ros.models.mast3r.keywords import fields_from_mast3r_constructor, mast3r_fields, mast3r_from_config

if TYPE_CHECKING:
    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

_METRIC = "MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric"
_NOTE = "The licenses of its training sets apply as well; that of Map-free is very restrictive"

OFFICIAL_FILES = (
    OfficialFile(
        "mast3r-512",
        f"{_METRIC}.pth",
        Url(f"https://download.europe.naverlabs.com/ComputerVision/MASt3R/{_METRIC}.pth"),
        2.8,
        CC_BY_NC_SA,
        commercial=False,
        note=_NOTE,
    ),
    OfficialFile(
        "mast3r-512-hub",
        "model.safetensors",
        HubRepository(f"naver/{_METRIC}", ("config.json", "model.safetensors")),
        2.8,
        CC_BY_NC_SA,
        commercial=False,
        note=f"The same as safetensors. {_NOTE}",
    ),
)


def architecture_of(file: TensorFile, shapes: Shapes) -> tuple[Mast3rArchitecture, str]:
    """Sizes from the config.json beside the file, its training arguments, or the shapes alone; and which it was."""
    beside = config_beside(file)
    if beside is not None:
        where, config = beside
        if isinstance(config.get("model"), dict):
            return mast3r_from_config(config), str(where)
        return _from_shapes(shapes, mast3r_fields(config), str(where)), str(where)
    if file.model is not None:
        stated = "training arguments"
        return _from_shapes(shapes, fields_from_mast3r_constructor(file.model), stated), stated
    return _from_shapes(shapes, {}, ""), "shapes"


def _from_shapes(shapes: Shapes, stated: Mapping[str, Any], where: str) -> Mast3rArchitecture:
    """What the tensors say and ``stated`` does not contradict."""
    head = "downstream_head1.head_local_features"
    outputs, hidden = (shapes.get(f"{head}.{layer}.weight", ()) for layer in ("fc2", "fc1"))
    if len(outputs) != 2 or len(hidden) != 2:
        raise CheckpointError(f"tensors {head}, which tell the width of the descriptors,", got="none of that shape")
    own = {name: value for name, value in stated.items() if name.startswith("descriptor_")}
    trunk = {name: value for name, value in stated.items() if name not in own}
    fields = trunk_fields(shapes, trunk, where)
    channels = outputs[0] // fields["patch_size"] ** 2
    width = channels - bool(own.get("descriptor_confidence", True))
    if own.setdefault("descriptor_width", width) != width:
        raise CheckpointError(
            f"{where} says descriptor_width = {own['descriptor_width']}, but the tensors have {width}"
        )
    ratio = hidden[0] / hidden[1]
    # The network takes int(ratio * width); the quotient must not fall short of the hidden width by rounding.
    own["descriptor_mlp_ratio"] = ratio if int(ratio * hidden[1]) == hidden[0] else math.nextafter(ratio, math.inf)
    return Mast3rArchitecture(**fields, **own)

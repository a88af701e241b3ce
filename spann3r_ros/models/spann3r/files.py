"""Spann3R's official files: where they are, and how they tell the network's sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.checkpoint.download import CC_BY_NC_SA, DriveFolder, OfficialFile
from spann3r_ros.models.checkpoint.shapes import depth, mlp_ratio
from spann3r_ros.models.dust3r.architecture import Dust3rArchitecture
from spann3r_ros.models.dust3r.files import HEAD_DIM, config_beside, trunk_fields
from spann3r_ros.models.dust3r.keywords import fields_from_keywords, trunk_from_config
from spann3r_ros.models.family import Shapes
from spann3r_ros.models.spann3r.architecture import Spann3rArchitecture

if TYPE_CHECKING:
    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

_FOLDER = "1bqtcVf8lK4VC8LgG-SIGRBECcrFqM7Wy"

OFFICIAL_FILES = (
    OfficialFile(
        "spann3r-v1.01",
        "spann3r_101.pth",
        DriveFolder(_FOLDER, "spann3r_101.pth"),
        2.6,
        CC_BY_NC_SA,
        commercial=False,
        note="The better of the two; derived from DUSt3R's weights",
    ),
    OfficialFile(
        "spann3r-v1.0",
        "spann3r.pth",
        DriveFolder(_FOLDER, "spann3r.pth"),
        2.6,
        CC_BY_NC_SA,
        commercial=False,
        note="The paper's; derived from DUSt3R's weights",
    ),
)


def architecture_of(file: TensorFile, shapes: Shapes) -> tuple[Spann3rArchitecture, str]:
    """Sizes from the config.json beside the file, or the shapes alone; and which it was.

    What is known from nowhere is as in the official networks: heads of 64 channels, images of 224 x 224.
    """
    beside = config_beside(file)
    if beside is not None:
        where, config = beside
        if isinstance(config.get("model"), dict):
            return architecture_from_config(config), str(where)
        return _from_shapes(shapes, fields_from_keywords(config), str(where)), str(where)
    return _from_shapes(shapes, {}, ""), "shapes"


def architecture_from_config(config: Mapping[str, Any]) -> Spann3rArchitecture:
    """The network that the configuration of recorded test vectors describes: a trunk, and ``mem``, the value encoder.

    Raises:
        CheckpointError: no ``mem``, an unknown keyword, or a variation of the network that does not exist here.
    """
    trunk = trunk_from_config(config)
    mem = config.get("mem")
    if not isinstance(mem, Mapping):
        raise CheckpointError("configuration of a Spann3R network", got="no 'mem'", expected="its value encoder")
    widths = {
        "value_dim": trunk.encoder_width,
        "attn_head_in": trunk.encoder_width + trunk.decoder_width,
        "attn_head_out": trunk.encoder_width,
    }
    for key, width in widths.items():
        if mem.get(key, width) != width:
            raise CheckpointError(f"'{key}' of the value encoder", got=mem[key], expected=f"{width}, set by the trunk")
    return Spann3rArchitecture(
        trunk=trunk,
        value_depth=int(mem.get("value_depth", 6)),
        value_heads=int(mem.get("value_heads", max(1, trunk.encoder_width // HEAD_DIM))),
        value_mlp_ratio=float(mem.get("mlp_ratio", 4.0)),
        value_rope=bool(mem.get("rope_in_value_encoder", False)),
    )


def _from_shapes(shapes: Shapes, stated: Mapping[str, Any], where: str) -> Spann3rArchitecture:
    trunk_shapes = {name.removeprefix("dust3r."): shape for name, shape in shapes.items()}
    fields = trunk_fields(trunk_shapes, stated, where)
    return Spann3rArchitecture(
        trunk=Dust3rArchitecture(**{"image_size": (224, 224), **fields}),
        value_depth=depth(shapes, "value_encoder."),
        value_heads=max(1, fields["encoder_width"] // HEAD_DIM),
        value_mlp_ratio=mlp_ratio(shapes, "value_encoder.0"),
    )

"""StreamVGGT's official file: where it is, and how its tensors tell the network's sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spann3r_ros.models.checkpoint.download import CC_BY_NC_SA, HubRepository, OfficialFile
from spann3r_ros.models.family import Shapes
from spann3r_ros.models.streamvggt.architecture import StreamVggtArchitecture
from spann3r_ros.models.vggt.files import fields_from_shapes

if TYPE_CHECKING:
    from spann3r_ros.models.checkpoint.tensor_file import TensorFile

OFFICIAL_FILES = (
    OfficialFile(
        "streamvggt-1b",
        "checkpoints.pth",
        HubRepository("lch01/StreamVGGT", ("checkpoints.pth",)),
        5.0,
        CC_BY_NC_SA,
        commercial=False,
        note="Derived from the non-commercial weights of VGGT; its license is that of the code, the file has none of "
        "its own",
    ),
)


def architecture_of(_file: TensorFile, shapes: Shapes) -> tuple[StreamVggtArchitecture, str]:
    """Sizes from the shapes of the tensors, as VGGT's."""
    return StreamVggtArchitecture(**fields_from_shapes(shapes)), "shapes"

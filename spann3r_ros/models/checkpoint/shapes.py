"""What the shapes of tensors tell about a network."""

from __future__ import annotations

import math
import re

from spann3r_ros.errors import CheckpointError
from spann3r_ros.models.family import Shapes


def shape_of(shapes: Shapes, name: str, axes: int) -> tuple[int, ...]:
    """The shape of a tensor; CheckpointError when it is missing or has another number of axes."""
    shape = shapes.get(name)
    if shape is None or len(shape) != axes:
        raise CheckpointError(
            f"tensor {name}, which tells the size of the network,",
            got="nothing" if shape is None else f"shape {list(shape)}",
            expected=f"{axes} axes",
        )
    return shape


def depth(shapes: Shapes, prefix: str) -> int:
    """Number of the blocks whose tensors begin with ``prefix`` and a number."""
    found = (re.match(re.escape(prefix) + r"(\d+)\.", name) for name in shapes)
    return 1 + max((int(match.group(1)) for match in found if match), default=-1)


def mlp_ratio(shapes: Shapes, block: str) -> float:
    """Hidden width over width of a block's MLP."""
    hidden, width = shape_of(shapes, f"{block}.mlp.fc1.weight", 2)
    ratio = hidden / width
    # Networks take int(width * ratio); the quotient must not fall short of the hidden width by rounding.
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def heads_of(width: int, which: str, head_dim: int = 64) -> int:
    """Attention heads of a width; no shape tells their number: in all official networks they have 64 channels.

    Raises:
        CheckpointError: a width that does not split into such heads.
    """
    if width % head_dim:
        raise CheckpointError(
            f"number of attention heads of the {which}",
            got=f"width {width} and no description of the network",
            expected=f"a multiple of {head_dim}",
            next_step="Write the weights with models.checkpoint.reading.write_checkpoint, which states the sizes",
        )
    return width // head_dim

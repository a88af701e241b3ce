from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from spann3r_ros.errors import ConfigError
from spann3r_ros.models.vggt.architecture import TINY


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 4}, "aggregator width: got 24 with 4 heads; expected a multiple of 4 x heads"),
        ({"camera_heads": 5}, "camera head width: got 48 with 5 heads"),
        ({"layers": (0, 1, 2, 4)}, r"layers\[3\] of a VGGT network: got 4; expected 0 .. 3"),
        ({"dpt_width": 12}, "dense head's map: got 6"),
        ({"has_depth": False, "has_points": False}, "got none; expected one for depth"),
        ({"image_size": (42, 71)}, "multiples of the patch, 14"),
        ({"camera_iterations": 0}, "camera_iterations of a VGGT network: got 0"),
    ],
)
def test_impossible_sizes_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **fields)

"""CUT3R's own parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spann3r_ros.parameter import parameter


@dataclass
class Cut3rParameters:
    """What enters CUT3R's state, and how often frames are looked at."""

    GROUP: ClassVar[str] = "cut3r"

    update: bool = parameter(
        True, "false: frames are answered from the state as it is, and leave no trace in it.", live=True
    )
    revisit: int = parameter(
        1,
        "How often each frame is looked at; its final answer is that of the last time. More than 1 makes answers "
        "consistent, and late: they come with `cut3r.revisit_frames` frames at once. With `output` immediate it has no "
        "effect.",
        low=1,
        high=16,
    )
    revisit_frames: int = parameter(64, "Frames that are looked at again together.", unit="frames", low=1, high=4096)
    revisit_update: bool = parameter(
        True, "Whether the later looks change the state; false: the later looks only read it.", live=True
    )
    rounded_rotation: bool = parameter(
        False,
        "true: round queries and keys to half precision around their rotation in the image encoder, as the published "
        "code does; it moves points by about 0.1 %.",
    )

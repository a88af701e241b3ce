"""The parameters of the simulated network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spann3r_ros.parameter import parameter


@dataclass
class SimulatedParameters:
    """How wrong the simulated network is, and how it takes its frames. Everything random follows from the seed."""

    GROUP: ClassVar[str] = "simulated"

    seed: int = parameter(
        0, "Of all that is random; the same seed and frames give the same answers.", low=0, high=2**31
    )
    drift_frames: int = parameter(
        100,
        "Frames over which a memory drifts by scale_drift, rotation_drift and translation_drift (standard deviations); "
        "with submap.frames as large it is the drift of a submap.",
        unit="frames",
        low=1,
        high=1_000_000,
    )
    scale_drift: float = parameter(0.05, "Drift of the unit, as a share of it.", low=0.0, high=1.0)
    rotation_drift: float = parameter(2.0, "Drift of the direction.", unit="deg", low=0.0, high=90.0)
    translation_drift: float = parameter(0.03, "Drift of the position.", unit="m", low=0.0, high=10.0)
    depth_noise: float = parameter(0.01, "Noise of the depth of a pixel, as a share of it.", low=0.0, high=1.0)
    outliers: float = parameter(0.02, "Share of the pixels that lie anywhere along their rays.", low=0.0, high=1.0)
    confidence: float = parameter(0.9, "Confidence of a memory's first answers.", low=0.0, high=1.0)
    fading_frames: float = parameter(
        500.0, "Frames after which the confidence of a memory has fallen to 37 %.", unit="frames", low=1.0, high=1e9
    )
    loss_rate: float = parameter(
        0.0, "Share of the frames at which a loss begins: answers that mean nothing, and a spoiled memory.", high=1.0
    )
    loss_frames: int = parameter(10, "Frames that a loss lasts.", unit="frames", low=1, high=100_000)
    relate_noise: float = parameter(
        1.0,
        "Noise of what it tells about two submaps, times 1 % of scale, 0.5 degrees and 2 cm (standard deviations).",
        low=0.0,
        high=100.0,
    )
    relate_fooled: float = parameter(
        0.9,
        "Two images of different places whose descriptors are at least so similar are taken for the same view; "
        "above 1: never.",
        low=0.0,
        high=2.0,
    )
    window: int = parameter(
        0, "0: one frame at a time, with a memory; else so many frames at once.", unit="frames", low=0, high=100_000
    )
    overlap: int = parameter(4, "Frames that windows share.", unit="frames", low=1, high=100_000)
    join: str = parameter("submaps", "How windows are joined, as of families of windows.", choices=("frame", "submaps"))

"""What the library says about the same frames, without ROS: the truth that the node is held to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tiny_models import random_frames

from spann3r_ros.config import Config
from spann3r_ros.frame import Frame
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.reconstruction import Reconstruction

BEGIN = 1_700_000_000_000_000_000
OPTICAL = "camera_optical_frame"


def walk(count: int, seed: int = 3, begin: int = BEGIN, camera: str = OPTICAL) -> list[Frame]:
    """Frames of 96 x 72 pixels at 10 Hz."""
    frames = random_frames(count, (96, 72), seed)
    return [dataclasses.replace(frame, stamp=begin + frame.stamp, camera=camera) for frame in frames]


def reconstruct(
    checkpoint: Path, frames: list[Frame], output: str = "refined", tracking: bool = True
) -> tuple[Reconstruction, list[WorldPrediction]]:
    """The reconstruction after all frames, and every prediction on the way."""
    config = Config(checkpoint=str(checkpoint), device="cpu", output=output)
    config.tracking.enabled = tracking
    reconstruction = Reconstruction.from_config(config)
    return reconstruction, [prediction for frame in frames for prediction in reconstruction.process(frame)]

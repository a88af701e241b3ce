"""Every family in the running node, over DDS: what it publishes is what the library says about the same images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from exported import exported
from library import walk
from numpy.testing import assert_allclose
from robot import Robot, image_message, read_cloud, to_nanoseconds
from sensor_msgs.msg import Image, PointCloud2
from spann3r_ros.msg import ReconstructionStatus

from spann3r_ros.config import Config, from_mapping
from spann3r_ros.mapping.filters import confident
from spann3r_ros.models import registry
from spann3r_ros.models.base import WindowSettings
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.ros.node import Spann3rNode

MIN_CONFIDENCE = 0.01
"""What a random network says has hardly any."""


def parameters_of(name: str) -> dict[str, object]:
    """A tiny network of random weights; windows short enough to be filled by the test."""
    parameters: dict[str, object] = {"model": name, "checkpoint": "random", "tracking.enabled": False}
    parameters["map.min_confidence"] = MIN_CONFIDENCE
    kind = registry.family(name).parameters
    if kind is not None and isinstance(kind(), WindowSettings):
        parameters |= {f"{kind.GROUP}.window": 4, f"{kind.GROUP}.overlap": 1}
    return parameters


@pytest.mark.parametrize("name", registry.FAMILIES)
def test_the_node_publishes_what_the_library_says(
    name: str, start_inside: Callable[..., Spann3rNode], robot: Robot
) -> None:
    require_same_as_library(parameters_of(name), start_inside, robot)


def test_the_node_runs_exported_stages_in_onnx_runtime(start_inside: Callable[..., Spann3rNode], robot: Robot) -> None:
    for module in ("onnx", "onnxruntime"):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install {module}")
    folder = str(exported("spann3r"))
    parameters = {**parameters_of("spann3r"), "backend": "onnxruntime", "checkpoint": folder}
    require_same_as_library(parameters, start_inside, robot)


def require_same_as_library(
    parameters: dict[str, object], start_inside: Callable[..., Spann3rNode], robot: Robot
) -> None:
    frames = walk(7)
    config = from_mapping(Config, {**parameters, "device": "cpu"}, registry.parameter_groups())
    library = Reconstruction.from_config(config)
    expected = [answer for frame in frames for answer in library.process(frame)]
    assert expected, "the frames fill a window"

    start_inside(status_rate=20.0, **{key.replace(".", "__"): value for key, value in parameters.items()})
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    images = robot.publisher(Image, "/camera/image_raw")
    for frame in frames:
        images.publish(image_message(frame))
    robot.wait(lambda: len(clouds) >= len(expected), "a cloud for every answer")
    robot.wait(lambda: statuses[-1].frames_processed >= len(frames), "the status")
    assert statuses[-1].model == parameters["model"]
    assert "random weights" in (statuses[-1].weights_note or statuses[-1].weights)
    for cloud, answer in zip(clouds, expected, strict=True):
        points, seen = read_cloud(cloud), confident(answer.points, answer.confidence, MIN_CONFIDENCE)
        assert to_nanoseconds(cloud.header.stamp) == answer.frame.stamp and seen.any()
        found = np.stack([points["x"], points["y"], points["z"]], axis=-1)
        assert_allclose(found, answer.points[seen], rtol=1e-4, atol=1e-4)
        assert_allclose(points["confidence"], answer.confidence[seen], rtol=1e-4)

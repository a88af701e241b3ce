"""What the node says when no image comes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from library import walk
from node_process import NodeProcess
from robot import BEST_EFFORT, RELIABLE, Robot, image_message
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from spann3r_ros.msg import ReconstructionStatus

from spann3r_ros.ros.camera_input import names_from_topics

Start = Callable[..., NodeProcess]


def test_nobody_publishes_but_another_topic_is_there_then_images_come(start: Start, robot: Robot) -> None:
    node = start(silence_timeout=1.0, status_rate=30.0, autostart=False)
    other = robot.node.create_publisher(Image, "/front/rgb", RELIABLE)
    diagnostics = robot.collect(DiagnosticArray, "/diagnostics")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    robot.activate()
    line = node.wait_for_log("no image from camera 'camera'")
    assert "nobody publishes /camera/image_raw" in line
    assert "/front/rgb (sensor_msgs/msg/Image)" in line
    assert "Set image_topics" in line and "/spann3r/" not in line, "its own images are no camera's"
    robot.wait(lambda: diagnostics and diagnostics[-1].status[1].level == DiagnosticStatus.ERROR, "an error")
    assert "nobody publishes" in diagnostics[-1].status[1].message
    assert diagnostics[-1].status[0].level == DiagnosticStatus.OK, "the camera's trouble is not the reconstruction's"
    robot.wait(lambda: statuses and "nobody publishes" in statuses[-1].complaint, "the status")
    camera = robot.publisher(Image, "/camera/image_raw")
    camera.publish(image_message(walk(1)[0]))
    node.wait_for_log("images arrive again")
    assert node.log.count("no image from camera") == 1, "one warning, not one a second"
    robot.node.destroy_publisher(other)


def test_each_cause_has_its_own_advice(start: Start, robot: Robot) -> None:
    causes = {
        "cloud": (PointCloud2, RELIABLE, "which is no image type"),
        "jpeg": (CompressedImage, RELIABLE, "Set image_transport to auto"),
        "lossy": (Image, BEST_EFFORT, "Set image_qos to auto"),
        "idle": (Image, RELIABLE, "types and QoS match"),
    }
    for name, (kind, qos, _) in causes.items():
        robot.node.create_publisher(kind, f"/{name}/image", qos)
    topics = [f"/{name}/image" for name in causes]
    node = start(silence_timeout=1.0, autostart=False, image_topics=topics, image_transport="raw", image_qos="reliable")
    robot.activate()
    for name, (_, _, advice) in causes.items():
        line = node.wait_for_log(f"no image from camera '{name}'")
        assert advice in line
        assert "/robot (" in line, "who publishes"
    assert node.alive


def test_a_silent_best_effort_topic_may_be_losing_large_images(start: Start, robot: Robot) -> None:
    robot.node.create_publisher(Image, "/camera/image_raw", BEST_EFFORT)
    node = start(silence_timeout=1.0, autostart=False)
    robot.activate()
    line = node.wait_for_log("no image from camera 'camera'")
    assert "512 KB" in line and "FASTDDS_DEFAULT_PROFILES_FILE" in line and "best_effort" in line


@pytest.fixture
def shipped_model() -> None:
    """Skip in a checkout without the model that ships."""
    model = Path(__file__).resolve().parents[2] / "spann3r_ros" / "models" / "weights" / "apartment.safetensors"
    if not model.is_file():
        pytest.skip(f"{model} is not there")


@pytest.mark.usefixtures("shipped_model")
def test_the_shipped_model_says_what_it_is(start: Start, robot: Robot) -> None:
    node = start(checkpoint="", use_sim_time=True, silence_timeout=1.0, status_rate=30.0)
    diagnostics = robot.collect(DiagnosticArray, "/diagnostics")
    line = node.wait_for_log("demo weights: the model that ships")
    assert "`python -m spann3r_ros models list`" in line and "`python -m spann3r_ros models fetch NAME`" in line
    robot.wait(lambda: diagnostics and "demo weights" in diagnostics[-1].status[0].message, "the diagnostics")
    assert "nobody publishes /clock" in node.wait_for_log("no image from camera")


def test_names_of_cameras() -> None:
    assert names_from_topics(["/front/image_raw", "rear/image_raw/compressed"]) == ["front", "rear"]
    assert names_from_topics(["/cam/left", "/cam/right"]) == ["cam_left", "cam_right"]
    assert names_from_topics(["image_raw"]) == ["image_raw"]

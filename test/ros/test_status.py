from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_process import NodeProcess
from robot import RELIABLE, Robot, image_message, to_nanoseconds
from sensor_msgs.msg import Image, PointCloud2
from spann3r_ros.msg import ReconstructionStatus
from tiny_models import random_frames


@pytest.mark.fault("lost")
@pytest.mark.fault("first images", case="23")
@pytest.mark.fault("words")
def test_states_follow_what_can_be_believed(start: Callable[..., NodeProcess], robot: Robot) -> None:
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    diagnostics = robot.collect(DiagnosticArray, "/diagnostics")
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    node = start(tracking__enabled=True, output="immediate", status_rate=20.0, map__min_confidence=0.0)
    camera = robot.publisher(Image, "/camera/image_raw", RELIABLE)
    robot.wait(lambda: camera.get_subscription_count() == 1, "the node to take images")
    begin = time.time_ns()
    frames = [dataclasses.replace(frame, stamp=begin + frame.stamp) for frame in random_frames(12)]

    def show(numbers: range, black: bool = False) -> ReconstructionStatus:
        for number in numbers:
            image = np.zeros_like(frames[number].image) if black else frames[number].image
            camera.publish(image_message(dataclasses.replace(frames[number], image=image)))
        received = numbers.stop

        def is_done() -> bool:
            newest = statuses[-1] if statuses else None
            return newest is not None and newest.frames_processed + newest.frames_failed == received

        robot.wait(is_done, f"{received} images to be worked off")
        seen = len(statuses)
        robot.wait(lambda: len(statuses) > seen + 1, "a status that was made afterwards")
        return statuses[-1]

    status = show(range(2), black=True)
    assert (status.state, status.tracking, status.points) == ("initialising", "initialising", 0)
    assert "the image has no contrast: got 0.0 gray levels" in status.tracking_reason
    assert status.frames_lost == status.frames_failed == 2 and status.tracking_reason in status.complaint

    status = show(range(2, 7))
    assert (status.state, status.tracking, status.tracking_reason) == ("running", "tracking", "")
    assert status.points > 0 and status.frames_lost == 2 and not status.complaint

    status, points = show(range(7, 9), black=True), status.points
    assert (status.state, status.tracking) == ("lost", "lost") and status.points == points
    assert "no contrast" in status.tracking_reason and status.frames_lost == 4
    reconstruction = next(entry for entry in diagnostics[-1].status if entry.name.endswith("reconstruction"))
    values = {pair.key: pair.value for pair in reconstruction.values}
    assert (values["tracking"], values["lost"]) == ("lost", "4") and "no contrast" in reconstruction.message

    status = show(range(9, 12))
    assert (status.state, status.frames_lost) == ("running", 4) and status.posed_frames == 8
    shown = [to_nanoseconds(cloud.header.stamp) for cloud in clouds]
    assert shown == [frames[number].stamp for number in (*range(2, 7), *range(9, 12))]
    assert node.log.count("tracking is lost") == 1 and node.log.count("the world has not begun yet") == 1

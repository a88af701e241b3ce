"""Services while the network runs: reset, pause, save, and the same world again after a crash."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from library import reconstruct, walk
from nav_msgs.msg import Path as PathMessage
from node_process import NodeProcess
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from rcl_interfaces.srv import GetParameters
from robot import LATCHED, Robot, image_message, read_cloud, to_nanoseconds
from sensor_msgs.msg import Image, PointCloud2
from spann3r_ros.msg import ReconstructionStatus
from spann3r_ros.srv import LoadMap, SaveMap
from std_srvs.srv import Trigger

from spann3r_ros.files.ply import read_ply
from spann3r_ros.files.tum import read_trajectory

Start = Callable[..., NodeProcess]


def xyz(message: PointCloud2) -> Any:
    points = read_cloud(message)
    return np.stack([points["x"], points["y"], points["z"]], axis=-1)


def subscribers(robot: Robot, topic: str) -> list[str]:
    """Names of the nodes that listen to a topic."""
    return [info.node_name for info in robot.node.get_subscriptions_info_by_topic(topic)]


def in_order(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The points sorted: a map that was saved and loaded may keep its voxels in another order."""
    return points[np.lexsort(points.T)]


def test_save_kill_load_continue_in_the_same_world(
    start: Start, robot: Robot, checkpoint: Path, tmp_path: Path
) -> None:
    frames = walk(10)
    reconstruction, expected = reconstruct(checkpoint, frames)
    half, _ = reconstruct(checkpoint, frames[:6])
    first = start()
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in frames[:6]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 5, "five clouds")
    saved = robot.call(SaveMap, "/spann3r/save_map", SaveMap.Request(path=str(tmp_path / "walk")))
    assert saved.success, saved.message
    assert (saved.points, saved.frames) == (len(half.map.cloud()), 5)
    assert all(Path(file).is_file() for file in saved.files)
    assert_allclose(read_ply(tmp_path / "walk" / "map.ply").points, half.map.cloud().points, atol=1e-6)
    assert [pose.stamp for pose in read_trajectory(tmp_path / "walk" / "trajectory.txt")] == [
        frame.stamp for frame in frames[:5]
    ]
    first.kill()

    # DDS takes half a minute to notice a crash: until then the second node needs a name of its own, and the first one's
    # subscription still counts.
    start(["-r", "__node:=second"])
    clouds = robot.collect(PointCloud2, "/second/cloud")
    maps = robot.collect(PointCloud2, "/second/map", LATCHED)
    paths = robot.collect(PathMessage, "/second/path", LATCHED)
    robot.wait(lambda: "second" in subscribers(robot, "/camera/image_raw"), "the second node")
    robot.synchronize("/second")
    loaded = robot.call(LoadMap, "/second/load_map", LoadMap.Request(path=str(tmp_path / "walk")))
    assert loaded.success, loaded.message
    assert (loaded.points, loaded.frames) == (saved.points, saved.frames)
    robot.wait(lambda: maps and maps[-1].width == saved.points, "the loaded map")
    for frame in frames[6:]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 4, "four clouds")
    for message, prediction in zip(clouds, expected[5:], strict=True):
        assert to_nanoseconds(message.header.stamp) == prediction.frame.stamp
        assert_allclose(xyz(message), prediction.points[prediction.confidence >= 0.3], rtol=1e-6, atol=1e-6)
    robot.wait(lambda: maps[-1].width == len(reconstruction.map.cloud()), "the continued map")
    robot.wait(lambda: paths and len(paths[-1].poses) == 9, "the whole path")
    assert [to_nanoseconds(pose.header.stamp) for pose in paths[-1].poses] == [frame.stamp for frame in frames[:9]]
    assert_allclose(in_order(xyz(maps[-1])), in_order(reconstruction.map.cloud().points), atol=1e-6)


def test_reset_begins_a_new_world(start: Start, robot: Robot, checkpoint: Path) -> None:
    frames, others = walk(4, seed=1), walk(4, seed=2, begin=1_600_000_000_000_000_000)
    _, expected = reconstruct(checkpoint, others)
    start(map_rate=20.0, status_rate=20.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    maps = robot.collect(PointCloud2, "/spann3r/map", LATCHED)
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in frames:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 3 and maps and maps[-1].width, "a map")
    answer = robot.call(Trigger, "/spann3r/reset")
    assert answer.success, answer.message
    robot.wait(lambda: maps[-1].width == 0, "an empty map, so that viewers forget the old one")
    robot.wait(lambda: statuses[-1].points == 0 and statuses[-1].frames_received == 0, "counters that begin anew")
    clouds.clear()
    for frame in others:  # of an earlier time: after a reset any time is welcome
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 3, "clouds of the new world")
    for message, prediction in zip(clouds, expected, strict=True):
        assert_allclose(xyz(message), prediction.points[prediction.confidence >= 0.3], rtol=1e-6, atol=1e-6)


def test_pause_lets_images_pass_and_resume_goes_on(start: Start, robot: Robot, checkpoint: Path) -> None:
    frames = walk(9)
    _, expected = reconstruct(checkpoint, [*frames[:3], *frames[6:]])
    start(status_rate=20.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in frames[:3]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 2, "two clouds")
    assert robot.call(Trigger, "/spann3r/pause").success
    robot.wait(lambda: statuses[-1].state == "paused", "the state")
    for frame in frames[3:6]:
        camera.publish(image_message(frame))
    robot.wait(
        lambda: (statuses[-1].frames_received, statuses[-1].frames_processed, statuses[-1].frames_skipped) == (6, 3, 3),
        "images that passed by",
    )
    assert robot.call(Trigger, "/spann3r/resume").success
    for frame in frames[6:]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 5, "five clouds")
    for message, prediction in zip(clouds, expected, strict=True):
        assert to_nanoseconds(message.header.stamp) == prediction.frame.stamp
        assert_allclose(xyz(message), prediction.points[prediction.confidence >= 0.3], rtol=1e-6, atol=1e-6)


def test_requests_that_cannot_be_met_say_why_and_change_nothing(start: Start, robot: Robot, tmp_path: Path) -> None:
    node = start(status_rate=20.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in walk(3):
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 2, "two clouds")
    (tmp_path / "file").write_text("no folder")
    for path, part in (("", "empty"), (str(tmp_path / "nowhere"), "nowhere"), (str(tmp_path / "file"), "file")):
        answer = robot.call(LoadMap, "/spann3r/load_map", LoadMap.Request(path=path))
        assert not answer.success
        assert part in answer.message
    refused = robot.call(SaveMap, "/spann3r/save_map", SaveMap.Request(path=str(tmp_path / "file" / "below")))
    assert not refused.success and "file" in refused.message
    saved = robot.call(SaveMap, "/spann3r/save_map")
    assert saved.success, saved.message
    assert saved.frames == 2 and all(Path(file).is_file() for file in saved.files)
    assert node.alive


@pytest.mark.fault("services under load")
@pytest.mark.fault("words")
def test_nothing_waits_for_a_busy_network_and_a_stale_answer_is_discarded(
    start: Start, robot: Robot, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    node = start(gate=gate, status_rate=20.0, service_timeout=0.1)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    frames, others = walk(20), walk(2, seed=2, begin=1_600_000_000_000_000_000)
    for frame in frames[:2]:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 1, "a cloud")
    gate.touch()
    for frame in frames[2:]:
        camera.publish(image_message(frame))
    robot.wait(lambda: statuses[-1].queue_length == 17, "a busy network")

    refused = robot.call(SaveMap, "/spann3r/save_map", SaveMap.Request(path=str(tmp_path / "never")))
    assert not refused.success and "not begun within 0.1 s, the network is busy" in refused.message
    client = robot.node.create_client(SaveMap, "/spann3r/save_map")
    assert client.wait_for_service(30.0)
    robot.synchronize()
    many = [client.call_async(SaveMap.Request(path=str(tmp_path / "never"))) for _ in range(50)]
    robot.wait(lambda: all(answer.done() for answer in many), "fifty refusals")
    assert all("the network has been busy" in answer.result().message for answer in many)
    parameter = robot.call(GetParameters, "/spann3r/get_parameters", GetParameters.Request(names=["map.voxel_size"]))
    assert parameter.values[0].double_value == 0.02
    assert robot.call(Trigger, "/spann3r/reset").success
    robot.wait(lambda: statuses[-1].frames_received == 0 and statuses[-1].queue_length == 0, "the reset")

    gate.unlink()
    robot.wait(lambda: statuses[-1].memory.tokens == 0 and statuses[-1].points == 0, "an empty world")
    robot.wait(lambda: statuses[-1].frames_discarded == 1, "the count of the stale answer")
    for frame in others:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) >= 2, "a cloud of the new world")
    assert [to_nanoseconds(cloud.header.stamp) for cloud in clouds] == [frames[0].stamp, others[0].stamp]
    assert node.alive and not (tmp_path / "never").exists()


def test_a_loaded_map_in_which_the_camera_is_looked_for(
    start: Start, robot: Robot, relative_checkpoint: Path, tmp_path: Path
) -> None:
    """The images come in another order: the camera is not where it was."""
    start(relocalizer="retrieval", checkpoint=str(relative_checkpoint), status_rate=20.0, map_rate=20.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    paths = robot.collect(PathMessage, "/spann3r/path", LATCHED)
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    frames = walk(8)
    for frame in frames:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 7, "clouds")
    saved = robot.call(SaveMap, "/spann3r/save_map", SaveMap.Request(path=str(tmp_path / "walk")))
    assert saved.success, saved.message
    loaded = robot.call(LoadMap, "/spann3r/load_map", LoadMap.Request(path=str(tmp_path / "walk")))
    assert loaded.success and "the camera is looked for in it" in loaded.message, loaded.message
    robot.wait(lambda: statuses[-1].state == "relocalizing", "the state")
    assert (loaded.points, loaded.frames) == (saved.points, 7)
    # A camera goes on while it is looked for beside the network, however long that takes.
    later = walk(100, begin=1_700_000_100_000_000_000)
    for frame, content in zip(later, itertools.cycle((5, 2, 3, 4, 5, 6, 7, 1)), strict=False):
        processed = statuses[-1].frames_processed
        camera.publish(image_message(dataclasses.replace(frame, image=frames[content].image)))
        robot.wait(lambda least=processed: statuses[-1].frames_processed > least, "the next image")
        if statuses[-1].state == "running":
            break
    assert statuses[-1].state == "running", "the camera was not found in 100 images"
    robot.wait(lambda: statuses[-1].submaps == 2, "a submap beside the loaded one")
    robot.wait(lambda: len(clouds) > 7, "clouds in the loaded world")
    robot.wait(lambda: len(paths[-1].poses) > 8, "the path of both")
    missing = robot.call(LoadMap, "/spann3r/load_map", LoadMap.Request(path=str(tmp_path / "nowhere")))
    assert not missing.success and statuses[-1].submaps == 2

"""Every output of the node, compared with what the library says about the same frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Pose, PoseStamped
from library import BEGIN, OPTICAL, reconstruct, walk
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from node_process import NodeProcess
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from robot import LATCHED, Robot, image_message, read_cloud, to_nanoseconds
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from spann3r_ros.msg import ReconstructionStatus
from tf2_msgs.msg import TFMessage

from spann3r_ros.frame import Frame
from spann3r_ros.geometry.camera import depth_from_pointmap
from spann3r_ros.geometry.message_pose import pose_from_message
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.voxel_grid import VoxelUpdate
from spann3r_ros.prediction import Prediction, WorldPrediction
from spann3r_ros.ros.node import Spann3rNode
from spann3r_ros.sim3 import Sim3

Start = Callable[..., NodeProcess]
WORLD = "/spann3r"


def xyz(points: NDArray[Any]) -> NDArray[np.float32]:
    return np.stack([points["x"], points["y"], points["z"]], axis=-1)


def rgb(points: NDArray[Any]) -> NDArray[np.uint8]:
    return np.stack([points["r"], points["g"], points["b"]], axis=-1)


def sim3(pose: Pose) -> Sim3:
    return pose_from_message(pose.position, pose.orientation)


def test_all_topics_say_what_the_library_says(start: Start, robot: Robot, checkpoint: Path) -> None:
    frames = walk(8)
    reconstruction, expected = reconstruct(checkpoint, frames)
    assert len(expected) == 7
    assert all(prediction.world_from_camera is not None for prediction in expected), "the wall gives poses"

    node = start(map_rate=20.0, status_rate=10.0, silence_timeout=600.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    maps = robot.collect(PointCloud2, "/spann3r/map", LATCHED)
    poses = robot.collect(PoseStamped, "/spann3r/pose")
    odometry = robot.collect(Odometry, "/spann3r/odometry")
    paths = robot.collect(PathMessage, "/spann3r/path", LATCHED)
    depths = robot.collect(Image, "/spann3r/depth")
    infos = robot.collect(CameraInfo, "/spann3r/depth/camera_info")
    confidences = robot.collect(Image, "/spann3r/confidence")
    transforms = robot.collect(TFMessage, "/tf")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    diagnostics = robot.collect(DiagnosticArray, "/diagnostics")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in frames:
        camera.publish(image_message(frame))

    outputs = (clouds, poses, odometry, depths, infos, confidences, transforms)
    robot.wait(lambda: all(len(output) >= 7 for output in outputs), "seven answers")
    robot.wait(lambda: paths and len(paths[-1].poses) == 7, "the whole path")
    robot.wait(lambda: maps and to_nanoseconds(maps[-1].header.stamp) == frames[6].stamp, "the whole map")
    robot.wait(lambda: statuses and statuses[-1].frames_processed == 8, "the last status")
    assert node.alive and not [output for output in outputs if len(output) != 7]

    for index, prediction in enumerate(expected):
        stamp, pose = prediction.frame.stamp, prediction.world_from_camera
        assert pose is not None and prediction.intrinsics is not None
        usable = prediction.confidence >= 0.3
        for message, frame_id in (
            *((output[index], "map") for output in (clouds, poses, odometry)),
            *((output[index], OPTICAL) for output in (depths, infos, confidences)),
            (transforms[index].transforms[0], "map"),
        ):
            assert (to_nanoseconds(message.header.stamp), message.header.frame_id) == (stamp, frame_id)

        points = read_cloud(clouds[index])
        assert clouds[index].is_dense and clouds[index].height == 1
        assert_allclose(xyz(points), prediction.points[usable], rtol=1e-6, atol=1e-6)
        assert_array_equal(rgb(points), prediction.colors[usable])
        assert_allclose(points["confidence"], prediction.confidence[usable], rtol=1e-6)

        assert_allclose(sim3(poses[index].pose).matrix(), pose.matrix(), atol=1e-6)
        assert_allclose(sim3(odometry[index].pose.pose).matrix(), pose.matrix(), atol=1e-6)
        assert odometry[index].child_frame_id == OPTICAL
        assert prediction.pose_covariance is not None and prediction.pose_covariance[0, 0] > 0
        assert_allclose(np.reshape(odometry[index].pose.covariance, (6, 6)), prediction.pose_covariance, rtol=1e-6)
        assert odometry[index].twist.covariance[0] == -1.0
        transform = transforms[index].transforms[0]
        assert transform.child_frame_id == OPTICAL
        t = transform.transform.translation
        assert_allclose([t.x, t.y, t.z], pose.translation, atol=1e-6)

        depth = np.frombuffer(depths[index].data, "<f4").reshape(48, 64)
        truth = np.where(usable, depth_from_pointmap(prediction.points, pose), np.nan)
        assert_allclose(depth, truth, rtol=1e-5, atol=1e-5)
        assert (depths[index].encoding, infos[index].width, infos[index].height) == ("32FC1", 64, 48)
        assert_allclose(np.array(infos[index].k).reshape(3, 3), prediction.intrinsics.matrix(), rtol=1e-6)
        confidence = np.frombuffer(confidences[index].data, "<f4").reshape(48, 64)
        assert_allclose(confidence, prediction.confidence, rtol=1e-6)

    whole = reconstruction.map.cloud()
    shown = read_cloud(maps[-1])
    mine, theirs = np.lexsort(xyz(shown).T), np.lexsort(whole.points.T)
    assert_allclose(xyz(shown)[mine], whole.points[theirs], rtol=1e-6, atol=1e-6)
    assert_array_equal(rgb(shown)[mine], whole.colors[theirs])
    assert [to_nanoseconds(pose.header.stamp) for pose in paths[-1].poses] == [frame.stamp for frame in frames[:7]]
    assert_allclose(sim3(paths[-1].poses[3].pose).matrix(), expected[3].world_from_camera.matrix(), atol=1e-6)

    status = statuses[-1]
    assert (status.model, status.state, status.world_frame, status.device) == ("spann3r", "running", "map", "cpu")
    assert (status.weights, status.weights_note) == (str(checkpoint), "")
    assert (status.frames_received, status.frames_dropped, status.frames_failed) == (8, 0, 0)
    assert to_nanoseconds(status.last_image_stamp) == frames[7].stamp
    assert to_nanoseconds(status.last_output_stamp) == frames[6].stamp
    assert (status.points, status.submaps, status.metric) == (len(reconstruction.map), 1, True)
    assert (status.posed_frames, status.scale_source) == (7, "model")
    assert 0 < status.inference_time <= status.response_time
    assert status.latency >= status.inference_time
    memory = reconstruction.status()
    assert (status.memory.tokens, status.memory.inserted) == (memory.tokens, memory.inserted)
    assert {counter.key: counter.value for counter in status.memory.counters} == {
        name: f"{value:g}" for name, value in memory.counters.items()
    }
    assert "working_frames" in memory.counters
    assert status.complaint == ""
    healthy = {"spann3r: reconstruction": DiagnosticStatus.OK, "spann3r: camera camera": DiagnosticStatus.OK}
    robot.wait(lambda: {entry.name: entry.level for entry in diagnostics[-1].status} == healthy, "healthy diagnostics")


def test_both_outputs_and_an_organized_cloud(start: Start, robot: Robot, checkpoint: Path) -> None:
    frames = walk(4)
    _, expected = reconstruct(checkpoint, frames, output="both")
    start(output="both", cloud="organized", map__min_confidence=0.85, world_frame="world")
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    transforms = robot.collect(TFMessage, "/tf")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in frames:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) >= len(expected), "all answers")
    for message, prediction in zip(clouds, expected, strict=True):
        usable = prediction.confidence >= 0.85
        assert 0 < usable.sum() < usable.size
        assert (message.height, message.width, message.is_dense) == (48, 64, False)
        assert (message.header.frame_id, to_nanoseconds(message.header.stamp)) == ("world", prediction.frame.stamp)
        points = xyz(read_cloud(message))
        assert np.isnan(points[~usable]).all()
        assert_allclose(points[usable], prediction.points[usable], rtol=1e-6, atol=1e-6)
    posed = sorted({prediction.frame.stamp for prediction in expected if prediction.world_from_camera is not None})
    robot.wait(lambda: len(transforms) >= len(posed), "a transform of each image")
    stamps = [to_nanoseconds(message.transforms[0].header.stamp) for message in transforms]
    assert stamps == posed, "the second pose of an image is no second transform"


def test_who_comes_late_gets_the_map_and_nobody_costs_nothing(start: Start, robot: Robot, checkpoint: Path) -> None:
    frames = walk(5)
    reconstruction, _ = reconstruct(checkpoint, frames)
    start(status_rate=10.0)
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in frames:
        camera.publish(image_message(frame))
    robot.wait(lambda: statuses and statuses[-1].frames_processed == 5, "five frames")
    maps = robot.collect(PointCloud2, "/spann3r/map", LATCHED)
    robot.wait(lambda: maps, "the map, though no frame comes any more")
    assert maps[-1].width == len(reconstruction.map.cloud())
    later = robot.collect(PointCloud2, "/spann3r/map", LATCHED)
    robot.wait(lambda: later, "the map again")
    assert later[-1].data == maps[-1].data


@pytest.mark.parametrize("namespace", ["/robot1"])
def test_namespaces_and_remaps(start: Start, robot: Robot, namespace: str) -> None:
    frames = walk(3)
    start(
        [
            "-r",
            f"__ns:={namespace}",
            "-r",
            "__node:=mapper",
            "-r",
            "camera/image_raw:=/front/rgb",
            "-r",
            "~/cloud:=points",
        ],
        world_frame="map",
    )
    clouds = robot.collect(PointCloud2, f"{namespace}/points")
    camera = robot.publisher(Image, "/front/rgb")
    robot.synchronize(f"{namespace}/mapper")
    for frame in frames:
        camera.publish(image_message(frame))
    robot.wait(lambda: len(clouds) == 2, "two clouds")
    assert to_nanoseconds(clouds[0].header.stamp) == BEGIN


def test_a_map_without_meters_claims_no_source_of_its_scale(
    start: Start, robot: Robot, relative_checkpoint: Path
) -> None:
    start(checkpoint=str(relative_checkpoint), status_rate=20.0)
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    for frame in walk(3):
        camera.publish(image_message(frame))
    robot.wait(lambda: statuses and statuses[-1].points > 0, "a map")
    assert (statuses[-1].metric, statuses[-1].scale_source) == (False, "")


def test_the_latency_counts_until_the_points_of_the_very_image_are_out(start: Start, robot: Robot) -> None:
    first, second = walk(2)
    start(status_rate=20.0)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    camera.publish(image_message(first))
    robot.wait(lambda: statuses and statuses[-1].frames_processed == 1, "the first image")
    assert np.isnan(statuses[-1].latency) and statuses[-1].response_time > 0, "its points are not out yet"
    time.sleep(1.0)
    camera.publish(image_message(second))  # which brings the points of the first
    robot.wait(lambda: clouds and statuses[-1].frames_processed == 2, "the first points")
    assert to_nanoseconds(clouds[0].header.stamp) == first.stamp
    assert statuses[-1].latency - statuses[-1].response_time > 0.99, "the second image came a second later"


@pytest.mark.fault("words")
def test_images_beyond_the_queue_are_counted_and_the_fix_is_named(
    start_inside: Callable[..., Spann3rNode], robot: Robot
) -> None:
    node = start_inside(queue_size=2, status_rate=20.0, map__max_points=1000)
    assert node._session is not None
    drives, gate = node._session._with_priors, threading.Semaphore(0)
    process = drives.process

    def gated(frame: Frame) -> list[WorldPrediction]:
        gate.acquire()
        return process(frame)

    drives.process = gated  # type: ignore[method-assign]
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    diagnostics = robot.collect(DiagnosticArray, "/diagnostics")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    frames = walk(6)
    try:
        for count, frame in enumerate(frames):
            camera.publish(image_message(frame))
            robot.wait(lambda count=count: statuses and statuses[-1].frames_received == count + 1, "its arrival")
            if count == 0:  # the network is busy with it from now on
                robot.wait(lambda: statuses[-1].queue_length == 0, "an empty queue")
        robot.wait(lambda: statuses[-1].frames_dropped == 3, "three images of six that are dropped")
        assert statuses[-1].complaint.startswith("3 images were dropped: 2 wait already")
        assert "raise queue_size" in statuses[-1].complaint and "ros2 bag play --rate" in statuses[-1].complaint
        robot.wait(lambda: values(diagnostics[-1])["dropped"] == "3", "the diagnostics")
        assert diagnostics[-1].status[0].level == DiagnosticStatus.WARN
        assert diagnostics[-1].status[0].message == statuses[-1].complaint
    finally:
        for _ in frames:
            gate.release()
    robot.wait(lambda: len(clouds) == 2 and statuses[-1].frames_processed == 3, "the three that waited")
    assert [to_nanoseconds(cloud.header.stamp) for cloud in clouds] == [frame.stamp for frame in frames[:2]]
    robot.wait(lambda: "dropped" not in statuses[-1].complaint, "the end of the trouble")
    assert "1000 points (map.max_points): those seen longest ago are forgotten" in statuses[-1].complaint
    assert statuses[-1].frames_dropped == 3, "what is lost stays lost"
    assert statuses[-1].points == 1000 and min(statuses[-1].points_forgotten, statuses[-1].points_refused) > 0
    forgotten = str(statuses[-1].points_forgotten)
    robot.wait(lambda: values(diagnostics[-1])["points forgotten"] == forgotten, "diagnostics as new as the status")
    told = values(diagnostics[-1])
    assert statuses[-1].forgetting_rate == pytest.approx(statuses[-1].points_forgotten / 2)  # answers of three
    assert float(told["points forgotten a frame"]) == pytest.approx(statuses[-1].forgetting_rate, abs=0.05)
    counts = statuses[-1].points_forgotten, statuses[-1].points_refused
    assert (int(told["points forgotten"]), int(told["points refused"])) == counts


def values(message: DiagnosticArray) -> dict[str, str]:
    """Numbers of the reconstruction."""
    return {pair.key: pair.value for pair in message.status[0].values}


def test_an_answer_is_heard_before_the_map_has_taken_it_up_and_only_once(
    start_inside: Callable[..., Spann3rNode], robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, gate, insert = start_inside(status_rate=20.0), threading.Semaphore(0), Map.insert

    def gated(self: Map, prediction: Prediction) -> VoxelUpdate:
        assert gate.acquire(timeout=60.0)
        return insert(self, prediction)

    monkeypatch.setattr(Map, "insert", gated)
    clouds = robot.collect(PointCloud2, "/spann3r/cloud")
    poses = robot.collect(PoseStamped, "/spann3r/pose")
    statuses = robot.collect(ReconstructionStatus, "/spann3r/status")
    camera = robot.publisher(Image, "/camera/image_raw")
    robot.synchronize()
    frames = walk(4)
    try:
        for count, frame in enumerate(frames):
            camera.publish(image_message(frame))
            robot.wait(lambda count=count: len(clouds) == len(poses) == count, "the answer about the image before")
            robot.wait(lambda: (statuses and not np.isnan(statuses[-1].latency)) or not clouds, "its latency")
            if count:
                assert node._session is not None and node._session.snapshot.frame_index == count - 1
                gate.release()
            robot.wait(lambda count=count: statuses and statuses[-1].frames_processed == count + 1, "the map")
    finally:
        for _ in frames:
            gate.release()
    assert [to_nanoseconds(cloud.header.stamp) for cloud in clouds] == [frame.stamp for frame in frames[:3]]
    assert statuses[-1].points > 0

"""The node between configure and cleanup: a reconstruction, the worker that runs it, and what leaves it."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import rclpy
from rclpy.lifecycle import LifecycleNode

from spann3r_ros.complaints import EVENT, GOOD_IMAGES, Complaints, Severity, reason
from spann3r_ros.errors import Spann3rError, UnusableImageError
from spann3r_ros.files.location import location
from spann3r_ros.frame import Frame
from spann3r_ros.mapping.recovery import SnapshotFolder
from spann3r_ros.mapping.storage import SavedMap
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.prediction import WorldPrediction
from spann3r_ros.reconstruction import Reconstruction, is_told_depth, takers_of_depth
from spann3r_ros.ros.camera_input import RECENT, CameraInput
from spann3r_ros.ros.clock import uses_simulated_time
from spann3r_ros.ros.depth_input import WithDepth
from spann3r_ros.ros.image_sink import CameraImage, ReceivedImage
from spann3r_ros.ros.image_topic import describe_all
from spann3r_ros.ros.kept_maps import KeptMaps, logs_folder, own_name
from spann3r_ros.ros.latched_topics import LatchedTopics
from spann3r_ros.ros.odometry_input import OdometryInput
from spann3r_ros.ros.outputs import Output, Publishers
from spann3r_ros.ros.priors import WithPriors
from spann3r_ros.ros.reconstruction_snapshot import Snapshot
from spann3r_ros.ros.snapshots import Snapshots
from spann3r_ros.ros.transform_lookup import listen
from spann3r_ros.ros.world_broadcaster import WorldBroadcaster
from spann3r_ros.stamp_order import Observed, StampOrder
from spann3r_ros.tracking import TRACKING
from spann3r_ros.worker import Worker


class Session:
    """Owns the reconstruction. Made by configure, closed by cleanup; cameras are subscribed only while active.

    It is the ``ImageSink`` of its cameras.

    Args:
        node: the lifecycle node.
        config: its parameters; live ones change in place.
        complaints: of the node.

    Raises:
        Spann3rError: weights that cannot be loaded, or parameters that contradict each other.
    """

    def __init__(self, node: LifecycleNode, config: NodeConfig, complaints: Complaints) -> None:
        self._node, self._config, self._all_complaints = node, config, complaints
        self._complaints = complaints.about("reconstruction")
        self._reconstruction = Reconstruction.from_config(config, self._complaints, is_live=True)
        self._warm_up()
        self.snapshots = self._snapshots()
        self._copied: Future[None] | None = None  # what takes the next snapshot
        self.transforms = listen(node, self._complaints)
        self.world = WorldBroadcaster(node, config, self.transforms, self._complaints)
        self.publishers = Publishers(node, config)
        self.cameras: list[CameraInput] = []
        self._order: StampOrder[ReceivedImage] = StampOrder(complaints, on_the_clock=not uses_simulated_time(node))
        self._kept = KeptMaps(node)
        self.paused = False
        self._indices = itertools.count()
        self._recent: deque[bool] = deque(maxlen=RECENT)  # whether images went through the network
        self._latched = LatchedTopics(self.publishers, self._complaints)
        self._asked: Future[None] | None = None  # what copies the map for them
        self.odometry: OdometryInput | None = None
        if config.odometry_topic:
            self.odometry = OdometryInput(node, config, self.transforms, self._complaints)
        self._with_priors = WithPriors(self._reconstruction, self.transforms, config.odom_frame, self.odometry)
        if self._reconstruction.usual is not None:
            has_odometry = bool(config.odometry_topic or config.odom_frame)
            self._reconstruction.usual.tell(self._with_priors.prior if has_odometry else None, self._with_priors.rig)
        measures_depth = config.scale.source in ("auto", "depth")
        self._with_depth = WithDepth(self._with_priors, lambda: measures_depth or is_told_depth(config))
        self._takes_depth = measures_depth or config.model in takers_of_depth()
        self._say_whether_depth_is_of_use()
        self.worker = Worker(self._with_depth, self._deliver, self._fail, config.queue_policy, config.queue_size)
        self._told: set[tuple[int, bool]] = set()  # answers to the frame that is processed: whose image, and if final
        self._reconstruction.on_answers = self._tell
        self.snapshot = Snapshot.of(self._reconstruction)
        self.unanswered: Future[Any] | None = None  # what the network has not come to within a request's time
        self.worker.pause()
        self.worker.start()

    @property
    def weights(self) -> str:
        """Where the weights came from, for people."""
        return self._reconstruction.model.weights

    @property
    def device(self) -> str:
        """Where the network runs: cpu or cuda."""
        return self._reconstruction.model.device.type

    @property
    def active(self) -> bool:
        """Whether the cameras are subscribed."""
        return bool(self.cameras)

    @property
    def state(self) -> str:
        """What happens to images now."""
        if not self.active:
            return "inactive"
        if self.paused:
            return "paused"
        if not any(camera.counts.received for camera in self.cameras):
            return "waiting for images"
        if not any(camera.usable for camera in self.cameras if camera.counts.received):
            return "no image can be used"
        if self._recent and not any(self._recent):
            return "every image fails"
        if self.snapshot.is_relocalizing:
            return "relocalizing"
        tracking = self.snapshot.tracking
        return "running" if tracking == TRACKING else tracking

    def activate(self) -> None:
        """Subscribe to the cameras."""
        self.cameras = [
            CameraInput(self._node, self._config, index, self, self._all_complaints, self._takes_depth)
            for index in range(len(self._config.image_topics))
        ]
        self.paused = False
        self.worker.resume()
        self.discover()

    def deactivate(self) -> None:
        """Unsubscribe; what has been reconstructed stays."""
        self.worker.pause()
        self.worker.clear()
        self.world.clear()
        for camera in self.cameras:
            camera.close()
        self.cameras = []
        self._order.drop_held()

    def discover(self) -> None:
        """Subscribe to cameras that have appeared on the graph."""
        for camera in self.cameras:
            camera.discover()
        if self.odometry is not None:
            self.odometry.discover()

    def pause(self) -> None:
        """Let images pass by."""
        self.paused = True
        self.worker.pause()

    def resume(self) -> None:
        """Take images again."""
        self.paused = False
        self.worker.resume()

    def reset(self) -> None:
        """Begin a new world with images of any time; returns at once, and no answer about the old one will come."""
        self._indices = itertools.count()
        self._order.clear()
        for camera in self.cameras:
            camera.restart()
        done = self.worker.reset()
        self.world.clear()
        self._complaints.clear()
        done.add_done_callback(lambda _: self._begin_anew())

    def clock_jumped_back(self, now: int) -> None:
        """Forget the robot's transforms when simulated time jumps back to ``now`` (ns); images decide on the map."""
        if self.active:
            text = f"the ROS clock jumped back to {now / 1e9:.3f} s"
            found = self._node.get_publishers_info_by_topic("/clock")
            if len(found) > 1:
                text += f"; /clock has {len(found)} publishers: {describe_all(found)}. Stop all but one"
            self._complaints.report("clock", text, lasts=EVENT)
            self.world.clear()
            self._forget_transforms()

    def _forget_transforms(self) -> None:
        self.transforms.clear()
        if self.odometry is not None:
            self.odometry.clear()

    def save(self, path: Path) -> Future[SavedMap]:
        """Write map, trajectory and memory between two frames."""
        return self.worker.submit(lambda: self._reconstruction.save(path))

    def load(self, path: Path) -> Future[SavedMap]:
        """Continue from what ``save`` wrote; images of any time are welcome afterwards."""

        def read() -> SavedMap:
            continues = self._config.relocalizer == "none"
            loaded = self._reconstruction.load(path) if continues else self._reconstruction.relocalize(path)
            self._order.clear()
            self.world.clear()
            self._begin_anew()
            return loaded

        return self.worker.submit(read)

    def take_snapshot(self) -> None:
        """Copy what there is between two frames and write it, when snapshot_period is set and something changed."""
        waits = self._copied is not None and not self._copied.done()
        if self._config.snapshot_period and not waits and not self.snapshots.busy:
            with contextlib.suppress(Spann3rError):  # the worker was stopped meanwhile
                self._copied = self.worker.submit(lambda: self.snapshots.take(self._reconstruction))

    def publish_latched(self) -> None:
        """Send map, path and graph when they changed and somebody listens."""
        if self._asked is not None and not self._asked.done():
            return
        due = self._latched.due(self.snapshot.map_revision)
        if due:
            self._asked = self.worker.submit(lambda: self._send_latched(due))

    def close(self) -> None:
        """Stop the worker and release everything, memory and weights included."""
        self.deactivate()
        if not self.worker.stop():
            self._complaints.report("worker", "the network is still busy with a frame; it is left to end by itself")
        else:
            if self._config.snapshot_period:
                self.snapshots.finish(self._reconstruction)
            self._reconstruction.close()
        self.snapshots.close()
        self._latched.close()
        self.publishers.close()
        self.world.close()
        if self.odometry is not None:
            self.odometry.close()
        self.transforms.close()
        self._complaints.clear()
        self._all_complaints.settle("depth")

    def _snapshots(self) -> Snapshots:
        """Those of the parameters; with ``resume`` the newest is loaded."""
        chosen = self._config.snapshot_folder
        folder = location(chosen) if chosen else logs_folder() / f"{own_name(self._node)}_snapshots"
        owner = self._node.get_fully_qualified_name()
        logger = self._node.get_logger()
        complaints = self._all_complaints.about("snapshots")
        snapshots = Snapshots(SnapshotFolder(folder, owner), complaints, logger.info)
        if self._config.resume:
            snapshots.resume(self._reconstruction.load)
        elif self._config.snapshot_period and (found := snapshots.folder.found()):
            logger.warning(
                f"a new world begins, and its snapshots will replace older ones: {found[0]} is the newest. "
                "resume:=true would go on from it"
            )
        return snapshots

    def _say_whether_depth_is_of_use(self) -> None:
        if self._config.depth_topics and not self._takes_depth:
            text = (
                f"depth_topics are not subscribed: the model {self._config.model} takes no measured depth, and "
                f"scale.source is {self._config.scale.source}. Leave them empty, set scale.source to auto or depth, or "
                f"set model to one that takes depth: {' | '.join(takers_of_depth())}"
            )
            self._all_complaints.report("depth", text, once=True)

    def _warm_up(self) -> None:
        begin = time.monotonic()
        self._reconstruction.warm_up()
        self._node.get_logger().info(f"network ready, warmed up in {time.monotonic() - begin:.1f} s")

    # Called by the cameras' callbacks, see ImageSink.

    @property
    def accepting(self) -> bool:  # noqa: D102
        return self.worker.accepting

    def observe(  # noqa: D102
        self, camera: str, stamp: int | None, image: ReceivedImage
    ) -> Observed[ReceivedImage]:
        return self._order.observe(camera, stamp, image.clock, image)

    def time_jumped(self, reason: str) -> None:  # noqa: D102
        if not uses_simulated_time(self._node):  # else they follow the clock
            self._forget_transforms()
        # Images of the old time that wait still belong to the old map.
        if self._config.clock_jump == "reset":
            self._node.get_logger().warning(f"{reason}: a new map begins (parameter clock_jump)")
            for camera in self.cameras:
                camera.restart()
            then = self._replace_map
        else:
            self._node.get_logger().warning(f"{reason}: the map continues (parameter clock_jump)")
            then = self.world.clear
        with contextlib.suppress(Spann3rError):  # the worker was stopped meanwhile
            self.worker.submit(then, after_frames=True)

    def accept(self, image: CameraImage) -> None:  # noqa: D102
        prior = self._with_priors.prior(image.frame_id, image.stamp)
        frame = Frame(next(self._indices), image.stamp, image.frame_id, image.pixels, image.intrinsics, prior)
        if image.depth is not None:
            self._with_depth.expect(frame, image.depth)
        if not self.worker.offer(frame, image.arrival) and self._config.queue_policy == "all":
            self._complain_about_the_queue()

    def _complain_about_the_queue(self) -> None:
        dropped, size = self.worker.statistics().dropped, self._config.queue_size
        if dropped:  # else it was paused meanwhile
            self._complaints.report(
                "queue",
                f"{dropped} images were dropped: {size} wait already, for they come faster than the network works. "
                "Play the recording more slowly (ros2 bag play --rate 0.5), raise queue_size, or set max_rate; for a "
                "live camera set queue_policy to latest",
            )

    # Called on the worker's thread.

    def _tell(self, answers: Sequence[WorldPrediction]) -> None:
        """Publish answers before the map takes them up; what cannot be published ``_deliver`` tries again."""
        self._told.clear()
        if self.worker.is_current:
            with contextlib.suppress(Exception):
                self._publish(answers)
                self.worker.note_latency(answers)

    def _publish(self, answers: Sequence[WorldPrediction]) -> None:
        """Those that were not published yet and lie in a world that is known."""
        for answer in answers:
            name = answer.frame.index, answer.final
            if answer.is_tracked and name not in self._told and self.active and rclpy.ok(context=self._node.context):
                self.publishers.publish(answer)
                self.world.tell(answer)
                self._told.add(name)

    def _deliver(self, frame: Frame, predictions: list[WorldPrediction]) -> None:
        self._recent.append(True)
        self._complaints.went_well()
        self._note(frame, predictions[-1].frame.stamp if predictions else self.snapshot.output_stamp)
        self._publish(predictions)

        work = self.worker.statistics()
        if not work.waiting:  # not at the first place that is free, or it would come and go with every image
            self._complaints.settle("queue", f"no image waits any more; {work.dropped} were dropped")

    def _fail(self, frame: Frame, error: Exception) -> None:
        self._note(frame, self.snapshot.output_stamp)
        if isinstance(error, UnusableImageError):
            return  # the state of tracking says it
        text = f"image {frame.index} of '{frame.camera}' failed: {reason(error)}"
        self._recent.append(False)
        self._complaints.report("failed image", text, Severity.ERROR, error, lasts=EVENT, good_images=GOOD_IMAGES)

    def _replace_map(self) -> None:
        """Begin a new world after a jump of time; without a copy of the old one it is not given up."""
        self.world.clear()
        most = self._config.kept_maps
        if most and len(self._reconstruction.map):
            try:
                saved = self._kept.keep(self._reconstruction.save, most)
            except Exception as error:  # a full disk, a folder that must not be written
                text = (
                    f"the map could not be kept in {self._kept.folder}, so no new one begins and it continues: "
                    f"{reason(error)}. Make room there, set ROS_LOG_DIR to another folder, or set kept_maps to 0"
                )
                self._complaints.report("kept maps", text, Severity.ERROR, error)
                return
            text = f"the map so far, {saved.points} points, is kept: ~/load_map brings it back from {saved.path}"
            self._node.get_logger().info(text)
        self._reconstruction.reset()
        self.worker.count_anew()
        self._complaints.clear()
        self._begin_anew()

    def _note(self, frame: Frame, output_stamp: int) -> None:
        self.snapshot = Snapshot.of(self._reconstruction, frame.index, output_stamp)

    def _begin_anew(self) -> None:
        self._recent.clear()
        self._latched.begin_anew()
        self.snapshot = Snapshot.of(self._reconstruction)

    def _send_latched(self, due: list[Output]) -> None:
        snapshot = self.snapshot
        self._latched.send(due, self._reconstruction, snapshot.map_revision, snapshot.output_stamp)

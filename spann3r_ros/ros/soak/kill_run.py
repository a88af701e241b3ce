"""A node that is killed at random moments, and goes on from its last snapshot each time, in the same world."""

from __future__ import annotations

import itertools
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Path as PathMessage
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image

from spann3r_ros.config import MapConfig
from spann3r_ros.errors import DataError
from spann3r_ros.mapping.map import Map
from spann3r_ros.mapping.recovery import SnapshotFolder
from spann3r_ros.mapping.storage import read_map
from spann3r_ros.point_cloud import PointCloud
from spann3r_ros.ros import qos
from spann3r_ros.ros.conversions import header, nanoseconds
from spann3r_ros.ros.replay.result_recorder import ResultRecorder, wait_for
from spann3r_ros.ros.soak.faulty_robot import FRAME, PATIENCE, RAW

KILL_PARAMETERS = {
    "image_topics": f"[{RAW}]",
    "queue_policy": "all",
    "map_rate": "10.0",
    "status_rate": "10.0",
    "path_length": "1000000",
    "snapshot_period": "0.2",
    "resume": "true",
}
"""Of the node under test, besides its weights and the folder of its snapshots."""

AT_ONCE = 0.2
"""Share of the kills that come while the node still starts or loads, which must cost nothing."""

START = 300.0
"""Seconds that a node may take to start, on a machine that does much else."""

LONGEST = 1.5
"""Seconds after a new snapshot until the kill, at most: some hit the next one in the middle."""


@dataclass
class KillReport:
    """What came of it.

    Attributes:
        kills: how often the node was killed while it mapped.
        early: kills besides, while it started.
        equal: how often it came back with map and path of the last whole snapshot.
        snapshots: how many were written.
        held_up: the longest that a snapshot held up the stream, seconds, as each node said last.
        points: of the last map.
        problems: what must not be, in words; empty when all is well.
    """

    kills: int = 0
    early: int = 0
    equal: int = 0
    snapshots: int = 0
    held_up: list[float] = field(default_factory=list)
    points: int = 0
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The verdict and the numbers."""
        held = np.array([seconds for seconds in self.held_up if np.isfinite(seconds)] or [np.nan])
        return (
            f"kill -9: {self.equal} of {self.kills} went on from the last snapshot in the same world "
            f"({self.early} kills more while it started; {self.snapshots} snapshots; the last map has {self.points} "
            f"points; a snapshot held up the stream by {1e3 * np.median(held):.1f} ms (median of the longest of each "
            f"run), {1e3 * held.max():.1f} ms at most)"
        )


class KillRun:
    """Some rounds of it.

    Args:
        node: publishes and listens; somebody else spins it.
        start: begins the node under a name (DDS takes half a minute to notice that the last one died), with
            ``KILL_PARAMETERS`` and the folder; its process is killed, and what is left ends with the context.
        folder: of its snapshots.
        images: of a camera that goes there and back, (H, W, 3) uint8 RGB each.
        seed: of the moments.
        rate: images a second.

    Attributes:
        sent: stamps of the images (ns) in the order in which they were sent.
    """

    def __init__(
        self,
        node: Node,
        start: Callable[[str], AbstractContextManager[subprocess.Popen[bytes]]],
        folder: Path,
        images: Sequence[NDArray[np.uint8]],
        seed: int,
        rate: float,
    ) -> None:
        self._node, self._start, self._rate = node, start, rate
        self._folder = SnapshotFolder(folder, "")
        self._random = random.Random(seed)
        self._images = itertools.cycle([*images, *images[-2:0:-1]])
        self._camera = node.create_publisher(Image, RAW, qos.live(100))
        self._names = (f"killed_{number}" for number in itertools.count())
        self.sent: list[int] = []
        self.report = KillReport()

    def run(self, kills: int, progress: Callable[[], None] = lambda: None) -> KillReport:
        """Kill it so many times, and look each time at what comes back."""
        expected: Map | None = None
        for number in range(kills + 1):
            if self._random.random() < AT_ONCE and expected is not None:
                self._kill_at_once()
            name = next(self._names)
            with self._start(name) as process:
                try:
                    self._compare(name, expected)
                    if number < kills:
                        self._map_until_killed(name, process)
                except DataError as error:
                    self.report.problems.append(f"{name}: {error}")
                    return self.report
                finally:
                    process.kill()
                    process.wait()
            expected = self._last_whole()
            progress()
        return self.report

    def _kill_at_once(self) -> None:
        with self._start(next(self._names)) as process:
            time.sleep(self._random.uniform(0.0, 5.0))
            process.kill()
            process.wait()
        self.report.early += 1

    def _compare(self, name: str, expected: Map | None) -> None:
        """Wait until the node works, and compare what it begins with."""
        results = ResultRecorder(self._node, f"/{name}")
        paths: list[PathMessage] = []
        self._node.create_subscription(PathMessage, f"/{name}/path", paths.append, qos.latched())
        _synchronize(results)
        if expected is None:
            return
        if not wait_for(lambda: len(results.cloud()) and paths and paths[-1].poses, PATIENCE):
            self.report.problems.append(f"{name}: no map came back within {PATIENCE:g} s")
            return
        found, truth = results.cloud(), expected.cloud()
        self.report.points = len(found)
        stamps = [nanoseconds(pose.header.stamp) for pose in paths[-1].poses]
        places = np.array([[p.pose.position.x, p.pose.position.y, p.pose.position.z] for p in paths[-1].poses])
        path = list(expected.trajectory())
        known = np.array([pose.target_from_camera.translation for pose in path])
        if not _same_points(found, truth):
            self.report.problems.append(f"{name}: {len(found)} points, the snapshot has {len(truth)}, or others")
        elif stamps != [pose.stamp for pose in path] or not np.allclose(places, known, atol=1e-9):
            self.report.problems.append(f"{name}: {len(stamps)} poses, the snapshot has {len(path)}, or others")
        else:
            self.report.equal += 1

    def _map_until_killed(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Send images; some time after the first new snapshot the node is killed."""
        held_up: list[float] = []

        def note(message: DiagnosticArray) -> None:
            for status in message.status:
                values = {pair.key: pair.value for pair in status.values}
                if status.name.startswith(name) and "snapshot held up the stream at most [s]" in values:
                    held_up.append(float(values["snapshot held up the stream at most [s]"]))

        subscription = self._node.create_subscription(DiagnosticArray, "/diagnostics", note, qos.live())
        if not wait_for(lambda: self._camera.get_subscription_count(), PATIENCE):
            raise DataError(f"node {name} does not listen to {RAW}")
        before = self._newest()
        end = time.monotonic() + PATIENCE
        killed = end
        while time.monotonic() < killed:
            if process.poll() is not None:
                raise DataError(f"node {name} ended by itself", got=process.returncode)
            self._send()
            if killed == end and self._newest() != before:
                killed = time.monotonic() + self._random.uniform(0.0, LONGEST)
            time.sleep(1.0 / self._rate)
        process.kill()
        process.wait()
        self._node.destroy_subscription(subscription)
        self.report.kills += 1
        self.report.held_up += held_up[-1:]
        if killed == end:
            self.report.problems.append(f"{name}: no new snapshot within {PATIENCE:g} s")

    def _send(self) -> None:
        image = next(self._images)
        height, width = image.shape[:2]
        stamp = int(self._node.get_clock().now().nanoseconds)
        message = Image(header=header(stamp, FRAME), height=height, width=width, encoding="rgb8", step=3 * width)
        message.data.frombytes(image.tobytes())
        self.sent.append(stamp)
        self._camera.publish(message)

    def _newest(self) -> Path | None:
        return next(iter(self._folder.found()), None)

    def _last_whole(self) -> Map | None:
        """The map of the newest snapshot that is whole; a problem when there is none."""
        for path in self._folder.found():
            try:
                world, _ = read_map(path, MapConfig())
            except DataError as error:
                self.report.problems.append(f"a snapshot that is not whole: {error}")
                continue
            self.report.snapshots = int(path.name.rpartition("_")[2])
            return world
        self.report.problems.append(f"no snapshot in {self._folder.path}")
        return None


def _synchronize(results: ResultRecorder) -> None:
    """Return when the node is active; DDS may drop an answer to a new client, so it is asked again."""
    end = time.monotonic() + START
    while True:
        try:
            return results.synchronize(10.0)
        except DataError:
            if time.monotonic() > end:
                raise


def _same_points(one: PointCloud, other: PointCloud) -> bool:
    """Whether two clouds have the same points, in whatever order."""
    if len(one) != len(other):
        return False
    columns = [(cloud.points, cloud.colors) for cloud in (one, other)]
    return all(
        np.allclose(np.sort(mine, axis=0), np.sort(its, axis=0), atol=1e-6) for mine, its in zip(*columns, strict=True)
    )

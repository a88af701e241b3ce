"""A running node, good images, and faults at random among them; then whether it still works, and at what cost."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from std_srvs.srv import Trigger

from spann3r_ros.frame import Intrinsics
from spann3r_ros.ros import qos
from spann3r_ros.ros.replay.result_recorder import ResultRecorder
from spann3r_ros.ros.soak.faulty_robot import JPEG, PATIENCE, RAW, TARGET, FaultyRobot
from spann3r_ros.ros.soak.live_faults import FAULTS

NODE_PARAMETERS = {
    "image_topics": f"[{RAW}, {JPEG}]",
    "status_rate": "10.0",
    "kept_maps": "2",
    "service_timeout": "10.0",
}
"""Of the node under test."""

DEFAULTS = {
    "max_rate": ParameterValue(type=3, double_value=0.0),
    "min_motion": ParameterValue(type=3, double_value=0.0),
    "map.min_confidence": ParameterValue(type=3, double_value=0.3),
}
"""Parameters that a fault may have set so that good images do not count."""

MOST_DRIFT, DRIFT_FRAMES = 0.1, 1000
"""Growth of the resident memory that is too much, and the answers from which on it says something."""

RECOVERED = 5
"""Good images whose answers must come at the end."""


@dataclass
class SoakReport:
    """What came of it.

    Attributes:
        frames: good images that were answered.
        faults: how often each was done, by name.
        crashes: times that the process ended.
        problems: what must not be, in words; empty when all is well.
        resident: (seconds, bytes) of the node's memory, once a second.
        latencies: seconds from sending to answer of each good image.
    """

    frames: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    problems: list[str] = field(default_factory=list)
    resident: list[tuple[float, int]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def drift(self) -> float:
        """Growth of the memory from the second quarter of the time to the last, as a share; NaN when too short."""
        sizes = np.array([size for _, size in self.resident], dtype=np.float64)
        quarter = len(sizes) // 4
        if not quarter:
            return float("nan")
        return float(np.median(sizes[-quarter:]) / np.median(sizes[quarter : 2 * quarter]) - 1.0)

    def line(self) -> str:
        """The verdict and the numbers."""
        median, slow = np.percentile(self.latencies or [float("nan")], [50, 99])
        return (
            f"soak: {'FAIL' if self.problems else 'PASS'} frames={self.frames} faults={self.faults.total()} "
            f"crashes={self.crashes} rss_drift={100 * self.drift:.1f}% latency_p50={median:.3f}s p99={slow:.3f}s"
        )


class SoakRun:
    """One soak.

    Args:
        node: publishes and asks; somebody else spins it.
        process: the node under test.
        log: what it prints.
        images: of a camera that goes there and back, (H, W, 3) uint8 RGB each.
        intrinsics: of the images.
        seed: of the faults.
        rate: good images a second.
    """

    def __init__(
        self,
        node: Node,
        process: subprocess.Popen[bytes],
        log: Path,
        images: Sequence[NDArray[np.uint8]],
        intrinsics: Intrinsics,
        seed: int,
        rate: float,
    ) -> None:
        self._process, self._log, self._rate = process, log, rate
        self._random = random.Random(seed)
        self._robot = FaultyRobot(node, images, intrinsics)
        self._results = ResultRecorder(node, TARGET)
        self.report = SoakReport()

    def run(self, duration: float, progress: Callable[[float], None] = lambda _: None) -> SoakReport:
        """Good images and faults for ``duration`` seconds, then the proof that it still works.

        Args:
            duration: seconds; longer when not every fault came once by then.
            progress: called with the seconds that are done.
        """
        self._results.synchronize(PATIENCE)
        begin, sampled = time.monotonic(), -1.0
        upcoming: list[int] = []
        next_fault = begin + 1.0
        while self._is_alive():
            now = time.monotonic()
            if now > begin + duration and len(self.report.faults) == len(FAULTS):
                break
            self._robot.send_good()
            if now >= next_fault:
                if not upcoming:
                    upcoming = self._random.sample(range(len(FAULTS)), len(FAULTS))
                fault = FAULTS[upcoming.pop()]
                fault(self._robot, self._random)
                self.report.faults[fault.__name__] += 1
                next_fault = time.monotonic() + self._random.uniform(0.0, 0.6)
            if now - begin - sampled >= 1.0:
                sampled = now - begin
                self.report.resident.append((sampled, _resident_bytes(self._process.pid)))
                progress(sampled)
            self._robot.settle()
            time.sleep(max(0.0, now + 1.0 / self._rate - time.monotonic()))
        if self._is_alive():
            self._recover()
        self._judge()
        return self.report

    def _is_alive(self) -> bool:
        return self._process.poll() is None

    def _recover(self) -> None:
        """Set right what the faults have set wrong, and wait for answers about good images."""
        robot = self._robot
        robot.settle(final=True)
        robot.replace_camera(qos.live())
        chosen = [Parameter(name=name, value=value) for name, value in DEFAULTS.items()]
        robot.call(SetParameters, "set_parameters", SetParameters.Request(parameters=chosen))
        if not robot.activate():
            self.report.problems.append(f"the node cannot be activated any more: {robot.state() or 'no answer'}")
            return
        robot.call(Trigger, "resume")
        robot.call(Trigger, "reset")
        known = set(robot.sent)
        end = time.monotonic() + PATIENCE
        while len(self._results.results.keys() & (robot.sent.keys() - known)) < RECOVERED and self._is_alive():
            if time.monotonic() > end:
                self.report.problems.append(f"no answers about good images within {PATIENCE:g} s after the faults")
                return
            robot.send_good()
            time.sleep(1.0 / self._rate)
        robot.settle(final=True)

    def _judge(self) -> None:
        """Count, and say what must not be."""
        report, robot = self.report, self._robot
        answered = [stamp for stamp in robot.sent if stamp in self._results.results]
        report.frames = len(answered)
        report.latencies = [self._results.results[stamp].arrival - robot.sent[stamp] for stamp in answered]
        if not self._is_alive():
            report.crashes += 1
            report.problems.append(f"the node ended with status {self._process.returncode}")
        for name, count in Counter(robot.unanswered).items():
            report.problems.append(f"{count} requests of {name} were not answered within {PATIENCE:g} s")
        if report.frames >= DRIFT_FRAMES and report.drift > MOST_DRIFT:
            report.problems.append(f"the memory grew by {100 * report.drift:.1f} %, more than {100 * MOST_DRIFT:g} %")
        traces = self._log.read_text(errors="replace").count("Traceback (most recent call last)")
        if traces:
            report.problems.append(f"{traces} trace-backs in {self._log}")


def _resident_bytes(process: int) -> int:
    """Memory of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0

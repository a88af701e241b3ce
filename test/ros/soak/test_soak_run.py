"""A short soak of the real node: every fault at least once, and it still works afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from library import walk

from spann3r_ros.frame import Intrinsics
from spann3r_ros.ros.replay.background_node import background_node
from spann3r_ros.ros.replay.private_graph import running_node
from spann3r_ros.ros.soak.live_faults import FAULTS
from spann3r_ros.ros.soak.soak_run import NODE_PARAMETERS, SoakReport, SoakRun


@pytest.mark.slow
@pytest.mark.fault("endurance")
@pytest.mark.fault("hostile request")
@pytest.mark.fault("time", case="15")
def test_the_node_stands_every_fault(
    domain: int, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))
    images, log = [frame.image for frame in walk(12)], tmp_path / "node.log"
    parameters = {**NODE_PARAMETERS, "checkpoint": str(checkpoint), "device": "cpu"}
    with running_node(parameters, os.environ, log) as process, background_node("soak") as node:
        job = SoakRun(node, process, log, images, Intrinsics(80.0, 80.0, 47.5, 35.5, 96, 72), seed=1, rate=20.0)
        report = job.run(5.0)
    assert report.problems == [], log.read_text()
    assert set(report.faults) == {fault.__name__ for fault in FAULTS}
    assert report.frames >= 5 and report.line().startswith(f"soak: PASS frames={report.frames} faults=")


def test_the_verdict() -> None:
    report = SoakReport(frames=3, crashes=1, problems=["the node ended with status -11"], latencies=[0.1, 0.2, 0.3])
    report.faults.update(flood=2, stray_stamp=1)
    report.resident = [(float(second), 100 + 10 * (second > 5)) for second in range(8)]
    expected = "soak: FAIL frames=3 faults=3 crashes=1 rss_drift=10.0% latency_p50=0.200s p99=0.298s"
    assert report.line() == expected

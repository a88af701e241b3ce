"""A real node is measured over DDS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from library import walk

from spann3r_ros.frame import Intrinsics
from spann3r_ros.ros.replay import node_benchmark
from spann3r_ros.ros.replay.background_node import background_node
from spann3r_ros.ros.replay.node_benchmark import NodeBenchmark, node_parameters
from spann3r_ros.ros.replay.private_graph import running_node

CAMERA = Intrinsics(80.0, 80.0, 47.5, 35.5, 96, 72)


@pytest.mark.slow
def test_overhead_rates_and_a_flood_of_a_real_node(
    domain: int, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))
    monkeypatch.setattr(node_benchmark, "WARM_UP", 2)
    images = [frame.image for frame in walk(6)]
    parameters = {**node_parameters(2), "checkpoint": str(checkpoint), "device": "cpu", "tracking.enabled": "false"}
    with running_node(parameters, os.environ, tmp_path / "node.log"), background_node("bench") as node:
        benchmark = NodeBenchmark(node, images, CAMERA, cameras=2)
        benchmark.wait()
        overhead = benchmark.overhead(4)
        assert overhead["frames"] == 4 and 0 < overhead["p50"] <= overhead["p95"] and overhead["network_p50"] > 0
        assert benchmark._loses_nothing(0.5, 1.0) is not None  # counted by the node itself, on any machine
        flood = benchmark.flood(1.0)
        slow = benchmark.flood(1.0, rate=4.0)
    assert 0 < flood["p50"] <= flood["p99"] and 0 < flood["answers_per_second"] <= node_benchmark.FASTEST
    assert 1 <= slow["answers_per_second"] <= 4


@pytest.mark.parametrize(("limit", "found"), [(100.0, 60.0), (0.5, 0.0), (17.0, 17.0), (1.2, 1.2)])
def test_the_largest_rate_is_found_to_five_percent(limit: float, found: float, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = object.__new__(NodeBenchmark)
    monkeypatch.setattr(benchmark, "_loses_nothing", lambda rate, _seconds: rate <= limit)
    told: dict[float, bool] = {}
    rate = benchmark.largest_rate(1.0, told.__setitem__)
    assert rate <= limit and rate == pytest.approx(found, rel=0.05)
    assert all(taken == (tried <= limit) for tried, taken in told.items())

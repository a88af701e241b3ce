"""The node as a process of its own on its own DDS domain, and a robot around it: cameras, listeners, clients."""

from __future__ import annotations

import fcntl
import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Before rclpy is loaded: no traffic leaves the machine, large images pass, logs stay out of the home folder.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
for variable in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
    os.environ[variable] = str(ROOT / "config" / "fastdds_loopback.xml")
os.environ["ROS_LOG_DIR"] = tempfile.mkdtemp(prefix="spann3r_ros_test_logs_")

pytest.importorskip("rclpy", reason="ROS 2 is not installed: run `make setup`")
pytest.importorskip("spann3r_ros.msg", reason="the messages are not built: run `make setup`")

import rclpy  # noqa: E402
from node_process import NodeProcess  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from robot import Robot  # noqa: E402
from wall_network import write_wall_checkpoint  # noqa: E402

from spann3r_ros.ros.guard import GuardedExecutor  # noqa: E402
from spann3r_ros.ros.node import THREADS, Spann3rNode  # noqa: E402

DEVICE = os.environ.get("SPANN3R_ROS_TEST_DEVICE", "cpu")
DEFAULTS = {"queue_policy": "all", "device": DEVICE, "tracking__enabled": False}
"""Parameters of the nodes of most tests: every image counts, of whatever it is, and where no GPU is."""

_domains = itertools.count(os.getpid())


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny metric network that sees a wall, so that poses exist."""
    path = tmp_path_factory.mktemp("weights") / "wall.safetensors"
    write_wall_checkpoint(path)
    return path


@pytest.fixture(scope="session")
def relative_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without a metric unit."""
    path = tmp_path_factory.mktemp("weights") / "wall_relative.safetensors"
    write_wall_checkpoint(path, metric=False)
    return path


REST = 30.0
"""Seconds that a domain is left alone after a test: a node that was killed is still announced there until its lease
ends, and a request to it would never be answered."""


@pytest.fixture
def domain() -> Iterator[int]:
    """A DDS domain that no other test of this machine uses or has just used."""
    for number in _domains:
        domain = 1 + number % 31  # those above belong to `make demo` and `make soak`, which some tests run
        path = Path(tempfile.gettempdir()) / f"spann3r_ros_test_domain_{domain}"
        with path.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            used = path.stat()
            if used.st_size and time.time() - used.st_mtime < REST:
                time.sleep(0.1)
                continue
            yield domain
            lock.write(".")
            return


@pytest.fixture
def robot(domain: int) -> Iterator[Robot]:
    """Everything around the node, on the test's domain."""
    robot = Robot(domain)
    yield robot
    robot.close()


@pytest.fixture
def start(domain: int, checkpoint: Path, tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """``start(arguments=[...], gate=file, **parameters)`` runs a NodeProcess; nested names as ``map__voxel_size``."""
    running: list[NodeProcess] = []

    def start_node(arguments: list[str] | None = None, gate: Path | None = None, **parameters: Any) -> NodeProcess:
        parameters = {**DEFAULTS, "checkpoint": str(checkpoint), **parameters}
        process = NodeProcess(domain, parameters, arguments or [], tmp_path / f"node_{len(running)}.log", gate)
        running.append(process)
        return process

    yield start_node
    for process in running:
        process.kill()
        sys.stdout.write(process.log)  # which pytest shows when the test failed


@pytest.fixture
def start_inside(domain: int, checkpoint: Path) -> Iterator[Callable[..., Spann3rNode]]:
    """Like ``start``, but the node runs in the test's own process, for tests that reach into it. It is active."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    nodes: list[Spann3rNode] = []
    executor = GuardedExecutor(THREADS, lambda what, error: nodes[0].report_error(what, error), context=context)
    stopping = threading.Event()
    thread = threading.Thread(target=executor.spin_until, args=(stopping,), daemon=True)

    def start_node(**parameters: Any) -> Spann3rNode:
        parameters = {**DEFAULTS, "checkpoint": str(checkpoint), **parameters}
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()]
        node = Spann3rNode(context=context, parameter_overrides=[Parameter("autostart", value=False), *overrides])
        nodes.append(node)
        node.trigger_configure()
        node.trigger_activate()
        executor.add_node(node)
        thread.start()
        return node

    yield start_node
    for node in nodes:
        node.close()
    stopping.set()
    if thread.is_alive():
        thread.join(10.0)
    executor.shutdown()
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)

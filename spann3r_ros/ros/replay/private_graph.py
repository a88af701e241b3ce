"""A ROS graph of our own: nothing else on the network takes part, and its node and RViz end with it."""

from __future__ import annotations

import fcntl
import importlib.resources
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from spann3r_ros.errors import ConfigError

DOMAINS = range(32, 102)
"""DDS domains of private graphs: below, a robot nearby might live; above, ports may be taken."""


@contextmanager
def private_environment(log: Path) -> Iterator[dict[str, str]]:
    """Variables of the environment for processes that shall only find each other, on the loopback.

    No other run on this machine gets the same domain while the context lasts.

    Args:
        log: folder of ROS's logs.

    Raises:
        ConfigError: every domain is taken.
    """
    domain, lock = _free_domain()
    with lock:
        yield _environment(domain, log)


def _free_domain() -> tuple[int, IO[str]]:
    """A domain, and the file whose lock keeps it until it is closed, even by a kill."""
    for domain in random.SystemRandom().sample(DOMAINS, len(DOMAINS)):
        try:
            lock = (Path(tempfile.gettempdir()) / f"spann3r_ros_domain_{domain}").open("a")
        except OSError:  # of another user
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return domain, lock
    raise ConfigError(
        "no DDS domain is free for a graph of our own",
        got=f"{len(DOMAINS)} domains that other runs have, or whose locks cannot be opened",
        next_step=f"End other runs, or set TMPDIR to a folder that can be written, now {tempfile.gettempdir()}",
    )


def _environment(domain: int, log: Path) -> dict[str, str]:
    profile = _fast_dds_profile()
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(log.resolve()),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    if profile is not None:
        environment["FASTDDS_DEFAULT_PROFILES_FILE"] = str(profile)
        # Fast DDS 2 reads the older name; Fast DDS 3 complains of it.
        if os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy"):
            environment["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(profile)
    return environment


@contextmanager
def running_node(
    parameters: Mapping[str, str], environment: Mapping[str, str], log: Path, name: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """The node's process, as `ros2 run` would start it, while the context lasts; SIGINT ends it.

    Args:
        parameters: as on a command line, by name.
        environment: of the process.
        log: file of what it prints.
        name: of the node; empty: spann3r.
    """
    command = [sys.executable, "-m", "spann3r_ros.ros.node", "--ros-args"]
    if name:
        command += ["-r", f"__node:={name}"]
    for parameter, value in parameters.items():
        command += ["-p", f"{parameter}:={value}"]
    with log.open("w") as file, subprocess.Popen(command, env=environment, stdout=file, stderr=file) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def running_rviz(environment: Mapping[str, str]) -> Iterator[None]:
    """RViz with the view that ships, while the context lasts; raises ConfigError where it is not installed."""
    program, profile = shutil.which("rviz2"), _fast_dds_profile()
    if program is None or profile is None:
        raise ConfigError("--rviz", got="no rviz2 on the PATH", expected="a machine with RViz, its ROS sourced")
    with subprocess.Popen([program, "-d", str(profile.with_name("spann3r.rviz"))], env=environment) as process:
        try:
            yield
        finally:
            process.terminate()


def _fast_dds_profile() -> Path | None:
    """The Fast DDS profile for the loopback: beside the code in a checkout, in the share folder when installed."""
    package = Path(str(importlib.resources.files("spann3r_ros")))
    places = [package.parent] + [parent / "share" / "spann3r_ros" for parent in package.parents]
    return next((p for place in places if (p := place / "config" / "fastdds_loopback.xml").is_file()), None)

"""``bench --frame``, ``--long`` and ``--node``: what a frame costs outside the network, for long, and in the node."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spann3r_ros.errors import ConfigError
from spann3r_ros.evaluation.bench_file import write_section
from spann3r_ros.evaluation.frame_benchmark import BLOCK, FIRST, measure_parts, run_long, walk_frames
from spann3r_ros.geometry.camera import scale
from spann3r_ros.models.processor import processor_name
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.ros.replay.private_graph import private_environment, running_node

FRAMES = 120
"""Of the walk."""

TRIAL, FLOOD = 4.0, 10.0
"""Seconds of images at each rate that is tried, and of the flood."""

CAMERAS = 3
"""That send a flood together."""

LARGE, LARGE_RATE, FEW = 6, 10.0, 6
"""Images so many times as wide and high, 3840 x 2880 pixels of 33 MB; how many of them come in a second; and how many
there are, there and back."""

NO_ROS = "Source your workspace or run `make setup`"


def bench_frame(path: Path) -> None:
    """Measure the parts of a frame, print them and put them into the section ``frame``."""
    try:
        from spann3r_ros.ros.outputs import frame_cloud
    except ImportError as error:
        raise ConfigError("the cloud's message needs ROS 2", got=error, next_step=NO_ROS) from error
    config = NodeConfig()
    parts = measure_parts(walk_frames(FRAMES), lambda answer: frame_cloud(answer, config))
    print(f"{'outside the network, 640 x 480':36}{'p50 ms':>10}{'p95 ms':>10}{'least ms':>10}")
    for name, figures in parts.items():
        print(f"{name:36}{figures['p50']:10.2f}{figures['p95']:10.2f}{figures['min']:10.2f}")
    write_section(path, "frame", {"processor": processor_name(), "frames": FRAMES - FIRST, "parts": parts})


def bench_long(path: Path, count: int) -> None:
    """Let frames pass, print time and memory for each thousand and keep them in the section ``long``."""
    if count < BLOCK or count % BLOCK:
        raise ConfigError("--long", got=count, expected=f"a multiple of {BLOCK} frames")
    print(f"{'frames':>8}{'ms a frame':>12}{'outside ms':>12}{'resident MB':>13}{'points':>10}")

    def told(result: Mapping[str, Any]) -> None:
        last = result["blocks"][-1]
        row = f"{last['frames']:8d}{last['ms']:12.2f}{last['outside_ms']:12.2f}{last['resident'] / 1e6:13.1f}"
        print(f"{row}{last['points']:10d}", flush=True)
        write_section(path, "long", {"processor": processor_name(), **result})

    result = run_long(walk_frames(FRAMES), count, told)
    if "time_growth" in result:
        time, memory = 100 * result["time_growth"], 100 * result["memory_growth"]
        print(f"last thousand over the second: time {time:+.1f} %, memory {memory:+.1f} %")


def bench_node(path: Path) -> None:
    """Start the real node, measure it over DDS, print the figures and put them into the section ``node``."""
    frames = walk_frames(FRAMES)
    with tempfile.TemporaryDirectory() as folder, private_environment(Path(folder)) as environment:
        os.environ.update(environment)  # this process takes part in that graph, too, so before ROS is loaded
        try:
            from spann3r_ros.ros.replay.background_node import background_node
            from spann3r_ros.ros.replay.node_benchmark import FASTEST, NodeBenchmark, node_parameters
        except ImportError as error:
            raise ConfigError("bench --node needs ROS 2 and the messages", got=error, next_step=NO_ROS) from error
        log = path.with_name("node.log")
        log.parent.mkdir(parents=True, exist_ok=True)

        @contextmanager
        def started(name: str, cameras: int, times: int) -> Iterator[NodeBenchmark]:
            """A node of its own, and cameras whose images are enlarged."""
            few = frames if times == 1 else frames[:FEW]
            images = [np.repeat(np.repeat(frame.image, times, axis=0), times, axis=1) for frame in few]
            assert frames[0].intrinsics is not None
            camera = scale(frames[0].intrinsics, times)
            with running_node(node_parameters(cameras), environment, log), background_node(f"bench_{name}") as node:
                benchmark = NodeBenchmark(node, images, camera, cameras)
                benchmark.wait()
                yield benchmark

        with started("camera", 1, 1) as benchmark:
            overhead = benchmark.overhead(100)
            print(f"overhead of a frame: p50 {overhead['p50']:.1f} ms, p95 {overhead['p95']:.1f} ms", flush=True)
            rate = benchmark.largest_rate(TRIAL, _tell_rate)
            print(f"largest rate without drops: {rate:.1f} Hz", flush=True)
            flood = _told(f"{FASTEST:g} Hz flood", benchmark.flood(FLOOD))
        with started("cameras", CAMERAS, 1) as benchmark:
            three = _told(f"{CAMERAS} cameras, {FASTEST:g} Hz together", benchmark.flood(FLOOD))
        with started("large", 1, LARGE) as benchmark:
            large = _told(f"{LARGE * 640} x {LARGE * 480}, {LARGE_RATE:g} Hz", benchmark.flood(FLOOD, LARGE_RATE))
    content = {"processor": processor_name(), "overhead_ms": overhead, "largest_rate_hz": rate, "flood_ms": flood}
    write_section(path, "node", {**content, "cameras_flood_ms": three, "large_flood_ms": large})


def _told(title: str, flood: dict[str, float]) -> dict[str, float]:
    print(
        f"{title}: latency p50 {flood['p50']:.0f} ms, p99 {flood['p99']:.0f} ms, "
        f"{flood['answers_per_second']:.1f} answers a second",
        flush=True,
    )
    return flood


def _tell_rate(rate: float, is_taken: bool) -> None:
    print(f"{rate:6.1f} Hz: {'all taken' if is_taken else 'some dropped'}", flush=True)

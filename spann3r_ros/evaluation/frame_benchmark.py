"""What a frame costs outside the network: judging, resizing, pose, map, message; and ten thousand frames in a row.

The shipped model walks through the apartment with camera images of 640 x 480; its own grid is smaller. What the network
takes is not in the figures of the parts.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from spann3r_ros.complaints import Complaints, through
from spann3r_ros.config import Config
from spann3r_ros.frame import Frame
from spann3r_ros.mapping.camera_poses import CameraPoses
from spann3r_ros.mapping.map import Map
from spann3r_ros.models.preprocess import preprocess
from spann3r_ros.prediction import Prediction, WorldPrediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.runs.record import resident_bytes
from spann3r_ros.streaming.stream import load_stream
from spann3r_ros.synthetic.pinhole import synthetic_camera
from spann3r_ros.synthetic.renderer import Renderer
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories
from spann3r_ros.tracking import Tracking

logger = logging.getLogger(__name__)

WIDTH, HEIGHT, RATE = 640, 480, 10.0
"""Of the camera's images, pixels and images a second."""

FIRST = 20
"""Frames before the first that counts."""

FULL = 100_000
"""Points of the small map, which is full after a dozen frames and forgets with every later one."""

BLOCK = 1000
"""Frames between two figures of a long run."""

Message = Callable[[WorldPrediction], Any]


def walk_frames(count: int) -> list[Frame]:
    """The frames of a walk through the apartment that no training saw."""
    scene, camera = Scene.apartment(), synthetic_camera(WIDTH, HEIGHT)
    renderer = Renderer(scene)
    poses = Trajectories(scene).walk(EVALUATION_SEED, count, RATE)
    images = [renderer.render(pose, camera).image for pose in poses]
    return [Frame(i, round(i * 1e9 / RATE), "camera", image, camera) for i, image in enumerate(images)]


def there_and_back(frames: Sequence[Frame]) -> Iterator[Frame]:
    """The walk again and again without a jump, under ever new numbers and stamps."""
    for index, frame in enumerate(itertools.cycle([*frames, *frames[-2:0:-1]])):
        yield dataclasses.replace(frame, index=index, stamp=round(index * 1e9 / RATE))


def measure_parts(frames: Sequence[Frame], message: Message) -> dict[str, dict[str, float]]:
    """Milliseconds (``p50``, ``p95``, ``min``: undisturbed) of each part, from the frame ``FIRST`` on.

    Args:
        frames: of a walk; more than ``FIRST``.
        message: makes of an answer what is published of it.
    """
    config = Config()
    stream = load_stream(config)
    size = stream.step(frames[0]) or stream.step(frames[1])
    height, width = size[0].confidence.shape
    stream = stream.fresh()
    answers = [answer for frame in frames for answer in stream.step(frame)]
    growing, full = Map(config.map), Map(dataclasses.replace(config.map, max_points=FULL, coarsening=1.0))
    seconds: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, part: Callable[..., Any], *arguments: Any) -> Any:
        began = time.perf_counter()
        result = part(*arguments)
        seconds[name].append(time.perf_counter() - began)
        return result

    poses, tracking = CameraPoses(), Tracking(config.tracking, Complaints(through(logger)))
    for place, answer in enumerate(answers):
        if place == FIRST:
            seconds.clear()
        timed("judging the image", tracking.check, answer.frame)
        timed("preprocessing", preprocess, answer.frame, (height, width))
        located, reason = timed("pose", poses.locate, answer, config.pose)
        timed("judging the answer", tracking.trusts, located, reason)
        timed("insertion, growing map", growing.insert, located)
        timed("insertion, full map that forgets", full.insert, located)
        timed("cloud message", _published, growing, located, message)
    total = [sum(parts) for parts in zip(*(seconds[name] for name in seconds if "full" not in name), strict=True)]
    return {name: _percentiles(each) for name, each in {**seconds, "all, growing map": total}.items()}


def run_long(frames: Sequence[Frame], count: int, told: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Frames of a walk, there and back, through step, pose and map.

    Args:
        frames: of the walk.
        count: how many are processed, a multiple of ``BLOCK``.
        told: called with what was measured so far after each ``BLOCK`` frames.

    Returns:
        ``blocks``: for each its median milliseconds a frame and the resident bytes after it; from three blocks on
        ``time_growth`` and ``memory_growth``, of the last block over the second, less one.
    """
    reconstruction = Reconstruction.from_config(Config())
    walk, blocks = there_and_back(frames), list[dict[str, float]]()
    result: dict[str, Any] = {"walk": len(frames), "image": [WIDTH, HEIGHT], "blocks": blocks}
    for block in range(count // BLOCK):
        seconds, outside = list[float](), list[float]()
        for frame in itertools.islice(walk, BLOCK):
            began = time.perf_counter()
            reconstruction.process(frame)
            seconds.append(time.perf_counter() - began)
            outside.append(seconds[-1] - reconstruction.network_seconds)
        blocks.append(
            {
                "frames": (block + 1) * BLOCK,
                "ms": round(1000 * float(np.median(seconds)), 3),
                "outside_ms": round(1000 * float(np.median(outside)), 3),
                "resident": float(resident_bytes() or 0),
                "points": len(reconstruction.map),
            }
        )
        if block > 1:
            second, last = blocks[1], blocks[-1]
            result["time_growth"] = last["ms"] / second["ms"] - 1
            result["memory_growth"] = last["resident"] / max(second["resident"], 1.0) - 1
        told(result)
    return result


def _published(world: Map, located: Prediction, message: Message) -> Any:
    return message(world.in_world(located))


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    middle, slow = (1000 * np.percentile(seconds, [50, 95])).tolist()
    return {"p50": round(middle, 3), "p95": round(slow, 3), "min": round(1000 * min(seconds), 3)}

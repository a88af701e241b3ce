"""Record a walk through a synthetic scene as a rosbag2 with ground truth."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tqdm import tqdm

from spann3r_ros.synthetic.named_scene import scene_named
from spann3r_ros.synthetic.walk import EVALUATION_SEED, STYLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``make_bag``."""
    parser.add_argument("out", type=Path, help="folder of the bag; must not exist")
    parser.add_argument("--scene", default="apartment", help="apartment, random:SEED or a scene file (apartment)")
    parser.add_argument("--frames", type=int, default=100, help="images of each camera (100)")
    parser.add_argument("--rate", type=float, default=5.0, metavar="HZ", help="images per second (5)")
    parser.add_argument(
        "--seed", type=int, default=EVALUATION_SEED, help=f"of the walk; training used those below {EVALUATION_SEED}"
    )
    parser.add_argument("--style", choices=sorted(STYLES), default="robot", help="how the camera moves (robot)")
    parser.add_argument("--width", type=int, default=640, help="of the images (640)")
    parser.add_argument("--height", type=int, default=480, help="of the images (480)")
    parser.add_argument("--compressed", action="store_true", help="JPEG (CompressedImage) instead of raw images")
    parser.add_argument("--quality", type=int, default=90, help="of JPEG images, 1..100 (90)")
    parser.add_argument(
        "--depth", nargs="?", const="16UC1", choices=["16UC1", "32FC1"], help="with depth images (16UC1, millimeters)"
    )
    parser.add_argument(
        "--cameras", type=int, default=1, choices=[1, 2], help="2: one more, 60 degrees to the left (1)"
    )
    parser.add_argument(
        "--tf",
        choices=["robot", "camera"],
        default="robot",
        help="robot: odom -> base_link -> camera; camera: no frames but the cameras' own (robot)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Make the bag and tell its size."""
    from spann3r_ros.synthetic.recording import Recording

    recording = Recording(
        scene_named(arguments.scene),
        arguments.frames,
        arguments.rate,
        arguments.seed,
        arguments.style,
        arguments.width,
        arguments.height,
        compressed=arguments.compressed,
        quality=arguments.quality,
        depth=arguments.depth,
        cameras=arguments.cameras,
        tf=arguments.tf,
    )
    began = time.monotonic()
    for _ in tqdm(recording.write(arguments.out), total=recording.frames, unit="frame", leave=False):
        pass
    megabytes = sum(file.stat().st_size for file in arguments.out.iterdir()) / 1e6
    seconds = time.monotonic() - began
    frames = f"{recording.frames} frames at {recording.rate:g} Hz"
    print(f"{arguments.out}: {frames}, {megabytes:.1f} MB, made in {seconds:.1f} s")
    return 0

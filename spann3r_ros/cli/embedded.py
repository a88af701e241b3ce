"""Measure the model that ships, in the apartment that it knows and in rooms that it does not."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from spann3r_ros.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``embedded``."""
    parser.add_argument("--checkpoint", default="", help="weights to measure; default: those that ship")
    parser.add_argument("--clips", type=int, default=60, help="five-frame clips (60)")
    parser.add_argument("--walks", type=int, default=10, help="walks (10)")
    parser.add_argument("--frames", type=int, default=100, help="frames of a walk (100)")
    parser.add_argument("--json", type=Path, help="also write every figure of every sequence to this file")


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    import dataclasses

    from spann3r_ros.evaluation.embedded import evaluate
    from spann3r_ros.models.registry import load_model

    config = Config(checkpoint=arguments.checkpoint)
    report = evaluate(load_model, config, clips=arguments.clips, walks=arguments.walks, walk_frames=arguments.frames)
    print("\n".join(report.rows()))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(dataclasses.asdict(report), indent=1), encoding="utf-8")
    return 0

"""``export``: the stages of a network as ONNX, for ONNX Runtime; each is compared with PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

from spann3r_ros.cli.configuration import add_parameter_options, read_config
from spann3r_ros.config import RANDOM_WEIGHTS
from spann3r_ros.models.loading import SHIPPED
from spann3r_ros.models.onnx.exporter import TOLERANCE, StageReport, export_model
from spann3r_ros.models.onnx.trial import load_for_export


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--checkpoint",
        default=SHIPPED,
        metavar="FILE",
        help=f"weights; {SHIPPED}: the model that ships (default); {RANDOM_WEIGHTS}: a tiny network of --model",
    )
    parser.add_argument(
        "--onnx", type=Path, required=True, metavar="FOLDER", help="folder to write; an older export is replaced"
    )
    parser.add_argument("--model", metavar="NAME", help="family; by default the one that the file tells")
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="of the network's images in pixels; by default what the weights were made for, for 4:3 camera images",
    )
    add_parameter_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the folder and print a row a file; 1 when a stage differs by more than the tolerance."""
    config = read_config(arguments.config, arguments.set, arguments.preset)
    if arguments.image_size:
        config.image_height, config.image_width = arguments.image_size
    trial = load_for_export(config, arguments.checkpoint, arguments.model)
    print(f"{'file':20} {'MB':>9} {'difference':>10}  call -> outputs")
    reports = export_model(trial, arguments.onnx, progress=_print_report)
    worst = max(report.difference for report in reports)
    if worst > TOLERANCE:
        print(f"largest relative difference to PyTorch {worst:.1e}, above {TOLERANCE:g}: nothing was written")
        return 1
    print(f"largest relative difference to PyTorch {worst:.1e}; {trial.usage(arguments.onnx)}")
    return 0


def _print_report(report: StageReport) -> None:
    outputs = ", ".join("x".join(map(str, shape)) for shape in report.outputs)
    size = report.size / 1e6
    print(f"{report.file:20} {size:9.2f} {report.difference:10.1e}  {report.call} -> {outputs}", flush=True)

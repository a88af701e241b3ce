"""Runs what only a CUDA device can show, then measures it: `make gpu-check`.

The tests of `test/gpu`, every family in a node that runs on the device, the node's life there, and the benchmark. Where
PyTorch finds no device, nothing is run, and it says so.

Exit status: 0 all passed; 1 a test failed or something could not be measured; 3 nothing was run, for want of a device.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
PASSED, FAILED, _, NOTHING_RUN = range(4)

TESTS = ("test/gpu", "test/ros/test_families.py", "test/ros/test_lifecycle.py")
BENCH = ("--device", "cuda", "--precision", "fp32", "bf16")
ENVIRONMENT = {
    "SPANN3R_ROS_TEST_DEVICE": "cuda",
    # Numbers are compared with those of the CPU.
    "NVIDIA_TF32_OVERRIDE": "0",
}

Step = tuple[str, Sequence[str], dict[str, str]]


def steps() -> list[Step]:
    """A title each, the arguments of Python, and what is added to the environment."""
    return [
        ("tests", ("-m", "pytest", "-q", *TESTS), ENVIRONMENT),
        ("benchmark of Spann3R", ("-m", "spann3r_ros", "bench", *BENCH, "--frames", "40"), {}),
        ("benchmark with CUDA graphs", ("-m", "spann3r_ros", "bench", *BENCH, "--frames", "40", "--cuda-graphs"), {}),
        ("benchmark of every family", ("-m", "spann3r_ros", "bench", *BENCH, "--frames", "16", "--family", "all"), {}),
    ]


def main() -> int:
    """Run every step, whatever became of those before it."""
    if not torch.cuda.is_available():
        print(f"gpu-check: NOTHING WAS RUN: PyTorch {torch.__version__} finds no CUDA device here")
        return NOTHING_RUN
    print(f"gpu-check: {torch.cuda.get_device_name()}, PyTorch {torch.__version__}", flush=True)
    results = {}
    for title, arguments, variables in steps():
        print(f"\n== {title}", flush=True)
        began = time.monotonic()
        status = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=os.environ | variables, check=False)
        results[title] = (status.returncode, time.monotonic() - began)
    print()
    for title, (code, seconds) in results.items():
        print(f"gpu-check: {title}: {'passed' if code == 0 else f'FAILED with status {code}'}, {seconds:.0f} s")
    return FAILED if any(code for code, _ in results.values()) else PASSED


if __name__ == "__main__":
    sys.exit(main())

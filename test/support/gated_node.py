"""The node with a network that a test can stop: while the file ``$GATE`` exists, no frame goes through it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from spann3r_ros.frame import Frame
from spann3r_ros.prediction import Prediction
from spann3r_ros.reconstruction import Reconstruction
from spann3r_ros.ros.node import main

GATE = Path(os.environ["GATE"])
process = Reconstruction.process


def process_when_allowed(self: Reconstruction, frame: Frame) -> list[Prediction]:
    while GATE.exists():
        time.sleep(0.01)
    return process(self, frame)


Reconstruction.process = process_when_allowed  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())

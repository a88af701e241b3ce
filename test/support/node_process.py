"""The node under test, as its users start it: a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = str(Path(__file__).resolve().parent)


class NodeProcess:
    """`python -m spann3r_ros.ros.node` on a DDS domain; what it logs is in ``log``.

    While the file ``gate`` exists, if one is given, no frame goes through the network.
    """

    def __init__(
        self, domain: int, parameters: dict[str, Any], arguments: list[str], log: Path, gate: Path | None = None
    ) -> None:
        self._log = log
        module = "spann3r_ros.ros.node" if gate is None else "gated_node"
        command = [sys.executable, "-m", module, "--ros-args"]
        for name, value in parameters.items():
            command += ["-p", f"{name.replace('__', '.')}:={json.dumps(value)}"]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        if gate is not None:
            environment["GATE"] = str(gate)
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [SUPPORT, os.environ.get("PYTHONPATH")]))
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                [*command, *arguments], stdout=sink, stderr=subprocess.STDOUT, env=environment, cwd=ROOT
            )

    @property
    def log(self) -> str:
        """Everything it has said so far."""
        return self._log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_for_log(self, text: str, timeout: float = 60.0, count: int = 1) -> str:
        """The line that contains ``text`` (its ``count``-th occurrence)."""
        end = time.monotonic() + timeout
        while True:
            lines = [line for line in self.log.splitlines() if text in line]
            if len(lines) >= count:
                return lines[count - 1]
            assert self.alive, f"the node ended with {self._process.returncode}:\n{self.log}"
            assert time.monotonic() < end, f"'{text}' was not logged within {timeout} s:\n{self.log}"
            time.sleep(0.05)

    def interrupt(self, number: int = signal.SIGINT, timeout: float = 60.0) -> int:
        """Send a signal; the exit status."""
        self._process.send_signal(number)
        return self._process.wait(timeout)

    def kill(self) -> None:
        """End it at once, as a crash or a cut of power would."""
        if self.alive:
            self._process.kill()
        self._process.wait()

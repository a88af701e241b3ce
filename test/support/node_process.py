"""The node under test, as its users start it: a process of its own."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

NODE = "spann3r_ros.ros.node"

# Its modules are imported once for all processes, which is most of a start; each is forked from there, before there is
# any thread, DDS participant or tensor.
FORKS = get_context("forkserver")
FORKS.set_forkserver_preload([NODE])


class NodeProcess:
    """`python -m spann3r_ros.ros.node` on a DDS domain; what it logs is in ``log``.

    While the file ``gate`` exists, if one is given, no frame goes through the network.
    """

    def __init__(
        self, domain: int, parameters: dict[str, Any], arguments: list[str], log: Path, gate: Path | None = None
    ) -> None:
        self._log = log
        log.touch()
        module = NODE if gate is None else "gated_node"
        words = [module, "--ros-args"]
        for name, value in parameters.items():
            words += ["-p", f"{name.replace('__', '.')}:={json.dumps(value)}"]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
        if gate is not None:
            environment["GATE"] = str(gate)
        self._process = FORKS.Process(target=run, args=(module, [*words, *arguments], environment, log), daemon=True)
        self._process.start()

    @property
    def log(self) -> str:
        """Everything it has said so far."""
        return self._log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def wait_for_log(self, text: str, timeout: float = 60.0, count: int = 1) -> str:
        """The line that contains ``text`` (its ``count``-th occurrence)."""
        end = time.monotonic() + timeout
        while True:
            lines = [line for line in self.log.splitlines() if text in line]
            if len(lines) >= count:
                return lines[count - 1]
            assert self.alive, f"the node ended with {self._process.exitcode}:\n{self.log}"
            assert time.monotonic() < end, f"'{text}' was not logged within {timeout} s:\n{self.log}"
            time.sleep(0.05)

    def interrupt(self, number: int = signal.SIGINT, timeout: float = 60.0) -> int:
        """Send a signal; the exit status."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"it runs {timeout} s after signal {number}:\n{self.log}"
        return self._process.exitcode

    def kill(self) -> None:
        """End it at once, as a crash or a cut of power would."""
        self._process.kill()
        self._process.join()


def run(module: str, words: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """What a forked process does: the node's ``main`` with these words of a command line."""
    with log.open("wb") as sink:
        for stream in (1, 2):
            os.dup2(sink.fileno(), stream)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = words
    sys.exit(importlib.import_module(module).main())

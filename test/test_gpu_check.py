"""`make gpu-check` says what it ran, and that it ran nothing."""

from __future__ import annotations

import subprocess
import sys

import gpu_check
import pytest
import torch

from spann3r_ros.cli.main import main


def test_without_a_device_it_says_that_nothing_was_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main() == gpu_check.NOTHING_RUN
    assert "NOTHING WAS RUN" in capsys.readouterr().out


def test_its_commands_are_understood(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The tests are collected by a process of their own, and every option of the benchmark is parsed."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a device that is made up")
    start, every = subprocess.run, gpu_check.steps()

    def parsed(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        if "pytest" in command:
            return start([*command, "--collect-only"], **options)  # type: ignore[call-overload, no-any-return]
        assert command[:4] == [sys.executable, "-m", "spann3r_ros", "bench"]
        with pytest.raises(SystemExit) as ended:
            main([*command[3:], "--help"])
        return subprocess.CompletedProcess(command, int(ended.value.code or 0))

    monkeypatch.setattr(gpu_check.subprocess, "run", parsed)
    assert gpu_check.main() == gpu_check.PASSED
    assert capfd.readouterr().out.count(": passed, ") == len(every) == 4

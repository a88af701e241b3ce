"""`make gpu-check` says what it ran, and that it ran nothing."""

from __future__ import annotations

import gpu_check
import pytest
import torch


def test_without_a_device_it_says_that_nothing_was_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main() == gpu_check.NOTHING_RUN
    assert "NOTHING WAS RUN" in capsys.readouterr().out


@pytest.mark.slow
def test_its_commands_are_understood(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a device that is made up")
    asked = {"tests": ("--collect-only",), "bench": ("--help",)}
    every = gpu_check.steps()
    monkeypatch.setattr(
        gpu_check, "steps", lambda: [(title, (*args, *asked[title[:5]]), more) for title, args, more in every]
    )
    assert gpu_check.main() == gpu_check.PASSED
    assert capsys.readouterr().out.count("passed") == len(every)

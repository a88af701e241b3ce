"""Which precision a network gets, and what is said of it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from spann3r_ros.config import Config
from spann3r_ros.models import processor
from spann3r_ros.models.loading import load_model
from spann3r_ros.streaming.stream import stream_of

CPU = torch.device("cpu")


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds of a layer, made up, since those of a machine are as they are."""
    seconds = {"fp32": 0.002, "bf16": 0.001, "fp16": 0.004}
    monkeypatch.setattr(processor, "seconds_of_a_layer", lambda name, _: seconds[name])
    return seconds


@pytest.mark.parametrize(("bf16", "chosen"), [(0.001, "bf16"), (0.00195, "fp32"), (0.012, "fp32")])
def test_auto_takes_bf16_only_where_it_is_faster(
    bf16: float, chosen: str, speeds: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    speeds["bf16"] = bf16
    with caplog.at_level(logging.INFO):
        assert processor.chosen_precision("auto", CPU) == chosen
    [record] = caplog.records
    told = record.getMessage()
    assert record.levelno == logging.INFO and told.startswith(f"precision auto: {chosen} on ")
    assert "2.00 ms in fp32" in told and f"{1000 * bf16:.2f} ms in bf16" in told


@pytest.mark.usefixtures("speeds")
def test_what_is_asked_for_is_taken_and_warned_of_where_it_is_slower(caplog: pytest.LogCaptureFixture) -> None:
    assert processor.chosen_precision("bf16", CPU) == "bf16" and not caplog.records
    assert processor.chosen_precision("fp16", CPU) == "fp16"
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "2.00 ms in fp32, 4.00 ms in fp16. Set precision to auto or fp32" in record.getMessage()


def test_fp32_costs_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "seconds_of_a_layer", lambda *_: pytest.fail("it was timed"))
    assert processor.chosen_precision("fp32", CPU) == "fp32"


def test_a_layer_is_timed_once() -> None:
    first = processor.seconds_of_a_layer("fp32", CPU)
    assert 0 < first < 10 and processor.seconds_of_a_layer("fp32", CPU) == first


@pytest.mark.parametrize("faster", ["fp32", "bf16"])
def test_a_model_says_what_auto_became(faster: str, speeds: dict[str, float]) -> None:
    speeds[faster] = 1e-4
    config = Config(checkpoint="random", device="cpu", precision="auto")
    stream = stream_of(load_model(config), config)
    assert config.precision == faster
    assert stream.model.fingerprint.endswith({"fp32": " float32", "bf16": " bfloat16"}[faster])


def test_the_processor_is_named_with_its_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"model name": "A CPU", "flags": "fpu avx2 avx512f made_up amx_bf16"}
    monkeypatch.setattr(processor, "_entries", lambda: known)
    assert processor.processor_name() == "A CPU (avx2, avx512f, amx_bf16)"
    monkeypatch.setattr(processor, "_entries", dict)
    assert "no vector instructions" in processor.processor_name()
    monkeypatch.undo()
    if Path("/proc/cpuinfo").exists():
        assert processor._entries()

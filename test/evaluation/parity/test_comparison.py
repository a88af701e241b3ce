from __future__ import annotations

import pytest
import torch

from spann3r_ros.evaluation.parity.comparison import ParityReport, relative_error


@pytest.mark.parametrize(
    ("found", "recorded", "error"),
    [
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([0.0, 1e-3], [0.0, 0.0], 1e-3),
        ([float("nan"), 1.0], [1.0, 1.0], float("inf")),
        ([1.0], [1.0, 1.0], float("inf")),
        ([], [], 0.0),
    ],
)
def test_an_error_is_relative_to_the_maximum(found: list[float], recorded: list[float], error: float) -> None:
    assert relative_error(torch.tensor(found), torch.tensor(recorded)) == pytest.approx(error)


def test_a_kind_with_a_tolerance_of_its_own_is_a_decision() -> None:
    report = ParityReport()
    report.compare("pose", "a", torch.tensor([1.0]), torch.tensor([1.00001]))
    report.compare("optimized", "b", torch.tensor([1.0]), torch.tensor([1.005]), allowed=1e-2)
    assert report.worst()[1] == "a" and not report.disagreements
    report.compare("optimized", "c", torch.tensor([1.0]), torch.tensor([1.05]), allowed=1e-2)
    assert report.worst()[1] == "a" and report.disagreements == ["c: error 4.762e-02, the recording allows 0.01"]


def test_nothing_compared_is_not_equal() -> None:
    assert ParityReport().worst()[0] == float("inf")

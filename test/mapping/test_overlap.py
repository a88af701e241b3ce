from __future__ import annotations

import numpy as np
import pytest
from geometric_models import FakeWindowModel, frames_of_the_path, true_pose

from spann3r_ros.geometry.sim3_algebra import sim3_exp
from spann3r_ros.mapping.overlap import overlap
from spann3r_ros.sim3 import Sim3


def relation(a: int, b: int) -> Sim3:
    """``a_from_b`` of two calls of the model without units of their own, which begin with these frames."""
    return true_pose(a).inverse() @ true_pose(b)


def answers(first: int, **errors: object) -> list:
    return FakeWindowModel(scales=False, **errors).infer(frames_of_the_path(3, first))


def test_views_of_one_surface_fit_where_they_lie() -> None:
    found = overlap(answers(0), answers(4), relation(0, 4))
    assert found.share > 0.8 and found.agreement > 0.98


@pytest.mark.parametrize(
    "error", [[0.0, 0.0, 0.8, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0.3], [0, 0, 0, 0, 0.7, 0, 0]], ids=["z", "scale", "turn"]
)
def test_a_relation_that_is_wrong_does_not_fit(error: list[float]) -> None:
    found = overlap(answers(0), answers(4), relation(0, 4) @ sim3_exp(np.array(error)))
    assert found.agreement < 0.6


def test_views_of_different_places_do_not_overlap() -> None:
    found = overlap(answers(0), answers(90), relation(0, 90))
    assert found.share < 0.05
    behind = Sim3.rigid(np.diag([-1.0, 1.0, -1.0]), np.array([0.0, 0.0, -1.0]))
    assert overlap(answers(0), answers(4), behind).share == 0.0


def test_pixels_that_a_view_is_not_sure_of_say_nothing() -> None:
    unsure = answers(0)
    for answer in unsure:
        answer.confidence[:, :24] = 0.0
    assert overlap(unsure, answers(0), Sim3()).agreement > 0.98
    for answer in unsure:
        answer.confidence[:] = 0.0
    assert overlap(unsure, answers(0), Sim3()).share == 0.0

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spann3r_ros.errors import GeometryError
from spann3r_ros.geometry.irls import IrlsSettings, align_irls
from spann3r_ros.sim3 import Sim3

TRUTH = Sim3(1.3, Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix(), np.array([1.0, -2.0, 0.5]))


def pointmaps(noise: float = 0.0, outliers: float = 0.0, truth: Sim3 = TRUTH) -> dict[str, Any]:
    """Two pointmaps (2, 10, 12, 3) of the same pixels, the target noisy and partly anywhere."""
    rng = np.random.default_rng(0)
    source = rng.normal(size=(2, 10, 12, 3))
    target = truth.apply(source) + noise * rng.normal(size=source.shape)
    wrong = rng.random(source.shape[:-1]) < outliers
    target[wrong] += rng.normal(size=(wrong.sum(), 3)) * 2
    confidences = 1 + 4 * rng.random((2, *source.shape[:-1]))
    return {
        "source": source,
        "target": target,
        "source_confidence": confidences[0],
        "target_confidence": confidences[1],
    }


def off(found: Sim3, truth: Sim3 = TRUTH) -> float:
    return float(np.abs(found.matrix() - truth.matrix()).max())


def test_small_residuals_end_it_with_the_plain_weighted_fit() -> None:
    found = align_irls(**pointmaps(noise=0.001))
    assert len(found.estimates) == 2 and found.target_from_source is found.estimates[0]
    assert off(found.target_from_source) < 1e-3


def test_outliers_count_less_with_every_fit() -> None:
    found = align_irls(**pointmaps(noise=0.005, outliers=0.15))
    errors = [off(estimate) for estimate in found.estimates]
    assert len(errors) == 6 and errors[-1] < 0.15 * errors[0] and off(found.target_from_source) == errors[-1]


def test_a_rigid_fit_leaves_the_scale() -> None:
    rigid = Sim3.rigid(TRUTH.rotation, TRUTH.translation)
    found = align_irls(**pointmaps(truth=rigid), settings=IrlsSettings(rigid=True)).target_from_source
    assert found.scale == 1.0 and off(found, rigid) < 1e-12
    shrunk = align_irls(**pointmaps(), settings=IrlsSettings(rigid=True)).target_from_source
    assert shrunk.scale == 1.0 and off(shrunk) > 0.2


def test_pixels_of_low_confidence_and_invalid_ones_are_not_looked_at() -> None:
    maps = pointmaps()
    maps["target"][0, 0] += 50.0
    assert off(align_irls(**maps).target_from_source) > 0.1
    valid = np.ones(maps["source"].shape[:-1], bool)
    valid[0, 0] = False
    assert off(align_irls(**maps, valid=valid).target_from_source) < 1e-9
    maps["source_confidence"][0, 0] = 0.05
    found = align_irls(**maps)
    assert off(found.target_from_source) < 1e-9 and 0.05 < found.threshold < 1
    maps["target"][0, 0, 0] = np.nan
    maps["source_confidence"][0, 0] = 5
    maps["target"][0, 0] = np.inf
    assert off(align_irls(**maps).target_from_source) < 1e-9


def test_more_iterations_end_by_themselves() -> None:
    settings = IrlsSettings(delta=0.02, iterations=100)
    found = align_irls(**pointmaps(noise=0.02, outliers=0.1), settings=settings)
    assert 6 < len(found.estimates) < 100 and found.target_from_source is found.estimates[-2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": np.zeros((2, 10, 11, 3))}, "pointmaps to align, and their confidences"),
        ({"source_confidence": np.zeros((2, 10, 12))}, "usable pixels that two pointmaps share: got 0"),
        ({"valid": np.zeros((2, 10, 12), bool)}, "usable pixels that two pointmaps share: got 0"),
    ],
)
def test_what_cannot_be_aligned_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        align_irls(**{**pointmaps(), **change})


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(GeometryError, match="delta of the alignment: got 0"):
        IrlsSettings(delta=0.0)

from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.errors import FrameError
from spann3r_ros.geometry.depth_fitting import fit_depth

DEPTH = np.arange(1, 13, dtype=np.float32).reshape(3, 4)


def test_unknown_is_zero_and_what_is_known_stays() -> None:
    depth = DEPTH.copy()
    depth[0, :3] = [np.nan, np.inf, -np.inf]
    found = fit_depth(depth, 3, 4)
    assert found.dtype == np.float32 and found[0].tolist() == [0.0, 0.0, 0.0, 4.0]
    np.testing.assert_array_equal(found[1:], DEPTH[1:])


def test_another_size_takes_the_nearest_pixel_and_no_mean() -> None:
    np.testing.assert_array_equal(fit_depth(DEPTH, 6, 8), DEPTH.repeat(2, axis=0).repeat(2, axis=1))
    halved = fit_depth(np.ones((240, 320), np.float32) * np.arange(320, dtype=np.float32), 120, 160)
    assert halved.shape == (120, 160) and set(np.unique(halved)) <= set(range(320))
    assert fit_depth(np.ones((180, 319), np.float32), 360, 640).shape == (360, 640), "one column was lost in halving"


@pytest.mark.fault("encodings")
@pytest.mark.parametrize("size", [(4, 4), (3, 5), (4, 3), (30, 41)])
def test_another_aspect_is_refused_with_both_sizes(size: tuple[int, int]) -> None:
    height, width = size
    with pytest.raises(FrameError, match=rf"got 4 x 3; expected {width} x {height}.*registered"):
        fit_depth(DEPTH, height, width)

import dataclasses

import numpy as np
import pytest
from made_up_run import CAMERA, FRAMES, MadeUpSequence, true_depth, true_pose, truth

from spann3r_ros.errors import DataError
from spann3r_ros.geometry.camera import backproject
from spann3r_ros.recordings.true_cloud import true_cloud

GAP = 10_000_000


def test_the_true_cloud_is_every_fifth_pixel_where_it_truly_is() -> None:
    cloud = true_cloud(MadeUpSequence(truth()), truth(), GAP, stride=5)
    expected = [true_pose(n).apply(backproject(true_depth(n), CAMERA))[::5, ::5].reshape(-1, 3) for n in range(FRAMES)]
    np.testing.assert_allclose(cloud.points, np.concatenate(expected), atol=1e-5)
    assert cloud.colors[0].tolist() == [0, 0, 0] and cloud.colors[-1].tolist() == [30 * (FRAMES - 1)] * 3
    nothing = dataclasses.replace(truth(), trajectory=None)
    with pytest.raises(DataError, match="true pose and a true depth"):
        true_cloud(MadeUpSequence(nothing), nothing, GAP)

"""A recording that is rendered while it is read."""

from __future__ import annotations

import numpy as np

from spann3r_ros.sim3 import Sim3
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories


def test_frames_and_truth_belong_together() -> None:
    scene = Scene.apartment()
    poses = Trajectories(scene).walk(EVALUATION_SEED, 8)
    priors = [Sim3.rigid(np.eye(3), np.array([float(number), 0, 0])) for number in range(8)]
    walk = RenderedWalk(scene, poses, 32, 24, priors)
    frames, truth = list(walk.frames(every=2)), walk.ground_truth()
    assert walk.count() == 8 and [frame.index for frame in frames] == [0, 1, 2, 3]
    for frame, place in zip(frames, (0, 2, 4, 6), strict=True):
        found = truth.depth_at(frame.stamp, 0)
        assert found is not None and truth.trajectory is not None
        np.testing.assert_array_equal(found.depth, walk.rendering(place).depth)
        np.testing.assert_array_equal(frame.image, walk.rendering(place).image)
        true = truth.trajectory.at(frame.stamp, 0)
        assert true is not None
        np.testing.assert_array_equal(true.translation, poses[place].translation)
        assert frame.prior is not None and frame.prior.translation[0] == place
    assert next(RenderedWalk(scene, poses).frames()).prior is None

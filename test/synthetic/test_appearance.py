"""Colors recognize a place: similar for images of one place, less so for those of others."""

from __future__ import annotations

import numpy as np

from spann3r_ros.synthetic.appearance import appearance
from spann3r_ros.synthetic.rendered_walk import RenderedWalk
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import EVALUATION_SEED, Trajectories


def test_places_are_told_apart_by_it() -> None:
    scene = Scene.apartment()
    walk = RenderedWalk(scene, Trajectories(scene).rounds(EVALUATION_SEED, 240, 2))
    seen = np.stack([appearance(frame.image) for frame in walk.frames()])
    assert seen.dtype == np.float32 and seen.shape == (240, 512)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1.0, atol=1e-5)
    similarity = seen @ seen.T
    again = np.diag(similarity, 120)  # the same place a round later, another pan of the camera
    elsewhere = np.diag(similarity, 60)
    assert np.median(again) > 0.85 > np.quantile(elsewhere, 0.9)

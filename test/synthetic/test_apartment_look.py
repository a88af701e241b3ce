"""The embedded model knows this apartment: who changes its looks must train the model again."""

from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.frame import Intrinsics
from spann3r_ros.synthetic.renderer import Renderer
from spann3r_ros.synthetic.scene import Scene
from spann3r_ros.synthetic.walk import camera_pose

# Where the camera stands, and the mean RGB of the four quarters of what it sees.
VIEWS = {
    "living room": ((2.8, 1.4), [134, 117, 109, 101, 95, 79, 148, 126, 116, 105, 70, 58]),
    "kitchen": ((5.45, 1.9), [142, 127, 119, 194, 165, 96, 147, 131, 123, 177, 149, 93]),
    "hall": ((4.075, 4.6), [111, 122, 131, 127, 130, 123, 151, 111, 81, 116, 116, 105]),
    "bedroom": ((2.1, 7.1), [109, 81, 105, 178, 160, 141, 106, 102, 117, 186, 169, 146]),
    "study": ((6.25, 7.1), [140, 150, 120, 88, 74, 52, 121, 126, 75, 96, 75, 47]),
}


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(Scene.apartment())


@pytest.mark.parametrize("name", VIEWS)
def test_rooms_look_as_they_did_when_the_model_was_trained(renderer: Renderer, name: str) -> None:
    (x, y), expected = VIEWS[name]
    image = renderer.render(camera_pose(x, y, 1.4, 0.8), Intrinsics(50.0, 52.0, 31.5, 23.0, 64, 48)).image
    quarters = image.reshape(2, 24, 2, 32, 3).mean((1, 3)).reshape(-1)
    np.testing.assert_allclose(quarters, expected, atol=1.5)

from __future__ import annotations

import numpy as np
import pytest

from spann3r_ros.errors import FrameError
from spann3r_ros.frame import Frame, Intrinsics


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.uint16), "image dtype: got uint16; expected uint8"),
        (np.full((4, 4, 3), np.nan, np.float32), "got float32 with 48 NaN values"),
        (np.zeros((4, 4), np.uint8), r"image shape: got \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"image shape: got \(4, 4, 4\)"),
        (np.zeros((4, 0, 3), np.uint8), r"image shape: got \(4, 0, 3\)"),
        ([[1, 2, 3]], "image: got list"),
    ],
)
def test_only_rgb_bytes_are_taken(image: object, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        Frame(0, 0, "camera", image)  # type: ignore[arg-type]


def test_intrinsics_must_be_of_this_image() -> None:
    camera = Intrinsics(5.0, 5.0, 3.5, 1.5, 8, 4)
    assert Frame(0, 0, "camera", np.zeros((4, 8, 3), np.uint8), camera).intrinsics is camera
    with pytest.raises(FrameError, match=r"got \(8, 4\); expected the size of the image, \(4, 8\)"):
        Frame(0, 0, "camera", np.zeros((8, 4, 3), np.uint8), camera)


@pytest.mark.parametrize("numbers", [(0.0, 5.0, 3.0, 3.0), (5.0, -1.0, 3.0, 3.0), (5.0, 5.0, np.nan, 3.0)])
def test_impossible_cameras_are_refused(numbers: tuple[float, float, float, float]) -> None:
    with pytest.raises(FrameError, match="finite, with positive focal lengths"):
        Intrinsics(*numbers, 8, 4)


def test_the_matrix_projects_the_axis_to_the_principal_point() -> None:
    projected = Intrinsics(5.0, 6.0, 3.5, 1.5, 8, 4).matrix() @ [0.2, 0.5, 1.0]
    assert projected.tolist() == [4.5, 4.5, 1.0]


def test_depth_is_of_the_very_image() -> None:
    image, depth = np.zeros((8, 4, 3), np.uint8), np.zeros((8, 4), np.float32)
    assert Frame(0, 0, "camera", image, depth=depth).depth is depth
    for wrong in (depth.T, depth.astype(np.float64), [[0.0]]):
        with pytest.raises(FrameError, match=r"depth of a frame: got .*expected float32 \(8, 4\)"):
            Frame(0, 0, "camera", image, depth=wrong)  # type: ignore[arg-type]
    for value in (np.nan, np.inf, -1.0):
        wrong = depth.copy()
        wrong[3, 2] = value
        with pytest.raises(FrameError, match=r"negative or not finite; expected meters, 0: unknown"):
            Frame(0, 0, "camera", image, depth=wrong)

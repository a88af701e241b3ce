from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from spann3r_ros.errors import FrameError
from spann3r_ros.models.posenet.architecture import PosenetArchitecture
from spann3r_ros.models.posenet.crop import central_corner, crops, mean_of_size, resized

AUTHORS, PORT = PosenetArchitecture(), PosenetArchitecture(channels="rgb", pool="padded")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_images_of_cambridge_become_455_wide_and_are_cut_as_published() -> None:
    image = noise(1080, 1920)
    authors, port = resized(image, AUTHORS), resized(image, PORT)
    assert authors.shape == port.shape == (256, 455, 3)
    np.testing.assert_array_equal(authors, cv2.resize(image, (455, 256), interpolation=cv2.INTER_LINEAR))
    np.testing.assert_array_equal(port, np.asarray(Image.fromarray(image).resize((455, 256), Image.Resampling.BICUBIC)))
    assert central_corner(455, 256, AUTHORS) == (115, 16) and central_corner(455, 256, PORT) == (116, 16)


def test_an_image_of_the_right_size_stays_and_a_portrait_stands() -> None:
    image = noise(256, 300)
    assert resized(image, AUTHORS) is image
    assert resized(noise(640, 480), AUTHORS).shape == (341, 256, 3)


@pytest.mark.parametrize("size", [(8, 300), (20, 2000), (2000, 20)])
def test_images_that_show_no_scene_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(FrameError):
        resized(noise(*size), AUTHORS)


def test_the_mean_is_subtracted_at_the_same_pixel() -> None:
    image = noise(256, 300)
    mean = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))
    assert crops(image, [(0, 0), (76, 32), (30, 5)], mean).abs().max() == 0
    one = crops(image, [(30, 5)], torch.full((3, 1, 1), 7.0))[0]
    np.testing.assert_array_equal(one.numpy(), image[5:229, 30:254].transpose(2, 0, 1) - np.float32(7))


def test_a_mean_image_of_another_size_is_resized() -> None:
    assert mean_of_size(torch.full((3, 256, 455), 9.0), 256, 341).shape == (3, 256, 341)
    assert float(mean_of_size(torch.full((3, 256, 455), 9.0), 256, 341).std()) < 1e-5

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from spann3r_ros.errors import FrameError
from spann3r_ros.ros import image_bridge

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def message(encoding: str, data: bytes, step: int, height: int = 6, width: int = 8, big_endian: int = 0) -> Image:
    made = Image(encoding=encoding, height=height, width=width, step=step, is_bigendian=big_endian)
    made.data.frombytes(data)
    return made


def test_rgb8_shares_the_memory_of_the_message() -> None:
    image = message("rgb8", RGB.tobytes(), 24)
    decoded = image_bridge.rgb_from_image(image)
    np.testing.assert_array_equal(decoded, RGB)
    image.data[0] ^= 255
    assert decoded[0, 0, 0] == image.data[0]


@pytest.mark.parametrize(
    ("encoding", "order"), [("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 0]), ("bgra8", [2, 1, 0, 0]), ("rgb8", [0, 1, 2])]
)
def test_channel_orders_and_padded_rows(encoding: str, order: list[int]) -> None:
    pixels = RGB[..., order]
    row = pixels.shape[2] * 8
    padded = np.full((6, row + 5), 99, np.uint8)
    padded[:, :row] = pixels.reshape(6, row)
    np.testing.assert_array_equal(image_bridge.rgb_from_image(message(encoding, padded.tobytes(), row + 5)), RGB)


@pytest.mark.parametrize("big_endian", [0, 1])
def test_mono16_in_both_byte_orders(big_endian: int) -> None:
    gray = (RGB[..., 0].astype(np.uint16) << 8) + 7
    data = gray.astype(">u2" if big_endian else "<u2").tobytes()
    decoded = image_bridge.rgb_from_image(message("mono16", data, 16, big_endian=big_endian))
    np.testing.assert_array_equal(decoded, np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_give_back_a_flat_color(pattern: str) -> None:
    color = {"r": 200, "g": 120, "b": 40}
    mosaic = np.empty((6, 8), np.uint8)
    for index, letter in enumerate(pattern):
        mosaic[index // 2 :: 2, index % 2 :: 2] = color[letter]
    for encoding, data, step in (
        (f"bayer_{pattern}8", mosaic, 8),
        (f"bayer_{pattern}16", mosaic.astype("<u2") << 8, 16),
    ):
        decoded = image_bridge.rgb_from_image(message(encoding, data.tobytes(), step))
        np.testing.assert_array_equal(decoded, np.broadcast_to([200, 120, 40], (6, 8, 3)))


def test_a_wrong_encoding_is_named_together_with_the_accepted_ones() -> None:
    with pytest.raises(FrameError, match=r"32FC1.*rgb8 .* bayer_rggb8"):
        image_bridge.rgb_from_image(message("32FC1", bytes(6 * 8 * 4), 32))


@pytest.mark.parametrize(
    ("height", "width", "step", "size"), [(0, 8, 24, 0), (6, 0, 0, 0), (6, 8, 24, 143), (6, 8, 23, 144)]
)
def test_empty_and_short_images_are_refused(height: int, width: int, step: int, size: int) -> None:
    with pytest.raises(FrameError):
        image_bridge.rgb_from_image(message("rgb8", bytes(size), step, height, width))


def compressed(extension: str, image: np.ndarray, kind: str) -> CompressedImage:
    made = CompressedImage(format=kind)
    made.data.frombytes(cv2.imencode(extension, image[..., ::-1])[1].tobytes())
    return made


def test_png_is_exact_and_jpeg_is_close() -> None:
    np.testing.assert_array_equal(image_bridge.rgb_from_compressed(compressed(".png", RGB, "png")), RGB)
    smooth = np.broadcast_to(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], (48, 64, 3))
    read = image_bridge.rgb_from_compressed(compressed(".jpg", smooth, "rgb8; jpeg compressed bgr8"))
    assert read.shape == (48, 64, 3)
    assert np.abs(read.astype(int) - smooth).max() < 6


def test_damaged_files_and_depth_are_refused() -> None:
    cut = compressed(".jpg", RGB, "jpeg")
    del cut.data[-20:]
    with pytest.raises(FrameError, match="whole JPEG or PNG"):
        image_bridge.rgb_from_compressed(cut)
    with pytest.raises(FrameError):
        image_bridge.rgb_from_compressed(CompressedImage(format="jpeg"))
    with pytest.raises(FrameError, match="depth topic"):
        image_bridge.rgb_from_compressed(CompressedImage(format="32FC1; compressedDepth png"))


def test_cv_bridge_decodes_what_we_do_not_know() -> None:
    pytest.importorskip("cv_bridge", reason="cv_bridge is not installed")
    planar = np.full(6 * 8 * 3 // 2, 128, np.uint8)  # luminance, then half as many bytes of color
    decoded = image_bridge.rgb_from_image(message("nv21", planar.tobytes(), 8))
    assert decoded.shape == (6, 8, 3)

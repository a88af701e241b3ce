import cv2
import numpy as np
import pytest

from spann3r_ros.errors import FrameError
from spann3r_ros.geometry.image import decode_compressed, decode_depth, decode_image

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)


def decode(array: np.ndarray, encoding: str, **options: bool) -> np.ndarray:
    return decode_image(array.tobytes(), encoding, array.shape[0], array.shape[1], array.strides[0], **options)


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [
        ("rgb8", RGB),
        ("bgr8", np.ascontiguousarray(RGB[..., ::-1])),
        ("rgba8", np.dstack([RGB, np.full((4, 6), 7, np.uint8)])),
        ("bgra8", np.dstack([RGB[..., ::-1], np.full((4, 6), 7, np.uint8)])),
        ("rgb16", RGB.astype(np.uint16) * 256 + 99),
    ],
)
def test_colors_arrive_as_rgb(encoding: str, sent: np.ndarray) -> None:
    np.testing.assert_array_equal(decode(sent, encoding), RGB)


def test_gray_is_repeated_over_the_channels() -> None:
    gray = RGB[..., 0].copy()
    expected = np.repeat(gray[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode(gray, "mono8"), expected)
    np.testing.assert_array_equal(
        decode((gray.astype(np.uint16) * 256).astype(">u2"), "mono16", big_endian=True), expected
    )


@pytest.mark.parametrize(
    ("encoding", "top_left"),
    [("bayer_rggb8", "rg"), ("bayer_bggr8", "bg"), ("bayer_gbrg8", "gb"), ("bayer_grbg8", "gr")],
)
def test_bayer_pattern_starts_with_the_named_pixels(encoding: str, top_left: str) -> None:
    color = {"r": 200, "g": 100, "b": 20}
    pattern = encoding.split("_")[1][:4]
    assert pattern.startswith(top_left)
    tile = np.array([[color[pattern[0]], color[pattern[1]]], [color[pattern[2]], color[pattern[3]]]], np.uint8)
    image = decode(np.tile(tile, (4, 4)), encoding)
    np.testing.assert_array_equal(image[3, 3], [200, 100, 20])


def test_yuv_keeps_gray_gray() -> None:
    uyvy = np.full((2, 4, 2), 128, np.uint8)
    uyvy[..., 1] = 126
    image = decode(uyvy, "uyvy")
    assert np.abs(image.astype(int) - 128).max() <= 1
    np.testing.assert_array_equal(decode(uyvy[..., ::-1].copy(), "yuv422_yuy2"), image)


def test_rows_may_be_padded() -> None:
    padded = np.zeros((4, 32), np.uint8)
    padded[:, :18] = RGB.reshape(4, 18)
    np.testing.assert_array_equal(decode_image(padded.tobytes(), "rgb8", 4, 6, 32), RGB)
    without_last_padding = padded.tobytes()[: 3 * 32 + 18]
    np.testing.assert_array_equal(decode_image(without_last_padding, "rgb8", 4, 6, 32), RGB)


def test_depth_is_meters_with_nan_where_unknown() -> None:
    meters = np.array([[1.5, np.nan], [np.inf, -1.0]], np.float32)
    np.testing.assert_array_equal(decode_depth(meters.tobytes(), "32FC1", 2, 2, 8), [[1.5, np.nan], [np.nan, np.nan]])
    millimeters = np.array([[1500, 0]], np.uint16)
    np.testing.assert_array_equal(decode_depth(millimeters.tobytes(), "16UC1", 1, 2, 4), [[1.5, np.nan]])


def test_png_is_decoded_without_loss() -> None:
    _, content = cv2.imencode(".png", RGB[..., ::-1])
    np.testing.assert_array_equal(decode_compressed(content.tobytes()), RGB)


JPEG = cv2.imencode(".jpg", RGB)[1].tobytes()


@pytest.mark.parametrize("content", [b"", b"no image at all", JPEG[:-20]])
def test_damaged_file_is_refused(content: bytes) -> None:
    with pytest.raises(FrameError, match="JPEG or PNG"):
        decode_compressed(content)


def test_wrong_messages_are_refused() -> None:
    with pytest.raises(FrameError, match=r"encoding.*32FC1.*rgb8"):
        decode_image(RGB.tobytes(), "32FC1", 4, 6, 18)
    with pytest.raises(FrameError, match="too short"):
        decode_image(RGB.tobytes()[:-1], "rgb8", 4, 6, 18)
    with pytest.raises(FrameError, match="step >= 18"):
        decode_image(RGB.tobytes() + b"0", "rgb8", 4, 6, 17)
    with pytest.raises(FrameError, match="empty image"):
        decode_image(b"", "rgb8", 0, 0, 0)
    with pytest.raises(FrameError, match="depth encoding"):
        decode_depth(RGB.tobytes(), "rgb8", 4, 6, 18)
